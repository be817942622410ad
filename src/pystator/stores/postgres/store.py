"""The store in a PostgreSQL database: durable, for any number of processes and machines."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self, TypeVar, cast

from pystator.db.extras import from_extra
from pystator.db.postgres_url import find_postgres
from pystator.db.resolve import one_url
from pystator.errors import ConfigurationError
from pystator.records import (
    Commit,
    Cut,
    Entity,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    Page,
    Parcel,
    StoredMachine,
)
from pystator.stores.codec import LIMIT
from pystator.stores.facade import StoreFacade
from pystator.stores.linked import LinkedStore, check_options
from pystator.stores.operated import OperatedStore
from pystator.stores.parcels import RawParcel
from pystator.stores.prunable import apart

with from_extra("postgres", "psycopg", "psycopg_pool"):
    from pystator.db.postgres_schema import ensure
    from pystator.stores.postgres import definitions, feed, pruning, reads
    from pystator.stores.postgres.driving import arun, run
    from pystator.stores.postgres.encode import Write, prepare
    from pystator.stores.postgres.link import Link
    from pystator.stores.postgres.ops import Operation, Request, loading
    from pystator.stores.postgres.restoring import forgetting, marks, restoring, restoring_marked
    from pystator.stores.postgres.wire import Stream
    from pystator.stores.postgres.within import Borrowed, Guests
    from pystator.stores.postgres.writing import committing, streaming

__all__ = ["PostgresStateStore"]

T = TypeVar("T")


class PostgresStateStore(LinkedStore[Link, Write], OperatedStore[Request | Stream]):
    """A state store in a PostgreSQL database.

    A load is one statement, and so is a commit, whether of one entity or of a thousand. What is
    answered is as durable as the server's ``synchronous_commit`` makes it.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value`` with every option that
            libpq knows, and ``prepare=false``. By default ``PYSTATOR_DATABASE_URL``, then
            ``pystator.cfg``; there is no other default.
        machine_name: The machine whose entities the public methods mean when they are given none.
        pool_size: Connections that the threads of this process share, and as many for each event
            loop, at most.
        timeout: Seconds to wait for a connection, and for the answer to a statement; after them a
            `StoreUnavailableError`.
        prepare: Prepare statements. By default the URL's ``prepare``, and without one they are
            prepared unless a pooler such as pgbouncer is found in between.
        context_limit: Bytes an encoded context may have.
        clock: The wall clock, in microseconds since the epoch; the system's by default.
        connection_string: Another name of ``url``.

    Raises:
        ConfigurationError: The URL or an option is wrong, none is given, or the driver is missing
            (it comes with the extra ``postgres``).
    """

    durable: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    combines: ClassVar[bool] = True
    in_flight: ClassVar[int] = 2

    def __init__(
        self,
        url: str | None = None,
        *,
        machine_name: str | None = None,
        pool_size: int = 10,
        timeout: float = 30.0,
        prepare: bool | None = None,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
        connection_string: str | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        check_options(pool_size, timeout)
        _check_prepare(prepare)
        parsed = find_postgres(one_url(url, connection_string))
        self.url = str(parsed)
        link = Link(
            parsed,
            pool_size=pool_size,
            timeout=timeout,
            prepare=parsed.prepare if prepare is None else prepare,
        )
        self.guests = Guests()
        self._begin(link, lambda writes: run(link, committing(writes)))

    def __repr__(self) -> str:
        return f"PostgresStateStore({self.url!r})"

    # Opening and closing --------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Connect to the server; a second call does nothing.

        Args:
            auto_initialize: Make the tables when there are none. Any number of processes may do so
                at once.
            validate_schema: Refuse a schema that this release does not fit.

        Raises:
            SchemaError: The database has no tables of ours, or older ones; the message says which
                command to run.
            StoreUnavailableError: There is no connection to be had; the message says why.
        """
        self._link.open(
            lambda connection: ensure(
                connection,
                self._link.url,
                auto_initialize=auto_initialize,
                validate_schema=validate_schema,
            )
        )
        self._later.wake()
        return self

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        return run(self._link, loading(lookups, streams=self._link.streams)) if lookups else []

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        return run(self._link, self._committing(commits)) if commits else []

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows in a moment, together with others; returns at once."""
        self._later.add(prepare(commits, self.now(), self.context_limit))

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        if not lookups:
            return []
        return await arun(self._link, loading(lookups, streams=self._link.streams))

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await arun(self._link, self._committing(commits)) if commits else []

    def within(self, connection: object, *, reading: bool = False) -> "PostgresStateStore":
        """This store inside the caller's own transaction, see `NativeStore.within`.

        Args:
            connection: A ``psycopg.Connection`` (for async calls ``AsyncConnection``), or one of
                SQLAlchemy's (``Connection``, ``Session``, their async kinds) over it. One that
                commits each statement by itself has to have begun a transaction; where the driver
                begins it by itself, that happens here.
            reading: Nothing will be written: a transaction is not needed.

        Raises:
            StoreUnavailableError: This store is not connected.
        """
        return _Within(self, connection, reading=reading)

    def _committing(self, commits: Sequence[Commit]) -> Operation[list[Outcome]]:
        if self._link.streams:
            return streaming(commits, self.now(), self.context_limit)
        return committing(prepare(commits, self.now(), self.context_limit))

    # Operations -----------------------------------------------------------------------------------

    def ask(self, operation: Operation[T]) -> T:
        """Run an operation, blocking."""
        return run(self._link, operation)

    async def aask(self, operation: Operation[T]) -> T:
        """Run an operation on the running loop."""
        return await arun(self._link, operation)

    def _machines(self, entity_id: str) -> Operation[list[str]]:
        return reads.machines(entity_id)

    def _history(
        self,
        entity_id: str,
        machine: str | None,
        after: str | None,
        limit: int,
        *,
        newest_first: bool,
    ) -> Operation[Page[HistoryEntry]]:
        return reads.history(entity_id, machine, after, limit, newest_first=newest_first)

    def _entities(
        self,
        state: str | None,
        machines: tuple[str, ...] | None,
        since: int | None,
        after: str | None,
        limit: int,
        *,
        archived: bool,
    ) -> Operation[Page[Entity]]:
        return reads.entities(state, machines, since, after, limit, archived=archived)

    def _count_by_state(
        self, machines: tuple[str, ...] | None, *, archived: bool
    ) -> Operation[dict[str, int]]:
        return reads.count_by_state(machines, archived=archived)

    def _due(self, now: int, limit: int, machine: str | None) -> Operation[list[Key]]:
        return reads.due(now, limit, machine)

    def _feed(
        self,
        cursor: str | None,
        limit: int,
        machines: tuple[str, ...] | None,
        entity_id: str | None,
    ) -> Operation[Page[HistoryEntry]]:
        return feed.feed(cursor, limit, machines, entity_id)

    def _feed_end(self) -> Operation[str]:
        return feed.feed_end()

    def _prune_keys(self, after: Key | None, limit: int) -> Operation[list[tuple[Key, int | None]]]:
        return pruning.prune_keys(after, limit)

    def _prune_rows(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        return pruning.prune_rows(cuts, self.now())

    def _restore(self, parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
        return restoring(parcels)

    def _save_machine(self, machine: StoredMachine) -> Operation[bool]:
        return definitions.saving_machine(machine)

    def _stored_machine(self, name: str, version: str | None) -> Operation[StoredMachine | None]:
        return definitions.stored_machine(name, version)

    def _stored_machines(self, after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
        return definitions.stored_machines(after, limit)

    def _delete_machine(self, name: str, version: str | None) -> Operation[int]:
        return definitions.deleting_machine(name, version)

    # What a replicator does -----------------------------------------------------------------------

    def marks(self, prefix: str) -> dict[str, str]:
        """The marks whose names begin so."""
        return run(self._link, marks(prefix))

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """Put parcels in and change a mark, all or nothing; see `MarkedStore`."""
        return run(self._link, restoring_marked(parcels, mark, before, after))

    def forget_events(self, ids: Sequence[tuple[str, str, str]]) -> None:
        """Forget event ids; see `MarkedStore`."""
        run(self._link, forgetting(ids))


class _Within(PostgresStateStore):
    """A store whose statements go over the caller's connection; made by `within`.

    What is wrong with the connection is said when it is used first: only then is it known whether
    by blocking or by async code.
    """

    def __init__(self, store: PostgresStateStore, connection: object, *, reading: bool) -> None:
        StoreFacade.__init__(
            self,
            machine_name=store.machine_name,
            context_limit=store.context_limit,
            clock=store.now,
        )
        link = store.parts[0]
        link.check_open()
        self.url = store.url
        self._link = cast("Link", Borrowed(connection, link, store.guests, reading=reading))

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """The caller has opened the connection."""
        del auto_initialize, validate_schema
        return self

    def disconnect(self) -> None:
        """The caller closes the connection."""

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows of the transaction, too; over a blocking connection."""
        self.commit(commits)

    def flush(self) -> None:
        """Nothing waits here."""

    async def aflush(self) -> None:
        """Nothing waits here."""

    def _prune_rows(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        """A `ConfigurationError`: each batch is a transaction of its own."""
        del cuts
        raise apart()

    def _restore(self, parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
        """A `ConfigurationError`, as above."""
        del parcels
        raise apart("restore")

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """A `ConfigurationError`, as above."""
        del parcels, mark, before, after
        raise apart("restore_marked")


def _check_prepare(prepare: object) -> None:
    """See that it is what it can be; settings often come as texts.

    Raises:
        ConfigurationError: It is not.
    """
    if prepare not in (None, True, False):
        raise ConfigurationError(f"prepare={prepare!r}: True, False, or None to find it out")
