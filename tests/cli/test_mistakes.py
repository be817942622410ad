"""Files, databases and terminals that are not as they should be: an answer, never a traceback."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DB = "sqlite:///m.db"
MACHINE = """\
meta: {machine_name: light, version: "1.0"}
states: [{name: off, type: initial}, {name: lit}]
transitions: [{trigger: switch, source: off, dest: lit}]
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path) -> Path:
    """The machine file."""
    path = tmp_path / "light.yaml"
    path.write_text(MACHINE)
    return path


@pytest.fixture
def lit(cli: Callable[..., Any]) -> Callable[..., Any]:
    """One entity is there."""
    assert cli("send", "l-1", "switch", "watts=5", "-m", "light.yaml", "--db", DB).code == 0
    return cli


# Machine files ----------------------------------------------------------------------------------


def check(cli: Callable[..., Any], folder: Path, content: bytes) -> str:
    """What is said about a file."""
    (folder / "m.yaml").write_bytes(content)
    told = cli("check", "m.yaml")
    assert told.code == 1
    return str(told.out)


def test_a_file_cannot_write_to_the_terminal(cli: Callable[..., Any], tmp_path: Path) -> None:
    """A line that is shown may hold what would clear the screen."""
    told = check(cli, tmp_path, b"states: \x1b[2J\n")
    assert "U+001B is not allowed" in told
    assert "\x1b" not in told
    assert "\x1b" not in check(cli, tmp_path, b"states: \x1b[2J\xff\n")


def test_a_byte_order_mark_does_not_move_the_mark(cli: Callable[..., Any], tmp_path: Path) -> None:
    shown = check(cli, tmp_path, b"\xef\xbb\xbf" + b"sates: []\nmeta: {}\n")
    assert "  > 1 | sates: []\n      | ^^^^^\n" in shown


