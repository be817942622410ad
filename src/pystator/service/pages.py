"""Pages of a bounded size: a page is made in memory, and its rows may be a megabyte each.

Law: rows are read a few at a time, and more of them while they are small. So a page of large rows
is shorter than it was asked to be, with the cursor to go on; it has one row at least, where there
is one.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pystator.records import Page

if TYPE_CHECKING:
    from pystator.records import Entity, HistoryEntry

__all__ = ["FULL", "READ", "Pace", "bounded", "weight_of_entity", "weight_of_row"]

FULL: Final = 4_000_000
"""Characters of rows after which a page is full."""

READ: Final = 1_000_000
"""Characters of rows that one read is to give."""

T = TypeVar("T")


class Pace:
    """How many rows to read at once: many small ones, few large ones.

    Args:
        most: Rows at most.
    """

    def __init__(self, most: int) -> None:
        self.rows = min(most, 16)
        self._most = most

    def had(self, number: int, size: int) -> None:
        """So many rows had so many characters."""
        if size > READ:
            self.rows = max(1, number * READ // size)
        elif number >= self.rows and size < READ // 2:
            self.rows = min(self._most, self.rows * 2)


async def bounded(
    read: Callable[[str | None, int], Awaitable[Page[T]]],
    after: str | None,
    limit: int,
    weight_of: Callable[[T], int],
) -> Page[T]:
    """A page of what several reads give, one after another.

    Args:
        read: ``(after, limit)`` -> a page of the store.
        after: Where it begins.
        limit: Rows at most.
        weight_of: About how many characters a row is.
    """
    pace = Pace(limit)
    items: list[T] = []
    size = 0
    while True:
        page = await read(after, min(pace.rows, limit - len(items)))
        weight = sum(map(weight_of, page.items))
        pace.had(len(page.items), weight)
        items += page.items
        size += weight
        after = page.next
        if after is None or len(items) >= limit or size >= FULL:
            return Page(items, after)


def weight_of_entity(entity: "Entity") -> int:
    """About how many characters it is."""
    return _weight(entity.context)


def weight_of_row(row: "HistoryEntry") -> int:
    """About how many characters it is."""
    return _weight(row.patch) + _weight(row.payload) + _weight(row.actions)


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return len(value) + 3
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value)
        return sum(len(key) + 4 + _weight(each) for key, each in pairs.items())
    if isinstance(value, list | tuple):
        return sum(map(_weight, cast("list[Any]", value)))
    return 6
