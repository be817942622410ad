"""Pruning of the Redis store, as operations: see `pystator.stores.redis.ops`.

Rows are immutable. So what a cut needs to know of its rows is read before, by their entries in the
feed, and the script that deletes them only looks at which are still there: two prunes of one entity
at once delete each row once, and a cut whose guard is gone does nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from pystator.records import Commit, Cut, Key
from pystator.stores.pruning import UNLIMITED
from pystator.stores.redis.encode import prepared
from pystator.stores.redis.feed import BYTES, entry_id
from pystator.stores.redis.layout import Layout, key_of, member_of
from pystator.stores.redis.merging import MOST, Part, Walk
from pystator.stores.redis.ops import Command, Operation, Request
from pystator.stores.redis.rows import DIGITS, entry_of, id_of
from pystator.stores.redis.scripts import Script

__all__ = ["prune_keys", "prune_rows"]

OLDEST: Final = Script("oldest", "names")
ROWS: Final = Script("rows", "names")
CUT: Final = Script("cut", "names")

_Oldest = tuple[str, str, int | None]


# Keys ---------------------------------------------------------------------------------------------


def prune_keys(
    layout: Layout, after: Key | None, limit: int
) -> Operation[list[tuple[Key, int | None]]]:
    """The next keys, each with the age of its oldest row."""
    walk = _Keys(layout, after)
    found: list[_Oldest] = []
    while not found and not walk.is_done:
        found = yield from walk.next(limit)
    return [((entity_id, machine), recorded) for entity_id, machine, recorded in found]


class _Keys(Walk[_Oldest]):
    """Keys of all partitions that have rows."""

    width: ClassVar[int] = 2

    def __init__(self, layout: Layout, after: Key | None) -> None:
        super().__init__((number, after) for number in layout.partitions)
        self._layout = layout

    def ask(self, part: Part[_Oldest], count: int) -> Command:
        """The next keys of a partition."""
        layout, number = self._layout, part.number
        place = "" if part.place is None else member_of(*part.place)
        arguments = (layout.opening(number), place, count, BYTES)
        return number, OLDEST.call(layout.index(number, "histories"), arguments)

    def take(self, part: Part[_Oldest], reply: Any) -> None:
        """They are in order."""
        is_done, *found = reply
        part.is_done = bool(is_done)
        for at in range(0, len(found), 2):
            recorded = int(found[at + 1]) if found[at + 1] else None
            part.found.append((*key_of(found[at]), recorded))
        if part.found:
            part.place = part.found[-1][:2]


# Rows ---------------------------------------------------------------------------------------------


def prune_rows(
    layout: Layout, cuts: Sequence[Cut], recorded_at: int
) -> Operation[list[int | None]]:
    """Do the cuts, each in one script; of a very large one first what a replay needs to know of."""
    found = yield from _places(layout, cuts)
    commands: list[Command] = []
    whose: list[int] = []
    for at, cut in enumerate(cuts):
        if cut.guard is None or cut.guard in found[at]:
            for part in _parts(cut):
                commands.append(_command(layout, part, found[at], recorded_at))
                whose.append(at)
    answers: list[int | None] = [None] * len(cuts)
    replies: Sequence[int] = (yield Request(commands, reads=False)) if commands else ()
    for at, gone in zip(whose, replies, strict=True):
        if gone >= 0:
            answers[at] = (answers[at] or 0) + gone
    return answers


_Places = dict[int, tuple[str, str]]
"""Row id -> the row's place in history and its event id; not of those that are gone."""


def _places(layout: Layout, cuts: Sequence[Cut]) -> Operation[list[_Places]]:
    """Where the rows of each cut stand."""
    found: list[_Places] = [{} for _ in cuts]
    left = [(at, _numbers(cut)) for at, cut in enumerate(cuts)]
    while left:
        commands = [_rows(layout, cuts[at], numbers[:MOST]) for at, numbers in left]
        replies: Sequence[list[str]] = yield Request(commands, reads=True)
        for (at, numbers), rows in zip(left, replies, strict=True):
            del numbers[: len(rows)]
            cut = cuts[at]
            for row in filter(None, rows):
                event_id = entry_of(cut.entity_id, cut.machine_name, row).event_id
                found[at][id_of(row)] = row[:DIGITS], event_id or ""
        left = [each for each in left if each[1]]
    return found


def _numbers(cut: Cut) -> list[int]:
    numbers = [*cut.ids, *cut.replaced]
    return numbers if cut.guard is None or cut.guard in numbers else [*numbers, cut.guard]


def _rows(layout: Layout, cut: Cut, numbers: list[int]) -> Command:
    entity_id = cut.entity_id
    part = layout.partition(entity_id)
    keys = layout.whole(
        part, layout.shared("feed", part), layout.history(entity_id, cut.machine_name)
    )
    return part, ROWS.call(keys, (BYTES, *[entry_id(layout, number) for number in numbers]))


def _parts(cut: Cut) -> Iterator[Cut]:
    """The cut, or several where it has more rows than a script may take."""
    ids = cut.ids
    room = MOST - len(cut.replaced)
    if len(ids) <= room:
        yield cut
        return
    head = [number for number in ids if number == cut.guard]
    rest = [number for number in ids if number != cut.guard]
    yield Cut(
        cut.entity_id, cut.machine_name, head + rest[:room], cut.snapshot, cut.replaced, cut.guard
    )
    for start in range(room, len(rest), MOST):
        yield Cut(cut.entity_id, cut.machine_name, rest[start : start + MOST])


def _command(layout: Layout, cut: Cut, places: _Places, recorded_at: int) -> Command:
    entity_id, machine = cut.entity_id, cut.machine_name
    part = layout.partition(entity_id)
    version, text = "", ""
    if cut.snapshot is not None:
        version, text = _snapshot(cut.snapshot, recorded_at)
    counted = [number for number in cut.ids if number in places]
    others = [number for number in cut.replaced if number in places]
    rows: list[str] = []
    for number in (*counted, *others):
        place, event_id = places[number]
        rows += (place, entry_id(layout, number), event_id)
    guard = "" if cut.guard is None else places[cut.guard][0]
    keys = layout.whole(
        part,
        layout.history(entity_id, machine),
        layout.ids(entity_id, machine),
        layout.shared("feed", part),
        layout.shared("histories", part),
    )
    about = (layout.pres[part], entity_id, machine, guard, version, text)
    return part, CUT.call(keys, (*about, len(counted), *rows))


def _snapshot(commit: Commit, recorded_at: int) -> tuple[str, str]:
    """Version and text of the row."""
    write = prepared(commit, recorded_at, UNLIMITED)
    if write.answer is not None and write.answer.error is not None:
        raise write.answer.error
    return write.rows[0], write.rows[2]
