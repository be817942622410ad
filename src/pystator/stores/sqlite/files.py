"""The connections of one SQLite store: one that writes, and as many readers as there are threads.

A fork is the one thing SQLite cannot survive: its locks belong to a process, and its books about
them would be inherited. So nothing is open at the moment of a fork: just before, every connection
is closed, and parent and child open their own when they need one.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, TypeVar

from pystator.db.resolve import SQLiteURL
from pystator.db.sqlite import open_connection, patiently, translate
from pystator.errors import StoreUnavailableError

__all__ = ["Files", "Synchronous"]

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL", "EXTRA", "OFF"]

_IDLE: Final = 8
"""Readers that are kept for the next read."""

_CHECKPOINT: Final = 4_000
"""Pages in the log before they are moved to the file. SQLite's 1,000 is 150 of our transactions;
with four times as many, a page that was written often is moved once."""


_CACHE: Final = "PRAGMA cache_size = -32768"
"""32 MB at most: the working set of some 50,000 entities."""


class Files:
    """Opens, lends and closes the connections to one database.

    Args:
        url: The file, or memory; memory has one connection, which everybody uses in turn.
        synchronous: SQLite's setting: how sure a commit is when power fails.
        busy_limit: Seconds to wait for a file that others keep locked.

    Attributes:
        turn: To be held by who uses the writer's connection.
    """

    def __init__(self, url: SQLiteURL, synchronous: Synchronous, busy_limit: float) -> None:
        self.url = url
        self.busy_limit = busy_limit
        self.is_open = False
        self.turn = threading.Lock()
        self._synchronous = synchronous
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._readers = 0
        self._opening = threading.Lock()
        self._forking = False

    # Lending --------------------------------------------------------------------------------------

    def open(self, *, create: bool) -> sqlite3.Connection:
        """Open the writer's connection; ``create`` makes the file when there is none."""
        self.is_open = True
        try:
            return self.guarded(lambda: self._open(create=create))
        except BaseException:
            self.is_open = False
            raise

    def writer(self) -> sqlite3.Connection:
        """The connection that writes, for who has the `turn`."""
        connection = self._writer
        if connection is None:
            self.check_open()
            connection = self.guarded(lambda: self._open(create=False))
        return connection

    def read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Call with a connection that nobody else uses meanwhile; writers do not wait for it."""
        if self.url.path is None:
            with self.turn:
                return call(self.writer())
        connection = self._borrow()
        try:
            return self.guarded(lambda: call(connection))
        finally:
            self._give_back(connection)

    def guarded(self, call: Callable[[], T]) -> T:
        """Call, waiting for a busy file; SQLite's errors become ours."""
        try:
            try:
                return call()
            except sqlite3.OperationalError:
                return patiently(call, self.busy_limit)
        except sqlite3.Error as error:
            raise translate(error, self.url, written=False, limit=self.busy_limit) from error

    def _open(self, *, create: bool) -> sqlite3.Connection:
        with self._opening:
            if self._writer is None:
                connection = open_connection(self.url, create=create)
                try:
                    self._set_up(connection)
                except BaseException:
                    connection.close()
                    raise
                self._writer = connection
            return self._writer

    def _set_up(self, connection: sqlite3.Connection) -> None:
        execute = connection.execute
        if self.url.path is not None:
            mode = execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreUnavailableError(
                    f"{self.url.path}: SQLite cannot keep a write-ahead log there "
                    f"(journal mode {mode}); use a local disk"
                )
        execute(f"PRAGMA synchronous = {self._synchronous}")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        execute(_CACHE)

    def check_open(self) -> None:
        """See that the store is connected.

        Raises:
            StoreUnavailableError: It is not.
        """
        if not self.is_open:
            raise StoreUnavailableError(
                f"the store of {self.url} is not connected: call store.connect() first",
                context={"written": False},
            )

    def _borrow(self) -> sqlite3.Connection:
        self.check_open()
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._opening:
            connection = open_connection(self.url, create=False)
            self._readers += 1
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._forking or (self.is_open and len(self._idle) < _IDLE):
            self._idle.append(connection)
            return
        connection.close()
        with self._opening:
            self._readers -= 1

    # The log's length -----------------------------------------------------------------------------

    def grow(self, pages: int) -> None:
        """Make the log file this long at once; to be called with the `turn`, between transactions.

        A commit that makes a file longer waits for the file system's own journal as well: appending
        six pages takes 420 us here, writing over six old ones 240. SQLite keeps the log's length,
        so this pays until the log has wrapped once. It is SQLite itself that writes: a transaction
        too large for its cache goes to the log before it is committed, and this one never is.
        """
        connection = self._writer
        if connection is None or self.url.path is None:
            return
        try:
            page: int = connection.execute("PRAGMA page_size").fetchone()[0]
            log = self.url.path.with_name(self.url.path.name + "-wal")
            if log.stat().st_size < pages * page:
                connection.execute("PRAGMA cache_size = 10")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "INSERT INTO pystator_meta VALUES ('', zeroblob(?))", (pages * page,)
                )
        except (OSError, sqlite3.Error):
            pass  # the log grows as it is written
        finally:  # also when this is interrupted: an open transaction locks everybody out
            with suppress(sqlite3.Error):
                connection.rollback()
                connection.execute(_CACHE)

    # Closing and forking --------------------------------------------------------------------------

    def close(self) -> None:
        """Close what is idle, and what is lent when it comes back."""
        with self.turn:
            self.shut()

    def shut(self) -> None:
        """`close`, for who has the `turn`."""
        self.is_open = False
        with self._opening:
            self._close_all()

    def before_fork(self) -> None:
        """Close everything, waiting for those who use it; `after_fork` lets them go on."""
        if self.url.path is None:
            return  # memory has no locks: the child gets a copy
        self.turn.acquire()
        self._opening.acquire()
        self._forking = True
        deadline = time.monotonic() + self.busy_limit
        self._close_all()
        while self._readers and time.monotonic() < deadline:
            time.sleep(0.001)
            self._close_all()

    def after_fork(self) -> None:
        """In parent and child: connections are opened again when they are needed."""
        if self.url.path is None:
            return
        self._forking = False
        self._opening.release()
        self.turn.release()

    def _close_all(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        while self._idle:
            self._idle.pop().close()
            self._readers -= 1
