"""``apply``: data without an event; and what charts look like in ``show``, ``history`` and ``entities``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystator.testing.statecharts import CHART

DB = "sqlite:///charts.db"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The contract's chart as a file."""
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(CHART))
    return path


@pytest.fixture
def run(cli: Callable[..., Any], chart: Path) -> Callable[..., Any]:
    """A command on the charts' database, for their machine."""

    def call(command: str, *words: object) -> Any:
        return cli(command, *words, "--machine", chart, "--db", DB)

    return call


@pytest.fixture
def reviewed(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, with an entity ``c-1`` whose price is agreed."""
    for trigger in ("begin", "next", "next", "next", "agree"):
        assert run("send", "c-1", trigger).code == 0
    return run


def test_data_moves_the_entity_where_it_leads(reviewed: Callable[..., Any]) -> None:
    answer = reviewed("apply", "c-1", "clear=false", "note=called")
    assert (answer.code, answer.out) == (0, "c-1: reading+agreed (version 6)\n")
    answer = reviewed("apply", "c-1", "clear=true")
    assert answer.out == "c-1: reading+agreed → shipped (version 7)\n"


def test_json_tells_the_result(reviewed: Callable[..., Any]) -> None:
    told = reviewed("apply", "c-1", "--data", '{"clear": true, "n": 1}', "n=2", "--json").json
    assert (told["success"], told["trigger"], told["target_state"]) == (True, None, "shipped")
    assert told["context"] == {"cuts": 1, "clear": True, "n": 2}


def test_an_event_id_makes_it_once(reviewed: Callable[..., Any]) -> None:
    for _ in range(2):
        answer = reviewed("apply", "c-1", "n=1", "--event-id", "d-1", "--actor", "ada")
        assert answer.out == "c-1: reading+agreed (version 6)\n"
    assert "first answer again" in answer.err
    conflict = reviewed("apply", "c-1", "n=2", "--event-id", "d-1")
    assert conflict.code == 1
    assert "d-1" in conflict.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "there is no data"),
        (("novalue",), "is not KEY=VALUE"),
        (("--data", "{"), "--data is not JSON"),
        (("--data", "[]"), "--data is no JSON object"),
        (("_event=1",), "_event"),
    ],
)
def test_what_is_no_data_is_told(
    run: Callable[..., Any], words: tuple[str, ...], expected: str
) -> None:
    answer = run("apply", "c-1", *words)
    assert answer.code != 0
    assert expected in answer.err


def test_a_new_entity_needs_its_machine(cli: Callable[..., Any], run: Callable[..., Any]) -> None:
    assert run("apply", "c-1", "n=1").out == "c-1: draft (version 1)\n"
    assert "--machine" in cli("apply", "c-2", "n=1", "--db", DB).err


def test_the_timeline_tells_data(reviewed: Callable[..., Any], cli: Callable[..., Any]) -> None:
    reviewed("apply", "c-1", "clear=true", "--actor", "ada")
    lines = cli("history", "c-1", "--db", DB).out.splitlines()
    assert "(data)" in lines[-1]
    assert "reading+agreed → shipped" in lines[-1]
    assert lines[-1].endswith("by ada clear=true")
    row = cli("history", "c-1", "--db", DB, "--json").json["history"][-1]
    assert (row["kind"], row["trigger"], row["payload"]) == ("event", None, {"clear": True})


def test_show_tells_what_is_remembered(
    reviewed: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    reviewed("send", "c-1", "pause")
    shown = cli("show", "c-1", "--db", DB)
    assert "was in   review: reading agreed" in shown.out
    assert "was in   work: made" in shown.out
    assert "_history" not in shown.out
    view = cli("show", "c-1", "--db", DB, "--json").json
    assert view["history_states"] == {"work": ["made"], "review": ["reading", "agreed"]}
    assert view["context"] == {"cuts": 1}


def test_entities_are_found_by_leaf_and_counted_by_configuration(
    reviewed: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    reviewed("send", "c-2", "begin")
    for state, expected in (
        ("agreed", ["c-1"]),
        ("reading+agreed", ["c-1"]),
        ("prepare", ["c-2"]),
        ("open", []),
    ):
        found = cli("entities", "--state", state, "--db", DB, "--json").json["entities"]
        assert [each["entity_id"] for each in found] == expected
    counts = cli("entities", "--count", "--db", DB, "--json").json["by_state"]
    assert counts == {"reading+agreed": 1, "prepare": 1}
