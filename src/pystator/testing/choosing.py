"""Entities and rows of chosen machines: for callers who may see some of them only."""

from collections.abc import Sequence
from typing import Any

import pytest

from pystator.errors import InvalidValueError
from pystator.records import HistoryEntry
from pystator.testing.building import applied, change, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["ChoosingContract"]

Asked = dict[str, Any]


def places(rows: Sequence[HistoryEntry]) -> list[tuple[str, str, int]]:
    """Whose rows they are."""
    return [(row.entity_id, row.machine_name, row.version) for row in rows]


class ChoosingContract(StoreTests):
    """``machine_names``, and ``entity_id`` of the feed."""

    def test_entities_of_some_machines(self, drive: Driver) -> None:
        applied(
            drive,
            change("a", machine="x", state="open"),
            change("a", machine="y", state="open"),
            change("b", machine="", state="open+wet"),
            change("c", machine="x", state="paid"),
            change("d", machine="z", state="paid"),
        )

        def found(*names: str, **asked: Any) -> list[tuple[str, str]]:
            return [each.key for each in drive.entities(machine_names=names, **asked).items]

        assert found("x", "y", "x") == [("a", "x"), ("a", "y"), ("c", "x")]
        assert found("z", "", "nobody") == [("b", ""), ("d", "z")]
        assert found("", state="open") == [("b", "")]
        assert found("x", "z", state="paid") == [("c", "x"), ("d", "z")]
        assert found("nobody") == found() == found("\ud800", "a\x00") == []
        page = drive.entities(machine_names=["x", "z"], limit=2)
        rest = drive.entities(machine_names=["x", "z"], limit=2, after=page.next)
        assert [each.key for each in page.items + rest.items] == [
            ("a", "x"), ("c", "x"), ("d", "z"),
        ]  # fmt: skip
        assert rest.next is None
        assert drive.count_by_state(machine_names=["x", "", "x"]) == {
            "open": 1, "open+wet": 1, "paid": 1,
        }  # fmt: skip
        assert drive.count_by_state(machine_names=[""]) == {"open+wet": 1}
        assert drive.count_by_state(machine_names=[]) == {}

    @pytest.mark.parametrize("names", ["order", ["order", 7], [None]], ids=repr)
    def test_machine_names_are_a_list_of_names(self, drive: Driver, names: Any) -> None:
        """A name that lost its brackets would be a list of letters, and find nothing."""
        for read in (drive.entities, drive.count_by_state, drive.feed):
            with pytest.raises(InvalidValueError, match="machine_names"):
                read(machine_names=names)
        with pytest.raises(InvalidValueError, match="not both"):
            drive.entities(machine_name="m", machine_names=["m"])

    def test_a_feed_has_the_rows_that_are_asked_for(self, drive: Driver) -> None:
        self._fill(drive)
        assert self._all(drive, entity_id="a") == [
            ("a", "x", 1), ("a", "x", 2), ("a", "y", 1), ("a", "x", 3),
        ]  # fmt: skip
        assert self._all(drive, machine_names=["x"]) == [
            ("a", "x", 1), ("a", "x", 2), ("b", "x", 1), ("a", "x", 3),
        ]  # fmt: skip
        assert self._all(drive, machine_names=["y", "", "y"]) == [
            ("a", "y", 1), ("c", "", 1), ("nobody", "", 0),
        ]  # fmt: skip
        assert self._all(drive, machine_names=["y", "z"], entity_id="a") == [("a", "y", 1)]
        assert self._all(drive, machine_names=[""]) == [("c", "", 1), ("nobody", "", 0)]
        for name in ("d", "\ud800", ""):
            assert self._all(drive, entity_id=name) == []
        assert self._all(drive, machine_names=[]) == []

    @pytest.mark.parametrize(
        "asked", [{}, {"machine_names": ["x"]}, {"entity_id": "a", "machine_names": ["x", "y"]}]
    )
    def test_a_feed_goes_on_after_any_row(self, drive: Driver, asked: Asked) -> None:
        self._fill(drive)
        page = drive.feed(None, **asked)
        assert len(page.cursors) == len(page.items) > 3
        for number, cursor in enumerate(page.cursors, 1):
            assert places(drive.feed(cursor, **asked).items) == places(page.items[number:])
        one = drive.feed(page.cursors[0], 1, **asked)
        assert places(one.items) == places(page.items[1:2])
        for cursor in (*one.cursors, one.next):
            assert places(drive.feed(cursor, **asked).items) == places(page.items[2:])

    def test_the_cursor_passes_what_is_left_out(self, drive: Driver) -> None:
        """Who waits for a rare row does not look at all the others again and again."""
        self._fill(drive)
        cursor = self._end(drive, machine_names=["m"])
        assert drive.feed(cursor).items == []
        applied(drive, change("d"), change("e"))
        page = drive.feed(cursor, entity_id="d")
        assert places(page.items) == [("d", "m", 1)]
        assert self._all(drive, page.next, entity_id="d") == []

    def test_the_end_of_a_feed(self, drive: Driver) -> None:
        empty = drive.feed_end()
        assert drive.feed(empty).items == []
        self._fill(drive)
        assert len(drive.feed(empty).items) == 7
        end = drive.feed_end()
        assert drive.feed(end).items == []
        assert drive.feed_end() == end
        applied(drive, change("late"))
        assert places(drive.feed(end).items) == [("late", "m", 1)]

    def _fill(self, drive: Driver) -> None:
        applied(drive, change("a", machine="x", steps=2))
        applied(drive, change("a", machine="y"))
        applied(drive, change("b", machine="x"))
        applied(drive, change("c", machine=""))
        applied(drive, change("a", machine="x", after=2))
        applied(drive, note("nobody", machine="", version=0))

    def _all(self, drive: Driver, cursor: str | None = None, **asked: Any) -> list[Any]:
        """Page by page, to the end: where the cursor stays."""
        found: list[Any] = []
        for _ in range(20):
            page = drive.feed(cursor, 2, **asked)
            assert len(page.items) == len(page.cursors) <= 2
            found += places(page.items)
            if page.next == cursor:
                break
            cursor = page.next
        return found

    def _end(self, drive: Driver, **asked: Any) -> str:
        cursor = None
        while True:
            page = drive.feed(cursor, **asked)
            if page.next == cursor:
                return str(cursor)
            cursor = page.next
