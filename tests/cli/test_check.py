"""``check``, ``schema``: a person sees every mistake at its place; a program gets the same as data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BAD = """\
meta: {machine_name: bad}
states:
  - {name: a, type: initial}
  - {name: b, typ: stable}
transitions:
  - trigger: go
    source: a
    dest: b
    gaurds: [x]
"""

ODD = """\
meta: {machine_name: odd}
states:
  - {name: a, type: initial}
  - {name: b, type: terminal}
  - {name: which, type: choice}
transitions:
  - {trigger: go, source: a, dest: which}
  - {source: which, dest: b, guards: [{expr: n > 1}]}
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A file with two mistakes."""
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


def test_a_right_file_is_ok(cli: Callable[..., Any], examples: Path) -> None:
    answer = cli("check", examples / "order.yaml")
    assert answer.code == 0
    assert "ok: shop_order 2.0, 19 states, 21 transitions" in answer.out
    assert "requirements: ORD-1, ORD-2" in answer.out


def test_every_mistake_is_shown_at_its_place(cli: Callable[..., Any], bad: Path) -> None:
    """One at a time would make a person run it ten times."""
    answer = cli("check", bad)
    assert answer.code == 1
    lines = answer.out.splitlines()
    first = next(n for n, line in enumerate(lines) if "bad.yaml:4:15: unknown key 'typ'" in line)
    assert "(did you mean 'type'?)" in lines[first]
    assert lines[first + 2] == "  > 4 |   - {name: b, typ: stable}"
    assert lines[first + 3] == "      |               ^^^"
    assert "bad.yaml:9:5: unknown key 'gaurds'" in answer.out
    assert "2 errors" in answer.out


def test_json_has_the_same_mistakes(cli: Callable[..., Any], bad: Path, examples: Path) -> None:
    answer = cli("check", bad, examples / "turnstile.yaml", "--json")
    assert answer.code == 1
    assert answer.json["ok"] is False
    wrong, right = answer.json["files"]
    assert [(issue["line"], issue["column"]) for issue in wrong["issues"]] == [(4, 15), (9, 5)]
    assert right["machine"]["name"] == "turnstile"
    assert right["machine"]["triggers"] == ["coin", "push"]


def test_warnings_are_errors_only_when_asked_for(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(ODD)
    loose = cli("check", path)
    assert loose.code == 0
    assert "1 warning" in loose.out
    assert "odd.yaml:5:" in loose.out
    assert cli("check", path, "--strict").code == 1


CASES = """\
meta: {machine_name: cases}
states:
  - {name: a, type: initial}
  - {name: b, type: terminal}
  - {name: c, type: terminal}
  - {name: lost, type: error}
transitions:
  - {trigger: go, source: a, dest: b, guards: [{expr: n < 5}]}
  - {trigger: go, source: a, dest: c, guards: [{expr: n > 3}]}
  - {trigger: lose, source: a, dest: lost}
"""


def test_notes_are_shown_when_asked_for(cli: Callable[..., Any], tmp_path: Path) -> None:
    """They are no reason to fail, not even with --strict."""
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    assert cli("check", path, "--strict").out.count("\n") == 1
    answer = cli("check", path, "--all", "--strict")
    assert answer.code == 0
    assert "3 notes" in answer.out
    assert "cases.yaml:6:5: note: no transition leads out of the error state 'lost'" in answer.out
    assert "note: 'go' from 'a' gives way to the one in line 8 with n = 4" in answer.out


def test_findings_are_data_with_the_context_that_shows_them(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(ODD)
    (issue,) = cli("check", path, "--json").json["files"][0]["issues"]
    assert (issue["code"], issue["severity"], issue["line"]) == ("choice_open", "warning", 5)
    assert issue["witness"] == {"context": {"n": 0}, "payload": {}}


def test_codes_are_ignored(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Once, several times, and never by a slip."""
    path = tmp_path / "odd.yaml"
    path.write_text(ODD)
    assert cli("check", path, "--strict", "--ignore", "choice_open").code == 0
    assert cli("check", path, "--strict", "--ignore", "trap").code == 1
    slip = cli("check", path, "--ignore", "choise_open")
    assert slip.code == 2
    assert "did you mean choice_open?" in slip.err


def test_what_is_sure_to_fail_fails_the_check(cli: Callable[..., Any], tmp_path: Path) -> None:
    """The machine loads, and every event that gets there fails."""
    path = tmp_path / "loop.yaml"
    path.write_text(
        CASES + "  - {auto: true, source: lost, dest: back}\n"
        "  - {auto: true, source: back, dest: lost}\n"
    )
    path.write_text(path.read_text().replace("transitions:", "  - {name: back}\ntransitions:"))
    answer = cli("check", path)
    assert answer.code == 1
    assert "loop.yaml: wrong: cases 1.0.0, 5 states, 5 transitions; 1 error" in answer.out
    assert "if it is meant so: metadata: {check: {ignore: [endless]}} there" in answer.out
    assert cli("check", path, "--json").json["files"][0]["ok"] is False


def test_a_missing_file_is_a_sentence(cli: Callable[..., Any]) -> None:
    answer = cli("check", "none.yaml")
    assert answer.code == 1
    assert "none.yaml: cannot read the file: no such file or directory" in answer.out


def test_standard_input_is_checked(cli: Callable[..., Any]) -> None:
    """Editors check what is not saved yet."""
    answer = cli("check", "-", stdin=BAD)
    assert answer.code == 1
    assert "<stdin>:4:15: unknown key 'typ'" in answer.out
    assert "  > 4 |   - {name: b, typ: stable}" in answer.out


def test_bytes_that_are_no_text_are_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\x00\xff\xfe" * 100)
    assert cli("check", path).code == 1


def test_the_schema_is_json_for_editors(cli: Callable[..., Any]) -> None:
    answer = cli("schema")
    assert answer.code == 0
    assert answer.json["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"meta", "states", "transitions"} <= set(answer.json["properties"])
    assert len(cli("schema", "--json").out.splitlines()) == 1
