"""The PostgreSQL store inside a transaction of its caller.

Laws:

- Nothing here commits, and nothing undoes what the caller wrote. Each statement stands between a
  savepoint and its release, in one round trip; one that fails is undone up to there, and the
  transaction goes on.
- An error that only a new transaction can mend is a `StaleVersionError`: a snapshot that is too
  old, a deadlock.
- Waiting has a deadline. A statement that is late is cancelled on the server: the connection stays
  the caller's, in good order. An interrupt or a cancellation leaves it so, too: the waiting is its
  driver's own.
- Nothing is prepared: the names of prepared statements are the caller's and the driver's.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeGuard
from weakref import WeakSet

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from pystator.db.postgres import translate
from pystator.errors import ConfigurationError, StaleVersionError, StoreUnavailableError
from pystator.stores.borrowed import adriver_connection, driver_connection, refuse
from pystator.stores.postgres.errors import blames_a_row, is_unique
from pystator.stores.postgres.rows import Row, rows_of
from pystator.stores.postgres.waiting import LateError, request_cancel
from pystator.stores.postgres.wire import Params, Statement

if TYPE_CHECKING:
    import threading

    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

    from pystator.stores.postgres.link import Link

__all__ = ["Borrowed", "Guests"]

_Blocking = psycopg.Connection[Any]
_Async = psycopg.AsyncConnection[Any]

_HOME: Final = Statement(
    "home",
    "SELECT d.oid::int8, to_regclass('entity_states')::oid::int8, pg_postmaster_start_time()"
    " FROM pg_database d WHERE d.datname = current_database()",
    (),
)
"""Tells the tables of one schema of one database of one server from all others."""


def _plain(sql: str) -> Statement:
    return Statement("", sql, ())


_SAVEPOINT: Final = _plain("SAVEPOINT pystator")
_RELEASE: Final = _plain("RELEASE SAVEPOINT pystator")
_UNDO: Final = _plain("ROLLBACK TO SAVEPOINT pystator")
_ISOLATION: Final = _plain("SHOW transaction_isolation")

_OK: Final = frozenset({int(ExecStatus.TUPLES_OK), int(ExecStatus.COMMAND_OK)})
_SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
_GRACE: Final = 5.0
"""Seconds for a cancelled statement to come back."""

_AGAIN: Final = {
    "40001": "because others have changed what it had read",
    "40P01": "because it and another transaction waited for each other (it helps to send events to"
    " entities in the same order everywhere)",
}
"""SQLSTATE -> why a transaction has to be run again."""


class Guests:
    """The connections of callers that are known to be of the store's own database.

    Attributes:
        home: What `_HOME` says of the store's.
    """

    def __init__(self) -> None:
        self.home: Row | None = None
        self._known: WeakSet[object] = WeakSet()

    def know(self, connection: object) -> bool:
        """It was looked at before."""
        return connection in self._known

    def add(self, connection: object) -> None:
        """It is of the store's own database."""
        self._known.add(connection)


