"""Every command against a service: the same words, the same JSON and the same exit code as against a store.

One life is led on a SQLite file and behind a running `pystator api` over another one, command by command, and what was said
is compared. Times, durations and cursors are each one's own, and so is the actor that history names; an event that is sent
to a service has a key, and of a rejection it tells what history keeps.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.alike import OWN, Tell, alike
from servers.service import Service, free_port

MACHINE = """
meta: {machine_name: order, version: "1.0", description: An order}
states:
  - {name: placed, type: initial, timeout: {seconds: 600, destination: expired}}
  - {name: waiting}
  - {name: paid}
  - {name: packing, type: parallel, regions: [{name: box, states: [open, {name: closed, type: terminal}]}, {name: label, states: [blank, {name: printed, type: terminal}]}]}
  - {name: open}
  - {name: blank}
  - {name: gift, when: {expr: "present == true"}}
  - {name: expired, type: terminal}
transitions:
  - {trigger: wait, source: placed, dest: waiting}
  - {trigger: pay, source: [placed, waiting], dest: paid, guards: [{expr: "amount > 0"}], actions: [{timestamp: paid_at}, log]}
  - {trigger: pack, source: paid, dest: packing}
  - {trigger: close, source: open, dest: closed}
  - {trigger: note, source: placed, dest: placed, internal: true}
  - {trigger: fail, source: placed, dest: paid, actions: [{name: validate_keys, params: {keys: [absent]}}]}
"""
OTHER = MACHINE.replace("machine_name: order", "machine_name: loan")
ITEM = MACHINE.replace("machine_name: order", "machine_name: item")
NEXT = ITEM.replace('version: "1.0"', 'version: "2.0"').replace("An order", "A longer order")

EVENTS = [
    {"entity_id": f"bulk-{n % 7}", "trigger": trigger, "event_id": f"e-{n}", "context": {"amount": n % 3, "ü": "é"}}
    for n, trigger in enumerate(["wait", "pay", "pack", "close", "nonsense"] * 8)
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    with Service(folder, f"sqlite:///{folder}/b.db") as started:
        yield started


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/a.db"


@pytest.fixture
def both(cli: Tell, served: Service, store: str, tmp_path: Path) -> Tell:
    """Run a command on the store and against the service; insist that both say the same, and give the service's answer."""
    for name, text in (("order", MACHINE), ("loan", OTHER), ("item", ITEM), ("next", NEXT)):
        (tmp_path / f"{name}.yaml").write_text(text)
    for name in ("order.yaml", "loan.yaml"):
        for place in (("--store", store), ("--url", served.url)):
            assert cli("machines", "create", name, *place).code == 0
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)) + "\n{broken\n")

    return alike(cli, [("--store", store), ("--url", served.url)], plain)


MORE = r'|"actor": (null|"anonymous")|"event_id": (null|"pystator-client:[\w-]+")'
"""Of a service: who it was, and keys that are made."""


def plain(text: str) -> str:
    """The text, without what is each one's own."""
    told = re.sub(r" +", " ", without_facts(text))
    return re.sub(OWN + MORE, "*", re.sub(r" by anonymous\b", "", told))


def without_facts(text: str) -> str:
    """Of the error of a rejection, a service tells fewer facts than the step that met it."""
    try:
        told = json.loads(text)
    except ValueError:
        return text
    error = told.get("error")
    if isinstance(error, dict) and "success" in told:
        del error["context"]
    return json.dumps(told)


def test_machines_are_kept_and_told_alike(both: Tell) -> None:
    both("machines", "get", "item", code=1)
    both("machines", "create", "item.yaml")
    both("machines", "create", "item.yaml", "--json")
    both("machines", "create", "none.yaml", code=1)
    for words in (["list"], ["list", "--json"], ["get", "item"], ["get", "item@1.0", "--json"]):
        both("machines", *words)
    for name in ("nonsense", "item@9"):
        both("machines", "get", name, code=1)
        both("machines", "get", name, "--json", code=1)
        both("machines", "delete", name, code=1)
    Path("changed.yaml").write_text(ITEM.replace("gift", "present"))
    both("machines", "create", "changed.yaml", code=1)
    both("machines", "create", "changed.yaml", "--json", code=1)
    both("machines", "create", "next.yaml")
    both("machines", "delete", "item@1.0", "--json")
    both("machines", "delete", "item")
    both("send", "held", "note", "--machine", "loan")
    both("machines", "delete", "loan", code=1)
    both("machines", "delete", "loan", "--json", code=1)


