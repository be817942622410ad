"""The store in a PostgreSQL database: durable, for any number of processes and machines."""

import math
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar, Final, Self, TypeVar, cast

from pystator.db.extras import from_extra
from pystator.db.postgres_url import find_postgres
from pystator.errors import ConfigurationError, FSMError
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
from pystator.stores.later import Later
from pystator.stores.parcels import RawParcel
from pystator.stores.programs import long_ago
from pystator.stores.prunable import CompleteStore, apart

with from_extra("postgres", "psycopg", "psycopg_pool"):
    from pystator.db.postgres_schema import ensure
    from pystator.stores.postgres import definitions, pruning, reads
    from pystator.stores.postgres.driving import arun, run
    from pystator.stores.postgres.encode import Write, prepare
    from pystator.stores.postgres.link import Link
    from pystator.stores.postgres.ops import Operation, loading
    from pystator.stores.postgres.restoring import forgetting, marks, restoring, restoring_marked
    from pystator.stores.postgres.within import Borrowed, Guests
    from pystator.stores.postgres.writing import committing, streaming

__all__ = ["PostgresStateStore"]

T = TypeVar("T")


class PostgresStateStore(CompleteStore):
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
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        _check_options(pool_size, timeout, prepare)
        parsed = find_postgres(url)
        self.url = str(parsed)
        link = self._link = Link(
            parsed,
            pool_size=pool_size,
            timeout=timeout,
            prepare=parsed.prepare if prepare is None else prepare,
        )
        self.guests = Guests()
        self._later: Later[Write] = Later(
            lambda writes: run(link, committing(writes)), lambda: link.is_open
        )
        _stores.add(self)
        # At the latest when the program ends: rows that may wait are then written.
        self._finalizer = weakref.finalize(self, _close_quietly, link, self._later)

    def __repr__(self) -> str:
        return f"PostgresStateStore({self.url!r})"

    @property
    def parts(self) -> tuple[Link, Later[Write]]:
        """Its connections and its rows that may wait."""
        return self._link, self._later

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

    def disconnect(self) -> None:
        """Write what waits and close every connection; a second call does nothing."""
        try:
            self._later.close()
        finally:
            self._link.close()

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

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self._later.flush()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        if not lookups:
            return []
        return await arun(self._link, loading(lookups, streams=self._link.streams))

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await arun(self._link, self._committing(commits)) if commits else []

    async def aflush(self) -> None:
        """`flush` for asyncio: in a thread, as it waits for the one that writes."""
        import asyncio  # blocking programs never pay for it

        await asyncio.to_thread(self.flush)

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

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return run(self._link, reads.machines(entity_id))

    def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """The entity's rows in the order ``(version, id)``, keyset-paged.

        Raises:
            AmbiguousEntityError: No machine is named, and several have rows of this id.
        """
        machine = self._machine(machine_name)
        read = reads.history(entity_id, machine, after, limit, newest_first=newest_first)
        return run(self._link, read)

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """Entities in key order, keyset-paged; ``state`` is an active leaf or a configuration.

        Raises:
            InvalidValueError: ``in_state_longer_than`` is no duration, or ``after`` no cursor.
        """
        since = long_ago(self.now, in_state_longer_than)
        machine = self._machine(machine_name)
        return run(self._link, reads.entities(state, machine, since, after, limit))

    def count_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """Configuration -> number of entities."""
        return run(self._link, reads.count_by_state(self._machine(machine_name)))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        return run(self._link, reads.due(now, limit, self._machine(machine_name)))

    def feed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor."""
        return run(self._link, reads.feed(cursor, limit))

    def _machine(self, machine_name: str | None) -> str | None:
        return self.machine_name if machine_name is None else machine_name

    # Their twins ----------------------------------------------------------------------------------

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await arun(self._link, reads.machines(entity_id))

    async def ahistory(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """`history` for asyncio."""
        machine = self._machine(machine_name)
        read = reads.history(entity_id, machine, after, limit, newest_first=newest_first)
        return await arun(self._link, read)

    async def aentities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """`entities` for asyncio."""
        since = long_ago(self.now, in_state_longer_than)
        machine = self._machine(machine_name)
        read = reads.entities(state, machine, since, after, limit)
        return await arun(self._link, read)

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        read = reads.count_by_state(self._machine(machine_name))
        return await arun(self._link, read)

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        read = reads.due(now, limit, self._machine(machine_name))
        return await arun(self._link, read)

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await arun(self._link, reads.feed(cursor, limit))

    # Pruning --------------------------------------------------------------------------------------

    def prune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        return run(self._link, pruning.prune_keys(after, limit))

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        return run(self._link, self._pruning(cuts))

    async def aprune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await arun(self._link, pruning.prune_keys(after, limit))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await arun(self._link, self._pruning(cuts))

    def _pruning(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        return pruning.prune_rows(cuts, self.now())

    # Restoring ------------------------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put parcels of another store in; one `Outcome` for each, in order."""
        return run(self._link, restoring(parcels))

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await arun(self._link, restoring(parcels))

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

    # Definitions of machines ----------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already."""
        return run(self._link, definitions.saving_machine(machine))

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return run(self._link, definitions.stored_machine(name, version))

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return run(self._link, definitions.stored_machines(after, limit))

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return await arun(self._link, definitions.saving_machine(machine))

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await arun(self._link, definitions.stored_machine(name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await arun(self._link, definitions.stored_machines(after, limit))


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

    def _pruning(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        del cuts
        raise apart()

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """A `ConfigurationError`: each batch is a transaction of its own."""
        del parcels
        raise apart("restore")

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """A `ConfigurationError`, as above."""
        return self.restore(parcels)

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """A `ConfigurationError`, as above."""
        del parcels, mark, before, after
        raise apart("restore_marked")


def _check_options(pool_size: object, timeout: object, prepare: object) -> None:
    """See that they are what they can be; settings often come as texts.

    Raises:
        ConfigurationError: One is not.
    """
    if not isinstance(pool_size, int) or pool_size < 1:
        raise ConfigurationError(f"pool_size={pool_size!r}: a number of connections, 1 or more")
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r}: a number of seconds, more than 0")
    if prepare not in (None, True, False):
        raise ConfigurationError(f"prepare={prepare!r}: True, False, or None to find it out")


def _close_quietly(link: Link, later: Later[Write]) -> None:
    """For a store that nobody closed: there is no caller to tell."""
    if link.is_open:
        with suppress(FSMError):
            later.close()
    link.close()


# Forks --------------------------------------------------------------------------------------------

_stores: Final[weakref.WeakSet[PostgresStateStore]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        link, later = store.parts
        later.forget()
        link.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
