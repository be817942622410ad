"""Every command on every store: the same words and the same data, whatever ``--store`` names.

One life is led on SQLite and on the other store, command by command, and what was said is compared. Times, durations and
cursors are each store's own.
"""

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from cli.alike import Tell, alike
from pystator.cli.machines import shown_url

MACHINE = """
meta: {machine_name: order, version: "1.0"}
states:
  - {name: placed, type: initial, timeout: {seconds: 0.001, destination: expired}}
  - {name: waiting}
  - {name: paid}
  - {name: packing, type: parallel, regions: [{name: box, states: [open, {name: closed, type: terminal}]}, {name: label, states: [blank, {name: printed, type: terminal}]}]}
  - {name: open}
  - {name: blank}
  - {name: gift}
  - {name: expired, type: terminal}
transitions:
  - {trigger: wait, source: placed, dest: waiting}
  - {trigger: pay, source: [placed, waiting], dest: paid, guards: [{expr: "amount > 0"}], actions: [{timestamp: paid_at}, told]}
  - {trigger: pack, source: paid, dest: packing}
  - {trigger: close, source: open, dest: closed}
  - {trigger: note, source: placed, dest: placed, internal: true}
"""

CODE = "actions = {'told': lambda ctx: print('told', ctx['amount'])}\n"

EVENTS = [
    {"entity_id": f"order-{n % 7}", "trigger": trigger, "event_id": f"e-{n}", "context": {"amount": n % 3}}
    for n, trigger in enumerate(["wait", "pay", "pack", "close", "nonsense"] * 14)
]  # fmt: skip

STORES = {
    "postgresql": "postgres_url",
    "redis": "redis_url",
    "mongodb": "mongodb_url",
    "replicated": "redis_url",
}


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    """A store in which there is nothing."""
    found: str = request.getfixturevalue(STORES[request.param])
    if request.param == "replicated":
        return f"replicated://?hot={quote(found, safe='/:')}&durable=sqlite:///durable.db"
    return found


@pytest.fixture
def both(cli: Tell, url: str, tmp_path: Path) -> Tell:
    """Run a command on SQLite and on the store; insist that both say the same, and give the store's answer."""
    (tmp_path / "order.yaml").write_text(MACHINE)
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)))

    return alike(cli, [("--store", "sqlite:///a.db"), ("--store", url)])


def test_an_entitys_life_is_told_in_the_same_words(both: Tell) -> None:
    machine = ("--machine", "order.yaml", "--code", "code.py")
    both("send", "order-1", "wait", *machine)
    sent = both("send", "order-1", "pay", "amount=5", "--event-id", "e-1", "--json", *machine).json
    assert (sent["target_state"], sent["version"]) == ("paid", 2)
    again = both("send", "order-1", "pay", "amount=5", "--event-id", "e-1", "--json", *machine).json
    assert again["replayed"]
    both("send", "order-1", "pay", "amount=6", "--event-id", "e-1", *machine, code=1)
    both("send", "order-2", "pay", "amount=0", *machine, code=1)
    both("apply", "order-1", "note=late", "--actor", "ada", *machine)
    both("send", "order-1", "pack", *machine)
    both("send", "order-1", "close", *machine)
    shown = both("show", "order-1", "--machine", "order.yaml", "--json").json
    assert shown["state"] == "closed+blank"
    both("show", "order-1")
    both("show", "nobody", code=1)
    assert "pay" in both("history", "order-1").out
    rows = both("history", "order-1", "--json", "--limit", "3").json
    assert [row["trigger"] for row in rows["history"]] == ["wait", "pay", "told"] or rows["next"]
    both("history", "order-1", "--newest", "--limit", "2")
    both("graph", "order.yaml", "--entity", "order-1", "--brief")


def test_a_file_of_events_is_processed_in_the_same_words(both: Tell) -> None:
    words = ("process", "--machine", "order.yaml", "--events", "events.jsonl", "--code", "code.py")
    first = both(*words, "--json").json
    second = both(*words, "--json").json
    assert first["applied"] > 0
    assert second["applied"] == 0
    both(*words)
    both("entities")
    both("entities", "--state", "paid")
    both("entities", "--state", "closed", "--json")
    both("entities", "--state", "closed+blank", "--where", "amount >= 0")
    both("entities", "--count")
    both("entities", "--in-state-longer-than", "1h")
    pages = both("entities", "--limit", "2")
    assert "--after" in pages.err


