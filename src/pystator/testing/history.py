"""History: append-only, complete, in the order of versions, paged."""

from typing import Any

import pytest

from pystator.errors import InvalidValueError
from pystator.records import EntryKind, HistoryEntry
from pystator.testing.building import applied, change, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["HistoryContract"]


class HistoryContract(StoreTests):
    """``history`` and ``append_later``."""

    def test_everything_of_a_row_comes_back(self, drive: Driver) -> None:
        commit = change(
            kind=EntryKind.TIMER,
            payload={"p": [1]},
            patch=({"a": {"b": 1}}, ("gone", "too")),
            actions=({"name": "mail", "params": {"to": "x"}}, {"name": "log"}),
            event_id="i-1",
            now=7,
            success=True,
            error_code="guard_rejected",
            error_message="why\x00 \n é",
            request_hash="h" * 32,
            actor="alice",
            occurred_at=3,
            duration_us=12,
        )
        applied(drive, commit)
        [row] = drive.history("e").items
        assert isinstance(row, HistoryEntry)
        entry = commit.entries[0]
        for name in HistoryEntry.__dataclass_fields__:
            if name not in {"id", "recorded_at"}:
                expected = getattr(entry, name, None) or getattr(commit, name, None)
                assert getattr(row, name) == expected, name
        assert type(row.kind) is EntryKind
        assert type(row.success) is bool
        assert row.recorded_at > 1_600_000_000_000_000

    def test_the_least_row_has_no_values(self, drive: Driver) -> None:
        applied(drive, change(trigger=None, kind=EntryKind.CREATED))
        [row] = drive.history("e").items
        assert (row.trigger, row.payload, row.patch, row.actions) == (None, None, None, ())
        assert (row.event_id, row.occurred_at, row.ref, row.error_code) == (None,) * 4

    def test_rows_are_in_the_order_of_versions(self, drive: Driver) -> None:
        """Outcomes of actions come late, and stand with the version whose actions they are."""
        applied(drive, change(steps=2))
        applied(drive, note(version=2))
        applied(drive, change(after=2))
        drive.store.append_later([note(version=1, kind=EntryKind.ACTION, ref=1)])
        drive.flush()
        rows = drive.history("e").items
        assert [(row.version, str(row.kind)) for row in rows] == [
            (1, "event"),
            (1, "action"),
            (2, "event"),
            (2, "rejected"),
            (3, "event"),
        ]
        assert rows[1].ref == 1
        backwards = drive.history("e", newest_first=True).items
        assert backwards == rows[::-1]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 3, 10, 11])
    def test_pages_of_history_meet_without_a_gap(
        self, drive: Driver, limit: int, newest_first: bool
    ) -> None:
        applied(drive, change(steps=8), note(version=8), note(version=8))
        applied(drive, change("f", steps=2))
        rows: list[Any] = []
        after = None
        while True:
            page = drive.history("e", after=after, limit=limit, newest_first=newest_first)
            assert len(page.items) <= limit
            rows += page.items
            after = page.next
            if after is None:
                break
        places = [(row.version, row.id) for row in rows]
        assert places == sorted(set(places), reverse=newest_first)
        assert len(places) == 10

    def test_a_page_stays_where_it_is_when_rows_are_added(self, drive: Driver) -> None:
        applied(drive, change(steps=4))
        page = drive.history("e", limit=2)
        applied(drive, change(after=4))
        rest = drive.history("e", after=page.next)
        assert [row.version for row in rest.items] == [3, 4, 5]
        assert rest.next is None

    def test_nobody_has_no_history(self, drive: Driver) -> None:
        assert drive.history("nobody").items == []
        assert drive.history("nobody", machine_name="m").next is None

    def test_a_wrong_cursor_of_history_is_refused(self, drive: Driver) -> None:
        applied(drive, change())
        for cursor in ("nonsense", "", drive.feed(None).next):
            with pytest.raises(InvalidValueError, match="cursor"):
                drive.history("e", after=cursor)

    def test_many_rows_may_come_later(self, drive: Driver) -> None:
        applied(drive, change())
        for number in range(50):
            drive.store.append_later(
                [note(kind=EntryKind.ACTION, ref=1, actions=({"number": number},))]
            )
        drive.flush()
        rows = drive.history("e").items[1:]
        assert [row.actions[0]["number"] for row in rows] == list(range(50))
