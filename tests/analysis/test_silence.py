"""What is meant to be so can be said to be so: at the place, for the machine, or for one run."""

import pytest

from pystator import validate_config
from pystator.definition.analyse import (
    CODES,
    LOAD_CODES,
    analyse,
    everything,
    ignoring,
    unknown_code,
)
from pystator.definition.load import check_text, load_text

STATES = """\
states:
  - {{name: open, type: initial}}
  - {{name: lost{state}}}
  - {{name: closed, type: terminal}}
"""
WAYS = """\
transitions:
  - {{trigger: lose, source: open, dest: lost}}
  - {{trigger: close, source: open, dest: closed}}
  - {{trigger: close, source: open, dest: lost{way}}}
"""


def codes(meta="", state="", way=""):
    text = meta + (STATES + WAYS).format(state=state, way=way)
    return [issue.code for issue in analyse(load_text(text))]


def test_everything_is_said_by_default():
    assert codes() == ["trap", "shadowed"]


def test_a_state_silences_what_is_found_of_it():
    """Here, and nowhere else."""
    assert codes(state=", metadata: {check: {ignore: [trap]}}") == ["shadowed"]
    assert codes(state=", metadata: {check: {ignore: [shadowed]}}") == ["trap", "shadowed"]


def test_a_transition_silences_what_is_found_of_it():
    """Or its source does: that is where it stands in people's minds."""
    assert codes(way=", metadata: {check: {ignore: [shadowed]}}") == ["trap"]
    text = (
        (STATES + WAYS)
        .format(state="", way="")
        .replace("type: initial", "type: initial, metadata: {check: {ignore: [shadowed]}}")
    )
    assert [issue.code for issue in analyse(load_text(text))] == ["trap"]


def test_a_machine_silences_a_code_everywhere():
    """Warnings of loading, too."""
    assert codes("meta: {check: {ignore: [trap, shadowed]}}\n") == []
    text = "meta: {check: {ignore: [unused_event]}}\nevents: [{name: never}]\n"
    text += (STATES + WAYS).format(state="", way="")
    assert [issue.code for issue in everything(*check_text(text))] == ["trap", "shadowed"]


def test_one_code_needs_no_list():
    assert codes(state=", metadata: {check: {ignore: trap}}") == ["shadowed"]


def test_other_metadata_is_the_authors_own():
    """Nobody has to know that there is a checker."""
    for own in ("{check: weekly}", "{check: {by: me}}", "{check: null}", "{ignore: [trap]}"):
        assert codes(state=f", metadata: {own}") == ["trap", "shadowed"]


@pytest.mark.parametrize(
    "where",
    [
        {"state": ", metadata: {check: {ignore: [trapp]}}"},
        {"way": ", metadata: {check: {ignore: [trapp]}}"},
        {"meta": "meta: {check: {ignore: [trapp]}}\n"},
    ],
)
def test_a_code_that_does_not_exist_is_reported(where):
    """A typing mistake would silence nothing, unnoticed."""
    assert sorted(codes(**where)) == ["shadowed", "trap", "unknown_code"]


def test_the_code_that_was_meant_is_suggested():
    issue = unknown_code("trapp")
    assert issue is not None
    assert issue.suggestion == "trap"
    assert all(unknown_code(code) is None for code in [*CODES, *LOAD_CODES])


def test_mistakes_cannot_be_ignored():
    """Only findings can: a machine that does not load does not load."""
    _, issues = check_text("states: [{name: a, type: initial, typ: b}]\ntransitions: []\n")
    assert [issue.code for issue in ignoring(issues, {"unknown_key"})] == ["unknown_key"]


def test_validate_config_analyses_on_demand():
    """Notes are left out: they are no reason to refuse a machine."""
    text = (STATES + WAYS).format(state="", way="")
    assert validate_config(text) == []
    assert [line.partition(": warning: ")[0] for line in validate_config(text, strict=True)] == [
        "line 3:5",
        "line 8:5",
    ]
    note = text.replace("dest: closed}", "dest: closed, guards: [{expr: n < 5}]}", 1).replace(
        "dest: lost}\n", "dest: lost, guards: [{expr: n > 2}]}\n"
    )
    assert len(validate_config(note, strict=True)) == 1
    assert {issue.severity for issue in analyse(load_text(note))} == {"warning", "info"}


def test_every_warning_of_loading_can_be_ignored():
    """Each code that loading warns of is known here."""
    import re
    from pathlib import Path

    import pystator.definition

    found = set()
    for file in Path(pystator.definition.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        found.update(re.findall(r'\.warn\(\s*"(\w+)"', text))
        found.update(re.findall(r'\.add\(\s*"(\w+)"(?:(?!\.add)[\s\S])*?severity="warning"', text))
    assert found | {"version"} == LOAD_CODES
