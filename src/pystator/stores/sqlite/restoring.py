"""Parcels of another store into SQLite, in a transaction that is open."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from pystator.errors import InvalidValueError
from pystator.records import Outcome, OutcomeKind, Parcel
from pystator.stores.parcels import ENTITY_VALUES, ROW_VALUES, RawParcel, raw, unfit
from pystator.stores.sqlite.writes import APPLIED, REFUSALS, refused

__all__ = ["forget", "marks", "restore", "restore_marked"]

_KEY: Final = "entity_id = ? AND machine_name = ?"
VERSION: Final = f"SELECT version FROM entity_states WHERE {_KEY}"  # noqa: S608 - constants, here and below
NEWEST: Final = (
    f"SELECT version, commit_id FROM transition_history WHERE {_KEY}"  # noqa: S608
    " ORDER BY version DESC, id DESC LIMIT 1"
)
PUT: Final = (
    f"INSERT INTO entity_states ({', '.join(ENTITY_VALUES)}, entity_id, machine_name)"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(ENTITY_VALUES) + 2))})"
    " ON CONFLICT (entity_id, machine_name) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ENTITY_VALUES)
)
_ROW: Final = ", ".join([f'"{name}"' for name in (*ROW_VALUES, "entity_id", "machine_name")])
APPEND: Final = (
    f"INSERT INTO transition_history ({_ROW})"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(ROW_VALUES) + 2))})"
)
FORGET: Final = f"UPDATE transition_history SET event_id = NULL WHERE {_KEY} AND event_id = ?"  # noqa: S608
MARK: Final = "SELECT value FROM pystator_meta WHERE key = ?"
SET_MARK: Final = "INSERT OR REPLACE INTO pystator_meta (key, value) VALUES (?, ?)"
MARKS: Final = "SELECT key, value FROM pystator_meta WHERE substr(key, 1, length(?1)) = ?1"

_STALE: Final = Outcome(OutcomeKind.STALE)


def marks(connection: sqlite3.Connection, prefix: str) -> dict[str, str]:
    """The marks whose names begin so."""
    return dict(connection.execute(MARKS, (prefix,)).fetchall())


def forget(connection: sqlite3.Connection, ids: Sequence[tuple[str, str, str]]) -> None:
    """Forget event ids: their rows stay, without them."""
    connection.executemany(FORGET, ids)


def restore_marked(
    connection: sqlite3.Connection,
    parcels: Sequence[RawParcel],
    mark: str,
    before: str | None,
    after: str,
) -> bool:
    """Write all; False when the mark is another one. On an error the caller undoes what it did."""
    found = connection.execute(MARK, (mark,)).fetchone()
    if (None if found is None else found[0]) != before:
        return False
    strangers = [parcel.key for parcel in parcels if not _continues(connection, parcel)]
    if strangers:
        raise unfit(strangers)
    try:
        _write(connection, parcels)
    except REFUSALS as error:
        if _is_unique(error):
            raise unfit([parcel.key for parcel in parcels]) from error
        raise refused(error) from error
    connection.execute(SET_MARK, (mark, after))
    return True


def restore(connection: sqlite3.Connection, parcels: Sequence[Parcel]) -> list[Outcome]:
    """Write each that fits; one `Outcome` for each, in order."""
    return [_restore(connection, parcel) for parcel in parcels]


def _restore(connection: sqlite3.Connection, parcel: Parcel) -> Outcome:
    connection.execute("SAVEPOINT one")
    try:
        outcome = _try(connection, parcel)
        if outcome is not APPLIED:
            connection.execute("ROLLBACK TO one")
    finally:
        connection.execute("RELEASE one")
    return outcome


def _try(connection: sqlite3.Connection, parcel: Parcel) -> Outcome:
    try:
        each = raw(parcel)
        newest = connection.execute(NEWEST, each.key).fetchone()
        if newest != each.after or not _continues(connection, each):
            return _STALE
        _write(connection, [each])
    except InvalidValueError as error:
        return Outcome(OutcomeKind.REFUSED, error)
    except REFUSALS as error:
        return _STALE if _is_unique(error) else Outcome(OutcomeKind.REFUSED, refused(error))
    return APPLIED


def _continues(connection: sqlite3.Connection, parcel: RawParcel) -> bool:
    """The entity has the version that the parcel goes on from."""
    found = connection.execute(VERSION, parcel.key).fetchone()
    return (0 if found is None else found[0]) == parcel.base


def _write(connection: sqlite3.Connection, parcels: Sequence[RawParcel]) -> None:
    puts = [
        (*parcel.entity, parcel.entity_id, parcel.machine_name)
        for parcel in parcels
        if parcel.entity is not None
    ]
    rows = [
        (*row, parcel.entity_id, parcel.machine_name) for parcel in parcels for row in parcel.rows
    ]
    connection.executemany(PUT, puts)
    connection.executemany(APPEND, rows)


def _is_unique(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE
