"""``send``, ``show``, ``history``, ``entities``: one entity by hand, and a look at all of them."""

import json
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from pystator import SQLiteStateStore

DB = "sqlite:///shop.db"


@pytest.fixture
def shop(cli: Callable[..., Any], examples: Path) -> Callable[..., Any]:
    """Send to the shop's orders."""

    def send(*words: object) -> Any:
        return cli("send", *words, "--machine", examples / "order.yaml", "--db", DB)

    return send


@pytest.fixture
def code_machine(tmp_path: Path) -> Path:
    """A machine with a guard and an action in Python."""
    (tmp_path / "coded.yaml").write_text(
        "meta: {machine_name: coded}\n"
        "states: [{name: a, type: initial}, {name: b}]\n"
        "transitions: [{trigger: go, source: a, dest: b, guards: [allowed], actions: [shout]}]\n"
    )
    (tmp_path / "code.py").write_text(
        "import sys\n"
        "def allowed(ctx): return ctx.get('ok', False)\n"
        "def shout(ctx): print('went', file=sys.stderr)\n"
        "guards = {'allowed': allowed}\n"
        "actions = {'shout': shout}\n"
    )
    return tmp_path / "coded.yaml"


def test_an_event_moves_the_entity(shop: Callable[..., Any]) -> None:
    answer = shop("order-1", "place", "total=120", "customer=ada")
    assert answer.code == 0
    assert answer.out == "order-1: draft → unpaid+queued (version 1)\n"


def test_a_rejected_event_fails_and_says_why(shop: Callable[..., Any]) -> None:
    answer = shop("order-1", "place", "total=0")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("error: order-1: ")
    assert "total > 0" in answer.err or "guard" in answer.err


def test_an_unknown_trigger_names_what_was_meant(shop: Callable[..., Any]) -> None:
    answer = shop("order-1", "plaec")
    assert answer.code == 1
    assert "place" in answer.err


def test_json_is_on_standard_output_also_for_a_rejection(shop: Callable[..., Any]) -> None:
    told = shop("order-1", "place", "total=0", "--json")
    assert told.code == 1
    assert (told.json["success"], told.json["reason"]) == (False, "guard_rejected")
    assert told.json["error"]["code"] == "guard_rejected"
    applied = shop("order-1", "place", "total=5", "--json").json
    assert (
        applied["success"],
        applied["source_state"],
        applied["target_state"],
        applied["version"],
    ) == (True, "draft", "unpaid+queued", 1)
    assert applied["context"]["total"] == 5


def test_context_is_json_and_pairs(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    context = json.dumps({"total": 1, "lines": [1, 2]})
    shop("order-1", "place", "total=7", "note=two words", "flag=true", "--context", context)
    shown = cli("show", "order-1", "--db", DB, "--json").json["context"]
    assert (
        shown["total"],
        shown["lines"],
        shown["note"],
        shown["flag"],
    ) == (7, [1, 2], "two words", True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["total"], "'total' is not KEY=VALUE"),
        (["=3"], "'=3' is not KEY=VALUE"),
        (["--context", "{"], "--context is not JSON"),
        (["--context", "[1]"], "--context is no JSON object"),
        (["--at", "soon"], "--at is no ISO 8601 time"),
        (["--at", "2026-01-01T00:00:00"], "--at has no time zone"),
    ],
)
def test_a_wrong_call_is_told(shop: Callable[..., Any], words: list[str], expected: str) -> None:
    answer = shop("order-1", "place", *words)
    assert answer.code == 2
    assert expected in answer.err


