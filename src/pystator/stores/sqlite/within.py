"""The SQLite store inside a transaction of its caller.

Laws:

- Nothing here commits, and nothing undoes what the caller wrote. What fails is undone up to a
  savepoint, and the transaction goes on.
- An event takes the file's write lock before it reads: what it decides on can then not be changed
  by others before the caller's commit. It waits for the lock as the store does.
- A transaction that has read before somebody else wrote can never write any more; SQLite says so,
  and the caller has to run it again.
- Statements are executed by cursors of ours: the caller's ``row_factory`` stays the caller's.
"""

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar, cast

from pystator.db.resolve import SQLiteURL
from pystator.db.sqlite import is_busy, translate
from pystator.errors import ConfigurationError, StaleVersionError, StoreUnavailableError
from pystator.records import Loaded, Lookup, Outcome
from pystator.stores.borrowed import driver_connection, refuse
from pystator.stores.sqlite.ops import Write, load
from pystator.stores.sqlite.writes import write_all, write_alone

__all__ = ["Borrowed"]

T = TypeVar("T")

_LOCK: Final = "UPDATE entity_states SET version = version WHERE 0"
"""Changes nothing, and takes the write lock."""

_FIRST_PAUSE: Final = 0.000_05
_LONGEST_PAUSE: Final = 0.005


def _commits_by_itself(connection: sqlite3.Connection) -> bool:
    mode: bool | int = getattr(connection, "autocommit", -1)  # Python 3.12; -1 is "as before"
    return connection.isolation_level is None if mode == -1 else bool(mode)


class _Statements:
    """The caller's connection as far as the store's functions use one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute a statement by a cursor of ours."""
        return sqlite3.Cursor(self._connection).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        """Execute a statement many times."""
        return sqlite3.Cursor(self._connection).executemany(sql, parameters)

    @property
    def in_transaction(self) -> bool:
        """A transaction is open."""
        return self._connection.in_transaction

    def rollback(self) -> None:
        """End a transaction that a read has begun."""
        self._connection.rollback()


