"""A commit in memory is interrupted at every moment at which an interrupt can come.

Python looks for signals when a function of its own begins and when one of C ends, so that is where the tests interrupt:
at one place after the other.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from pystator import InMemoryStateStore
from pystator.errors import AmbiguousEntityError
from pystator.records import Commit, EntryKind
from pystator.testing.building import change, note


class Interrupted(BaseException):
    """Ctrl-C, at a moment of our choice."""


def interrupted(call: Callable[[], Any], moment: int) -> bool:
    """Call, and interrupt at the moment of this number; False if it was over before."""
    left = moment

    def look(_: object, event: str, what: object) -> None:
        nonlocal left
        left -= event in {"call", "c_return"}
        if left < 0:
            sys.setprofile(None)
            raise Interrupted

    gc.disable()  # in a callback of the collector an interrupt gets lost
    sys.setprofile(look)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.setprofile(None)
        gc.enable()
    return False


FIRST = [
    change("e", timers={"t": (5_000, 1_000)}, event_id="a"),
    change("e", after=1, timers={}, event_id="b"),
    change("e", after=2, state="closed", event_id="c"),
]
COMMITS = {
    "a new entity": ([], change("e", timers={"t": (5_000, 1_000)}, event_id="a")),
    "a new machine of an id": ([change("e", machine="other")], change("e", event_id="a")),
    "a row of nobody": ([], note("e", event_id="n")),
    "a change": (FIRST, change("e", after=3, context={"n": 1}, event_id="d")),
    "several steps": (FIRST, change("e", after=3, steps=3, event_id="d")),
    "an archived entity": (FIRST[:1], change("e", after=1, archived_at=9_000)),
    "a late row": (FIRST, note("e", version=1, kind=EntryKind.ACTION, ref=1)),
}


def told(store: InMemoryStateStore) -> list[object]:
    """All that a store tells, but its commits' ids and times of recording."""
    try:
        page = store.history("e")
    except AmbiguousEntityError:
        page = store.history("e", machine_name="m")
    rows = [
        [(row.id, row.version, row.kind, row.event_id) for row in items]
        for items in (page.items, store.feed(None, 1_000).items)
    ]
    entities = [
        (each.key, each.version, each.state, each.context, each.timers)
        for each in store.entities(limit=10).items
    ]
    archived = [each.key for each in store.entities(limit=10, archived=True).items]
    due = store.due(10**9, 10)
    return [rows, entities, archived, due, store.machines("e"), store.count_by_state()]


def filled(commits: Sequence[Commit]) -> InMemoryStateStore:
    store = InMemoryStateStore()
    for commit in commits:
        assert store.commit([commit])[0].kind == "applied"
    return store


@pytest.mark.parametrize(("before", "commit"), COMMITS.values(), ids=COMMITS)
def test_a_commit_is_whole_or_not_there_and_can_be_made_again(before, commit) -> None:
    untouched, whole = told(filled(before)), told(filled([*before, commit]))
    for moment in count():
        store = filled(before)
        if not interrupted(lambda store=store: store.commit([commit]), moment):
            break
        found = told(store)
        assert found in (untouched, whole), moment
        if found == untouched:
            assert store.commit([commit])[0].kind == "applied"
            assert told(store) == whole, moment
    assert moment > 10
