"""The store in a SQLite file: durable, for the threads, loops and processes of one machine."""

import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar, Final, Self, TypeVar, cast

from pystator.db.resolve import one_url, parse_sqlite, resolve
from pystator.db.schema import ensure
from pystator.db.sqlite import BUSY_LIMIT, begin_exclusive
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
from pystator.stores.definitions import check_machine
from pystator.stores.facade import StoreFacade
from pystator.stores.immediate import AsideAsync
from pystator.stores.keys import names_asked
from pystator.stores.parcels import RawParcel
from pystator.stores.programs import long_ago
from pystator.stores.prunable import CompleteStore, apart
from pystator.stores.sqlite import definitions, pruning, reads, restoring
from pystator.stores.sqlite.files import Files, Synchronous
from pystator.stores.sqlite.ops import prepare
from pystator.stores.sqlite.within import Borrowed
from pystator.stores.sqlite.writer import Writer

__all__ = ["SQLiteStateStore"]

T = TypeVar("T")

_SYNCHRONOUS: Final = frozenset({"FULL", "NORMAL", "EXTRA", "OFF"})


class SQLiteStateStore(AsideAsync, CompleteStore):
    """A state store in a SQLite file.

    Every commit is durable when it is answered. Commits of concurrent callers, blocking or async,
    share a transaction; reads never wait for them, those of asyncio are done in threads.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or ``sqlite://`` for memory. By
            default ``PYSTATOR_DATABASE_URL``, then ``pystator.cfg``, then ``pystator.db`` in the
            working folder.
        machine_name: The machine whose entities the public methods mean when they are given none.
        synchronous: ``FULL`` survives a power cut. ``NORMAL`` survives a killed process and may
            lose the last commits when power fails; ``OFF`` may lose the file.
        busy_limit: Seconds to wait for a file that another process keeps locked; after them a
            `StoreUnavailableError`.
        context_limit: Bytes an encoded context may have.
        clock: The wall clock, in microseconds since the epoch; the system's by default.
        connection_string: Another name of ``url``.

    Raises:
        ConfigurationError: The URL or an option is wrong.
    """

    durable: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    combines: ClassVar[bool] = True

    def __init__(
        self,
        url: str | None = None,
        *,
        machine_name: str | None = None,
        synchronous: Synchronous = "FULL",
        busy_limit: float = BUSY_LIMIT,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
        connection_string: str | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        if synchronous not in _SYNCHRONOUS:
            raise ConfigurationError(
                f"synchronous={synchronous!r}: one of {', '.join(sorted(_SYNCHRONOUS))}"
            )
        _check_seconds(busy_limit)
        parsed = parse_sqlite(resolve(one_url(url, connection_string)))
        self.url = str(parsed)
        self._files = Files(parsed, synchronous, busy_limit)
        self._writer = Writer(self._files)
        _stores.add(self)
        # At the latest when the program ends: rows that may wait are then written.
        self._finalizer = weakref.finalize(self, _close_quietly, self._files, self._writer)

    def __repr__(self) -> str:
        return f"SQLiteStateStore({self.url!r})"

    @property
    def parts(self) -> tuple[Files, Writer]:
        """Its connections and its writer."""
        return self._files, self._writer

    # Opening and closing --------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Open the file; a second call does nothing.

        Args:
            auto_initialize: Make file and tables when there are none. Any number of processes may
                do so at once.
            validate_schema: Refuse a schema that this release does not fit.

        Raises:
            SchemaError: The database has no tables of ours, or older ones; the message says which
                command to run.
            StoreUnavailableError: The file cannot be opened, or stays locked.
        """
        with self._files.turn:
            if not self._files.is_open:
                self._connect(auto_initialize, validate_schema)
        return self

    def _connect(self, auto_initialize: bool, validate_schema: bool) -> None:
        files = self._files
        connection = files.open(create=auto_initialize)
        try:
            files.guarded(
                lambda: ensure(
                    connection,
                    self.url,
                    auto_initialize=auto_initialize,
                    validate_schema=validate_schema,
                    begin=lambda each: begin_exclusive(each, files.busy_limit),
                )
            )
        except BaseException:
            files.shut()
            raise

    def disconnect(self) -> None:
        """Write what waits and close the file; a second call does nothing."""
        try:
            self._writer.close()
        finally:
            self._files.close()

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        return self._writer.load(lookups)

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        return self._writer.commit(prepare(commits, self.now(), self.context_limit))

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows with the next transaction, or a moment later; returns at once."""
        self._writer.append_later(prepare(commits, self.now(), self.context_limit))

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self._writer.flush()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await self._writer.aload(lookups)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await self._writer.acommit(prepare(commits, self.now(), self.context_limit))

    def within(self, connection: object, *, reading: bool = False) -> "SQLiteStateStore":
        """This store inside the caller's own transaction, see `NativeStore.within`.

        Args:
            connection: A ``sqlite3.Connection`` to the same file, or a SQLAlchemy ``Connection`` or
                ``Session`` over one. One that commits each statement by itself has to have begun a
                transaction; where Python's driver begins it by itself, that happens here.
            reading: Nothing will be written: neither a transaction nor the write lock is needed.

        Raises:
            ConfigurationError: It is something else, of another database, or in no transaction.
            StoreUnavailableError: This store is not connected, or the connection is closed.
        """
        return _Within(self, connection, reading=reading)

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return self._files.read(lambda connection: reads.machines(connection, entity_id))

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
        return self._files.read(
            lambda connection: reads.history(
                connection, entity_id, machine, after, limit, newest_first=newest_first
            )
        )

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """Entities in key order, keyset-paged; ``state`` is an active leaf or a configuration.

        Raises:
            InvalidValueError: ``in_state_longer_than`` is no duration, or ``after`` no cursor.
        """
        names = self._names(machine_name, machine_names)
        since = long_ago(self.now, in_state_longer_than)
        return self._files.read(
            lambda connection: reads.entities(
                connection, state, names, since, after, limit, archived=archived
            )
        )

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """Configuration -> number of entities."""
        names = self._names(machine_name, machine_names)
        return self._files.read(
            lambda connection: reads.count_by_state(connection, names, archived=archived)
        )

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        machine = self._machine(machine_name)
        return self._files.read(lambda connection: reads.due(connection, now, limit, machine))

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in the order of their commits."""
        names = names_asked(machine_names)
        return self._files.read(
            lambda connection: reads.feed(connection, cursor, limit, names, entity_id)
        )

    def feed_end(self) -> str:
        """The feed's cursor after everything that is there now."""
        return self._files.read(reads.feed_end)

    # Pruning --------------------------------------------------------------------------------------

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        return self._files.read(lambda connection: pruning.prune_keys(connection, after, limit))

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts in one transaction; for each, how many of its ``ids`` were there."""
        recorded_at = self.now()
        return self._writer.alone(
            lambda connection: pruning.prune_rows(connection, cuts, recorded_at)
        )

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await self._aside(lambda: self.prune_keys(after, limit))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await self._aside(lambda: self.prune_rows(cuts))

    # Restoring ------------------------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put parcels of another store in, in one transaction; one `Outcome` for each, in order."""
        return self._writer.alone(lambda connection: restoring.restore(connection, parcels))

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await self._aside(lambda: self.restore(parcels))

    def marks(self, prefix: str) -> dict[str, str]:
        """The marks whose names begin so."""
        return self._files.read(lambda connection: restoring.marks(connection, prefix))

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """Put parcels in and change a mark, all or nothing; see `MarkedStore`."""
        return self._writer.alone(
            lambda connection: restoring.restore_marked(connection, parcels, mark, before, after)
        )

    def forget_events(self, ids: Sequence[tuple[str, str, str]]) -> None:
        """Forget event ids; see `MarkedStore`."""
        self._writer.alone(lambda connection: restoring.forget(connection, ids))

    # Definitions of machines ----------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already."""
        check_machine(machine)
        return self._writer.alone(lambda connection: definitions.save_machine(connection, machine))

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return self._files.read(
            lambda connection: definitions.stored_machine(connection, name, version)
        )

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return self._files.read(
            lambda connection: definitions.stored_machines(connection, after, limit)
        )

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        Raises:
            ConfigurationError: Entities of this machine are alive.
        """
        return self._writer.alone(
            lambda connection: definitions.delete_machine(connection, name, version)
        )

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio."""
        return await self._aside(lambda: self.delete_machine(name, version))

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return await self._aside(lambda: self.save_machine(machine))

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await self._aside(lambda: self.stored_machine(name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await self._aside(lambda: self.stored_machines(after=after, limit=limit))


class _Within(SQLiteStateStore):
    """A store whose loads, commits and reads go over the caller's connection; made by `within`."""

    def __init__(self, store: SQLiteStateStore, connection: object, *, reading: bool) -> None:
        StoreFacade.__init__(
            self,
            machine_name=store.machine_name,
            context_limit=store.context_limit,
            clock=store.now,
        )
        self.url = store.url
        files = store.parts[0]
        files.check_open()
        borrowed = Borrowed(connection, files.url, files.busy_limit, reading=reading)
        self._files = cast("Files", borrowed)
        self._writer = cast("Writer", borrowed)

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """The caller has opened the connection."""
        del auto_initialize, validate_schema
        return self

    def disconnect(self) -> None:
        """The caller closes the connection."""

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """A `ConfigurationError`: each batch of a prune is a transaction of its own."""
        del cuts
        raise apart()

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """A `ConfigurationError`, as above."""
        del parcels
        raise apart("restore")

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """A `ConfigurationError`, as above."""
        del parcels, mark, before, after
        raise apart("restore_marked")

    async def _aside(self, call: Callable[[], T]) -> T:
        return call()  # the connection may belong to this thread


def _check_seconds(busy_limit: object) -> None:
    """See that it is what it can be; settings often come as texts.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(busy_limit, int | float) or not busy_limit >= 0:
        raise ConfigurationError(f"busy_limit={busy_limit!r}: a number of seconds, 0 or more")


def _close_quietly(files: Files, writer: Writer) -> None:
    """For a store that nobody closed: there is no caller to tell."""
    with suppress(FSMError, OSError):
        writer.close()
    files.close()


# Forks --------------------------------------------------------------------------------------------

_stores: Final[weakref.WeakSet[SQLiteStateStore]] = weakref.WeakSet()
_held: Final[list[tuple[Files, Writer]]] = []
"""What a fork that is under way has closed."""


def _before_fork() -> None:
    for store in list(_stores):
        files, writer = store.parts
        files.before_fork()
        _held.append((files, writer))


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop()[0].after_fork()


def _after_fork_in_child() -> None:
    while _held:
        files, writer = _held.pop()
        writer.forget()
        files.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
