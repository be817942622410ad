"""The feed of the Redis store, as an operation: see `pystator.stores.redis.ops`.

Each partition has a stream of its own, whose entries only grow: what is behind an entry was written
after it. So the cursor is a place for each partition, and what one read has not seen yet is behind
that place. Over the partitions of a cluster, rows come in the order of the servers' milliseconds,
and within one in the order in which they say that they were recorded: nobody waits for a partition
that is busier than others, and rows of one entity are always in their order.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pystator.records import HistoryEntry, Page
from pystator.stores.cursors import Cursors
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.merging import Part, Place, Walk
from pystator.stores.redis.ops import Command, Operation, Request, chosen, pack
from pystator.stores.redis.rows import SEQUENCE, entry_of
from pystator.stores.redis.scripts import Script

__all__ = ["entry_id", "feed", "feed_end"]

FEED: Final = Script("feed", "names", "states")

BYTES: Final = 4_000_000
"""Of rows that a server looks up at once, about."""

_Item = tuple[int, int, int, int, HistoryEntry]
"""Milliseconds and time of recording, both as far as they grow; partition, row's id, row."""


LOOKED: Final = 1_000
"""Entries that are looked at in one script, where not all rows are asked for."""


def feed(
    layout: Layout,
    cursor: str | None,
    limit: int,
    machines: Sequence[str] | None = None,
    entity_id: str | None = None,
) -> Operation[Page[HistoryEntry]]:
    """Rows of all entities, or of those that are asked for, each partition's in their order.

    What is not asked for is passed over in the scripts, up to the end of the feed.
    """
    count = len(layout.partitions)
    places = [0] * count
    if cursor is not None:
        places = list(read_cursor("feed", cursor, *[int] * count))
    limit = rows_asked(limit)
    if entity_id == "" or not is_storable(entity_id):
        return Page([], write_cursor("feed", *places))
    walk = _Feed(layout, places, machines, entity_id)
    found: list[HistoryEntry] = []
    after: list[tuple[int, ...]] = []
    while len(found) < limit and not walk.is_done:
        for _, _, number, row_id, row in (yield from walk.next(limit - len(found))):
            found.append(row)
            places[number] = row_id
            after.append(tuple(places))
    for part in walk.parts:
        if not part.found:  # what comes next is behind the gaps, too
            places[part.number] = walk.seen[part.number]
    return Page(found, write_cursor("feed", *places), Cursors("feed", after))


def feed_end(layout: Layout) -> Operation[str]:
    """The cursor after everything that is there now."""
    commands = [
        (part, pack(("XREVRANGE", layout.shared("feed", part), "+", "-", "COUNT", 1)))
        for part in layout.partitions
    ]
    replies = yield Request(commands, reads=True)
    places = [
        row_id_of(layout, part, entries[0][0]) if entries else 0
        for part, entries in zip(layout.partitions, replies, strict=True)
    ]
    return write_cursor("feed", *places)


class _Feed(Walk[_Item]):
    """Rows of all partitions, or of the one that can have those that are asked for.

    Attributes:
        seen: The row id of the last entry looked at in each partition.
    """

    width: ClassVar[int] = 4

    def __init__(
        self,
        layout: Layout,
        places: list[int],
        machines: Sequence[str] | None,
        entity_id: str | None,
    ) -> None:
        numbers = layout.partitions if entity_id is None else (layout.partition(entity_id),)
        super().__init__((number, None) for number in numbers)
        self._layout = layout
        self._asked = ("" if entity_id is None else entity_id, *chosen(machines))
        self._looked = 0 if machines is None and entity_id is None else LOOKED
        self.seen = list(places)

    def ask(self, part: Part[_Item], count: int) -> Command:
        """The next entries of a partition's stream, with their rows."""
        layout, number = self._layout, part.number
        place = self.seen[number]
        start = entry_id(layout, place) if place else "-"
        looked = max(count, self._looked)
        arguments: tuple[str | int, ...] = (
            layout.opening(number),
            start,
            looked,
            count,
            BYTES,
            *self._asked,
        )
        return number, FEED.call(layout.index(number, "feed"), arguments)

    def take(self, part: Part[_Item], reply: Any) -> None:
        """Rows, and how far the stream was looked at."""
        last, is_done, *rows = reply
        part.is_done = bool(is_done)
        time: Place = part.place[:2] if part.place else (0, 0)
        for at in range(0, len(rows), 3):
            row = entry_of(rows[at], rows[at + 1], rows[at + 2])
            time = max(time, (row.id >> SEQUENCE, row.recorded_at))
            part.found.append((time[0], time[1], part.number, row.id, row))
        if last:
            seen = self.seen[part.number] = row_id_of(self._layout, part.number, last)
            part.place = (*max(time, (seen >> SEQUENCE, 0)), part.number, seen)


def entry_id(layout: Layout, row_id: int) -> str:
    """The entry of the feed that tells of a row."""
    number = row_id & (1 << SEQUENCE) - 1
    return f"{row_id >> SEQUENCE}-{number // len(layout.partitions)}"


def row_id_of(layout: Layout, partition: int, entry: str) -> int:
    """The id of the row that an entry tells of: no two partitions have the same."""
    milliseconds, _, number = entry.partition("-")
    count = len(layout.partitions)
    return int(milliseconds) << SEQUENCE | int(number) * count + partition
