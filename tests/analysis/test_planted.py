"""Faults that were planted are found, each at its line, and nothing else; mended, the machine is silent.

A line of a machine in ``faulty/`` that is to be reported says so: ``# <- CODE``. Its twin in
``mended/`` has the same story without the fault.
"""

import re
from pathlib import Path

import pytest

from pystator.definition.analyse import CODES, analyse
from pystator.definition.load import check_file

HERE = Path(__file__).parent
NAMES = sorted(file.stem for file in (HERE / "faulty").glob("*.yaml"))
MARK = re.compile(r"# <- (\w+)")


def found(folder, name):
    definition, issues = check_file(HERE / folder / f"{name}.yaml")
    assert definition is not None, issues
    return [*issues, *analyse(definition)]


def test_there_are_twins():
    """Flat, compound and parallel machines, and every code."""
    assert len(NAMES) >= 20
    assert {name.split("_")[0] for name in NAMES} == {"flat", "compound", "parallel"}
    assert sorted(file.stem for file in (HERE / "mended").glob("*.yaml")) == NAMES
    planted = {
        code
        for name in NAMES
        for code in MARK.findall((HERE / "faulty" / f"{name}.yaml").read_text(encoding="utf-8"))
    }
    assert planted == set(CODES)


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_is_found_at_its_line(name):
    """A person goes straight to the place."""
    lines = (HERE / "faulty" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    planted = [
        (number, code) for number, line in enumerate(lines, 1) for code in MARK.findall(line)
    ]
    reported = [(issue.line, issue.code) for issue in found("faulty", name)]
    assert sorted(planted) == sorted(reported)


@pytest.mark.parametrize("name", NAMES)
def test_the_mended_machine_is_silent(name):
    """Not even a note: who mends what is reported is done."""
    assert [str(issue) for issue in found("mended", name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_messages_name_what_they_are_about(name):
    """The sentence stands by itself, wherever it is read."""
    for issue in found("faulty", name):
        assert "'" in issue.message or issue.code == "endless"
        assert not issue.message.endswith(".")
        assert "\n" not in issue.message
        assert "None" not in issue.message
