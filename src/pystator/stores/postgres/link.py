"""The way to a PostgreSQL server: pools of connections, and the two functions that use them.

::

    run  (any thread)  --> psycopg's ConnectionPool -+--> Wire --> server
    arun (event loops) --> LoopPool, one a loop -----'

Laws:

- An idle connection is looked at before it is used: one that the server has closed costs nobody an
  error, a new one takes its place.
- A statement whose conversation was broken off - by a deadline, a cancellation, an interrupt - is
  cancelled on the server, and its connection is closed.
- What is done about an error is decided by `Trouble`, for both faces.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from pystator.db.postgres import (
    OPTIONS,
    conninfo,
    is_pooled,
    open_connection,
    translate,
    warn_of_pooler,
)
from pystator.db.postgres_schema import telling
from pystator.db.postgres_url import PostgresURL
from pystator.errors import FSMError, StoreUnavailableError
from pystator.stores.glance import Glance
from pystator.stores.postgres.errors import Trouble
from pystator.stores.postgres.waiting import (
    LateError,
    abandon,
    astop,
    await_for,
    stop,
    wait_for,
)
from pystator.stores.postgres.wire import Params, Statement, Stream, Wire

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

    from pystator.stores.postgres.loops import LoopPool, Loops

__all__ = ["Link"]

_SLICE: Final = 0.25
"""Seconds between two tries to reach a server that does not answer."""

_CANCELLING: Final = 1.0
"""Seconds that who interrupts a statement waits for the server to have heard of it."""

_LOST: Final = 1.0
"""Seconds without a connection, after which one may be missing."""

_RECENT: Final = 1.5
"""Seconds for which a failure tells why there is no connection now."""

_MAX_IDLE: Final = 600.0
_MAX_LIFETIME: Final = 3_600.0
"""Seconds after which a connection is closed: names of hosts change."""

_QUIET: Final = 60.0
"""Seconds between two lines in the log about a server that gives no connection."""

_NAME: Final = "pystator"
"""Of the pool, in its lines of the log."""

_log = logging.getLogger("pystator.postgres")

_STRANDED: Final[list[object]] = []
"""What a forked child must not close: it is the parent's."""


class SyncConnection(psycopg.Connection[TupleRow]):
    """A connection that knows its wire."""

    wire: Wire