def test_lines_end_where_yaml_ends_them(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Windows' line ends, and what only some programs take for the end of a line."""
    text = "meta: {}\r\nstates: []\r\n# a\u2028b\r\nsattes: []\r\n"
    told = check(cli, tmp_path, text.encode())
    place = next(line for line in told.splitlines() if line.startswith("  > "))
    assert place.endswith("| sattes: []")


def test_of_a_long_line_only_the_place_is_shown(cli: Callable[..., Any], tmp_path: Path) -> None:
    padding = ", ".join(f'"x{n}": {n}' for n in range(5_000))
    told = check(cli, tmp_path, f'{{"meta": {{{padding}}}, "sates": []}}'.encode())
    assert max(map(len, told.splitlines())) < 200
    assert '"sates"' in told


def test_standard_input_may_be_in_another_encoding(cli: Callable[..., Any]) -> None:
    told = cli("check", "-", stdin=MACHINE.replace("lit", "l\xedt").encode("latin-1"))
    assert told.code == 1
    assert "<stdin>:2:" in told.out
    assert "UTF-8" in told.out


# Events -----------------------------------------------------------------------------------------


def process(cli: Callable[..., Any], folder: Path, name: str, content: str) -> Any:
    """Process a file; the rejected lines are in ``rejects.jsonl``."""
    (folder / name).write_text(content)
    words = ("-m", "light.yaml", "-e", name, "--db", DB, "--rejects", "rejects.jsonl")
    return cli("process", *words)


def rejects(folder: Path) -> list[dict[str, Any]]:
    """The rejected lines."""
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def test_a_list_of_events_is_answered_with_what_lines_are(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    event = '{"entity_id": "l-1", "trigger": "switch", "event_id": "1"}'
    process(cli, tmp_path, "e.jsonl", f"[{event}]\n[\n{event},\n]\n")
    for row in rejects(tmp_path):
        assert "write one object a line" in row["_rejected"]["message"]


def test_an_unclosed_quotation_in_csv_loses_no_line(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    process(cli, tmp_path, "e.csv", 'entity_id,trigger,note\nl-1,switch,\nl-2,"switch,\nl-3,x,\n')
    (row,) = rejects(tmp_path)
    assert row["_raw"] == 'l-2,"switch,\nl-3,x,'
    assert row["_rejected"]["message"] == (
        "not CSV: a quotation is not closed, from line 3 to the end"
    )


def test_csv_with_other_marks_between_is_told_so(cli: Callable[..., Any], tmp_path: Path) -> None:
    told = process(cli, tmp_path, "e.csv", "entity_id;trigger\nl-1;switch\n")
    assert told.code == 1
    assert "has commas between them, not ';'" in told.err
    assert "stopped after" not in told.err


def test_one_is_not_many(cli: Callable[..., Any], tmp_path: Path) -> None:
    event = '{"entity_id": "l-1", "trigger": "switch", "event_id": "1"}\n'
    told = process(cli, tmp_path, "e.jsonl", event)
    assert told.out.startswith("1 event in ")
    assert "1 entity by state" in told.out


# Questions --------------------------------------------------------------------------------------


def test_an_expression_that_fails_says_so(lit: Callable[..., Any]) -> None:
    """An empty answer would look like an answer."""
    told = lit("entities", "--where", "watts > 'a'", "--db", DB)
    assert "warning: l-1 is left out: " in told.err
    assert "no entities" in told.err


def test_a_number_of_rows_has_its_bounds(lit: Callable[..., Any]) -> None:
    for words in (["history", "l-1"], ["entities"]):
        assert lit(*words, "--limit", "9" * 30, "--db", DB).code == 2


def test_json_that_is_too_deep_is_no_json(cli: Callable[..., Any]) -> None:
    deep = "[" * 100_000
    told = cli("send", "l-1", "switch", "--context", deep, "-m", "light.yaml", "--db", DB)
    assert told.code == 2
    assert "nested too deeply" in told.err


def test_times_are_answered_with_one_that_can_be_typed(cli: Callable[..., Any]) -> None:
    told = cli("send", "l-1", "switch", "--at", "2026-03-02", "-m", "light.yaml", "--db", DB)
    assert told.code == 2
    assert "write e.g. 2026-03-02T00:00:00Z" in told.err


# Databases --------------------------------------------------------------------------------------


@pytest.fixture
def newer(lit: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The database is of a release to come."""
    with sqlite3.connect(tmp_path / "m.db") as database:
        database.execute("UPDATE pystator_revision SET version_num = '9999'")
    database.close()
    return lit


def test_a_warning_is_a_sentence(newer: Callable[..., Any], tmp_path: Path) -> None:
    """Not a line of our code."""
    shown = subprocess.run(
        [sys.executable, "-m", "pystator", "show", "l-1", "--db", DB],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr.startswith("warning: sqlite:///")
    assert ".py:" not in shown.stderr


def test_a_newer_database_is_for_a_newer_release(newer: Callable[..., Any]) -> None:
    for command in ("upgrade", "downgrade"):
        told = newer("db", command, DB)
        assert told.code == 1
        assert "it is at 9999, which a newer release made" in told.err


@pytest.mark.parametrize("words", [("entities", "--json"), ("show", "nobody", "--json")])
def test_a_full_disk_is_an_answer(
    lit: Callable[..., Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pystator", *words, "--db", DB],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_closed_streams_are_empty_or_nowhere(tmp_path: Path) -> None:
    """Services are started without any."""
    words = "-m pystator check - <&- >&-"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {words}"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_no_password_is_ever_shown(cli: Callable[..., Any]) -> None:
    url = "postgresql://user:s3cret@host/db"
    for words in (
        ["show", "l-1", "--db", url],
        ["fire", "--db", url],
        ["send", "l-1", "switch", "-m", "light.yaml", "--db", url],
        *(["db", name, url] for name in ("init", "current", "history", "seed", "truncate")),
    ):
        for more in ([], ["--json"]):
            told = cli(*words, *more)
            assert told.code == 1
            assert "s3cret" not in told.out + told.err


# Ctrl-C -----------------------------------------------------------------------------------------


def test_an_interrupt_while_everything_is_imported_is_quiet(tmp_path: Path) -> None:
    """Imports take most of a short command's time: that is when people hit Ctrl-C."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "pystator", "entities"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
