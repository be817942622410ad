"""Entities that are archived, and traces of events."""

from typing import Any

import pytest

from pystator.records import UNARCHIVE, EntryKind, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests
from pystator.testing.restoring import parcel_of, source_of

__all__ = ["ArchiveContract"]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def archived(entity_id: str = "e", *, after: int = 1, at: Any = 5_000, **fields: Any) -> Any:
    """A commit that archives an entity and leaves it as it is."""
    given: dict[str, Any] = {"state": None, "kind": EntryKind.ARCHIVED, "archived_at": at}
    return change(entity_id, after=after, **(given | fields))


def taken_back(entity_id: str = "e", *, after: int = 2, **fields: Any) -> Any:
    """A commit that takes it back from the archive."""
    kind = EntryKind.UNARCHIVED
    return archived(entity_id, after=after, at=UNARCHIVE, kind=kind, **fields)


class ArchiveContract(StoreTests):
    """``archived_at`` and ``trace``."""

    @pytest.fixture(autouse=True)
    def _archives(self, request: pytest.FixtureRequest) -> None:
        """Of a class with more topics, the other ones are none of its business."""
        if not request.function.__qualname__.startswith("ArchiveContract."):
            return
        if not getattr(request.getfixturevalue("store"), "archives", True):
            pytest.skip("this store has no archive")

    def test_an_archived_entity_is_there_and_in_no_list(self, drive: Driver) -> None:
        applied(drive, change("a", context={"n": 1}), change("b"), change("c", machine="x"))
        applied(drive, archived("a"))
        [loaded] = drive.load([lookup("a")])
        entity = loaded.entity
        assert (entity.version, entity.state, entity.context) == (2, "open", {"n": 1})
        assert entity.archived_at == 5_000
        assert [each.kind for each in drive.history("a").items] == ["event", "archived"]
        assert drive.machines("a") == ["m"]
        for asked in ({}, {"state": "open"}):
            assert [each.entity_id for each in drive.entities(**asked).items] == ["b", "c"]
            assert drive.entities(archived=True, **asked).items == [entity]
            assert drive.list_entities(archived=True, **asked) == [entity]
        assert drive.count_by_state() == {"open": 2}
        assert drive.count_by_state(archived=True) == {"open": 1}
        assert drive.count_by_state(machine_name="m") == {"open": 1}
        assert drive.count_by_state(machine_names=["x", "y"], archived=True) == {}
        assert drive.entities(machine_name="x", archived=True).items == []
        assert drive.entities(state="paid", archived=True).items == []

    def test_it_is_not_due_until_it_is_taken_back(self, drive: Driver) -> None:
        """Its timers stay as they were; so it may be due as soon as it is back."""
        applied(drive, change(timers={"t": (20, 1)}), change("f", timers={"t": (30, 1)}))
        applied(drive, archived())
        assert drive.due(50, 9) == [("f", "m")]
        assert drive.due(50, 9, machine_name="m") == [("f", "m")]
        assert drive.load([lookup()])[0].entity.timers == {"t": (20, 1)}
        applied(drive, taken_back())
        assert drive.due(50, 9) == [("e", "m"), ("f", "m")]
        assert drive.load([lookup()])[0].entity.archived_at is None
        assert [each.entity_id for each in drive.entities().items] == ["e", "f"]
        assert drive.entities(archived=True).items == []
        applied(drive, archived(after=3), archived("f", timers={"t": (10, 1)}))
        assert drive.due(50, 9) == []

    def test_what_else_is_written_leaves_it_in_the_archive(self, drive: Driver) -> None:
        applied(drive, change(), archived("made", after=0, state="open", at=0))
        applied(drive, archived())
        applied(drive, change(after=2, state="paid", timers={"t": (20, 1)}, now=6_000))
        applied(drive, note(version=3))
        found = [(each.entity_id, each.archived_at) for each in drive.entities(archived=True).items]
        assert found == [("e", 5_000), ("made", 0)]
        assert drive.entities().items == drive.due(10**6, 9) == []
        assert drive.count_by_state(archived=True) == {"open": 1, "paid": 1}
        applied(drive, archived(after=3, at=7_000))
        assert drive.load([lookup()])[0].entity.archived_at == 7_000

    def test_a_commit_that_is_late_archives_nothing(self, drive: Driver) -> None:
        applied(drive, change(steps=2))
        [outcome] = drive.commit([archived(after=1)])
        assert outcome.kind is OutcomeKind.STALE
        [loaded] = drive.load([lookup()])
        assert (loaded.entity.version, loaded.entity.archived_at) == (2, None)

    def test_what_is_no_time_and_no_trace_is_refused(self, drive: Driver) -> None:
        applied(drive, change())
        refused = [
            *[archived(at=at) for at in (-2, 2**63, "now", 1.5)],
            *[change(after=1, trace=trace) for trace in ("x" * 256, "a\nb", "\ud800", 7)],
        ]
        for commit in refused:
            [outcome] = drive.commit([commit])
            assert outcome.kind is OutcomeKind.REFUSED, commit
        assert drive.load([lookup()])[0].entity.archived_at is None
        assert len(drive.history("e").items) == 1

    @pytest.mark.parametrize("limit", [1, 3])
    def test_pages_of_both_meet_without_a_gap(self, drive: Driver, limit: int) -> None:
        names = [f"e{number}" for number in range(8)]
        applied(
            drive,
            *[change(name, machine="xy"[at % 2], state="a+b"[: at + 1 : 2]) for at, name in
              enumerate(names)],
        )  # fmt: skip
        away = names[1:6]
        applied(drive, *[archived(name, machine="xy"[names.index(name) % 2]) for name in away])

        def paged(**asked: Any) -> list[str]:
            found: list[str] = []
            after = None
            for _ in range(9):
                page = drive.entities(after=after, limit=limit, **asked)
                found += [each.entity_id for each in page.items]
                after = page.next
                if after is None:
                    break
            return found

        assert paged() == ["e0", "e6", "e7"]
        assert paged(archived=True) == away
        assert paged(archived=True, machine_name="y") == ["e1", "e3", "e5"]
        assert paged(archived=True, machine_names=["x", "y"]) == away
        assert paged(machine_names=["y", "z"]) == ["e7"]

    def test_an_archived_entity_moves_with_its_traces(self, drive: Driver) -> None:
        if not hasattr(drive.store, "restore"):
            pytest.skip("this store has no restore")
        source = source_of(
            change(timers={"t": (20, 1)}, trace=TRACE), archived(trace=OTHER_TRACE), note(version=2)
        )
        [first] = drive.restore([parcel_of(source)])
        assert first.kind is OutcomeKind.APPLIED
        [mine], [theirs] = (each.load([lookup()]) for each in (drive, source))
        assert mine.entity == theirs.entity
        rows = drive.history("e").items
        assert [row.trace for row in rows] == [TRACE, OTHER_TRACE, None]
        assert drive.due(50, 9) == drive.entities().items == []
        assert drive.count_by_state(archived=True) == {"open": 1}
        [outcome] = source.commit([taken_back()])
        later = source.history("e").items[3:]
        [second] = drive.restore([parcel_of(source, base=2, after=rows[-1], rows=later)])
        assert (outcome.kind, second.kind) == (OutcomeKind.APPLIED,) * 2
        assert [each.archived_at for each in drive.entities().items] == [None]
        assert drive.due(50, 9) == [("e", "m")]

    def test_a_row_keeps_the_trace_of_its_event(self, drive: Driver) -> None:
        applied(drive, change(trace=TRACE, event_id="i1"))
        applied(drive, change(after=1, event_id="i2"), note("f", version=0, trace=OTHER_TRACE))
        applied(drive, change(after=2, steps=2, trace=TRACE))
        applied(drive, note(version=1, kind=EntryKind.ACTION, ref=1, trace=TRACE))
        rows = drive.history("e", machine_name="m").items
        assert [row.trace for row in rows] == [TRACE, TRACE, None, TRACE, TRACE]
        known = drive.load([lookup("e", "i1", "i2")])[0].known
        assert {name: row.trace for name, row in known.items()} == {"i1": TRACE, "i2": None}
        if drive.store.has_feed:
            assert {row.trace for row in drive.feed(None).items} == {TRACE, OTHER_TRACE, None}
