"""``meta.retention``: the one key of ``meta`` whose value has keys of its own."""

from datetime import timedelta

import pytest

from pystator import Retention, StateMachine
from pystator.definition.load import check_text
from pystator.errors import ConfigurationError

MACHINE = """\
meta:
  machine_name: order
  {}
states: [{{name: a, type: initial}}]
transitions: [{{trigger: go, source: a, dest: a}}]
"""


def checked(line):
    return check_text(MACHINE.format(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("retention: {history: 90d}", Retention(timedelta(days=90), timedelta(days=30))),
        (
            "retention: {history: 36h, dedup_window: 90s}",
            Retention(timedelta(hours=36), timedelta(seconds=90)),
        ),
        ("retention: {history: 90d, dedup_window: null}", Retention(timedelta(days=90))),
        ("retention:", None),
        ("team: sales", None),
    ],
)
def test_what_a_machine_says(line, expected) -> None:
    definition, issues = checked(line)
    assert issues == []
    assert Retention.of(definition.meta) == expected


def test_a_machine_in_python_says_it_too() -> None:
    config = {
        "meta": {"retention": {"history": "7d"}},
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [],
    }
    assert Retention.of(StateMachine.from_dict(config).meta).history == timedelta(days=7)
    config["meta"]["retention"]["history"] = timedelta(days=7)
    with pytest.raises(ConfigurationError):
        StateMachine.from_dict(config)


@pytest.mark.parametrize(
    ("line", "column", "message", "suggestion"),
    [
        (
            "retention: {history: 90}",
            24,
            "must be a whole number with d, h, m or s, e.g. 90d",
            None,
        ),
        ("retention: {history: 90 days}", 24, "use a whole number with d, h, m or s", None),
        ("retention: {history: 0d}", 24, "use a whole number with d, h, m or s", None),
        ("retention: {history: 99999999d}", 24, "at most a hundred years", None),
        ("retention: {history: [90d]}", 24, "'history' must be text, not a list", None),
        ("retention: {histroy: 90d}", 15, "unknown key 'histroy' in 'retention'", "history"),
        ("retention: {history: 9d, window: 9d}", 28, "unknown key 'window'", "dedup_window"),
        ("retention: {dedup_window: 30d}", 14, "'retention' needs 'history'", None),
        ("retention: 90d", 14, "write {history: 90d}", None),
    ],
)
def test_a_mistake_is_told_with_its_place(line, column, message, suggestion) -> None:
    definition, [issue] = checked(line)
    assert definition is None
    assert (issue.line, issue.column) == (3, column)
    assert message in issue.message
    assert issue.suggestion == suggestion


def test_a_misspelt_key_of_meta_is_a_warning() -> None:
    definition, [issue] = checked("retension: {history: 90d}")
    assert definition is not None
    assert (issue.severity, issue.suggestion) == ("warning", "retention")


def test_how_long_history_is_kept_changes_no_fingerprint() -> None:
    assert checked("retention: {history: 90d}")[0].fingerprint == checked("x: 1")[0].fingerprint
