"""Paged reads of the PostgreSQL store, as operations: see `pystator.stores.postgres_ops`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.keys import read_cursor, write_cursor
from pystator.stores.postgres_ops import Operation, Request
from pystator.stores.postgres_rows import (
    ENTITY_COLUMNS,
    HISTORY_COLUMNS,
    Value,
    binary,
    entity_of,
    entry_of,
    number,
    to_time,
)
from pystator.stores.postgres_wire import Row, Statement, rows_of
from pystator.stores.programs import the_machine

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["count_by_state", "due", "entities", "feed", "history", "machines"]

T = TypeVar("T")

_TEXT: Final = 25
_BIGINT: Final = 20
_TIME: Final = 1184
_LAST: Final = 2**63 - 1

_MACHINES: Final = Statement(
    "machines", "SELECT machine_name FROM entity_states WHERE entity_id = $1 ORDER BY 1", (_TEXT,)
)
_MACHINES_OF_HISTORY: Final = Statement(
    "machines_of_history",
    "SELECT DISTINCT machine_name FROM transition_history WHERE entity_id = $1 ORDER BY 1",
    (_TEXT,),
)
_HISTORY: Final = (
    f"SELECT {HISTORY_COLUMNS} FROM transition_history"  # noqa: S608 - constants, here and below
    " WHERE entity_id = $1 AND machine_name = $2 AND (version, id)"
)
_HISTORY_UP: Final = Statement(
    "history_up",
    f"{_HISTORY} > ($3, $4) ORDER BY version, id LIMIT $5",
    (_TEXT, _TEXT, _BIGINT, _BIGINT, _BIGINT),
)
_HISTORY_DOWN: Final = Statement(
    "history_down",
    f"{_HISTORY} < ($3, $4) ORDER BY version DESC, id DESC LIMIT $5",
    (_TEXT, _TEXT, _BIGINT, _BIGINT, _BIGINT),
)


def _ask(statement: Statement, *values: Value) -> Operation[list[Row]]:
    result: PGresult = yield Request(statement, binary(values), reads=True)
    return rows_of(result)


def machines(entity_id: str) -> Operation[list[str]]:
    """Names of the machines that have an entity of this id, sorted."""
    return [_text(row[0]) for row in (yield from _ask(_MACHINES, entity_id))]


def history(
    entity_id: str,
    machine_name: str | None,
    after: str | None,
    limit: int,
    *,
    newest_first: bool,
) -> Operation[Page[HistoryEntry]]:
    """Rows of one entity in the order ``(version, id)``."""
    place: tuple[int, ...] = (_LAST, _LAST) if newest_first else (-1, -1)
    if after is not None:
        place = read_cursor("history", after, int, int)
    if machine_name is None:
        names = yield from _ask(_MACHINES_OF_HISTORY, entity_id)
        machine_name = the_machine(entity_id, [_text(row[0]) for row in names])
        if machine_name is None:
            return Page([])
    rows = yield from _ask(
        _HISTORY_DOWN if newest_first else _HISTORY_UP, entity_id, machine_name, *place, limit + 1
    )
    return _page(
        [entry_of(row) for row in rows],
        limit,
        lambda entry: write_cursor("history", entry.version, entry.id),
    )


_ENTITIES: Final = Statement(
    "entities",
    f"SELECT {ENTITY_COLUMNS} FROM entity_states WHERE (entity_id, machine_name) > ($1, $2)"  # noqa: S608
    " AND ($3 IS NULL OR state = $3 OR $3 = ANY(string_to_array(state, '+')))"
    " AND ($4 IS NULL OR machine_name = $4) AND ($5 IS NULL OR state_since < $5)"
    " ORDER BY entity_id, machine_name LIMIT $6",
    (_TEXT, _TEXT, _TEXT, _TEXT, _TIME, _BIGINT),
)


def entities(
    state: str | None,
    machine_name: str | None,
    since: int | None,
    after: str | None,
    limit: int,
) -> Operation[Page[Entity]]:
    """Entities in the order of their keys."""
    place: tuple[str, ...] = ("", "") if after is None else read_cursor("entities", after, str, str)
    before = None if since is None else to_time(since)
    rows = yield from _ask(_ENTITIES, *place, state, machine_name, before, limit + 1)
    return _page(
        [entity_of(row) for row in rows],
        limit,
        lambda entity: write_cursor("entities", *entity.key),
    )


_COUNT: Final = Statement(
    "count",
    "SELECT state, count(*) FROM entity_states WHERE $1 IS NULL OR machine_name = $1"
    " GROUP BY state",
    (_TEXT,),
)


def count_by_state(machine_name: str | None) -> Operation[dict[str, int]]:
    """Configuration -> number of entities."""
    rows = yield from _ask(_COUNT, machine_name)
    return {_text(row[0]): number(row[1]) for row in rows}


_DUE: Final = Statement(
    "due",
    "SELECT entity_id, machine_name FROM entity_states WHERE next_due <= $1"
    " AND ($3 IS NULL OR machine_name = $3) ORDER BY next_due, entity_id, machine_name LIMIT $2",
    (_TIME, _BIGINT, _TEXT),
)


def due(now: int, limit: int, machine_name: str | None) -> Operation[list[Key]]:
    """Keys of entities with a deadline at or before ``now``, earliest first."""
    rows = yield from _ask(_DUE, to_time(now), limit, machine_name)
    return [(_text(row[0]), _text(row[1])) for row in rows]


_FEED: Final = Statement(
    "feed",
    f"SELECT {HISTORY_COLUMNS}, txid::text::bigint FROM transition_history"  # noqa: S608
    " WHERE (txid, id) > ($1::text::xid8, $2) AND txid < pg_snapshot_xmin(pg_current_snapshot())"
    " ORDER BY txid, id LIMIT $3",
    (_TEXT, _BIGINT, _BIGINT),
)


def feed(cursor: str | None, limit: int) -> Operation[Page[HistoryEntry]]:
    """Rows of all entities in the order ``(txid, id)``, below every transaction that still runs."""
    place: tuple[int, ...] = (0, 0) if cursor is None else read_cursor("feed", cursor, int, int)
    rows = yield from _ask(_FEED, str(place[0]), place[1], limit)
    items = [entry_of(row) for row in rows]
    if rows:
        place = (number(rows[-1][-1]), items[-1].id)
    return Page(items, write_cursor("feed", *place))


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _page(found: list[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    items = found[:limit]
    return Page(items, cursor(items[-1]) if len(found) > limit and items else None)
