"""Connections to SQLite: opening them, waiting for a busy file, and what its errors mean.

SQLite's own busy handler is off: it sleeps a millisecond at least, ten times as long as a commit
takes, and it is not asked at all in some situations (a journal that is being recovered or
switched). `patiently` waits for all of them.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from pystator.db.resolve import SQLiteURL
from pystator.errors import FSMError, StoreUnavailableError

__all__ = ["BUSY_LIMIT", "begin_exclusive", "is_busy", "open_connection", "patiently", "translate"]

T = TypeVar("T")

BUSY_LIMIT: Final = 30.0
"""Seconds to wait for a file that others keep locked."""

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FIRST_PAUSE: Final = 0.000_05
_LONGEST_PAUSE: Final = 0.005
_MINIMUM: Final = (3, 35)


def open_connection(url: SQLiteURL, *, create: bool) -> sqlite3.Connection:
    """A connection in autocommit mode that any one thread at a time may use.

    Args:
        url: The file, or memory.
        create: Make the file when there is none; otherwise that is an error.

    Raises:
        StoreUnavailableError: The file cannot be opened.
    """
    if sqlite3.sqlite_version_info < _MINIMUM:
        raise StoreUnavailableError(
            f"this Python has SQLite {sqlite3.sqlite_version}; PyStator needs 3.35 or newer"
        )
    mode = "rwc" if create else "rw"
    name = ":memory:" if url.path is None else f"file:{quote(str(url.path))}?mode={mode}"
    try:
        return sqlite3.connect(
            name,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            uri=url.path is not None,
        )
    except sqlite3.Error as error:
        raise translate(error, url) from error


def is_busy(error: sqlite3.Error) -> bool:
    """Somebody else holds a lock: trying again later helps."""
    return _primary(error) in _BUSY


def patiently(call: Callable[[], T], limit: float) -> T:
    """Call until the file is not busy, for ``limit`` seconds; then the error as it is."""
    pause = _FIRST_PAUSE
    deadline = 0.0
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            now = time.monotonic()
            deadline = deadline or now + limit
            if now >= deadline:
                raise
        # Callers that met once must not meet again: the clock's last digits spread them.
        spread = 0.5 + (time.time_ns() & 0xFF) / 256
        time.sleep(min(pause * spread, deadline - now))
        pause = min(pause * 2, _LONGEST_PAUSE)


def begin_exclusive(connection: sqlite3.Connection, limit: float = BUSY_LIMIT) -> None:
    """Start the transaction in which nobody else writes, waiting for those who do."""
    patiently(lambda: connection.execute("BEGIN EXCLUSIVE"), limit)


def translate(
    error: sqlite3.Error, url: SQLiteURL, *, written: bool | None = None, limit: float = BUSY_LIMIT
) -> FSMError:
    """Our error for one of SQLite's.

    Args:
        error: SQLite's.
        url: The database, for the message.
        written: False when it is certain that nothing was written; None when that is not known.
        limit: How long a busy file was waited for.
    """
    where = str(url) if url.path is None else str(url.path)
    code = _primary(error)
    if code in _BUSY:
        why = (
            f"another process kept it locked for {limit:g} s; find out which, or wait and try again"
        )
    else:
        why = _REASONS.get(code or -1, str(error))
        if code == sqlite3.SQLITE_CANTOPEN:
            why = _not_opened(url)
    context: dict[str, object] = {
        "database": where,
        "sqlite": getattr(error, "sqlite_errorname", None),
    }
    if written is not None:
        context["written"] = written
    return StoreUnavailableError(f"{where}: {why}", context=context)


_REASONS: Final = {
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; SQLite has to write both",
    sqlite3.SQLITE_PERM: "no permission to open it",
    sqlite3.SQLITE_FULL: "the disk is full; nothing of this was written",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore a backup, or try: sqlite3 FILE .recover",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_IOERR: "reading or writing failed; look at the disk",
    sqlite3.SQLITE_TOOBIG: "a value is larger than SQLite can hold",
}


def _not_opened(url: SQLiteURL) -> str:
    path = url.path or Path()
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist; make it first"
    if path.is_dir():
        return "this is a folder; name a file"
    if not path.exists():
        return (
            f"there is no such file: run `pystator db init {url}`, "
            f"and if it cannot be made, see who may write to {path.parent}"
        )
    return "it cannot be opened; check its permissions"


def _primary(error: sqlite3.Error) -> int | None:
    """The primary result code; None for errors of Python's module itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