def test_an_event_id_makes_it_once(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    shop("order-1", "place", "total=10")
    first = shop("order-1", "pay", "amount=4", "--event-id", "p-1", "--json").json
    second = shop("order-1", "pay", "amount=4", "--event-id", "p-1", "--json").json
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["version"] == second["version"]
    assert cli("show", "order-1", "--db", DB, "--json").json["context"]["paid"] == 4
    conflict = shop("order-1", "pay", "amount=5", "--event-id", "p-1")
    assert conflict.code == 1
    assert "p-1" in conflict.err


def test_guards_and_actions_come_from_a_file(cli: Callable[..., Any], code_machine: Path) -> None:
    words = ("--machine", code_machine, "--code", "code.py", "--db", DB)
    assert cli("send", "e-1", "go", *words).code == 1
    answer = cli("send", "e-1", "go", "ok=true", *words)
    assert answer.code == 0
    assert "went" in answer.err
    assert "shout: done" in cli("history", "e-1", "--db", DB).out


def test_a_guard_nobody_registered_is_told(cli: Callable[..., Any], code_machine: Path) -> None:
    answer = cli("send", "e-1", "go", "--machine", code_machine, "--db", DB)
    assert answer.code == 1
    assert "allowed" in answer.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", "defines neither `guards` nor `actions`"),
        ("import nowhere_at_all\n", "broken.py:1: ModuleNotFoundError"),
        ("\n\nguards = 1 / 0\n", "broken.py:3: ZeroDivisionError"),
        ("def f(:\n", "broken.py:1: SyntaxError"),
    ],
)
def test_code_that_does_not_work_is_told_with_its_line(
    cli: Callable[..., Any], code_machine: Path, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    answer = cli("send", "e", "go", "--machine", code_machine, "--code", "broken.py", "--db", DB)
    assert answer.code == 1
    assert expected in answer.err


def test_a_new_entity_needs_its_machine(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    shop("order-1", "place", "total=1")
    answer = cli("send", "order-2", "place", "--db", DB)
    assert answer.code == 1
    assert "--machine" in answer.err


def test_a_stored_machine_is_found_by_name(cli: Callable[..., Any]) -> None:
    """``db seed`` puts machines there; afterwards an entity knows its own."""
    assert cli("db", "init", DB).code == 0
    assert cli("db", "seed", DB).code == 0
    first = cli("send", "o-1", "pay", "amount=10", "total=10", "--machine", "order", "--db", DB)
    assert first.code == 0, first
    assert "paid" in first.out
    assert cli("send", "o-1", "ship", "--db", DB).code == 0
    assert cli("graph", "order@1.0", "--entity", "o-1", "--db", DB).code == 0
    missing = cli("send", "o-1", "ship", "--machine", "ordr", "--db", DB)
    assert missing.code == 1
    assert "order@1.0" in missing.err


def test_show_tells_state_context_timers_and_what_is_next(
    shop: Callable[..., Any], cli: Callable[..., Any], examples: Path
) -> None:
    shop("order-1", "place", "total=10", "customer=ada")
    answer = cli("show", "order-1", "--db", DB, "--machine", examples / "order.yaml")
    assert answer.code == 0
    for text in (
        "unpaid+queued",
        "shop_order 2.0",
        "customer",
        "ada",
        "unpaid → expired after 3d",
        "cancel",
        "pay",
    ):
        assert text in answer.out
    told = cli("show", "order-1", "--db", DB, "--machine", examples / "order.yaml", "--json").json
    assert {"pay", "fail_payment", "pick", "cancel"} == set(told["triggers"])
    assert len(told["timers"]) == 1


def test_the_timeline_tells_changes_and_rejections(
    shop: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    shop("order-1", "place", "total=10", "--actor", "ada", "--at", "2026-03-02T08:00:00Z")
    shop("order-1", "ship", "--event-id", "too-early")
    shop("order-1", "pay", "amount=10")
    answer = cli("history", "order-1", "--db", DB)
    assert answer.code == 0
    body = answer.out.splitlines()[2:]
    assert body[0].split()[:6] == ["1", "2026-03-02", "08:00:00", "place", "draft", "→"]
    assert "by ada" in body[0]
    assert "ship" in body[1]
    assert "event 'ship' is not allowed in state 'unpaid+queued'" in body[1]
    assert "unpaid+queued → paid+queued" in body[2]
    rows = cli("history", "order-1", "--db", DB, "--json").json["history"]
    assert [row["kind"] for row in rows] == ["event", "rejected", "event"]
    assert rows[1]["event_id"] == "too-early"


def test_history_is_paged(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    shop("order-1", "place", "total=100")
    for number in range(4):
        shop("order-1", "pay", "amount=1", "--event-id", number)
    first = cli("history", "order-1", "--db", DB, "--json", "--limit", 3).json
    rest = cli("history", "order-1", "--db", DB, "--json", "--after", first["next"]).json
    assert [row["version"] for row in first["history"] + rest["history"]] == [1, 2, 3, 4, 5]
    assert rest["next"] is None
    newest = cli("history", "order-1", "--db", DB, "--json", "--newest", "--limit", 1).json
    assert newest["history"][0]["version"] == 5


def test_entities_are_listed_filtered_and_counted(
    shop: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    for number in range(5):
        shop(f"order-{number}", "place", f"total={number + 1}")
    shop("order-4", "pay", "amount=5")
    assert "order-0" in cli("entities", "--db", DB).out
    paid = cli("entities", "--db", DB, "--state", "paid", "--json").json
    assert [entity["entity_id"] for entity in paid["entities"]] == ["order-4"]
    some = cli("entities", "--db", DB, "--where", "total >= 2 and total < 4", "--json").json
    assert [entity["entity_id"] for entity in some["entities"]] == ["order-1", "order-2"]
    counts = cli("entities", "--db", DB, "--count", "--json").json
    assert counts == {"total": 5, "by_state": {"unpaid+queued": 4, "paid+queued": 1}}
    assert (
        cli("entities", "--db", DB, "--count", "--where", "total <= 2", "--json").json["total"] == 2
    )
    assert "5 entities" in cli("entities", "--db", DB, "--count").out


def test_entities_are_paged(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    for number in range(5):
        shop(f"order-{number}", "place", "total=1")
    first = cli("entities", "--db", DB, "--limit", 2, "--json").json
    assert first["more"]
    rest = cli("entities", "--db", DB, "--after", first["next"], "--json").json
    names = [entity["entity_id"] for entity in first["entities"] + rest["entities"]]
    assert [f"order-{number}" for number in range(5)] == names
    assert "--after" in cli("entities", "--db", DB, "--limit", 2).err
    assert "raise --limit" in cli("entities", "--db", DB, "--limit", 2, "--where", "total > 0").err


def test_entities_that_are_stuck_are_found(
    shop: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    """What nobody moves on: by any of its leaves, by machine, and by context as well."""
    day = 86_400_000_000
    with SQLiteStateStore(DB) as store:
        store.now = lambda: time_ns() // 1_000 - 3 * day
        for number in range(3):
            facts = {"machine_name": "order", "context": {"total": number}}
            store.set_state(f"old-{number}", "unpaid+queued", metadata=facts)
        store.now = lambda: time_ns() // 1_000
        store.set_context("old-0", {"total": 9})  # which is no way out of the state
        store.set_state("old-1", "paid+queued")
    shop("order-1", "place", "total=1")

    def found(*words: object) -> list[str]:
        told = cli("entities", "--db", DB, "--json", "--in-state-longer-than", *words).json
        return [entity["entity_id"] for entity in told["entities"]]

    assert found("2d") == ["old-0", "old-2"]
    assert found("2d", "--state", "queued", "--machine", "order") == ["old-0", "old-2"]
    assert found("2d", "--where", "total > 5") == ["old-0"]
    assert found("4d") == found("2d", "--state", "paid") == []
    counts = cli("entities", "--db", DB, "--in-state-longer-than", "48h", "--count", "--json").json
    assert counts == {"total": 2, "by_state": {"unpaid+queued": 2}}
    nobody = cli("entities", "--db", DB, "--in-state-longer-than", "4d", "--state", "queued")
    assert "no entities in 'queued' for so long" in nobody.err
    shown = cli("show", "old-0", "--db", DB, "--json").json
    assert shown["state_since"] < shown["updated_at"]


@pytest.mark.parametrize("longer", ["2 hours", "2", "0s", "-1h", "", "99999d", "1.5h"])
def test_a_wrong_duration_is_told(cli: Callable[..., Any], longer: str) -> None:
    answer = cli("entities", "--db", DB, f"--in-state-longer-than={longer}")
    assert answer.code == 2
    assert f"--in-state-longer-than is no duration: {longer!r}" in " ".join(answer.err.split())


def test_a_wrong_filter_is_told(shop: Callable[..., Any], cli: Callable[..., Any]) -> None:
    shop("order-1", "place", "total=1")
    answer = cli("entities", "--db", DB, "--where", "total >")
    assert answer.code == 2
    assert "--where" in answer.err
    assert cli("entities", "--db", DB, "--count", "--after", "x").code == 2
    assert cli("entities", "--db", DB, "--after", "nonsense").code == 1


@pytest.mark.parametrize("words", [["show", "x"], ["history", "x"], ["entities"]])
def test_looking_makes_no_database(
    cli: Callable[..., Any], tmp_path: Path, words: list[str]
) -> None:
    """A typing mistake in the name of a database must not leave an empty one behind."""
    answer = cli(*words, "--db", "sqlite:///typo.db")
    assert answer.code == 1
    assert "typo.db" in answer.err
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize("words", [["show"], ["history"]])
def test_an_entity_that_is_not_there_is_told(
    shop: Callable[..., Any], cli: Callable[..., Any], words: list[str]
) -> None:
    shop("order-1", "place", "total=1")
    answer = cli(*words, "order-2", "--db", DB, "--json")
    assert answer.code == 1
    assert answer.json["error"]["code"] == "entity_not_found"
    assert "there is no entity 'order-2'" in answer.err


def test_two_machines_may_have_the_same_entity(
    shop: Callable[..., Any], cli: Callable[..., Any], examples: Path
) -> None:
    shop("x-1", "place", "total=1")
    cli("send", "x-1", "coin", "--machine", examples / "turnstile.yaml", "--db", DB)
    answer = cli("show", "x-1", "--db", DB)
    assert answer.code == 1
    assert "--machine" in answer.err
    assert cli("history", "x-1", "--machine", "turnstile", "--db", DB).code == 0


def test_a_lenient_machine_ignores(cli: Callable[..., Any], examples: Path) -> None:
    words = ("--machine", examples / "turnstile.yaml", "--db", DB)
    cli("send", "t-1", "coin", *words)
    answer = cli("send", "t-1", "coin", *words)
    assert answer.code == 0
    assert "t-1: ignored in unlocked" in answer.out


def test_an_action_that_fails_is_told_in_a_sentence(
    cli: Callable[..., Any], code_machine: Path
) -> None:
    without = cli("send", "c-1", "go", "-m", code_machine, "--db", DB)
    assert "'allowed'" in without.err
    code_machine.with_name("half.py").write_text(
        "def shout(ctx): raise ValueError('hoarse')\nguards = {'allowed': lambda ctx: True}\n"
    )
    answer = cli("send", "c-1", "go", "-m", code_machine, "--code", "half.py", "--db", DB)
    assert answer.code == 0
    assert "action 'shout' failed: nobody registered it: give --code FILE.py" in answer.err
    with code_machine.with_name("half.py").open("a") as file:
        file.write("actions = {'shout': shout}\n")
    answer = cli("send", "c-2", "go", "-m", code_machine, "--code", "half.py", "--db", DB)
    assert "action 'shout' failed: ValueError: hoarse\n" in answer.err


def test_a_key_with_a_dot_is_refused(shop: Callable[..., Any]) -> None:
    """No guard would ever find it: dots lead into objects."""
    answer = shop("order-1", "place", "address.city=Delft")
    assert answer.code == 2
    assert 'address=\'{"city": "Delft"}\'' in " ".join(answer.err.split())


def test_rejected_data_is_told_from_a_rejected_event(cli: Callable[..., Any]) -> None:
    Path("strict.yaml").write_text(
        "meta: {machine_name: strict, validate_context: true}\n"
        "context_invariants: [{expr: n > 0}]\n"
        "states: [{name: a, type: initial, on_enter: [{set: {n: 1}}]}]\n"
        "transitions: [{trigger: go, source: a, internal: true}]\n"
    )
    assert cli("apply", "s-1", "n=2", "-m", "strict.yaml", "--db", DB).code == 0
    assert cli("apply", "s-1", "n=-1", "-m", "strict.yaml", "--db", DB).code == 1
    lines = cli("history", "s-1", "--db", DB).out.splitlines()
    assert [line for line in lines if "(data)" in line and "does not hold" in line]


def test_a_state_that_nobody_is_in_is_explained(shop: Callable[..., Any], cli: Any) -> None:
    shop("order-1", "place", "total=5")
    answer = cli("entities", "--db", DB, "--state", "open")
    assert "no entities in 'open': name an innermost state" in answer.err


def test_a_machine_file_stands_for_the_name_in_it(
    shop: Callable[..., Any], cli: Callable[..., Any], examples: Path
) -> None:
    shop("order-1", "place", "total=5")
    for words in (("history", "order-1"), ("entities",), ("show", "order-1")):
        by_file = cli(*words, "--machine", examples / "order.yaml", "--db", DB)
        assert (by_file.code, "order-1" in by_file.out) == (0, True)
    assert cli("history", "order-1", "--machine", "shop_order", "--db", DB).code == 0
