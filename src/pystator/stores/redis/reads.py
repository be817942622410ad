"""Reads of the Redis store, as operations: see `pystator.stores.redis.ops`.

Whatever is read is found by an index and read in parts of bounded size, so that nobody else waits
for long while somebody reads much.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pystator.records import HistoryEntry, Key, Lookup, Page
from pystator.stores.columns import next_due
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.programs import the_machine
from pystator.stores.redis.layout import Layout, key_of, member_of
from pystator.stores.redis.merging import MOST, Part, Walk
from pystator.stores.redis.ops import Command, Operation, Request, chosen, loading, pack
from pystator.stores.redis.rows import DIGITS, digits_of, entry_of
from pystator.stores.redis.scripts import Script

__all__ = ["count_by_state", "due", "history", "machines"]

COUNTS: Final = Script("counts", "names", "states")

_AFTER_NUL: Final = "\x01"


def machines(layout: Layout, entity_id: str) -> Operation[list[str]]:
    """Names of the machines that have an entity of this id, sorted."""
    return (yield from _owners(layout, ("entities", "archived"), entity_id))


def _owners(layout: Layout, indexes: Sequence[str], entity_id: str) -> Operation[list[str]]:
    """The machines whose keys of an id are in some indexes, sorted."""
    if not is_storable(entity_id):
        return []
    part = layout.partition(entity_id)
    first, end = f"[{member_of(entity_id, '')}", f"({entity_id}{_AFTER_NUL}"
    commands = [
        (part, pack(("ZRANGEBYLEX", layout.shared(index, part), first, end))) for index in indexes
    ]
    replies = yield Request(commands, reads=True)
    # One that is archived, or taken back, between the two may be met twice, and never not at all.
    return sorted({key_of(member)[1] for members in replies for member in members})


# History ------------------------------------------------------------------------------------------


def history(
    layout: Layout,
    entity_id: str,
    machine_name: str | None,
    after: str | None,
    limit: int,
    *,
    newest_first: bool,
) -> Operation[Page[HistoryEntry]]:
    """Rows of one entity in the order ``(version, id)``."""
    place: tuple[int, int] | None = None
    if after is not None:
        version, number = read_cursor("history", after, int, int)
        place = (version, number)
    limit = rows_asked(limit)
    if machine_name is None:
        names = yield from _owners(layout, ("histories",), entity_id)
        machine_name = the_machine(entity_id, names)
    if machine_name is None or not is_storable(entity_id, machine_name):
        return Page([])
    key = layout.history(entity_id, machine_name)
    part = layout.partition(entity_id)
    digits = None if place is None else digits_of(*place)
    rows: list[HistoryEntry] = []
    while len(rows) <= limit:
        count = min(limit + 1 - len(rows), _PAGE)
        command = pack((*_range(key, digits, newest_first), "LIMIT", 0, count))
        [members] = yield Request([(part, command)], reads=True)
        rows += [entry_of(entity_id, machine_name, member) for member in members]
        if len(members) < count:
            break
        digits = members[-1][:DIGITS]
    items = rows[:limit]
    if not items or len(rows) <= limit:
        return Page(items)
    return Page(items, write_cursor("history", items[-1].version, items[-1].id))


_PAGE: Final = 200
"""Rows read at once."""

_HIGH: Final = b"\xff"
"""After every text."""


def _range(key: str, digits: str | None, newest_first: bool) -> tuple[str | bytes, ...]:
    """The command for the rows behind a place, in either direction."""
    if newest_first:
        return ("ZREVRANGEBYLEX", key, "+" if digits is None else f"({digits}", "-")
    start = "-" if digits is None else b"(" + digits.encode() + _HIGH
    return ("ZRANGEBYLEX", key, start, "+")


# Counts -------------------------------------------------------------------------------------------


def count_by_state(
    layout: Layout, machines: Sequence[str] | None, *, archived: bool
) -> Operation[dict[str, int]]:
    """Configuration -> number of entities."""
    keys, mark = ("archived-states", "1") if archived else ("states", "")
    replies = yield Request(
        [
            (
                part,
                COUNTS.call(layout.index(part, keys), (layout.pres[part], mark, *chosen(machines))),
            )
            for part in layout.partitions
        ],
        reads=True,
    )
    found: Counter[str] = Counter()
    for reply in replies:
        for at in range(0, len(reply), 2):
            found[reply[at]] += reply[at + 1]
    return dict(found)


# Deadlines ----------------------------------------------------------------------------------------

_EXACT: Final = 2**53
"""Scores are doubles: up to here they are what they were made of."""

_Due = tuple[float, str, str]
"""Score, entity id, machine."""


def due(layout: Layout, now: int, limit: int, machine_name: str | None) -> Operation[list[Key]]:
    """Keys of entities with a deadline at or before ``now``, earliest first."""
    limit = rows_asked(limit)
    if not is_storable(machine_name):
        return []
    lines = yield from _lines(layout, machine_name)
    walk = _Deadlines(layout, now, lines)
    found: list[_Due] = []
    while not walk.is_done and (len(found) < limit or _may_hide(found)):
        more = yield from walk.next(max(limit - len(found), 1))
        found += more
        if len(found) > limit and more and more[-1][0] > found[limit - 1][0]:
            break
    if found and max(-found[0][0], found[-1][0]) >= _EXACT:
        return (yield from _exactly(layout, found, now))[:limit]
    return [(entity_id, machine) for _, entity_id, machine in found[:limit]]


def _may_hide(found: list[_Due]) -> bool:
    """Others of the last one's score may be earlier than it is."""
    return bool(found) and abs(found[-1][0]) >= _EXACT


