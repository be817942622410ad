"""The change feed of the PostgreSQL store, as operations: see `pystator.stores.postgres.ops`.

Ids are given before a commit, and commits end in another order: who remembers the last id misses
what comes late. So rows are in the order of the transactions that wrote them, up to the oldest that
still runs, which may yet write among them; below it, everything that will be there is there.

What is there will not change. So a feed that is filtered may be read in steps: first how far is
looked, then what fits up to there.
"""

from typing import Final

from pystator.records import HistoryEntry, Page
from pystator.stores.columns import HISTORY_COLUMNS
from pystator.stores.cursors import Cursors
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.postgres.ops import Operation
from pystator.stores.postgres.reads import asking, listed
from pystator.stores.postgres.rows import Row, entry_of
from pystator.stores.postgres.sql import BIGINT, TEXT, column
from pystator.stores.postgres.wire import Statement

__all__ = ["feed", "feed_end"]

_Place = tuple[int, ...]
"""Transaction and id of a row."""

_ROWS: Final = f"SELECT {HISTORY_COLUMNS}, txid::text::bigint FROM transition_history WHERE"  # noqa: S608 - constants, here and below
_SETTLED: Final = "transition_history.txid < pg_snapshot_xmin(pg_current_snapshot())"
_BEYOND: Final = f"(transition_history.txid, id) > ($1::xid8, $2) AND {_SETTLED}"

FEED: Final = Statement(
    "feed",
    f"{_ROWS} {_BEYOND} ORDER BY transition_history.txid, id LIMIT $3",
    (TEXT, BIGINT, BIGINT),
)
FEED_END: Final = Statement(
    "feed_end",
    f"SELECT txid::text::bigint, id FROM transition_history WHERE {_SETTLED}"  # noqa: S608
    " ORDER BY transition_history.txid DESC, id DESC LIMIT 1",
    (),
)
LOOKED_AT: Final = 10_000
"""Rows that one page of a filtered feed looks at, at most."""
FEED_PART: Final = Statement(
    "feed_part",
    "SELECT p.txid::text::bigint, p.id, count(*) OVER () FROM (SELECT txid, id"  # noqa: S608
    f" FROM transition_history WHERE {_BEYOND} ORDER BY txid, id LIMIT {LOOKED_AT}) p"
    " ORDER BY p.txid DESC, p.id DESC LIMIT 1",
    (TEXT, BIGINT),
)
"""The last row of the next ones, and how many they are."""

_IS_ASKED: Final = f"($6 IS NULL OR machine_name = ANY ({column(6, TEXT)}))"
_TYPES: Final = (TEXT, BIGINT, BIGINT, TEXT, BIGINT, TEXT, TEXT)
FEED_AMONG: Final = Statement(
    "feed_among",
    f"{_ROWS} (transition_history.txid, id) > ($1::xid8, $2)"
    f" AND (transition_history.txid, id) <= ($4::xid8, $5) AND {_IS_ASKED}"
    " AND ($7 IS NULL OR entity_id || '' = $7) ORDER BY transition_history.txid, id LIMIT $3",
    _TYPES,
)
"""Among the next rows of all, in their order. Its spelling leaves no other index to the planner."""
_NUMBER: Final = "transition_history.txid::text::bigint"
FEED_OF_ENTITY: Final = Statement(
    "feed_of_entity",
    f"{_ROWS} entity_id = $7 AND ({_NUMBER}, id) > ($1::bigint, $2)"
    f" AND ({_NUMBER}, id) <= ($4::bigint, $5) AND {_IS_ASKED} ORDER BY {_NUMBER}, id LIMIT $3",
    _TYPES,
)
"""Among the rows of an entity, by their index, again by its spelling."""


def feed(
    cursor: str | None, limit: int, machines: tuple[str, ...] | None, entity_id: str | None
) -> Operation[Page[HistoryEntry]]:
    """Rows of all entities in the order ``(txid, id)``, below every transaction that still runs."""
    place: _Place = (0, 0) if cursor is None else read_cursor("feed", cursor, int, int)
    limit = rows_asked(limit)
    end = place
    if machines is None and entity_id is None:
        rows = yield from asking(FEED, str(place[0]), place[1], limit)
    elif limit and is_storable(entity_id):
        rows, end = yield from _chosen(place, limit, machines, entity_id)
    else:
        rows = []
    places = [(row[-1], row[0]) for row in rows]
    if places and (len(places) == limit or end == place):
        end = places[-1]
    cursors = Cursors("feed", places)
    return Page([entry_of(row) for row in rows], write_cursor("feed", *end), cursors)


def _chosen(
    place: _Place, limit: int, machines: tuple[str, ...] | None, entity_id: str | None
) -> Operation[tuple[list[Row], _Place]]:
    """Some of the next rows, and how far was looked.

    Who follows the feed looks at what is new. Who comes from far behind for one entity finds its
    rows by their index, and for machines goes through all, part by part.
    """
    after = (str(place[0]), place[1])
    part = yield from asking(FEED_PART, *after)
    if not part:
        return [], place
    txid, number, count = part[0]
    statement = FEED_AMONG
    if count == LOOKED_AT and entity_id is not None:
        statement = FEED_OF_ENTITY
        txid, number = (yield from asking(FEED_END))[0]
    names = None if machines is None else listed(machines)
    rows = yield from asking(statement, *after, limit, str(txid), number, names, entity_id)
    return rows, (txid, number)


def feed_end() -> Operation[str]:
    """The cursor after the last row that is settled."""
    rows = yield from asking(FEED_END)
    return write_cursor("feed", *(rows[0] if rows else (0, 0)))
