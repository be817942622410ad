"""What a target lacks of one key, and what it has that the source has not.

Histories are compared version by version, so that the longest one needs no room. Rows of one
version may be in another order there: of two rejections at once, either may have come first.

::

    source  1  2  3a 3b  4  5            missing rows are put in: 4, and 3b before it
    target  1  2  3a      -  -   x       a row x that only the target has may be a conflict
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from pystator.records import Entity, EntryKind, HistoryEntry, Key, Parcel, record, to_datetime
from pystator.stores.parcels import ENTITY_VALUES, ROW_VALUES, entity_row, history_row

__all__ = ["Line", "Verdict", "differences", "is_same", "judge", "lines_of", "parcels", "told"]

_TEXTS: Final = frozenset({"context", "history", "timers", "payload", "context_patch", "actions"})
"""Columns of JSON: a store may keep their keys in another order."""

_SETTLED: Final = frozenset({EntryKind.REJECTED, EntryKind.ACTION, EntryKind.SNAPSHOT})
"""Rows that did not make a version: a target may have its own."""

Values = tuple[Any, ...]

Line = tuple[HistoryEntry, Values]
"""A row, and all that it says but its id, in a form that can be compared."""


@record
class Verdict:
    """What was found out about one key.

    Attributes:
        conflict: Why nothing of it can be written; None when it can.
        lacks: The target lacks rows, or the entity as it is.
        others: Rows that only the target has.
        pruned: Up to this version the target was pruned by itself: rows are not put back.
        snapshot: The newest snapshot that only the target has: an older one is not needed.
        newest: The last row of the target, of those that were compared: what is written goes on
            from it, and from nothing that came later.
    """

    conflict: str | None
    lacks: bool
    others: int
    pruned: int
    snapshot: int
    newest: HistoryEntry | None

    def asks_for(self, row: HistoryEntry) -> bool:
        """A row that is missing is to be put in."""
        return _is_wanted(row.kind, row.version, self.pruned, self.snapshot)


def _is_wanted(kind: EntryKind, version: int, pruned: int, snapshot: int) -> bool:
    return version > (snapshot if kind is EntryKind.SNAPSHOT else pruned)


def told(entity: Entity | None) -> Values | None:
    """All that is known of an entity, in a form that can be compared."""
    return None if entity is None else tuple(entity_row(entity))


def lines_of(rows: Iterable[HistoryEntry]) -> Iterator[Line]:
    """Rows and what they say."""
    for row in rows:
        yield row, tuple(history_row(row))


def _plainly(values: Values, names: Iterable[str]) -> Values:
    """The same whatever the order of keys in JSON."""
    return tuple(
        json.dumps(json.loads(value), sort_keys=True) if name in _TEXTS and value else value
        for name, value in zip(names, values, strict=True)
    )


def is_same(mine: Entity | None, theirs: Entity | None) -> bool:
    """They are equal in every field, or there is none."""
    left, right = told(mine), told(theirs)
    if left is None or right is None or left == right:
        return left == right
    return _plainly(left, ENTITY_VALUES) == _plainly(right, ENTITY_VALUES)


# Rows ---------------------------------------------------------------------------------------------


def differences(
    source: Iterable[Line], target: Iterable[Line]
) -> Iterator[tuple[bool, HistoryEntry]]:
    """Rows that only the source has (True) or only the target (False), in the order of versions."""
    mine, theirs = (groupby(lines, key=_version) for lines in (source, target))
    left, right = next(mine, None), next(theirs, None)
    while left is not None or right is not None:
        if left is not None and (right is None or left[0] < right[0]):
            yield from ((True, row) for row, _ in left[1])
            left = next(mine, None)
        elif right is not None and (left is None or right[0] < left[0]):
            yield from ((False, row) for row, _ in right[1])
            right = next(theirs, None)
        elif left is not None and right is not None:
            yield from _of_one_version(list(left[1]), list(right[1]))
            left, right = next(mine, None), next(theirs, None)


def _version(line: Line) -> int:
    return line[0].version


def _of_one_version(mine: list[Line], theirs: list[Line]) -> Iterator[tuple[bool, HistoryEntry]]:
    if [values for _, values in mine] == [values for _, values in theirs]:
        return
    left = [(_plainly(values, ROW_VALUES), row) for row, values in mine]
    right = [(_plainly(values, ROW_VALUES), row) for row, values in theirs]
    there = [values for values, _ in right]
    here = [values for values, _ in left]
    yield from ((True, row) for values, row in left if not _took(there, values))
    yield from ((False, row) for values, row in right if not _took(here, values))


def _took(values: list[Values], one: Values) -> bool:
    if one not in values:
        return False
    values.remove(one)
    return True


# Judging ------------------------------------------------------------------------------------------


def judge(
    mine: Entity | None,
    theirs: Entity | None,
    source: Iterable[Line],
    target: Iterable[Line],
) -> Verdict:
    """What the target lacks of a key, and whether it can be given it.

    Args:
        mine: The entity in the source.
        theirs: The one in the target.
        source: The rows of the source, all of them.
        target: The rows of the target.
    """
    notes = _Notes(theirs)
    missing = {EntryKind.SNAPSHOT: -1, EntryKind.EVENT: -1}
    others, snapshot = 0, -1
    lost: list[int] = []
    for is_missing, row in differences(notes.seen(source), notes.there(target)):
        kind = row.kind if row.kind is EntryKind.SNAPSHOT else EntryKind.EVENT
        if is_missing:
            missing[kind] = max(missing[kind], row.version)
            continue
        others += 1
        if kind is EntryKind.SNAPSHOT:
            snapshot = max(snapshot, row.version)
        elif row.kind not in _SETTLED:
            lost.append(row.version)
    # An older one than the source's was the source's own, when it was copied.
    pruned = snapshot if snapshot > notes.snapshot else -1
    same = is_same(mine, theirs)
    conflict = None if same else _other_entity(mine, theirs, notes)
    if conflict is None:
        beyond = [version for version in lost if version > notes.snapshot]
        if beyond:
            conflict = f"the target has another history, from version {beyond[0]} on"
    lacks = not same or any(_is_wanted(*last, pruned, snapshot) for last in missing.items())
    return Verdict(conflict, lacks, others, pruned, snapshot, notes.newest)


class _Notes:
    """What is noted while rows go by."""

    def __init__(self, theirs: Entity | None) -> None:
        self._theirs = theirs
        self.snapshot = -1
        self.is_ancestor = False
        self.newest: HistoryEntry | None = None

    def there(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The rows of the target."""
        for line in lines:
            self.newest = line[0]
            yield line

    def seen(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The rows of the source, looked at on their way."""
        theirs = self._theirs
        for line in lines:
            row = line[0]
            if row.kind is EntryKind.SNAPSHOT:
                self.snapshot = max(self.snapshot, row.version)
            if theirs is not None and row.version == theirs.version:
                self.is_ancestor = self.is_ancestor or row.commit_id == theirs.commit_id
            yield line


def _other_entity(mine: Entity | None, theirs: Entity | None, notes: _Notes) -> str | None:
    """Why the target's entity is no earlier version of this one; None when it is."""
    if theirs is None:
        return None
    if mine is None:
        return f"the target has an entity here, {_named(theirs)}, and the source has none"
    if theirs.version < mine.version:
        # Where its row was pruned since, only the time of its making tells whose it is.
        pruned = notes.snapshot > theirs.version and theirs.created_at == mine.created_at
        if notes.is_ancestor or pruned:
            return None
    elif theirs.version > mine.version:
        return f"the target is ahead: {_named(theirs)}; the source has {_named(mine)}"
    return f"the target has another entity, {_named(theirs)}; the source has {_named(mine)}"


def _named(entity: Entity) -> str:
    try:
        changed = to_datetime(entity.updated_at).isoformat()
    except OverflowError:
        changed = str(entity.updated_at)
    return f"version {entity.version} in {entity.state[:60]!r}, changed {changed}"


# Parcels ------------------------------------------------------------------------------------------


def parcels(
    key: Key,
    mine: Entity | None,
    theirs: Entity | None,
    newest: HistoryEntry | None,
    rows: Iterable[HistoryEntry],
    batch: int,
) -> Iterator[Parcel]:
    """What is missing, in parts of about ``batch`` rows; the entity comes with the last.

    A part ends where a commit ends, as a reader of the target expects it.

    Args:
        key: Whose rows they are.
        mine: The entity in the source.
        theirs: The one in the target.
        newest: The newest row of the target.
        rows: Rows the target lacks, in order.
        batch: Rows of a part.
    """
    base = 0 if theirs is None else theirs.version
    changed = None if is_same(mine, theirs) else mine
    place = None if newest is None else (newest.version, newest.commit_id)
    part: list[HistoryEntry] = []
    for row in rows:
        if len(part) >= batch and (row.version, row.commit_id) != _place(part[-1]):
            yield Parcel(*key, None, tuple(part), base, place)
            place = _newest(place, part)
            part = []
        part.append(row)
    if part or changed is not None:
        yield Parcel(*key, changed, tuple(part), base, place)


def _place(row: HistoryEntry) -> tuple[int, str]:
    return row.version, row.commit_id


def _newest(place: tuple[int, str] | None, part: list[HistoryEntry]) -> tuple[int, str]:
    """The newest row when this part is there: of one version, the last to come is the newest."""
    last = _place(part[-1])
    return last if place is None or last[0] >= place[0] else place