class Borrowed:
    """Stands for a store's files and its writer: everything goes over the caller's connection.

    Args:
        given: The driver's connection, or a SQLAlchemy ``Connection`` or ``Session`` over it.
        url: The store's database.
        limit: Seconds to wait for the file's write lock.
        reading: Nothing will be written: neither a transaction nor the lock is needed.

    Raises:
        ConfigurationError: The connection is something else, or of another database.
        StoreUnavailableError: It is closed, or belongs to another thread.
    """

    _connection: sqlite3.Connection
    _statements: sqlite3.Connection

    def __init__(self, given: object, url: SQLiteURL, limit: float, *, reading: bool) -> None:
        self._given = given
        self._url = url
        self._limit = limit
        self._reading = reading
        self._take()

    def _take(self) -> None:
        """Take the connection that is the caller's now: in a later transaction, it may be another.

        Raises:
            ConfigurationError: It is none of the store's database.
        """
        driver = driver_connection(self._given)
        if driver is getattr(self, "_connection", None):
            return
        if not isinstance(driver, sqlite3.Connection):
            refuse(
                self._given,
                "the sqlite3.Connection of your transaction, or a SQLAlchemy Connection or Session"
                " over it",
            )
        self._connection = driver
        self._statements = cast("sqlite3.Connection", _Statements(driver))
        self._check_database()

    def _check_database(self) -> None:
        path = self._url.path
        if path is None:
            raise ConfigurationError(
                f"connection=: the store of {self._url} is in memory, where no connection but its"
                " own can reach it; use a file",
                context={"option": "connection"},
            )
        with self._guarded():
            databases = self._statements.execute("PRAGMA database_list").fetchall()
        main = next((row[2] for row in databases if row[1] == "main"), None) or ""
        try:
            same = path.samefile(main)
        except OSError:
            same = False
        if not same:
            raise ConfigurationError(
                f"connection= is one of {main or 'a database in memory'}, and the store is in"
                f" {path}: one transaction cannot hold both",
                context={"option": "connection", "database": main, "store": str(path)},
            )

    # As files -------------------------------------------------------------------------------------

    def read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Call with the caller's connection."""
        self._take()
        return self._read(call)

    def _read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        with self._guarded():
            return call(self._statements)

    # As a writer ----------------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, as the transaction sees them."""
        for pause in () if self._reading else self._lock():
            time.sleep(pause)
        return self.read(lambda connection: load(connection, lookups))

    def commit(self, writes: list[Write]) -> list[Outcome]:
        """Write, for the caller to commit."""
        for pause in self._lock():
            time.sleep(pause)
        return self._write(writes)

    def alone(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Call with the caller's connection; what it raises undoes what it wrote, and no more."""
        for pause in self._lock():
            time.sleep(pause)
        with self._guarded(), self._undoable():
            return call(self._statements)

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio: in the loop's own thread, as the connection is the caller's."""
        if not self._reading:
            await self._alock()
        return self.read(lambda connection: load(connection, lookups))

    async def acommit(self, writes: list[Write]) -> list[Outcome]:
        """`commit` for asyncio."""
        await self._alock()
        return self._write(writes)

    def append_later(self, writes: list[Write]) -> None:
        """Rows of the transaction, too."""
        self.commit(writes)

    def flush(self) -> None:
        """Nothing waits here."""

    async def _alock(self) -> None:
        import asyncio  # blocking programs never pay for it

        for pause in self._lock():
            await asyncio.sleep(pause)

    def _lock(self) -> Generator[float, None, None]:
        """Take the file's write lock; yields pauses to make while others hold it.

        Raises:
            StaleVersionError: Others wrote since this transaction has begun to read.
            StoreUnavailableError: Others held it for too long.
            ConfigurationError: There is no transaction, and the caller has to begin it.
        """
        self._take()
        self._check_transaction()
        pause, deadline = _FIRST_PAUSE, 0.0
        while not self._try_to_lock():  # each time: it may be another transaction by now
            now = time.monotonic()
            deadline = deadline or now + self._limit
            if now >= deadline:
                raise StoreUnavailableError(
                    f"{self._url.path}: another connection kept the file locked for"
                    f" {self._limit:g} s; it may be this program's own: inside of a transaction,"
                    " give connection= to every call",
                    context={"database": str(self._url.path), "written": False},
                )
            yield min(pause * (0.5 + (time.time_ns() & 0xFF) / 256), deadline - now)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _check_transaction(self) -> None:
        with self._guarded():
            if self._connection.in_transaction:
                return
            if _commits_by_itself(self._connection):
                raise ConfigurationError(
                    "connection= is in no transaction, and commits each statement by itself: begin"
                    ' one first, with connection.execute("BEGIN IMMEDIATE")',
                    context={"option": "connection"},
                )

    def _try_to_lock(self) -> bool:
        with self._guarded():
            execute = self._statements.execute
            # The connection's own waiting is off meanwhile: it would hold up an event loop.
            patience: int = execute("PRAGMA busy_timeout").fetchone()[0]
            execute("PRAGMA busy_timeout = 0")
            try:
                # As the driver would before its first INSERT, where the caller has not begun.
                execute(_LOCK if self._connection.in_transaction else "BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT or not is_busy(error):
                    raise
                return False
            finally:
                execute(f"PRAGMA busy_timeout = {patience}")
            return True

    def _write(self, writes: list[Write]) -> list[Outcome]:
        with self._guarded(), self._undoable():
            outcomes = write_all(self._statements, writes)
            if outcomes is None:
                self._statements.execute("ROLLBACK TO pystator")
                outcomes = [write_alone(self._statements, write) for write in writes]
            return outcomes

    @contextmanager
    def _undoable(self) -> Generator[None, None, None]:
        """What is written within it is undone by an error, up to a savepoint."""
        execute = self._statements.execute
        execute("SAVEPOINT pystator")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has rolled everything back already
                execute("ROLLBACK TO pystator")
                execute("RELEASE pystator")
            raise
        execute("RELEASE pystator")

    @contextmanager
    def _guarded(self) -> Generator[None, None, None]:
        """The caller's settings put aside; SQLite's errors become ours."""
        connection = self._connection
        text = connection.text_factory
        began = False
        try:
            began = connection.in_transaction
            connection.text_factory = str
            yield
        except sqlite3.Error as error:
            raise self._translated(error, began=began) from error
        finally:
            connection.text_factory = text

    def _translated(self, error: sqlite3.Error, *, began: bool) -> Exception:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return StaleVersionError(
                f"{self._url.path}: others have written since this transaction read, so it cannot"
                " write any more: roll it back and run it again; one that begins with"
                " BEGIN IMMEDIATE does not meet this",
                context={"database": str(self._url.path), "again": "transaction"},
            )
        ours = translate(error, self._url, written=False, limit=self._limit)
        if began and not self._is_open():
            ours.message += "; SQLite has rolled the whole transaction back"
            ours.args = (ours.message,)
        return ours

    def _is_open(self) -> bool:
        try:
            return self._connection.in_transaction
        except sqlite3.Error:
            return False
