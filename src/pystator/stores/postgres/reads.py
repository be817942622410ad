"""Paged reads of the PostgreSQL store, as operations: see `pystator.stores.postgres.ops`.

Each page is one statement, and so one moment. The planner must not choose how to find it: what it
guesses of parameters is wrong, and a plan that is right for a thousand rows is wrong for a million.
So every statement is bounded by an index, in that index's order; tests look at the plans.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pystator.db.index_rows import ALIVE, ARCHIVED
from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.columns import HISTORY_COLUMNS
from pystator.stores.keys import is_storable, page_of, read_cursor, rows_asked, write_cursor
from pystator.stores.postgres import listing
from pystator.stores.postgres.ops import Operation, Request
from pystator.stores.postgres.rows import (
    Row,
    Value,
    binary,
    entity_of,
    entry_of,
    rows_of,
    to_time,
)
from pystator.stores.postgres.sql import BIGINT, TEXT, TIME, column
from pystator.stores.postgres.wire import Statement
from pystator.stores.programs import the_machine

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["asking", "count_by_state", "due", "entities", "history", "listed", "machines"]

_LAST: Final = 2**63 - 1

_LATEST: Final = 253_402_300_800_000_000
"""The year 10,000 in microseconds since 1970: a deadline after it is none that Python can show."""

MACHINES: Final = Statement(
    "machines",
    "SELECT machine_name FROM entity_states WHERE entity_id = $1 ORDER BY machine_name",
    (TEXT,),
)
_NEXT: Final = (
    "SELECT h.machine_name FROM transition_history h WHERE h.entity_id = $1{} "
    "ORDER BY h.machine_name, h.version LIMIT 1"
)
MACHINES_OF_HISTORY: Final = Statement(
    "machines_of_history",
    f"WITH RECURSIVE m AS (({_NEXT.format('')}) UNION ALL SELECT n.* FROM m CROSS JOIN LATERAL"  # noqa: S608
    f" ({_NEXT.format(' AND h.machine_name > m.machine_name')}) n) SELECT machine_name FROM m",
    (TEXT,),
)
_HISTORY: Final = (
    f"SELECT {HISTORY_COLUMNS} FROM transition_history"  # noqa: S608 - constants, here and below
    " WHERE entity_id = $1 AND machine_name = $2 AND (version, id)"
)
HISTORY_UP: Final = Statement(
    "history_up",
    f"{_HISTORY} > ($3, $4) ORDER BY version, id LIMIT $5",
    (TEXT, TEXT, BIGINT, BIGINT, BIGINT),
)
HISTORY_DOWN: Final = Statement(
    "history_down",
    f"{_HISTORY} < ($3, $4) ORDER BY version DESC, id DESC LIMIT $5",
    (TEXT, TEXT, BIGINT, BIGINT, BIGINT),
)


def asking(statement: Statement, *values: Value) -> Operation[list[Row]]:
    """The rows; none for a text that was never stored, as PostgreSQL has none like it."""
    if not is_storable(*[value for value in values if isinstance(value, str)]):
        return []
    result: PGresult = yield Request(statement, binary(values), reads=True)
    return rows_of(result)


def listed(names: Sequence[str]) -> bytes:
    """Names as a parameter of `sql.column`; the one empty name twice, as once it would be none."""
    return "\x1f".join(names if tuple(names) != ("",) else ("", "")).encode()


def machines(entity_id: str) -> Operation[list[str]]:
    """Names of the machines that have an entity of this id, sorted."""
    return [row[0] for row in (yield from asking(MACHINES, entity_id))]


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
        names = yield from asking(MACHINES_OF_HISTORY, entity_id)
        machine_name = the_machine(entity_id, [row[0] for row in names])
        if machine_name is None:
            return Page([])
    statement = HISTORY_DOWN if newest_first else HISTORY_UP
    rows = yield from asking(statement, entity_id, machine_name, *place, rows_asked(limit) + 1)
    return page_of(
        [entry_of(row) for row in rows],
        limit,
        lambda entry: write_cursor("history", entry.version, entry.id),
    )


def entities(
    state: str | None,
    machines: tuple[str, ...] | None,
    since: int | None,
    after: str | None,
    limit: int,
    *,
    archived: bool,
) -> Operation[Page[Entity]]:
    """Entities in the order of their keys."""
    place: tuple[str, ...] = ("", "") if after is None else read_cursor("entities", after, str, str)
    machine = machines[0] if machines is not None and len(machines) == 1 else None
    several = None if machines is None or machine is not None else listed(machines)
    before = None if since is None else to_time(since)
    asked = [value for value in (state, machine, several, before) if value is not None]
    if not asked and not archived and not (yield from asking(listing.IS_ANY_ARCHIVED)):
        statement = listing.ALL
    else:
        statement = listing.statement(
            state=state is not None,
            machine=machine is not None,
            machines=several is not None,
            since=since is not None,
            archived=archived,
        )
    rows = yield from asking(statement, *place, rows_asked(limit) + 1, *asked)
    return page_of(
        [entity_of(row) for row in rows],
        limit,
        lambda entity: write_cursor("entities", *entity.key),
    )


# In the order of an index, so that no plan reads the table. States too long for this one have
# another.
_COUNT: Final = (
    "SELECT state, count(*) FROM (SELECT machine_name, state FROM entity_states"
    " WHERE octet_length(state) <= 512 AND {0}{1} ORDER BY machine_name, state, entity_id OFFSET 0"
    ") short GROUP BY machine_name, state UNION ALL SELECT state, count(*) FROM entity_states"
    " WHERE octet_length(state) > 512 AND {0}{1} GROUP BY machine_name, state"
)
_COUNT_OF: Final = (
    f"SELECT s.* FROM (SELECT DISTINCT unnest({column(1, TEXT)}) AS machine) k CROSS JOIN LATERAL"  # noqa: S608
    f" ({_COUNT.format('{0}', ' AND machine_name = k.machine')}) s"
)
COUNT: Final = (
    Statement("count", _COUNT.format(ALIVE, ""), ()),
    Statement("count_archived", _COUNT.format(ARCHIVED, ""), ()),
)
COUNT_OF: Final = (
    Statement("count_of", _COUNT_OF.format(ALIVE), (TEXT,)),
    Statement("count_archived_of", _COUNT_OF.format(ARCHIVED), (TEXT,)),
)
"""Each for those that live and for those that are archived."""


def count_by_state(
    machines: tuple[str, ...] | None, *, archived: bool
) -> Operation[dict[str, int]]:
    """Configuration -> number of entities."""
    found: Counter[str] = Counter()
    if machines is None:
        rows = yield from asking(COUNT[archived])
    else:
        rows = yield from asking(COUNT_OF[archived], listed(machines))
    for state, count in rows:
        found[state] += count
    return dict(found)


_DUE: Final = (
    f"SELECT entity_id, machine_name FROM entity_states WHERE next_due <= $1 AND {ALIVE}{{}}"  # noqa: S608
    " ORDER BY next_due, entity_id, machine_name LIMIT $2"
)
DUE: Final = Statement("due", _DUE.format(""), (TIME, BIGINT))
DUE_OF: Final = Statement("due_of", _DUE.format(" AND machine_name = $3"), (TIME, BIGINT, TEXT))


def due(now: int, limit: int, machine_name: str | None) -> Operation[list[Key]]:
    """Keys of entities with a deadline at or before ``now``, earliest first."""
    named = () if machine_name is None else (machine_name,)
    moment = to_time(min(now, _LATEST))
    rows = yield from asking(DUE_OF if named else DUE, moment, rows_asked(limit), *named)
    return [(row[0], row[1]) for row in rows]
