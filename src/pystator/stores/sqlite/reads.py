"""Paged reads of the SQLite store: each takes a connection and answers from one snapshot.

Statements about entities say whether they mean those that live or those that are archived: each of
the two has indexes of its own (`pystator.db.index_rows`).
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any, Final

from pystator.db.index_rows import ALIVE, ARCHIVED
from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.columns import ENTITY_COLUMNS, HISTORY_COLUMNS
from pystator.stores.cursors import Cursors
from pystator.stores.keys import is_storable, page_of, read_cursor, rows_asked, write_cursor
from pystator.stores.programs import the_machine
from pystator.stores.sqlite.ops import entity_of, entry_of, snapshot

__all__ = ["count_by_state", "due", "entities", "feed", "feed_end", "history", "machines"]

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
_ENTITIES: Final = f"SELECT {ENTITY_COLUMNS} FROM entity_states WHERE"  # noqa: S608
ENTITIES: Final = (
    f"{_ENTITIES} (entity_id, machine_name) > (?, ?) ORDER BY entity_id, machine_name LIMIT ?"
)
IS_ANY_ARCHIVED: Final = f"SELECT 1 FROM entity_states WHERE {ARCHIVED} LIMIT 1"  # noqa: S608
ENTITIES_IN: Final = (
    f"{_ENTITIES} machine_name = ? AND state = ? AND entity_id >= ? AND {ALIVE}"
    " ORDER BY entity_id LIMIT ?"
)
ARE_LONG: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM entity_states"  # noqa: S608
    f" WHERE machine_name = ? AND state = ? AND state_since < ? AND {ALIVE} LIMIT ?)"
)
ENTITIES_LONG: Final = (
    f"{_ENTITIES} machine_name = ? AND state = ? AND +state_since < ? AND entity_id >= ?"
    f" AND {ALIVE} ORDER BY entity_id LIMIT ?"
)
ENTITIES_FEW: Final = (
    f"{_ENTITIES} machine_name = ?1 AND entity_id IN (SELECT entity_id FROM entity_states"  # noqa: S608
    f" WHERE machine_name = ?1 AND state = ?2 AND likelihood(state_since < ?3, 0.001) AND {ALIVE}"
    " AND +entity_id >= ?4 ORDER BY entity_id LIMIT ?5) ORDER BY entity_id"
)
ARCHIVED_IN: Final = (
    f"{_ENTITIES} machine_name = ? AND state = ? AND entity_id >= ? AND {ARCHIVED}"
    " AND state_since < ? ORDER BY entity_id LIMIT ?"
)
FEW: Final = 10_000
"""So many entities are quicker sorted than sought among all that are in the same state."""
_NEXT_PAIR: Final = (
    "SELECT machine_name, state FROM entity_states WHERE (machine_name, state) > (?, ?) AND {0}"
    " ORDER BY machine_name, state, entity_id LIMIT 1"
)
_NEXT_STATE: Final = (
    "SELECT machine_name, state FROM entity_states WHERE machine_name = ? AND state > ? AND {0}"
    " ORDER BY state, entity_id LIMIT 1"
)
_COUNT: Final = "SELECT state, count(*) FROM entity_states WHERE {0} GROUP BY machine_name, state"
_COUNT_OF: Final = (
    "SELECT state, count(*) FROM entity_states WHERE machine_name = ? AND {0} GROUP BY state"
)
NEXT_PAIR, NEXT_STATE, COUNT, COUNT_OF = (
    (text.format(ALIVE), text.format(ARCHIVED))
    for text in (_NEXT_PAIR, _NEXT_STATE, _COUNT, _COUNT_OF)
)
"""Each for those that live and for those that are archived."""
DUE: Final = (
    f"SELECT entity_id, machine_name FROM entity_states WHERE next_due <= ? AND {ALIVE}"  # noqa: S608
    " ORDER BY next_due, entity_id, machine_name LIMIT ?"
)
DUE_OF: Final = (
    f"SELECT entity_id, machine_name FROM entity_states WHERE next_due <= ? AND {ALIVE}"  # noqa: S608
    " AND +machine_name = ? ORDER BY next_due, entity_id, machine_name LIMIT ?"
)
FEED: Final = f"SELECT {HISTORY_COLUMNS} FROM transition_history WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
FEED_ENDS: Final = (
    "SELECT (SELECT id FROM transition_history WHERE id > ? ORDER BY id LIMIT 1),"
    " (SELECT max(id) FROM transition_history)"
)
"""The first row that comes, and the last there is."""
_FEED_OF: Final = (
    f"SELECT {HISTORY_COLUMNS} FROM transition_history WHERE {{0}} > ?1 AND id <= ?2{{1}}"  # noqa: S608
    " AND (?4 IS NULL OR machine_name IN (SELECT value FROM json_each(?4))) ORDER BY {0} LIMIT ?3"
)
FEED_AMONG: Final = _FEED_OF.format("id", " AND (?5 IS NULL OR +entity_id = ?5)")
"""Among the next rows of all, in their order."""
FEED_OF_ENTITY: Final = _FEED_OF.format("+id", " AND entity_id = ?5")
"""Among the rows of an entity, by their index."""
LOOKED_AT: Final = 10_000
"""Rows that one page of a filtered feed looks at, at most."""
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
    machines: tuple[str, ...] | None,
    since: int | None,
    after: str | None,
    limit: int,
    *,
    archived: bool,
) -> Page[Entity]:
    """Entities in the order of their keys.

    Those of a state, of a machine, or in their state since before ``since``, are merged from the
    indexes, one range for each configuration in use: however rare they are among the others, only
    they are read. So are all that live, where there are archived ones to pass.
    """
    limit = rows_asked(limit)
    place: tuple[str, ...] = ("", "") if after is None else read_cursor("entities", after, str, str)
    if not is_storable(state):
        return Page([])
    is_all = state is None and machines is None and since is None and not archived
    with snapshot(connection):
        if is_all and connection.execute(IS_ANY_ARCHIVED).fetchone() is None:
            rows = list(connection.execute(ENTITIES, (*place, limit + 1)))
        else:
            read = _archived_range if archived else _range
            ranges = [
                read(connection, pair, since, place, limit)
                for pair in _pairs(connection, machines, archived=archived)
                if state is None or state == pair[1] or state in pair[1].split("+")
            ]
            rows = list(islice(merge(*ranges, key=_key), limit + 1))
    return page_of(
        [entity_of(row) for row in rows],
        limit,
        lambda entity: write_cursor("entities", *entity.key),
    )


def _pairs(
    connection: sqlite3.Connection, machines: tuple[str, ...] | None, *, archived: bool
) -> Iterator[tuple[str, str]]:
    """Every machine and configuration in use: one look into the index for each."""
    if machines is None:
        yield from _pairs_after(connection, NEXT_PAIR[archived], ("", ""))
        return
    for name in machines:
        yield from _pairs_after(connection, NEXT_STATE[archived], (name, ""))


def _pairs_after(
    connection: sqlite3.Connection, query: str, place: tuple[str, str]
) -> Iterator[tuple[str, str]]:
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


def _archived_range(
    connection: sqlite3.Connection,
    pair: tuple[str, str],
    since: int | None,
    place: tuple[str, ...],
    limit: int,
) -> Iterator[Any]:
    """The same of archived entities, which have no index by time."""
    moment = _LAST if since is None else since
    rows = connection.execute(ARCHIVED_IN, (*pair, place[0], moment, limit + 2))
    for row in rows:
        if _key(row) > place:
            yield row


def count_by_state(
    connection: sqlite3.Connection, machines: tuple[str, ...] | None, *, archived: bool
) -> dict[str, int]:
    """Configuration -> number of entities."""
    found: Counter[str] = Counter()
    with snapshot(connection):
        if machines is None:
            rows = connection.execute(COUNT[archived]).fetchall()
        else:
            query = COUNT_OF[archived]
            rows = [row for name in machines for row in connection.execute(query, (name,))]
    for state, number in rows:
        found[state] += number
    return dict(found)


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


def feed(
    connection: sqlite3.Connection,
    cursor: str | None,
    limit: int,
    machines: tuple[str, ...] | None,
    entity_id: str | None,
) -> Page[HistoryEntry]:
    """Rows of all entities: one transaction writes at a time, so ids are in commit order."""
    last: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
    limit = rows_asked(limit)
    if machines is None and entity_id is None:
        items = [entry_of(row) for row in connection.execute(FEED, (last, limit))]
        end = items[-1].id if items else last
    elif limit and is_storable(entity_id):
        items, end = _chosen(connection, last, limit, machines, entity_id)
    else:
        items, end = [], last
    return Page(items, write_cursor("feed", end), Cursors("feed", [(each.id,) for each in items]))


def _chosen(
    connection: sqlite3.Connection,
    last: int,
    limit: int,
    machines: tuple[str, ...] | None,
    entity_id: str | None,
) -> tuple[list[HistoryEntry], int]:
    """Some of the next rows, and how far was looked.

    Who follows the feed looks at what is new. Who comes from far behind for one entity finds its
    rows by their index, and for machines goes through all, part by part.
    """
    with snapshot(connection):
        first, end = connection.execute(FEED_ENDS, (last,)).fetchone()
        if first is None:
            return [], last
        query = FEED_AMONG
        if first + LOOKED_AT <= end:
            if entity_id is None:
                end = first + LOOKED_AT - 1
            else:
                query = FEED_OF_ENTITY
        names = None if machines is None else json.dumps(machines)
        rows = connection.execute(query, (last, end, limit, names, entity_id)).fetchall()
    items = [entry_of(row) for row in rows]
    return items, items[-1].id if len(items) == limit else end


def feed_end(connection: sqlite3.Connection) -> str:
    """The cursor after the last row."""
    _, last = connection.execute(FEED_ENDS, (_LAST,)).fetchone()
    return write_cursor("feed", last or 0)


def _key(row: Any) -> Key:
    return row[0], row[1]
