"""The change feed: every row once, in an order that later commits do not disturb."""

import random
import threading
from typing import Any, ClassVar

import pytest

from pystator.errors import InvalidValueError
from pystator.records import EntryKind, HistoryEntry
from pystator.stores.keys import write_cursor
from pystator.testing.building import applied, change, lookup, note
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

    feed_events: ClassVar[int] = 60
    """Events that each of four writers sends while the feed is read."""

    def test_many_writers_and_a_reader(self, drive: Driver) -> None:
        """Whatever overtakes whatever, every row comes once, and an entity's in their order."""
        done = threading.Event()
        read: list[HistoryEntry] = []

        def follow() -> None:
            with Driver(drive.store, drive.face) as own:
                cursor = None
                while True:
                    last = done.is_set()
                    page = own.feed(cursor, 7)
                    read.extend(page.items)
                    cursor = page.next
                    if last and not page.items:
                        return

        def write(own: Driver) -> None:
            chance = random.Random(threading.get_ident())  # noqa: S311 - no secret
            for _ in range(self.feed_events):
                names = chance.sample([f"e{number}" for number in range(5)], 2)
                found = own.load([lookup(name) for name in names])
                versions = [each.entity.version if each.entity else 0 for each in found]
                own.commit(
                    [
                        change(name, after=version, steps=chance.randint(1, 3))
                        for name, version in zip(names, versions, strict=True)
                    ]
                )

        reader = threading.Thread(target=follow)
        reader.start()
        try:
            drive.many(write, 4)
        finally:
            done.set()
            reader.join()
        assert len({(row.entity_id, row.id) for row in read}) == len(read)
        for number in range(5):
            rows = drive.history(f"e{number}", machine_name="m", limit=10_000).items
            mine = [row for row in read if row.entity_id == f"e{number}"]
            assert [row.id for row in mine] == [row.id for row in rows]
            assert [row.version for row in mine] == list(range(1, len(mine) + 1))

    def test_rows_of_one_commit_stay_together_in_their_order(self, drive: Driver) -> None:
        commits = [change(f"e{number}", steps=3) for number in range(20)]
        applied(drive, *commits)
        rows = drive.feed(None, 100).items
        for commit in commits:
            mine = [row.version for row in rows if row.commit_id == commit.commit_id]
            assert mine == [1, 2, 3]

    def test_rows_that_may_wait_come_when_they_are_written(self, drive: Driver) -> None:
        applied(drive, change())
        page = drive.feed(None)
        drive.store.append_later([note(version=1, kind=EntryKind.ACTION, ref=1)])
        drive.flush()
        assert [row.kind for row in drive.feed(page.next).items] == [EntryKind.ACTION]

    @pytest.mark.parametrize(("limit", "found"), [(-1, 0), (0, 0), (10**30, 2)])
    def test_a_page_of_any_number_of_rows(self, drive: Driver, limit: int, found: int) -> None:
        applied(drive, change("a"), change("b"))
        page = drive.feed(limit=limit)
        assert len(page.items) == found
        assert len(drive.feed(page.next).items) == 2 - found

    def test_a_wrong_cursor_of_the_feed_is_refused(self, drive: Driver) -> None:
        numbers = [
            write_cursor("feed", *[number] * count) for number in (-1, 2**63) for count in (1, 2)
        ]
        for cursor in ("nonsense", "", write_cursor("entities", "a", "b"), *numbers):
            with pytest.raises(InvalidValueError, match="cursor"):
                drive.feed(cursor)
