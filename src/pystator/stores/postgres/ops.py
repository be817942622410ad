"""What the PostgreSQL store asks of its database, and how it reads the answers.

An operation is a generator: it yields a `Request` and is sent the result, or is thrown the error
that a value is to blame for; or it yields a `Stream`, which takes its results itself, so that
Python and the server work at the same time. Nothing here does I/O: the store runs it, over both
faces.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import psycopg

from pystator.db.index_rows import is_long
from pystator.records import Entity, HistoryEntry, Loaded, Lookup
from pystator.stores.columns import ENTITY_COLUMNS
from pystator.stores.keys import is_storable
from pystator.stores.postgres import sql
from pystator.stores.postgres.rows import (
    entity_of,
    entry_of,
    integers,
    rows_of,
    texts,
)
from pystator.stores.postgres.wire import Params, Statement, Stream

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["Operation", "Request", "loading"]

T = TypeVar("T")

CHUNK: Final = 250
"""Lookups of one statement of a stream."""


class Request(NamedTuple):
    """A statement to run.

    Attributes:
        reads: It writes nothing.
    """

    statement: Statement
    params: Params
    reads: bool


Operation = Generator[Request | Stream, Any, T]
"""Yields requests, is sent a ``PGresult`` for each (None for a stream), and ends in its answer."""

# Loading ------------------------------------------------------------------------------------------

_ENTITY_WIDTH: Final = len(ENTITY_COLUMNS.split(","))


def loading(lookups: Sequence[Lookup], *, streams: bool = False) -> Operation[list[Loaded]]:
    """Entities and known event ids, in the order of the lookups.

    Args:
        lookups: What to load.
        streams: Whoever runs it can run streams.
    """
    if len(lookups) == 1 and len(lookups[0].event_ids) < 2:
        return [(yield from _load_one(lookups[0]))]
    load = _Load(lookups)
    if streams and len(lookups) > CHUNK + CHUNK // 2:
        yield load
    if load.error is not None or not load.is_sent:
        yield from load.at_once()
    return load.answer()


def _load_one(lookup: Lookup) -> Operation[Loaded]:
    names = (lookup.entity_id, lookup.machine_name, *lookup.event_ids)
    if not is_storable(*names):
        return Loaded(None, {})
    statement = sql.LOAD_KNOWING if lookup.event_ids else sql.LOAD
    if lookup.event_ids and is_long(lookup.event_ids[0]):
        statement = sql.LOAD_KNOWING_LONG
    result: PGresult = yield Request(statement, [name.encode() for name in names], True)
    if not result.ntuples:
        return Loaded(None, {})
    row = rows_of(result)[0]
    entity = None if row[0] is None else entity_of(row)
    if len(row) == _ENTITY_WIDTH or row[_ENTITY_WIDTH] is None:
        return Loaded(entity, {})
    return Loaded(entity, {lookup.event_ids[0]: entry_of(row, _ENTITY_WIDTH)})


class _Load:
    """Many lookups.

    They are one statement, or a stream of them: a part is decoded while the server looks for the
    next one.
    """

    reads = True

    def __init__(self, lookups: Sequence[Lookup]) -> None:
        self._lookups = lookups
        self._found: list[Entity | None] = []
        self._known: dict[int, dict[str, HistoryEntry]] = {}
        self.error: psycopg.Error | None = None
        self.is_sent = False

    def requests(self) -> Iterator[tuple[Statement, Params]]:
        """The statements."""
        self._begin()
        self.is_sent = True
        for start in range(0, len(self._lookups), CHUNK):
            asked = _asked(self._lookups, start, start + CHUNK)
            if asked is not None:
                yield asked

    def take(self, number: int, result: "PGresult | psycopg.Error") -> None:  # noqa: ARG002 - rows say whose they are
        """Decode what was found."""
        if isinstance(result, psycopg.Error):
            self.error = result
            return
        found = self._found
        for row in rows_of(result):
            place = row[0] - 1
            if row[1] is not None:
                found[place] = entity_of(row, 1)
            else:
                entry = entry_of(row, _ENTITY_WIDTH + 1)
                self._known.setdefault(place, {})[str(entry.event_id)] = entry

    def at_once(self) -> Operation[None]:
        """The same in one statement, which tells its errors."""
        self._begin()
        asked = _asked(self._lookups, 0, len(self._lookups))
        if asked is not None:
            self.take(0, (yield Request(*asked, reads=True)))

    def answer(self) -> list[Loaded]:
        """In the order of the lookups."""
        known = self._known
        if not known:
            return [Loaded(entity, {}) for entity in self._found]
        return [Loaded(entity, known.get(place, {})) for place, entity in enumerate(self._found)]

    def _begin(self) -> None:
        self._found = [None] * len(self._lookups)
        self._known = {}
        self.error = None


def _asked(lookups: Sequence[Lookup], start: int, end: int) -> tuple[Statement, Params] | None:
    """The statement for some of the lookups; None when no such names can be stored."""
    places: list[int] = []
    ids: list[str] = []
    machines: list[str] = []
    events: list[tuple[int, str, str, str]] = []
    for place, lookup in enumerate(lookups[start:end], start + 1):
        entity_id, machine = lookup.entity_id, lookup.machine_name
        if not is_storable(entity_id, machine):
            continue
        places.append(place)
        ids.append(entity_id)
        machines.append(machine)
        events += [
            (place, entity_id, machine, event_id)
            for event_id in lookup.event_ids
            if is_storable(event_id)
        ]
    if not places:
        return None
    params = [texts(ids), texts(machines), integers(places, sql.BIGINT)]
    if not events:
        return sql.LOAD_MANY, params
    is_any_long = any(is_long(event_id) for _, _, _, event_id in events)
    numbers, *columns = zip(*events, strict=True)
    return sql.LOAD_MANY_KNOWING_LONG if is_any_long else sql.LOAD_MANY_KNOWING, [
        *params,
        *map(texts, columns),
        integers(numbers, sql.BIGINT),
    ]