class Borrowed:
    """Stands for a store's link: every statement goes over the caller's connection.

    Args:
        connection: The driver's, or a SQLAlchemy object that has one.
        link: The store's own way to the server.
        guests: What is known of callers' connections.
        reading: Nothing will be written: a transaction is not needed.
    """

    streams = False

    def __init__(self, connection: object, link: "Link", guests: Guests, *, reading: bool) -> None:
        self._given = connection
        self._link = link
        self._guests = guests
        self._reading = reading

    # The two functions that do I/O ----------------------------------------------------------------

    def run(self, statement: Statement, params: Params, *, reads: bool = False) -> "PGresult":
        """Execute a statement in the caller's transaction.

        Raises:
            psycopg.Error: A value is to blame; nothing was written.
            StaleVersionError: The caller has to run the transaction again.
            StoreUnavailableError: The connection failed, or a lock was not free in time.
            ConfigurationError: The connection is none of this database in a transaction.
        """
        del reads  # of a statement that failed, nothing is left either way
        connection = _blocking(driver_connection(self._given))
        if not self._guests.know(connection):
            theirs = _row(self._ask(connection, _HOME, ()))
            if theirs != self._guests.home:
                self._guests.home = _row(self._link.run(_HOME, (), reads=True))
            self._check_home(connection, theirs)
        return self._ask(connection, statement, params)

    async def arun(
        self, statement: Statement, params: Params, *, reads: bool = False
    ) -> "PGresult":
        """`run` on the running loop."""
        del reads
        connection = _async(await adriver_connection(self._given))
        if not self._guests.know(connection):
            theirs = _row(await self._aask(connection, _HOME, ()))
            if theirs != self._guests.home:
                self._guests.home = _row(await self._link.arun(_HOME, (), reads=True))
            self._check_home(connection, theirs)
        return await self._aask(connection, statement, params)

    def _ask(self, connection: _Blocking, statement: Statement, params: Params) -> "PGresult":
        try:
            with connection.lock:
                self._check_state(connection)
                return connection.wait(self._talk(connection, statement, params))
        except psycopg.Error as error:
            self._tell(error)

    async def _aask(self, connection: _Async, statement: Statement, params: Params) -> "PGresult":
        try:
            async with connection.lock:  # other tasks may use it, in turn
                self._check_state(connection)
                return await connection.wait(self._talk(connection, statement, params))
        except psycopg.Error as error:
            self._tell(error)

    # What both need -------------------------------------------------------------------------------

    def _check_home(self, connection: object, theirs: Row) -> None:
        """See that the caller's connection sees the store's tables.

        Raises:
            ConfigurationError: It does not.
        """
        if theirs == self._guests.home:
            self._guests.add(connection)
            return
        url = self._link.url
        if theirs[1] is None:
            what = "does not see the store's tables: its database or its search_path is another one"
        else:
            what = "is one of another database or schema: one transaction cannot hold both"
        raise ConfigurationError(
            f"connection= {what}; the store is in {url}",
            context={"option": "connection", "store": str(url)},
        )

    def _check_state(self, connection: _Blocking | _Async) -> None:
        """See that a statement can be sent, and is not committed by itself.

        Raises:
            ConfigurationError: It cannot, or would be.
            StoreUnavailableError: The connection is closed.
        """
        if connection.closed:
            raise StoreUnavailableError(
                "connection= is closed, or lost: nothing of its transaction is committed",
                context={"database": str(self._link.url), "written": False},
            )
        pgconn = connection.pgconn
        status = pgconn.transaction_status
        why = ""
        if pgconn.pipeline_status != PipelineStatus.OFF:
            why = "is in pipeline mode: leave its pipeline() first"
        elif status == TransactionStatus.INERROR:
            why = "is in a transaction that has failed: roll it back, and run it again"
        elif status == TransactionStatus.ACTIVE:
            why = "is in the middle of a statement: read its results first"
        elif connection.autocommit and status == TransactionStatus.IDLE and not self._reading:
            why = (
                "is in no transaction, and commits each statement by itself: begin one first, with"
                " `with connection.transaction():`"
            )
            if connection is not self._given:
                why += ", or give it another isolation_level than AUTOCOMMIT"
        if why:
            raise ConfigurationError(f"connection= {why}", context={"option": "connection"})

    def _talk(
        self, connection: _Blocking | _Async, statement: Statement, params: Params
    ) -> "PQGen[PGresult]":
        """Begin where the driver would, and execute a statement that can be undone alone."""
        pgconn = connection.pgconn
        steps: list[tuple[Statement, Params]] = [(statement, params)]
        if pgconn.transaction_status == TransactionStatus.INTRANS or not connection.autocommit:
            steps = [(_SAVEPOINT, ()), *steps, (_RELEASE, ())]
            if pgconn.transaction_status == TransactionStatus.IDLE:
                steps.insert(0, (_plain(_begin(connection)), ()))
        try:
            results = yield from _exchange(pgconn, steps, self._link.timeout)
        except psycopg.Error as error:
            if pgconn.transaction_status == TransactionStatus.INERROR:
                yield from _exchange(pgconn, [(_UNDO, ()), (_RELEASE, ())], _GRACE)
                if is_unique(error) and (yield from _sees_a_snapshot(pgconn)):
                    # Whose it is can never be seen from in here.
                    raise errors.SerializationFailure(str(error)) from error
            raise
        return results[[step[0] for step in steps].index(statement)]

    def _tell(self, error: psycopg.Error) -> NoReturn:
        """Raise our error, or the driver's where a value is to blame.

        Raises:
            psycopg.Error: As it came.
            FSMError: What it means for the caller.
        """
        if blames_a_row(error):
            raise error
        url = self._link.url
        why = _AGAIN.get(error.sqlstate or "")
        if why is not None:
            raise StaleVersionError(
                f"{url}: this transaction cannot go on, {why}: roll it back and run it again",
                context={
                    "database": str(url),
                    "sqlstate": error.sqlstate,
                    "again": "transaction",
                },
            ) from error
        if isinstance(error, errors.ReadOnlySqlTransaction):
            raise ConfigurationError(
                "connection= is in a transaction that only reads: begin one that writes, on a"
                " server that is no standby",
                context={"option": "connection"},
            ) from error
        if isinstance(error, LateError | errors.LockNotAvailable):
            raise StoreUnavailableError(
                f"{url}: the server did not answer in time; another transaction may have locked the"
                " entity, perhaps this program's own: inside of a transaction, give connection= to"
                " every call",
                context={
                    "database": str(url),
                    "sqlstate": error.sqlstate,
                    "written": False,
                },
            ) from error
        raise translate(error, url, written=False) from error


def _row(result: "PGresult") -> Row:
    return rows_of(result)[0]


def _is_blocking(connection: object) -> TypeGuard[_Blocking]:
    return isinstance(connection, psycopg.Connection)


def _is_async(connection: object) -> TypeGuard[_Async]:
    return isinstance(connection, psycopg.AsyncConnection)


