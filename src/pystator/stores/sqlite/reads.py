"""Paged reads of the SQLite store: each takes a connection and answers from one snapshot."""

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Any, Final

from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.columns import ENTITY_COLUMNS, HISTORY_COLUMNS
from pystator.stores.keys import is_storable, page_of, read_cursor, rows_asked, write_cursor
from pystator.stores.programs import the_machine
from pystator.stores.sqlite.ops import entity_of, entry_of

__all__ = ["count_by_state", "due", "entities", "feed", "history", "machines"]

MACHINES: Final = "SELECT machine_name FROM entity_states WHERE entity_id = ? ORDER BY 1"
_NEXT: Final = "SELECT min(machine_name) FROM transition_history WHERE entity_id = ?1"
MACHINES_OF_HISTORY: Final = (
    f"WITH RECURSIVE m (name) AS ({_NEXT} UNION ALL SELECT ({_NEXT} AND machine_name > m.name)"  # noqa: S608
    " FROM m WHERE m.name IS NOT NULL) SELECT name FROM m WHERE name IS NOT NULL"
)
"""One look into the index for each, however many rows they have."""
_HISTORY: Final = (
    f"SELECT {HISTORY_COLUMNS} FROM transition_history"  # noqa: S608 - constants, here and below
    " WHERE entity_id = ? AND machine_name = ?"
)
HISTORY_UP: Final = f"{_HISTORY} AND (version, id) > (?, ?) ORDER BY version, id LIMIT ?"
HISTORY_DOWN: Final = (
    f"{_HISTORY} AND (version, id) < (?, ?) ORDER BY version DESC, id DESC LIMIT ?"
)
_ENTITIES: Final = f"SELECT {ENTITY_COLUMNS} FROM entity_states"  # noqa: S608
ENTITIES: Final = (
    f"{_ENTITIES} WHERE (entity_id, machine_name) > (?, ?) ORDER BY entity_id, machine_name LIMIT ?"
)
ENTITIES_IN: Final = (
    f"{_ENTITIES} WHERE machine_name = ? AND state = ? AND entity_id >= ?"
    " ORDER BY entity_id LIMIT ?"
)
ARE_LONG: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM entity_states"
    " WHERE machine_name = ? AND state = ? AND state_since < ? LIMIT ?)"
)
ENTITIES_LONG: Final = (
    f"{_ENTITIES} WHERE machine_name = ? AND state = ? AND +state_since < ? AND entity_id >= ?"
    " ORDER BY entity_id LIMIT ?"
)
ENTITIES_FEW: Final = (
    f"{_ENTITIES} WHERE machine_name = ?1 AND entity_id IN (SELECT entity_id FROM entity_states"  # noqa: S608
    " WHERE machine_name = ?1 AND state = ?2 AND likelihood(state_since < ?3, 0.001)"
    " AND +entity_id >= ?4 ORDER BY entity_id LIMIT ?5) ORDER BY entity_id"
)
FEW: Final = 10_000
"""So many entities are quicker sorted than sought among all that are in the same state."""
NEXT_PAIR: Final = (
    "SELECT machine_name, state FROM entity_states WHERE (machine_name, state) > (?, ?)"
    " ORDER BY machine_name, state, entity_id LIMIT 1"
)
NEXT_STATE: Final = (
    "SELECT machine_name, state FROM entity_states WHERE machine_name = ? AND state > ?"
    " ORDER BY state, entity_id LIMIT 1"
)
COUNT: Final = "SELECT state, count(*) FROM entity_states GROUP BY machine_name, state"
COUNT_OF: Final = "SELECT state, count(*) FROM entity_states WHERE machine_name = ? GROUP BY state"
DUE: Final = (
    "SELECT entity_id, machine_name FROM entity_states WHERE next_due <= ?"
    " ORDER BY next_due, entity_id, machine_name LIMIT ?"
)
DUE_OF: Final = (
    "SELECT entity_id, machine_name FROM entity_states WHERE next_due <= ? AND +machine_name = ?"
    " ORDER BY next_due, entity_id, machine_name LIMIT ?"
)
FEED: Final = f"SELECT {HISTORY_COLUMNS} FROM transition_history WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_LAST: Final = 2**63 - 1


def machines(connection: sqlite3.Connection, entity_id: str) -> list[str]:
    """Names of the machines that have an entity of this id, sorted."""
    if not is_storable(entity_id):
        return []
    return [name for (name,) in connection.execute(MACHINES, (entity_id,))]


