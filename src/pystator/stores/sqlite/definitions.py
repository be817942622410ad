"""Definitions of machines in SQLite."""

import sqlite3
from typing import Final

from pystator.db.index_rows import ALIVE
from pystator.records import Page, StoredMachine
from pystator.stores.definitions import (
    MACHINE_COLUMNS,
    check_deletion,
    is_same,
    machine_page,
    machines_after,
    values_of,
)
from pystator.stores.keys import is_storable, rows_asked

__all__ = ["delete_machine", "save_machine", "stored_machine", "stored_machines"]

_ADD: Final = (
    f"INSERT INTO machines ({MACHINE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (name, version) DO NOTHING"
)
_FINGERPRINT: Final = "SELECT fingerprint FROM machines WHERE name = ? AND version = ?"
_ONE: Final = f"SELECT {MACHINE_COLUMNS} FROM machines WHERE name = ? AND version = ?"  # noqa: S608
_LAST: Final = (
    f"SELECT {MACHINE_COLUMNS} FROM machines WHERE name = ?"  # noqa: S608
    " ORDER BY created_at DESC, version DESC LIMIT 1"
)
_PAGE: Final = (
    f"SELECT {MACHINE_COLUMNS} FROM machines WHERE (name, version) > (?, ?)"  # noqa: S608
    " ORDER BY name, version LIMIT ?"
)

NEWEST: Final = (
    "SELECT version FROM machines WHERE name = ? ORDER BY created_at DESC, version DESC LIMIT 1"
)
LIVE: Final = f"SELECT count(*) FROM entity_states WHERE machine_name = ? AND {ALIVE}"  # noqa: S608
LIVE_OF: Final = f"{LIVE} AND machine_version = ?"
_DELETE: Final = "DELETE FROM machines WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"


def delete_machine(connection: sqlite3.Connection, name: str, version: str | None) -> int:
    """Delete a version, or all of them, in the transaction that is open; how many there were.

    Raises:
        ConfigurationError: Entities of this machine are alive; the caller undoes what was deleted.
    """
    if not is_storable(name, version):
        return 0
    newest = connection.execute(NEWEST, (name,)).fetchone()
    deleted = connection.execute(_DELETE, (name, version)).rowcount
    if deleted:
        if version is None or (version,) == newest:
            found = connection.execute(LIVE, (name,)).fetchone()
        else:
            found = connection.execute(LIVE_OF, (name, version)).fetchone()
        check_deletion(name, version, found[0])
    return deleted


def save_machine(connection: sqlite3.Connection, machine: StoredMachine) -> bool:
    """Keep a version that was checked; False when it was there already.

    Raises:
        ConfigurationError: This version was there with another fingerprint.
    """
    if connection.execute(_ADD, values_of(machine)).rowcount == 1:
        return True
    found = connection.execute(_FINGERPRINT, (machine.name, machine.version)).fetchone()
    return is_same(machine, found[0])


def stored_machine(
    connection: sqlite3.Connection, name: str, version: str | None
) -> StoredMachine | None:
    """This version, or the one that was stored last."""
    try:
        if version is None:
            row = connection.execute(_LAST, (name,)).fetchone()
        else:
            row = connection.execute(_ONE, (name, version)).fetchone()
    except UnicodeEncodeError:
        return None  # a lone surrogate: no such name was ever stored
    return None if row is None else StoredMachine(*row)


def stored_machines(
    connection: sqlite3.Connection, after: str | None, limit: int
) -> Page[StoredMachine]:
    """All versions in the order ``(name, version)``."""
    place = machines_after(after)
    limit = rows_asked(limit)
    rows = connection.execute(_PAGE, (*place, limit + 1))
    return machine_page([StoredMachine(*row) for row in rows], limit)
