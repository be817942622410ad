"""The change feed: every row once, in an order that later commits do not disturb."""

from typing import Any

import pytest

from pystator.errors import InvalidValueError
from pystator.records import EntryKind
from pystator.testing.building import applied, change, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["FeedContract"]


class FeedContract(StoreTests):
    """``feed``."""

    def test_every_row_comes_once_in_the_order_of_commits(self, drive: Driver) -> None:
        applied(drive, change("a", steps=2), change("b", machine="x"))
        applied(drive, note("a", version=2), note("nobody", version=0))
        applied(drive, change("a", after=2, kind=EntryKind.TIMER))
        rows = drive.feed(None).items
        places = [(row.entity_id, row.version) for row in rows]
        assert sorted(places) == [("a", 1), ("a", 2), ("a", 2), ("a", 3), ("b", 1), ("nobody", 0)]
        assert places.index(("a", 1)) < places.index(("a", 2)) < places.index(("a", 3))
        assert places[-1] == ("a", 3)

    @pytest.mark.parametrize("limit", [1, 2, 7])
    def test_a_cursor_goes_on_where_it_was(self, drive: Driver, limit: int) -> None:
        cursor = None
        rows: list[Any] = []
        for number in range(7):
            applied(drive, change(f"e{number}"))
            page = drive.feed(cursor, limit)
            rows += page.items
            cursor = page.next
        for _ in range(7):
            page = drive.feed(cursor, limit)
            rows += page.items
            cursor = page.next
        assert [row.entity_id for row in rows] == [f"e{number}" for number in range(7)]

    def test_at_the_end_the_cursor_waits(self, drive: Driver) -> None:
        start = drive.feed(None)
        assert start.items == []
        assert start.next is not None
        assert drive.feed(start.next).items == []
        applied(drive, change())
        assert [row.entity_id for row in drive.feed(start.next).items] == ["e"]
        assert [row.entity_id for row in drive.feed(None).items] == ["e"]

    def test_a_wrong_cursor_of_the_feed_is_refused(self, drive: Driver) -> None:
        for cursor in ("nonsense", ""):
            with pytest.raises(InvalidValueError, match="cursor"):
                drive.feed(cursor)
