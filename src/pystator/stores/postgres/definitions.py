"""Definitions of machines in PostgreSQL, as operations: see `pystator.stores.postgres.ops`."""

from typing import TYPE_CHECKING, Any, Final

from pystator.db.index_rows import ALIVE
from pystator.records import Page, StoredMachine
from pystator.stores.definitions import (
    MACHINE_COLUMNS,
    check_deletion,
    check_machine,
    is_same,
    machine_page,
    machines_after,
    values_of,
)
from pystator.stores.keys import is_storable, rows_asked
from pystator.stores.postgres.ops import Operation, Request
from pystator.stores.postgres.rows import binary, from_time, rows_of, to_time
from pystator.stores.postgres.sql import BIGINT, TEXT, TIME
from pystator.stores.postgres.wire import Statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["deleting_machine", "saving_machine", "stored_machine", "stored_machines"]

_ADD: Final = Statement(
    "machine_add",
    f"INSERT INTO machines ({MACHINE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608
    " ON CONFLICT (name, version) DO NOTHING",
    (TEXT, TEXT, TEXT, TEXT, TEXT, TIME),
)
_ONE: Final = Statement(
    "machine",
    f"SELECT {MACHINE_COLUMNS} FROM machines WHERE name = $1 AND version = $2",  # noqa: S608
    (TEXT, TEXT),
)
_LAST: Final = Statement(
    "machine_last",
    f"SELECT {MACHINE_COLUMNS} FROM machines WHERE name = $1"  # noqa: S608
    " ORDER BY created_at DESC, version DESC LIMIT 1",
    (TEXT,),
)
_PAGE: Final = Statement(
    "machines_page",
    f"SELECT {MACHINE_COLUMNS} FROM machines WHERE (name, version) > ($1, $2)"  # noqa: S608
    " ORDER BY name, version LIMIT $3",
    (TEXT, TEXT, BIGINT),
)

_LIVE: Final = (
    f"SELECT FROM entity_states e WHERE e.machine_name = $1 AND e.{ALIVE}"  # noqa: S608
    " AND octet_length(e.state) {0} 512"
    " AND ($2 IS NULL OR $2 = (SELECT version FROM newest) OR e.machine_version = $2)"
)
DELETE: Final = Statement(
    "machine_delete",
    f"""WITH newest AS MATERIALIZED (
  SELECT version FROM machines WHERE name = $1 ORDER BY created_at DESC, version DESC LIMIT 1
), live AS MATERIALIZED (
  SELECT count(*) AS number FROM ({_LIVE.format("<=")} UNION ALL {_LIVE.format(">")}) e
  WHERE (SELECT true FROM machines WHERE name = $1 AND ($2 IS NULL OR version = $2) LIMIT 1)
), gone AS (
  DELETE FROM machines WHERE name = $1 AND ($2 IS NULL OR version = $2)
  AND (SELECT number FROM live) = 0 RETURNING 1
)
SELECT (SELECT number FROM live), (SELECT count(*) FROM gone)""",  # noqa: S608
    (TEXT, TEXT),
)
"""Entities that are in the way are counted only where there is something to delete."""


def deleting_machine(name: str, version: str | None) -> Operation[int]:
    """Delete a version, or all of them, in one statement; how many there were.

    Raises:
        ConfigurationError: Entities of this machine are alive.
    """
    if not is_storable(name, version):
        return 0
    found: PGresult = yield Request(DELETE, binary([name, version]), False)
    live, deleted = rows_of(found)[0]
    check_deletion(name, version, live)
    return int(deleted)


def saving_machine(machine: StoredMachine) -> Operation[bool]:
    """Keep a version; False when it was there already.

    Raises:
        ConfigurationError: This version was there with another fingerprint.
        InvalidValueError: It cannot be stored.
    """
    check_machine(machine)
    *values, created_at = values_of(machine)
    result: PGresult = yield Request(_ADD, binary([*values, to_time(created_at)]), False)
    if result.command_tuples:
        return True
    there = yield from stored_machine(machine.name, machine.version)
    return is_same(machine, "" if there is None else there.fingerprint)


def stored_machine(name: str, version: str | None) -> Operation[StoredMachine | None]:
    """This version, or the one that was stored last."""
    if not is_storable(name, version):
        return None
    values = [name] if version is None else [name, version]
    statement = _LAST if version is None else _ONE
    found: PGresult = yield Request(statement, binary(values), True)
    return _machine(rows_of(found)[0]) if found.ntuples else None


def stored_machines(after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
    """All versions in the order ``(name, version)``."""
    place = machines_after(after)
    limit = rows_asked(limit)
    found: PGresult = yield Request(_PAGE, binary([*place, limit + 1]), True)
    return machine_page([_machine(row) for row in rows_of(found)], limit)


def _machine(row: tuple[Any, ...]) -> StoredMachine:
    name, version, fingerprint, description, definition, created_at = row
    return StoredMachine(name, version, fingerprint, description, definition, from_time(created_at))
