"""Rows to state and context: what every audit rests on."""

import pickle

from pystator.orchestrator.replay import replay
from pystator.records import Entry, EntryKind


def entry(version, kind, target, patch=None):
    return Entry(version, kind, None, None, 0, patch, None, target)


def test_no_rows_make_no_entity():
    assert replay([]) == (None, {})


def test_changes_set_and_unset_top_level_keys():
    rows = [
        entry(1, EntryKind.CREATED, "a", ({"x": 1, "y": {"z": 1}}, ())),
        entry(2, EntryKind.EVENT, "b", ({"y": {"z": 2}}, ("x",))),
        entry(3, EntryKind.TIMER, None),
    ]
    assert replay(rows) == ("b", {"y": {"z": 2}})


def test_rows_that_change_nothing_change_nothing():
    rows = [
        entry(1, EntryKind.CREATED, "a"),
        entry(1, EntryKind.REJECTED, "b", ({"x": 1}, ())),
        entry(1, EntryKind.ACTION, "c"),
    ]
    assert replay(rows) == ("a", {})


def test_a_snapshot_is_a_beginning():
    rows = [
        entry(7, EntryKind.SNAPSHOT, "a", ({"x": 1}, ())),
        entry(8, EntryKind.EVENT, "b", ({"y": 2}, ())),
    ]
    assert replay(rows) == ("b", {"x": 1, "y": 2})


def test_a_patch_keeps_apart_what_is_equal_and_not_the_same(orders, store, rows, audit):
    """``1 == True``, and yet a history that took one for the other would replay to another value."""
    orders.process_event("o-1", "note", {"flag": 1})
    orders.process_event("o-1", "note", {"flag": True})
    assert rows(store, "o-1")[-1].patch[0]["flag"] is True
    audit(store, "o-1")
    assert replay(rows(store, "o-1"))[1]["flag"] is True


def test_a_result_survives_pickling_with_its_version(orders):
    result = pickle.loads(pickle.dumps(orders.process_event("o-1", "note")))
    assert (result.success, result.version, result.metadata["version"]) == (True, 1, 1)