def test_an_entitys_life_is_told_alike(both: Tell) -> None:
    both("send", "o-1", "wait", "--machine", "order")
    both("send", "o-1", "pay", "amount=0", code=1)
    both("send", "o-1", "pay", "amount=0", "--json", code=1)
    both("send", "o-1", "pay", "amount=3", "who=ö", "--json", "--at", "2026-03-02T08:00:00Z")
    both("send", "o-1", "nonsense", code=1)
    both("send", "o-2", "pay", "amount=3", "--event-id", "x", "--machine", "order")
    both("send", "o-2", "pay", "amount=3", "--event-id", "x", "--machine", "order")
    both("send", "o-2", "pay", "amount=3", "--event-id", "x", "--machine", "order", "--json")
    both("send", "o-2", "pay", "amount=4", "--event-id", "x", "--machine", "order", code=1)
    both(
        "send", "o-2", "pay", "amount=4", "--event-id", "x", "--machine", "order", "--json", code=1
    )
    both("send", "o-1", "pack", "--expect-version", 9, code=1)
    both("send", "o-1", "pack", "--expect-version", 9, "--json", code=1)
    both("send", "o-1", "pack", "--expect-version", 2)
    both("send", "o-3", "fail", "--machine", "order", "--json", code=1)
    both(
        "send",
        "o-4",
        "note",
        "--machine",
        "order.yaml",
        "--context",
        '{"a": {"b": [1, 1.5, null]}}',
    )
    both("apply", "o-4", "present=true", "--json")
    both("apply", "o-4", "x=1")
    both("apply", "o-1", code=2)
    for entity in ("o-1", "o-2", "o-3", "o-4", "nobody"):
        code = 1 if entity in {"nobody", "o-3"} else 0
        for more in ([], ["--json"]):
            both("show", entity, *more, code=code)
            both("show", entity, "--machine", "order", *more, code=code)
            both("history", entity, *more, code=code)
            both("history", entity, "--newest", "-n", 1, *more, code=code)
    both("show", "o-1", "--machine", "loan", "--json", code=1)
    both("show", "o-1", "--machine", "nothing", code=1)
    both("show", "o-1", "--machine", "order.yaml")


def test_an_id_of_two_machines_is_ambiguous(both: Tell) -> None:
    for machine in ("order", "loan"):
        both("send", "twice", "note", "--machine", machine)
    for command in ("show", "history"):
        both(command, "twice", code=1)
        both(command, "twice", "--json", code=1)
        both(command, "twice", "--machine", "loan")
    both("send", "twice", "wait", "--json", code=1)


def test_lists_are_told_alike(both: Tell, cli: Tell, served: Service) -> None:
    for number in range(1, 5):
        both("send", f"l-{number}", "pay", f"amount={number}", "--machine", "order")
    for words in (
        [],
        ["--state", "paid"],
        ["--state", "open+blank", "--machine", "order"],
        ["--state", "nowhere"],
        ["--machine", "order.yaml"],
        ["--in-state-longer-than", "1h"],
        ["--in-state-longer-than", "nonsense"],
        ["--where", "amount > 1"],
        ["--where", "amount >"],
        ["-n", "2"],
        ["--archived"],
    ):
        code = 2 if words[-1:] in (["nonsense"], ["amount >"]) else 0
        both("entities", *words, code=code)
        both("entities", *words, "--json", code=code)
        both("entities", *words, *([] if "-n" in words else ["--count"]), code=code)
    both("entities", "--after", "nonsense", code=1)
    first = cli("entities", "-n", 2, "--json", "--url", served.url).json
    second = cli("entities", "-n", 2, "--json", "--after", first["next"], "--url", served.url).json
    names = [each["entity_id"] for each in first["entities"] + second["entities"]]
    assert names == sorted(set(names))


def test_a_file_of_events_is_processed_alike(both: Tell) -> None:
    words = ("process", "--machine", "order", "--events", "events.jsonl", "--rejects", "r.jsonl")
    both(*words)
    assert len(Path("r.jsonl").read_text().splitlines()) > 8
    both(*words, "--json", "--batch", 7)
    both(*words, "--strict", code=1)
    both("process", "--machine", "order", "--events", "none.jsonl", code=1)
    both("process", "--machine", "nothing", "--events", "events.jsonl", code=1)
    both(
        "process",
        "--machine",
        "order",
        "--events",
        "-",
        stdin='{"entity_id": "p", "trigger": "note"}\n',
    )


# What is the service's own ------------------------------------------------------------------------


@pytest.fixture
def remote(cli: Tell, both: Tell, served: Service, tmp_path: Path) -> Tell:
    (tmp_path / "code.py").write_text("actions = {}\n")
    (tmp_path / "order.yaml").write_text(MACHINE.replace("gift", "present"))
    return lambda *words: cli(*words, "--url", served.url)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["send", "x", "note", "--code", "code.py"], 2, "--code goes with a store"),
        (["send", "x", "note", "--actor", "ada", "--machine", "order"], 1, "an actor goes with a store"),
        (["apply", "x", "a=1", "--actor", "ada", "--machine", "order"], 1, "an actor goes with a store"),
        (["send", "x", "note", "--machine", "order.yaml"], 1, "is not what the service runs"),
        (["send", "x", "note", "--store", "memory://"], 2, "two places: give one of them"),
        (["machines", "list", "--store", "memory://"], 2, "two places: give one of them"),
        (["send", "brand-new", "note"], 1, "give its machine with --machine NAME; the service has loan, order"),
    ],
)  # fmt: skip
def test_what_a_service_cannot_be_told_is_refused_in_a_sentence(
    remote: Tell, words: list[str], code: int, why: str
) -> None:
    answer = remote(*words)
    assert (answer.code, answer.out) == (code, "")
    assert why in " ".join(answer.err.replace("│", " ").split())


def test_the_environment_names_a_service_where_no_store_is_given(
    cli: Tell, both: Tell, served: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSTATOR_API_URL", served.url)
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", "sqlite:///elsewhere.db")
    assert "order" in cli("machines", "list").out
    assert cli("machines", "list", "--store", f"sqlite:///{tmp_path}/own.db").out == ""


def test_a_service_that_is_away_is_one_sentence_without_the_key(
    cli: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSTATOR_API_KEY", "pst_abc_secret")
    answer = cli("show", "x", "--url", f"http://127.0.0.1:{free_port()}")
    assert answer.code == 1
    assert answer.err.startswith("error: no answer from the service at http://127.0.0.1:")
    assert "secret" not in answer.err
    assert len(answer.err.splitlines()) == 1