def _exactly(layout: Layout, found: list[_Due], now: int) -> Operation[list[Key]]:
    """The same in the order of what deadlines are, not of their scores."""
    exact: list[tuple[int, str, str]] = []
    for start in range(0, len(found), MOST):
        part = found[start : start + MOST]
        loaded = yield from loading(layout, [Lookup(name, owner) for _, name, owner in part])
        for (score, name, owner), each in zip(part, loaded, strict=True):
            at = next_due(each.entity.timers) if each.entity else None
            deadline = int(score) if abs(score) < _EXACT else at
            if deadline is not None and deadline <= now:
                exact.append((deadline, name, owner))
    return [(name, owner) for _, name, owner in sorted(exact)]


_Line = tuple[int, str]
"""A partition and a machine: each has an index of deadlines."""


def _lines(layout: Layout, machine: str | None) -> Operation[list[_Line]]:
    """The indexes that are asked; all machines that have entities are in the set of states."""
    if machine is not None:
        return [(part, machine) for part in layout.partitions]
    commands = [
        (part, pack(("SMEMBERS", layout.shared("states", part)))) for part in layout.partitions
    ]
    replies = yield Request(commands, reads=True)
    return [
        (part, owner)
        for part, members in zip(layout.partitions, replies, strict=True)
        for owner in sorted({key_of(member)[0] for member in members})
    ]


class _Deadlines(Walk[_Due]):
    """Entities of all partitions and machines in the order of their scores."""

    width: ClassVar[int] = 3

    def __init__(self, layout: Layout, now: int, lines: list[_Line]) -> None:
        super().__init__((number, None) for number in range(len(lines)))
        self._layout = layout
        self._now = now
        self._lines = lines
        self._same = [0] * len(lines)
        self._counts = [0] * len(lines)

    def ask(self, part: Part[_Due], count: int) -> Command:
        """The next ones: from the last score on, but those that were there."""
        self._counts[part.number] = count
        partition, machine = self._lines[part.number]
        command = pack(
            (
                "ZRANGEBYSCORE",
                self._layout.due(machine, partition),
                "-inf" if part.place is None else repr(part.place[0]),
                self._now,
                "WITHSCORES",
                "LIMIT",
                self._same[part.number],
                count,
            )
        )
        return partition, command

    def take(self, part: Part[_Due], reply: Any) -> None:
        """They are in order; how many have the last score is counted."""
        number = part.number
        machine = self._lines[number][1]
        for at in range(0, len(reply), 2):
            score = float(reply[at + 1])
            same = part.place is not None and part.place[0] == score
            self._same[number] = self._same[number] + 1 if same else 1
            part.place = (score, reply[at], machine)
            part.found.append((score, reply[at], machine))
        part.is_done = len(reply) // 2 < self._counts[number]