def test_pages_of_entities_and_history_go_on(cli: Tell, url: str, both: Tell) -> None:
    both("process", "--machine", "order.yaml", "--events", "events.jsonl", "--code", "code.py")
    found: list[str] = []
    after: tuple[str, ...] = ()
    for _ in range(9):
        page = cli("entities", "--limit", "2", "--json", "--store", url, *after).json
        found += [entity["entity_id"] for entity in page["entities"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert found == [f"order-{n}" for n in range(7)]
    whole = cli("history", "order-3", "--json", "--store", url).json["history"]
    first = cli("history", "order-3", "--json", "--limit", "4", "--store", url).json
    rest = cli("history", "order-3", "--json", "--after", first["next"], "--store", url).json
    assert first["history"] + rest["history"] == whole


def test_a_stored_machine_is_found_by_its_name(both: Tell) -> None:
    assert "added" in both("machines", "create", "order.yaml").out
    assert "was there" in both("machines", "create", "order.yaml").out
    both("machines", "list")
    both("machines", "get", "order@1.0")
    both("check", "order")
    both("graph", "order", "--brief")
    code = ("--code", "code.py")
    both("send", "order-1", "wait", code=1)  # nobody knows its machine yet
    both("send", "order-1", "wait", "--machine", "order", *code)
    both("send", "order-1", "pay", "amount=5", *code)
    both("apply", "order-1", "note=late", *code)
    both("process", "--machine", "order@1.0", "--events", "events.jsonl", *code)
    assert both("fire", *code).out == "0 timers fired\n"
    both("history", "order-1", "--machine", "order")
    both("entities", "--machine", "order", "--json")
    assert "stored are order@1.0" in both("send", "o", "x", "--machine", "ordre", code=1).err
    assert "7 live entities" in both("machines", "delete", "order", code=1).err


def test_a_stored_machine_is_deleted(both: Tell, tmp_path: Path) -> None:
    """A version, or all of them; what was never there is said."""
    both("machines", "create", "order.yaml")
    for version in ("2.0", "3.0"):
        text = MACHINE.replace('version: "1.0"', f'version: "{version}"')
        assert text != MACHINE
        (tmp_path / "order.yaml").write_text(text)
        both("machines", "create", "order.yaml")
    assert both("machines", "delete", "order@2.0").out == "order  version 2.0 deleted\n"
    missing = both("machines", "delete", "order@2.0", code=1)
    assert "stored are order@1.0, order@3.0" in missing.err
    told = both("machines", "delete", "order", "--json")
    assert json.loads(told.out) == {"name": "order", "version": None, "deleted": 2}
    assert "no machine is stored there" in both("machines", "delete", "order", code=1).err


def test_examples_are_stored_once(cli: Tell, url: str, both: Tell) -> None:
    cli("db", "init", "sqlite:///b.db")
    said = [[cli("db", "seed", store).out for store in (url, "sqlite:///b.db")] for _ in range(2)]
    assert said[0][0] == said[0][1]
    assert said[1][0] == said[1][1] != said[0][1]
    assert "was there" in said[1][0]
    assert cli("check", "order", "--store", url).code == 0


def test_due_timers_are_fired(cli: Tell, url: str, both: Tell) -> None:
    both("send", "order-1", "note", "--machine", "order.yaml")
    deadline = time.monotonic() + 10
    for store in ("sqlite:///a.db", url):
        while "order-1" not in (told := cli("fire", "-m", "order.yaml", "--store", store)).out:
            assert time.monotonic() < deadline
        assert "order-1  placed → expired" in told.out
    assert both("show", "order-1", "--json").json["state"] == "expired"
    assert "0 timers fired" in both("fire", "--machine", "order.yaml").out


def test_history_is_pruned(both: Tell) -> None:
    both("process", "--machine", "order.yaml", "--events", "events.jsonl", "--code", "code.py")
    time.sleep(1.01)  # the youngest age there is
    prune = ("db", "prune", "--older-than", "1s", "--dedup-window", "1s", "--force")
    said = both(*prune, "--dry-run")
    assert "would be deleted" in said.out
    assert "deleted" in both(*prune).out
    assert "nothing to prune" in both(*prune).out
    assert "snapshot" in both("history", "order-1").out
    both("show", "order-1")


def test_a_store_is_named_by_the_environment_as_well(
    cli: Tell, url: str, both: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    both("send", "order-1", "wait", "--machine", "order.yaml")
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", url)
    assert cli("show", "order-1", "--json").json["state"] == "waiting"
    own = {"redis": "PYSTATOR_REDIS_URL", "mongodb": "PYSTATOR_MONGODB_URL"}
    variable = own.get(url.partition(":")[0])
    if variable:
        monkeypatch.delenv("PYSTATOR_DATABASE_URL")
        monkeypatch.setenv(variable, url)
        assert cli("show", "order-1", "--json").json["state"] == "waiting"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("redis://:secret@127.0.0.1:1/0", "no server answers"),
        ("mongodb://me:secret@127.0.0.1:1/?serverSelectionTimeoutMS=50", "no server answers"),
    ],
)
def test_a_server_that_is_away_is_one_sentence_without_its_password(
    cli: Tell, name: str, sentence: str
) -> None:
    answer = cli("show", "order-1", "--store", name)
    assert answer.code == 1
    assert len(answer.err.strip().splitlines()) == 1
    assert "secret" not in answer.out + answer.err
    assert sentence in answer.err


@pytest.mark.parametrize("word", ["redis://:secret@localhost/0", "mongodb://me:secret@localhost"])
def test_commands_for_tables_say_what_there_is_instead(cli: Tell, word: str) -> None:
    for command in ("init", "upgrade", "downgrade", "current", "history", "stamp", "truncate"):
        answer = cli("db", command, word)
        assert answer.code == 1, command
        assert "has no tables and no migrations" in answer.err
        assert "secret" not in answer.err


def test_a_replicated_store_is_shown_as_two_without_their_passwords(cli: Tell) -> None:
    url = "replicated://?hot=redis://:secret@h/0&durable=postgresql://me:secret@h/shop"
    assert shown_url(url) == "replicated://?hot=redis://***@h/0&durable=postgresql://***@h/shop"
    answer = cli("show", "order-1", "--store", "replicated://?hot=redis://:secret@h/0")
    assert "durable= is missing" in answer.err
    assert "secret" not in answer.err


def test_a_url_that_is_given_twice_is_a_mistake(cli: Tell) -> None:
    answer = cli("db", "prune", "sqlite:///a.db", "--store", "sqlite:///b.db", "--older-than", "1d")
    assert answer.code == 2
    assert "twice" in answer.err
