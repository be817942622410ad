"""``fire``: timers that are due move entities on that get no event."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DB = "sqlite:///offers.db"
MACHINE = """\
meta: {machine_name: offer, version: "1.0"}
states:
  - {name: made, type: initial}
  - {name: lapsed, type: terminal}
transitions:
  - {trigger: read, source: made, internal: true, actions: [{increment: reads}]}
  - {after: 1, source: made, dest: lapsed, actions: [{compute: {rest: "10 / left"}}, file_away]}
"""
CODE = "actions = {'file_away': lambda ctx: print('filed')}\n"
LONG = 10


@pytest.fixture(autouse=True)
def offers(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Two offers that are due, and one whose timer's action cannot be computed."""
    (tmp_path / "offer.yaml").write_text(MACHINE)
    (tmp_path / "code.py").write_text(CODE)
    for entity, left in (("o-1", 5), ("o-2", 2), ("o-bad", 0)):
        sent = cli("send", entity, "read", f"left={left}", "-m", "offer.yaml", "--db", DB)
        assert sent.code == 0, sent


def fire(cli: Callable[..., Any], *words: object) -> Any:
    """Fire with the machine's code."""
    return cli("fire", "--db", DB, "--code", "code.py", *words)


def wait_until_due(tmp_path: Path) -> None:
    """The deadlines are a millisecond away: see that they have passed."""
    with sqlite3.connect(tmp_path / "offers.db") as database:
        (last,) = database.execute("SELECT max(next_due) FROM entity_states").fetchone()
    stop = time.monotonic() + LONG
    while time.time_ns() // 1_000 <= last and time.monotonic() < stop:
        time.sleep(0.001)


def test_what_is_due_moves_on_once(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Cron may run it twice: the second time there is nothing to do."""
    wait_until_due(tmp_path)
    told = fire(cli, "-m", "offer.yaml")
    assert told.code == 1
    assert "o-1  made → lapsed" in told.out
    assert "2 timers fired" in told.out
    again = fire(cli, "-m", "offer.yaml")
    assert (again.code, again.out) == (0, "0 timers fired\n")
    assert cli("show", "o-1", "--db", DB, "--json").json["state"] == "lapsed"


def test_a_timer_that_fails_is_named_and_keeps_no_other(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    wait_until_due(tmp_path)
    told = fire(cli, "-m", "offer.yaml")
    assert told.code == 1
    assert "error: o-bad: " in told.err
    assert "2 timers fired" in told.out
    assert cli("show", "o-bad", "--db", DB, "--json").json["state"] == "made"


def test_json_holds_each_timer_and_nothing_that_actions_print(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    wait_until_due(tmp_path)
    told = fire(cli, "-m", "offer.yaml", "--json")
    fired = told.json["fired"]
    assert [(row["entity_id"], row["target_state"], row["version"]) for row in fired] == [
        ("o-1", "lapsed", 2),
        ("o-2", "lapsed", 2),
    ]
    assert [row["context"]["rest"] for row in fired] == [2.0, 5.0]
    (refused,) = told.json["refused"]
    assert (refused["entity_id"], refused["reason"]) == ("o-bad", "evaluation_failed")
    assert (told.json["failed"], told.json["due"]) == ({}, 0)
    assert "filed" in told.err


def test_a_limit_leaves_the_rest_for_the_next_run(cli: Callable[..., Any], tmp_path: Path) -> None:
    wait_until_due(tmp_path)
    first = fire(cli, "-m", "offer.yaml", "--limit", "1")
    assert "1 timer fired" in first.out
    assert "more are due" in first.err
    assert "1 timer fired" in fire(cli, "-m", "offer.yaml", "--limit", "1").out


def test_without_a_machine_the_stored_ones_have_their_turn(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    wait_until_due(tmp_path)
    unknown = cli("fire", "--db", DB)
    assert unknown.code == 1
    assert "3 entities are due, and this machine is not stored" in unknown.err
    definition = cli("check", "offer.yaml", "--json").json["files"][0]["machine"]
    with sqlite3.connect(tmp_path / "offers.db") as database:
        database.execute(
            "INSERT INTO machines (name, version, fingerprint, definition, created_at)"
            " VALUES ('offer', '1.0', ?, ?, 0)",
            (definition["fingerprint"], json.dumps(AS_DATA)),
        )
    database.close()
    assert "2 timers fired" in fire(cli).out


AS_DATA = {
    "meta": {"machine_name": "offer", "version": "1.0"},
    "states": [{"name": "made", "type": "initial"}, {"name": "lapsed", "type": "terminal"}],
    "transitions": [
        {
            "trigger": "read",
            "source": "made",
            "internal": True,
            "actions": [{"increment": "reads"}],
        },
        {
            "after": 1,
            "source": "made",
            "dest": "lapsed",
            "actions": [{"compute": {"rest": "10 / left"}}, "file_away"],
        },
    ],
}


def test_no_database_is_made_to_fire_in(cli: Callable[..., Any], tmp_path: Path) -> None:
    told = cli("fire", "--db", "sqlite:///none.db", "-m", "offer.yaml")
    assert told.code == 1
    assert not (tmp_path / "none.db").exists()
