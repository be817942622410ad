"""Commits written in a transaction that somebody else began and ends: all of each, or nothing."""

import sqlite3
from typing import Any, Final

from pystator.errors import InvalidValueError
from pystator.records import Outcome, OutcomeKind
from pystator.stores.sqlite.ops import IS_KNOWN, Run, Write, extend

__all__ = ["APPLIED", "REFUSALS", "refused", "write_all", "write_alone", "write_one"]

APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)


def write_all(connection: sqlite3.Connection, writes: list[Write]) -> list[Outcome] | None:
    """Write all of them as if none was stale; None when one is: undo all."""
    if len(writes) == 1:
        outcome = write_one(connection, writes[0])
        return [outcome] if outcome is APPLIED else None
    puts: dict[str, list[tuple[Any, ...]]] = {}
    runs: list[Run] = []
    for write in writes:
        if write.refused is not None:
            continue
        if write.put is not None:
            puts.setdefault(write.put, []).append(write.values)
        for statement, rows in write.runs:
            extend(runs, statement, rows)
    try:
        for statement, values in puts.items():
            if connection.executemany(statement, values).rowcount != len(values):
                return None
        for statement, rows in runs:
            connection.executemany(statement, rows)
    except REFUSALS:
        return None
    return [APPLIED if write.refused is None else write.refused for write in writes]


REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""What a row can be to blame for."""


def write_one(connection: sqlite3.Connection, write: Write) -> Outcome:
    """Write one; unless it is applied, the caller undoes what was written of it."""
    if write.refused is not None:
        return write.refused
    try:
        if write.put is not None and connection.execute(write.put, write.values).rowcount != 1:
            return _DUPLICATE if _is_known(connection, write) else _STALE
        for statement, rows in write.runs:
            if len(rows) == 1:
                connection.execute(statement, rows[0])
            else:
                connection.executemany(statement, rows)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            return _DUPLICATE
        return Outcome(OutcomeKind.REFUSED, refused(error))
    except REFUSALS as error:
        return Outcome(OutcomeKind.REFUSED, refused(error))
    return APPLIED


def write_alone(connection: sqlite3.Connection, write: Write) -> Outcome:
    """Write one among others: all of it, or nothing of it."""
    connection.execute("SAVEPOINT one")
    outcome = write_one(connection, write)
    if outcome is not APPLIED:
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")
    return outcome


def _is_known(connection: sqlite3.Connection, write: Write) -> bool:
    return any(connection.execute(IS_KNOWN, key).fetchone() for key in write.keys)


def refused(error: Exception) -> InvalidValueError:
    """The error of a commit that cannot be stored."""
    return InvalidValueError(f"the commit cannot be stored: {error}")