def history(
    connection: sqlite3.Connection,
    entity_id: str,
    machine_name: str | None,
    after: str | None,
    limit: int,
    *,
    newest_first: bool,
) -> Page[HistoryEntry]:
    """Rows of one entity in the order ``(version, id)``."""
    limit = rows_asked(limit)
    place: tuple[int, ...] = (_LAST, _LAST) if newest_first else (-1, -1)
    if after is not None:
        place = read_cursor("history", after, int, int)
    if not is_storable(entity_id, machine_name):
        return Page([])
    if machine_name is None:
        names = [name for (name,) in connection.execute(MACHINES_OF_HISTORY, (entity_id,))]
        machine_name = the_machine(entity_id, names)
        if machine_name is None:
            return Page([])
    rows = connection.execute(
        HISTORY_DOWN if newest_first else HISTORY_UP, (entity_id, machine_name, *place, limit + 1)
    )
    return page_of(
        [entry_of(row) for row in rows],
        limit,
        lambda entry: write_cursor("history", entry.version, entry.id),
    )


def entities(
    connection: sqlite3.Connection,
    state: str | None,
    machine_name: str | None,
    since: int | None,
    after: str | None,
    limit: int,
) -> Page[Entity]:
    """Entities in the order of their keys.

    Those of a state, of a machine, or in their state since before ``since``, are merged from the
    indexes, one range for each configuration in use: however rare they are among the others, only
    they are read.
    """
    limit = rows_asked(limit)
    place: tuple[str, ...] = ("", "") if after is None else read_cursor("entities", after, str, str)
    if not is_storable(state, machine_name):
        return Page([])
    if state is None and machine_name is None and since is None:
        rows = list(connection.execute(ENTITIES, (*place, limit + 1)))
    else:
        with _snapshot(connection):
            ranges = [
                _range(connection, pair, since, place, limit)
                for pair in _pairs(connection, machine_name)
                if state is None or state == pair[1] or state in pair[1].split("+")
            ]
            rows = list(islice(merge(*ranges, key=_key), limit + 1))
    return page_of(
        [entity_of(row) for row in rows],
        limit,
        lambda entity: write_cursor("entities", *entity.key),
    )


def _pairs(connection: sqlite3.Connection, machine_name: str | None) -> Iterator[tuple[str, str]]:
    """Every machine and configuration in use: one look into the index for each."""
    place = ("" if machine_name is None else machine_name, "")
    query = NEXT_PAIR if machine_name is None else NEXT_STATE
    while True:
        found = connection.execute(query, place).fetchone()
        if found is None:
            return
        place = (found[0], found[1])
        yield place


def _range(
    connection: sqlite3.Connection,
    pair: tuple[str, str],
    since: int | None,
    place: tuple[str, ...],
    limit: int,
) -> Iterator[Any]:
    """Entities of one machine and configuration after a place, read as they are asked for."""
    if since is None:
        rows = connection.execute(ENTITIES_IN, (*pair, place[0], limit + 2))
    else:
        (found,) = connection.execute(ARE_LONG, (*pair, since, FEW + 1)).fetchone()
        query = ENTITIES_FEW if found <= FEW else ENTITIES_LONG
        rows = connection.execute(query, (*pair, since, place[0], limit + 2))
    for row in rows:
        if (row[0], row[1]) > place:
            yield row


def count_by_state(connection: sqlite3.Connection, machine_name: str | None) -> dict[str, int]:
    """Configuration -> number of entities."""
    if machine_name is None:
        found: Counter[str] = Counter()
        for state, number in connection.execute(COUNT):
            found[state] += number
        return dict(found)
    if not is_storable(machine_name):
        return {}
    return dict(connection.execute(COUNT_OF, (machine_name,)).fetchall())


def due(
    connection: sqlite3.Connection, now: int, limit: int, machine_name: str | None
) -> list[Key]:
    """Keys of entities with a deadline at or before ``now``, earliest first."""
    limit = rows_asked(limit)
    if not is_storable(machine_name):
        return []
    if machine_name is None:
        return connection.execute(DUE, (now, limit)).fetchall()
    return connection.execute(DUE_OF, (now, machine_name, limit)).fetchall()


def feed(connection: sqlite3.Connection, cursor: str | None, limit: int) -> Page[HistoryEntry]:
    """Rows of all entities: one transaction writes at a time, so ids are in commit order."""
    last: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
    items = [entry_of(row) for row in connection.execute(FEED, (last, rows_asked(limit)))]
    return Page(items, write_cursor("feed", items[-1].id if items else last))


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Several statements that see the same moment; a transaction of the caller's does already."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def _key(row: Any) -> Key:
    return row[0], row[1]
