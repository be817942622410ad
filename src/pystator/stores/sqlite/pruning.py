"""Pruning of the SQLite store: keys with the age of their oldest row, and cuts."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from pystator.records import Commit, Cut, Key
from pystator.stores.columns import UNLIMITED
from pystator.stores.sqlite.ops import prepare

__all__ = ["prune_keys", "prune_rows"]

NEXT_KEY: Final = (
    "SELECT entity_id, machine_name FROM transition_history"
    " WHERE (entity_id, machine_name) > (?, ?) ORDER BY entity_id, machine_name LIMIT 1"
)
OLDEST: Final = (
    "SELECT recorded_at FROM transition_history"
    " WHERE entity_id = ? AND machine_name = ? AND kind <> 'snapshot'"
    " ORDER BY version, id LIMIT 1"
)
HAS_SNAPSHOT: Final = (
    "SELECT 1 FROM transition_history"
    " WHERE entity_id = ? AND machine_name = ? AND version >= ? AND kind = 'snapshot' LIMIT 1"
)
IS_THERE: Final = "SELECT 1 FROM transition_history WHERE id = ?"
DELETE: Final = "DELETE FROM transition_history WHERE id IN (SELECT value FROM json_each(?))"


def prune_keys(
    connection: sqlite3.Connection, after: Key | None, limit: int
) -> list[tuple[Key, int | None]]:
    """The next keys, one look into the index for each, and one at its oldest row."""
    found: list[tuple[Key, int | None]] = []
    place: Key = after or ("", "")
    while len(found) < limit:
        key: Key | None = connection.execute(NEXT_KEY, place).fetchone()
        if key is None:
            break
        row = connection.execute(OLDEST, key).fetchone()
        found.append((key, None if row is None else row[0]))
        place = key
    return found


def prune_rows(
    connection: sqlite3.Connection, cuts: Sequence[Cut], recorded_at: int
) -> list[int | None]:
    """Do the cuts, in the transaction that is open."""
    return [_cut(connection, cut, recorded_at) for cut in cuts]


def _cut(connection: sqlite3.Connection, cut: Cut, recorded_at: int) -> int | None:
    if cut.guard is not None and connection.execute(IS_THERE, (cut.guard,)).fetchone() is None:
        return None
    if cut.snapshot is not None and not _has_snapshot(connection, cut.snapshot):
        _append(connection, cut.snapshot, recorded_at)
    if cut.replaced:
        connection.execute(DELETE, (json.dumps(cut.replaced),))
    return connection.execute(DELETE, (json.dumps(list(cut.ids)),)).rowcount


def _has_snapshot(connection: sqlite3.Connection, commit: Commit) -> bool:
    place = (commit.entity_id, commit.machine_name, commit.new_version)
    return connection.execute(HAS_SNAPSHOT, place).fetchone() is not None


def _append(connection: sqlite3.Connection, commit: Commit, recorded_at: int) -> None:
    [write] = prepare([commit], recorded_at, UNLIMITED)
    if write.refused is not None and write.refused.error is not None:
        raise write.refused.error
    for statement, rows in write.runs:
        connection.executemany(statement, rows)