def _blocking(connection: object) -> _Blocking:
    if _is_async(connection):
        raise ConfigurationError(
            "connection= is an AsyncConnection, and this call is blocking: use its async twin, e.g."
            " await async_process_event(...)",
            context={"option": "connection"},
        )
    if not _is_blocking(connection):
        refuse(
            connection,
            "the psycopg.Connection of your transaction, or a SQLAlchemy Connection or Session over"
            " one (postgresql+psycopg://)",
        )
    return connection


def _async(connection: object) -> _Async:
    if _is_blocking(connection):
        raise ConfigurationError(
            "connection= is blocking, and this call is async: it would hold up the event loop. Use"
            " an AsyncConnection, or the blocking twin of this call",
            context={"option": "connection"},
        )
    if not _is_async(connection):
        refuse(
            connection,
            "the psycopg.AsyncConnection of your transaction, or a SQLAlchemy AsyncConnection or"
            " AsyncSession over one (postgresql+psycopg://)",
        )
    return connection


# Conversations: generators that a connection's own `wait` runs ------------------------------------


def _begin(connection: _Blocking | _Async) -> str:
    """What the driver would send before the first statement of a transaction."""
    parts = ["BEGIN"]
    if connection.isolation_level is not None:
        level = psycopg.IsolationLevel(connection.isolation_level).name.replace("_", " ")
        parts.append(f"ISOLATION LEVEL {level}")
    if connection.read_only is not None:
        parts.append("READ ONLY" if connection.read_only else "READ WRITE")
    if connection.deferrable is not None:
        parts.append("DEFERRABLE" if connection.deferrable else "NOT DEFERRABLE")
    return " ".join(parts)


def _sees_a_snapshot(pgconn: "PGconn") -> "PQGen[bool]":
    """The transaction never sees what others commit after it has begun."""
    results = yield from _exchange(pgconn, [(_ISOLATION, ())], _GRACE)
    return _row(results[0])[0] not in {"read committed", "read uncommitted"}


def _exchange(
    pgconn: "PGconn", steps: Sequence[tuple[Statement, Params]], seconds: float
) -> "PQGen[list[PGresult]]":
    """Execute statements in one round trip; after one that fails, the rest is not executed.

    Raises:
        psycopg.Error: The first that failed.
        LateError: It took longer than so many seconds, and was cancelled.
    """
    deadline = _Deadline(pgconn, seconds)
    pgconn.enter_pipeline_mode()
    try:
        for statement, params in steps:
            pgconn.send_query_params(statement.sql, params, statement.types, statement.formats, 1)
        pgconn.pipeline_sync()
        while pgconn.flush():
            if (yield Wait.RW) & Ready.R:
                pgconn.consume_input()
            deadline.check()
        results: list[PGresult] = []
        while not results or results[-1].status != _SYNC:
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
                deadline.check()
            result = pgconn.get_result()
            if result is not None:
                results.append(result)
    finally:
        with suppress(psycopg.Error):
            pgconn.exit_pipeline_mode()
    yield from deadline.settle()
    for result in results[:-1]:
        if result.status not in _OK:
            deadline.blame(errors.error_from_result(result))
    return results


class _Deadline:
    """Has the server cancel what takes too long, and gives up when it does not."""

    def __init__(self, pgconn: "PGconn", seconds: float) -> None:
        self._pgconn = pgconn
        self._end = time.monotonic() + seconds
        self._is_late = False
        self._request: threading.Thread | None = None

    def check(self) -> None:
        """See how late it is.

        Raises:
            LateError: The server does not even cancel: the connection is closed.
        """
        if time.monotonic() < self._end:
            return
        if self._is_late:
            self._pgconn.finish()
            raise LateError("the server did not answer in time")
        self._is_late = True
        self._end = time.monotonic() + _GRACE
        self._request = request_cancel(self._pgconn)

    def settle(self) -> "PQGen[None]":
        """Wait until a request to cancel is over: it would cancel the caller's next statement.

        Raises:
            LateError: It is not over in time: the connection is closed.
        """
        request, pgconn = self._request, self._pgconn
        if request is None:
            return
        end = time.monotonic() + _GRACE
        try:
            while request.is_alive() and time.monotonic() < end and not _is_lost(pgconn):
                if (yield Wait.R):
                    with suppress(psycopg.Error):  # of a connection that was lost meanwhile
                        pgconn.consume_input()
        finally:
            if request.is_alive():
                pgconn.finish()
        if _is_lost(pgconn):
            raise LateError("the server did not answer in time")

    def blame(self, error: psycopg.Error) -> NoReturn:
        """Raise the error of a statement.

        Raises:
            LateError: It was cancelled because it was late.
            psycopg.Error: The error itself.
        """
        if self._is_late and isinstance(error, errors.QueryCanceled):
            raise LateError("the server did not answer in time") from error
        raise error


def _is_lost(pgconn: "PGconn") -> bool:
    return pgconn.status == ConnStatus.BAD
