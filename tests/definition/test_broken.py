"""Broken machines are answered with every mistake, each at its place, in words that help.

Each file in ``broken/`` begins with what is to be said about it: a line for each issue, in order::

    #! line:column [warning] code message [-> suggestion]

Lines count from the top of the file; a message may be cut short.
"""

import re
from pathlib import Path

import pytest

from pystator.definition.load import check_file, load_file
from pystator.errors import ConfigurationError

FILES = sorted((Path(__file__).parent / "broken").glob("*.yaml"))
EXPECTED = re.compile(r"#! (\d+):(\d+) (warning )?(\w+) (.*?)(?: -> (.+))?")


def expectations(file):
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#! "):
                return
            found = EXPECTED.fullmatch(line.rstrip("\n"))
            assert found, f"{file.name}: {line!r} expects nothing"
            yield found.groups()


def test_there_are_a_hundred_ways_to_be_wrong():
    """The corpus is the specification of the messages: it may only grow."""
    assert len(FILES) >= 100


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_mistake_is_reported_once_and_at_its_place(file):
    """A person mends a file in one go when nothing is left out and nothing is said twice."""
    expected = list(expectations(file))

    definition, issues = check_file(file)

    assert definition is None
    found = [(issue.line, issue.column, issue.severity, issue.code) for issue in issues]
    assert [
        (int(line), int(column), "warning" if warning else "error", code)
        for line, column, warning, code, _, _ in expected
    ] == found
    for (_, _, _, code, message, suggestion), issue in zip(expected, issues, strict=True):
        assert message in issue.message
        if code != "expression":
            assert suggestion == issue.suggestion


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_error_lists_every_mistake_with_the_file(file):
    """What is raised is an answer by itself: file, line, column and sentence, a line each."""
    with pytest.raises(ConfigurationError) as caught:
        load_file(file)

    lines = caught.value.message.split("\n")
    errors = [e for e in expectations(file) if not e[2]]
    assert len(errors) == len(lines)
    for (line, column, *_), text in zip(errors, lines, strict=True):
        place = f"{file}:{line}:{column}: " if line != "0" else f"{file}: "
        assert text.startswith(place)
    assert caught.value.context["issues"][0]["file"] == str(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_messages_read_like_sentences_of_ours(file):
    """No class names, no Python values, no library's voice."""
    for issue in check_file(file)[1]:
        assert "pydantic" not in issue.message.lower()
        assert "Input should" not in issue.message
        assert "<" not in issue.message.replace("'<<'", "")
        assert "None" not in issue.message
        assert not issue.message.endswith(".")
        assert "\n" not in issue.message