class Link:
    """Connections to one database, for all threads and event loops of this process.

    Args:
        url: The database.
        pool_size: Connections of the threads, and of each event loop, at most.
        timeout: Seconds to wait for a connection, and for the answer to a statement.
        prepare: Prepare statements; None finds out whether a pooler stands in between.

    Attributes:
        streams: `run_all` can be used.
    """

    streams = True

    def __init__(
        self, url: PostgresURL, *, pool_size: int, timeout: float, prepare: bool | None
    ) -> None:
        self.url = url
        self.pool_size = pool_size
        self.timeout = timeout
        self.prepare = prepare
        self.is_open = False
        self.conninfo = ""
        self.max_idle = _MAX_IDLE
        self.max_lifetime = _MAX_LIFETIME
        self._failure: tuple[float, psycopg.Error] | None = None
        self._told = float("-inf")
        self._lock = threading.RLock()
        self._pool: ConnectionPool[SyncConnection] | None = None
        self._connections: WeakSet[SyncConnection] = WeakSet()
        self._loops: Loops | None = None
        turn = threading.Lock()
        self._glances = (Glance(turn), Glance(turn))  # at what was written, at what was read

    # Opening and closing --------------------------------------------------------------------------

    def open(self, first: Callable[[psycopg.Connection[TupleRow]], None]) -> None:
        """Connect, once; further calls wait for the first and do nothing.

        Args:
            first: Is given a connection before anybody else gets one.

        Raises:
            StoreUnavailableError: There is no connection to be had.
        """
        with self._lock:
            if self.is_open:
                return
            self.conninfo = conninfo(self.url)
            with closing(open_connection(self.url)) as connection:
                if self.prepare is None:
                    self._look_for_pooler(connection)
                first(connection)
            self.is_open = True

    def close(self) -> None:
        """Close every connection; those in use are closed when they come back."""
        with self._lock:
            pool, self._pool = self._pool, None
            loops, self._loops = self._loops, None
            self.is_open = False
        if pool is not None:
            pool.close()
        if loops is not None:
            loops.close()

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; it makes its own."""
        self._lock = threading.RLock()
        turn = threading.Lock()
        self._glances = (Glance(turn), Glance(turn))
        _STRANDED.append((self._pool, self._loops))
        self._pool = None
        self._loops = None
        self._connections = WeakSet()  # they are not lost ones of its own
        self._failure = None

    def check_open(self) -> None:
        """Refuse to work before `open` and after `close`.

        Raises:
            StoreUnavailableError: It is not open.
        """
        if not self.is_open:
            raise self.closed()

    def closed(self) -> StoreUnavailableError:
        """The error of who works with it before `open` or after `close`."""
        return StoreUnavailableError(
            f"the store of {self.url} is not connected: call store.connect() first",
            context={"database": str(self.url), "written": False},
        )

    # Blocking -------------------------------------------------------------------------------------

    def run(self, statement: Statement, params: Params, *, reads: bool = False) -> "PGresult":
        """Execute a statement in a transaction of its own.

        Args:
            statement: The statement.
            params: Its values, in binary form.
            reads: It writes nothing, so that it may be sent again whatever happened to it.

        Raises:
            psycopg.Error: A value is to blame; nothing was written.
            StoreUnavailableError: As `pystator.stores.postgres.errors` says.
        """
        trouble: Trouble | None = None
        while True:
            connection = self._take()
            wire = connection.wire
            wire.sent = False
            talk = wire.talk(statement, params)
            try:
                try:
                    result = wait_for(wire, talk, self.timeout, self._glances[reads])
                except LateError as late:
                    result = stop(wire, talk, late)
            except psycopg.Error as error:
                trouble = trouble or self.trouble(reads=reads)
                pause = trouble.pause_after(error, wire, statement)
            else:
                return result
            finally:
                self._give_back(connection)
            time.sleep(pause)

    def run_all(self, stream: Stream) -> None:
        """Execute statements one after the other, each in a transaction of its own.

        Raises:
            StoreUnavailableError: The connection was lost; what was not taken is unknown.
        """
        trouble: Trouble | None = None
        while True:
            connection = self._take()
            wire = connection.wire
            try:
                wait_for(wire, wire.talk_all(stream), self.timeout)
            except psycopg.Error as error:
                trouble = trouble or self.trouble(reads=stream.reads)
                pause = trouble.pause_after(error, wire, None)
            else:
                return
            finally:
                self._give_back(connection)
            time.sleep(pause)

    def _take(self) -> SyncConnection:
        """A connection that nobody else uses meanwhile, and that works as far as one can know.

        Raises:
            StoreUnavailableError: There is none in time.
        """
        deadline = 0.0
        patience = _SLICE
        while True:
            pool = self._pool or self._opened()
            try:
                connection = pool.getconn(patience)
            except PoolTimeout:
                now = time.monotonic()
                deadline = deadline or now - patience + self.timeout
                if now > deadline - self.timeout + _LOST:
                    self._heal(pool)
                if now >= deadline and not self._recent_failure():
                    made = sum(not each.closed for each in self._connections)
                    raise self.waited_in_vain(made) from None
                patience = self.next_wait(deadline - now)
                continue
            except PoolClosed:
                self.check_open()
                continue
            if connection.wire.is_alive():
                return connection
            self._give_back(connection)

    def _give_back(self, connection: SyncConnection) -> None:
        if not connection.wire.is_clean():
            thread = abandon(connection.pgconn)
            if thread is not None:
                thread.join(_CANCELLING)
        pool: Any = connection._pool  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # the link may have another by now
        pool.putconn(connection)

    def _opened(self) -> ConnectionPool[SyncConnection]:
        with self._lock:
            self.check_open()  # not before: it may be closed while this thread waits
            if self._pool is None:
                self._pool = ConnectionPool(
                    self.conninfo,
                    connection_class=_noting(self),
                    kwargs=OPTIONS,
                    min_size=0,
                    max_size=self.pool_size,
                    open=False,
                    configure=self._configure,
                    max_idle=_MAX_IDLE,
                    max_lifetime=_MAX_LIFETIME,
                    reconnect_timeout=_SLICE,
                    num_workers=1,
                    name=_NAME,
                )
                self._pool.open()
            return self._pool

    def _heal(self, pool: ConnectionPool[SyncConnection]) -> None:
        """Make a new pool when connections are missing from the old one.

        An interrupt that comes when a connection has just been handed out loses it; the pool goes
        on counting it. One that cannot be made, or takes its time, is missing as well: that is not
        meant.
        """
        if self._recent_failure() is not None:
            return
        with self._lock:
            counted = pool.get_stats()["pool_size"]
            if pool is self._pool and counted == self.pool_size > len(self._connections):
                self._pool = None
                pool.close(timeout=0)  # it would wait for a connection that is being made

    def _configure(self, connection: SyncConnection) -> None:
        connection.wire = self.wire(connection.pgconn)
        self._connections.add(connection)

    # Async ----------------------------------------------------------------------------------------

    async def arun(
        self, statement: Statement, params: Params, *, reads: bool = False
    ) -> "PGresult":
        """`run` on the running loop."""
        from asyncio import sleep

        trouble: Trouble | None = None
        while True:
            pool = self._loop_pool()
            connection = await pool.take()
            wire = connection.wire
            wire.sent = False
            talk = wire.talk(statement, params)
            try:
                try:
                    result = await await_for(wire, talk, self.timeout)
                except LateError as late:
                    result = await astop(wire, talk, late)
            except psycopg.Error as error:
                trouble = trouble or self.trouble(reads=reads)
                pause = trouble.pause_after(error, wire, statement)
            else:
                return result
            finally:
                pool.give_back(connection)
            await sleep(pause)

    async def arun_all(self, stream: Stream) -> None:
        """`run_all` on the running loop."""
        from asyncio import sleep

        trouble: Trouble | None = None
        while True:
            pool = self._loop_pool()
            connection = await pool.take()
            wire = connection.wire
            try:
                await await_for(wire, wire.talk_all(stream), self.timeout)
            except psycopg.Error as error:
                trouble = trouble or self.trouble(reads=stream.reads)
                pause = trouble.pause_after(error, wire, None)
            else:
                return
            finally:
                pool.give_back(connection)
            await sleep(pause)

    def _loop_pool(self) -> "LoopPool":
        loops = self._loops
        if loops is None:
            from pystator.stores.postgres.loops import Loops  # blocking programs never pay for it

            with self._lock:
                self.check_open()
                if self._loops is None:
                    self._loops = Loops(self)
                loops = self._loops
        return loops.pool(None)

    # What both need -------------------------------------------------------------------------------

    def trouble(self, *, reads: bool) -> Trouble:
        """For a statement that met an error."""
        return Trouble(self.url, reads=reads, patience=self.timeout, connections=self.pool_size)

    def next_wait(self, left: float) -> float:
        """How long to wait for a connection of the pool after a wait that was in vain.

        Raises:
            StoreUnavailableError: The time is up.
        """
        if left <= 0:
            raise self.exhausted()
        return min(left, _SLICE if self._recent_failure() else 1.0)

    def next_try(self, deadline: float) -> float:
        """How long to wait after a connection could not be made.

        Raises:
            StoreUnavailableError: The time is up, or waiting does not help.
        """
        if time.monotonic() > deadline:
            raise self.exhausted()
        return _SLICE

    def exhausted(self) -> FSMError:
        """There was no connection in time: is the server to blame, or the size of the pool?"""
        failure = self._recent_failure()
        if failure is not None:
            told = translate(failure, self.url, written=False)
            told.__cause__ = failure
            return told
        return StoreUnavailableError(
            f"{self.url}: all {self.pool_size} connections were in use for {self.timeout:g} s: "
            "give the store a larger pool_size, or see what keeps them busy",
            context={"database": str(self.url), "pool_size": self.pool_size, "written": False},
        )

    def waited_in_vain(self, made: int) -> FSMError:
        """Of so many connections: all are in use, or one is still being made, or cannot be."""
        if made >= self.pool_size or self._recent_failure() is not None:
            return self.exhausted()
        return StoreUnavailableError(
            f"{self.url}: the server did not answer to a new connection within {self.timeout:g} s: "
            "see whether it is overloaded or out of reach, or give the store a longer timeout",
            context={"database": str(self.url), "written": False},
        )

    def _recent_failure(self) -> psycopg.Error | None:
        """Why a connection could not be made just now."""
        failure = self._failure
        recent = failure is not None and time.monotonic() - failure[0] < _RECENT
        return failure[1] if failure is not None and recent else None

    def note_failure(self, error: psycopg.Error) -> None:
        """Keep why a connection could not be made: the pool only tells that there is none."""
        now = time.monotonic()
        self._failure = (now, error)
        if now - self._told > _QUIET:
            self._told = now
            told = translate(error, self.url).message
            _log.warning("no connection now, calls try for %g s: %s", self.timeout, told)

    def wire(self, pgconn: "PGconn") -> Wire:
        """For a new connection."""
        return Wire(pgconn, prepares=self.prepare is not False)

    def _look_for_pooler(self, connection: psycopg.Connection[TupleRow]) -> None:
        """Prepare nothing behind one, and say so: once, to who calls `connect`."""
        with telling(self.url):
            self.prepare = not is_pooled(connection)
        if not self.prepare:
            warn_of_pooler(self.url)


def _is_of_others(line: logging.LogRecord) -> bool:
    """Not a pool of ours: it would warn of every try, several a second, and name the user."""
    ours: tuple[object, ...] = line.args if isinstance(line.args, tuple) else ()
    return line.levelno != logging.WARNING or not any(
        each == _NAME or isinstance(each, SyncConnection) for each in ours
    )


logging.getLogger("psycopg.pool").addFilter(_is_of_others)


def _noting(link: Link) -> type[SyncConnection]:
    """A class whose connections tell the link why they could not be made."""

    class Connection(SyncConnection):
        @classmethod
        def connect(cls, *arguments: Any, **options: Any) -> Any:
            try:
                return super().connect(*arguments, **options)
            except psycopg.Error as error:
                link.note_failure(error)
                raise

    return Connection
