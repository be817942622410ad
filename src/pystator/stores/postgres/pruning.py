"""Pruning of the PostgreSQL store, as operations: see `pystator.stores.postgres.ops`.

Nobody who writes is waited for or made to wait: a prune deletes rows that nobody changes, by their
ids, and a snapshot is one more row. Two prunes take turns, one statement each, and what one of them
has deleted the other finds gone: a cut whose guard is gone writes nothing.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pystator.records import Commit, Cut, Key
from pystator.stores.columns import UNLIMITED
from pystator.stores.postgres.encode import LARGEST, prepare
from pystator.stores.postgres.ops import Operation, Request
from pystator.stores.postgres.rows import Value, binary, from_time, integers, rows_of, texts
from pystator.stores.postgres.sql import ARRAYS, BIGINT, BIGINTS, TEXT, TIME, WRITE_NAMES, column
from pystator.stores.postgres.wire import Statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["prune_keys", "prune_rows"]

LOCK: Final = int.from_bytes(b"pyprune1", "big")
"""The key of the advisory lock by which prunes take turns."""

_NEXT: Final = (
    "SELECT h.entity_id, h.machine_name FROM transition_history h"
    " WHERE (h.entity_id, h.machine_name) > ({0}, {1})"
    " ORDER BY h.entity_id, h.machine_name, h.version LIMIT 1"
)
KEYS: Final = Statement(
    "prune_keys",
    f"WITH RECURSIVE k AS (({_NEXT.format('$1', '$2')}) UNION ALL SELECT n.* FROM k CROSS JOIN"  # noqa: S608 - constants, here and below
    f" LATERAL ({_NEXT.format('k.entity_id', 'k.machine_name')}) n)"
    " SELECT k.entity_id, k.machine_name, (SELECT h.recorded_at FROM transition_history h"
    " WHERE h.entity_id = k.entity_id AND h.machine_name = k.machine_name"
    " AND h.kind <> 'snapshot' ORDER BY h.version, h.id LIMIT 1) FROM k LIMIT $3",
    (TEXT, TEXT, BIGINT),
)

_SNAPSHOT: Final = {
    "entity_id": TEXT,
    "machine_name": TEXT,
    "version": BIGINT,
    "kind": TEXT,
    "payload": TEXT,
    "now": TIME,
    "context_patch": TEXT,
    "target_state": TEXT,
    "commit_id": TEXT,
    "machine_version": TEXT,
    "fingerprint": TEXT,
    "recorded_at": TIME,
}
"""What a snapshot says, of all that a row can."""
_PLACES: Final = [WRITE_NAMES.index(name) for name in _SNAPSHOT]
_COLUMNS: Final = ", ".join(column(place, kind) for place, kind in enumerate(_SNAPSHOT.values(), 4))
_NAMES: Final = ", ".join(_SNAPSHOT)

CUT: Final = Statement(
    "prune_cut",
    f"""WITH turn AS MATERIALIZED (SELECT true AS mine FROM pg_advisory_xact_lock({LOCK})
), won AS (
  DELETE FROM transition_history h WHERE h.id = ANY($1) AND (SELECT mine FROM turn) RETURNING h.id
), gone AS (
  DELETE FROM transition_history h WHERE h.id = ANY(ARRAY(
    SELECT c.id FROM unnest($2, $3) AS c (id, guard)
    WHERE c.guard = 0 OR c.guard IN (SELECT id FROM won)
  )) AND (SELECT mine FROM turn) RETURNING h.id
), written AS (
  INSERT INTO transition_history ({_NAMES}, success) SELECT {_NAMES}, true
  FROM unnest($1, {_COLUMNS}) AS s (guard, {_NAMES}) WHERE guard IN (SELECT id FROM won)
  AND (SELECT true FROM transition_history x WHERE x.entity_id = s.entity_id
    AND x.machine_name = s.machine_name AND x.version >= s.version AND x.kind = 'snapshot' LIMIT 1
  ) IS NULL
)
SELECT id FROM won UNION ALL SELECT id FROM gone""",  # noqa: S608
    (BIGINTS, BIGINTS, BIGINTS, *[ARRAYS[kind] for kind in _SNAPSHOT.values()]),
)


def prune_keys(after: Key | None, limit: int) -> Operation[list[tuple[Key, int | None]]]:
    """The next keys, each with the age of its oldest row."""
    result: PGresult = yield Request(KEYS, binary((*(after or ("", "")), limit)), True)
    return [
        (
            (entity_id, machine),
            None if recorded is None else from_time(recorded),
        )
        for entity_id, machine, recorded in rows_of(result)
    ]


def prune_rows(cuts: Sequence[Cut], recorded_at: int) -> Operation[list[int | None]]:
    """Do the cuts: one statement, or several where contexts are large."""
    answers: list[int | None] = []
    for part, snapshots in _parts(cuts, recorded_at):
        result: PGresult = yield Request(CUT, _params(part, snapshots), False)
        gone = {row[0] for row in rows_of(result)}
        for cut in part:
            lost = cut.guard is not None and cut.guard not in gone
            answers.append(None if lost else len(gone.intersection(cut.ids)))
    return answers


_Snapshots = list[tuple[Value, ...]]


def _parts(cuts: Sequence[Cut], recorded_at: int) -> Iterator[tuple[list[Cut], _Snapshots]]:
    """Cuts for one statement, and the rows of those that have a snapshot, in the same order."""
    part: list[Cut] = []
    snapshots: _Snapshots = []
    size = 0
    for cut in cuts:
        row = None if cut.snapshot is None else _row(cut.snapshot, recorded_at)
        if row is not None:
            added = sum([len(value) for value in row if isinstance(value, str)])
            if part and size + added > LARGEST:
                yield part, snapshots
                part, snapshots, size = [], [], 0
            snapshots.append(row)
            size += added
        part.append(cut)
    if part:
        yield part, snapshots


def _row(snapshot: Commit, recorded_at: int) -> tuple[Value, ...]:
    [write] = prepare([snapshot], recorded_at, UNLIMITED)
    if write.refused is not None and write.refused.error is not None:
        raise write.refused.error
    return tuple([write.rows[0][place] for place in _PLACES])


def _params(cuts: Sequence[Cut], snapshots: _Snapshots) -> list[bytes | None]:
    guards = [cut.guard for cut in cuts if cut.guard is not None]
    ids: list[int] = []
    whose: list[int] = []
    for cut in cuts:
        for each in (*cut.ids, *cut.replaced):
            if each != cut.guard:
                ids.append(each)
                whose.append(cut.guard or 0)
    params = [integers(each, BIGINT) for each in (guards, ids, whose)]
    for place, kind in enumerate(_SNAPSHOT.values()):
        column: list[Any] = [row[place] for row in snapshots]
        params.append(texts(column) if kind == TEXT else integers(column, kind))
    return params
