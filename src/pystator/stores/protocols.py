"""What a store is: the three protocols users implement, and the one the orchestrator drives.

::

    StateStore / AsyncStateStore   three methods; single writer, last write wins   (users)
    VersionedStateStore            + compare-and-set                               (users)
    NativeStore                    load many, commit many, atomic per entity       (ours; users may)

`pystator.stores.adapt` lifts the first ones to the last, so that the orchestrator knows only one.

Laws of a native store:

- ``commit`` is atomic per `Commit`: state, context, timers and every history row, or nothing.
- Commits of one call are independent: a stale neighbour is an outcome, not an exception.
- An exception from ``commit`` means the outcome of *every* commit of the call is unknown, unless it
  is a `StoreUnavailableError` with ``context["written"] is False``.
- What cannot be stored is refused, whether or not it would be stale or a duplicate as well. Of a
  stale duplicate, either may be said.
- Values that go in are never kept by reference, and values that come out belong to the caller.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, NoReturn, Protocol, Self, runtime_checkable

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
from pystator.stores.parcels import RawParcel

__all__ = [
    "AsyncStateStore",
    "MachineStore",
    "MarkedStore",
    "NativeStore",
    "PrunableStore",
    "RestorableStore",
    "StateStore",
    "VersionedStateStore",
    "lack",
]


def lack(store: str) -> NoReturn:
    """Say that a store of this class has no transactions of its callers.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        "connection= needs a store whose database has transactions of yours, a SQLiteStateStore or"
        f" a PostgresStateStore; {store} has none",
        context={"option": "connection", "store": store},
    )


@runtime_checkable
class StateStore(Protocol):
    """A store of three blocking methods, enough for a single writer."""

    def get_state(self, entity_id: str) -> str | None:
        """The entity's state; None when there is no such entity."""
        ...

    def set_state(
        self, entity_id: str, state: str, *, metadata: dict[str, Any] | None = None
    ) -> None:
        """Keep the state.

        ``metadata["context"]`` is the whole context; when it is absent, the stored one stays.
        """
        ...

    def get_context(self, entity_id: str) -> dict[str, Any]:
        """The stored context; empty when there is none."""
        ...


@runtime_checkable
class AsyncStateStore(Protocol):
    """The three methods for asyncio."""

    async def aget_state(self, entity_id: str) -> str | None:
        """The entity's state; None when there is no such entity."""
        ...

    async def aset_state(
        self, entity_id: str, state: str, *, metadata: dict[str, Any] | None = None
    ) -> None:
        """Keep the state.

        ``metadata["context"]`` is the whole context; when it is absent, the stored one stays.
        """
        ...

    async def aget_context(self, entity_id: str) -> dict[str, Any]:
        """The stored context; empty when there is none."""
        ...


@runtime_checkable
class VersionedStateStore(StateStore, Protocol):
    """A `StateStore` with compare-and-set: safe for many writers."""

    def get_state_versioned(self, entity_id: str) -> tuple[str | None, int]:
        """State and version; ``(None, 0)`` when there is no such entity."""
        ...

    def set_state_versioned(
        self,
        entity_id: str,
        state: str,
        *,
        expected_version: int,
        metadata: dict[str, Any] | None = None,
    ) -> int:
        """Keep the state if the version still is ``expected_version`` (0: create); the new version.

        Raises:
            StaleVersionError: It is another one; nothing was written.
        """
        ...


class NativeStore(Protocol):
    """The protocol the orchestrator drives: many loads or commits in one round trip.

    Attributes:
        durable: What is committed survives the process.
        idempotent: Keeps event ids, so that ``event_id=`` works.
        keeps_history: Keeps history rows.
        has_feed: Has the ordered change feed.
        sync, has_async: Which faces work (a user's async-only store has no blocking one).
        combines: Commits of concurrent callers gain from sharing a batch.
        in_flight: Batches that it works on at once, so that a second one gains before the first
            has returned; 1 where they would only wait for each other.
    """

    durable: ClassVar[bool]
    idempotent: ClassVar[bool]
    keeps_history: ClassVar[bool]
    has_feed: ClassVar[bool]
    combines: ClassVar[bool]
    in_flight: ClassVar[int] = 1

    @property
    def sync(self) -> bool:
        """The blocking face works."""
        ...

    @property
    def has_async(self) -> bool:
        """The async face works."""
        ...

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        ...

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`load` of one entity without event ids, which is what most events ask."""
        return self.load((Lookup(entity_id, machine_name),))[0].entity

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order.

        At most one commit of a call changes an entity.
        """
        ...

    def within(self, connection: object, *, reading: bool = False) -> "NativeStore":
        """This store inside a transaction of the caller's: it never commits and never rolls back.

        What it loads is what the transaction sees, and what it writes is the caller's to commit. A
        commit that fails is undone alone: the transaction stays usable, unless an error says that
        it has to be run again.

        Args:
            connection: The driver's connection to the same database, or a SQLAlchemy ``Connection``
                or ``Session`` over it.
            reading: Nothing will be written.

        Raises:
            ConfigurationError: This store has no such transactions, or that is no connection of
                its database that is in one.
        """
        del connection, reading
        lack(type(self).__name__)

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        ...

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows of commits that change nothing, best effort.

        Returns at once, from any thread or loop. They are durable with the next commit or shortly
        after; `flush` and ``disconnect`` wait for them.
        """
        ...

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        ...

    def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """The entity's rows in the order ``(version, id)``, keyset-paged."""
        ...

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """Entities in key order, keyset-paged.

        Args:
            state: Only those in this state: an active leaf or a whole configuration.
            machine_name: Only those of this machine.
            in_state_longer_than: Only those whose `Entity.state_since` is longer ago than this, by
                the store's clock.
            after: The cursor ``next`` of an earlier page.
            limit: At most so many.
        """
        ...

    def count_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """Configuration -> number of entities."""
        ...

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        ...

    def feed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor.

        ``next`` is never None: it is the cursor to come back with.
        """
        ...

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        ...

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        ...

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        ...

    async def aflush(self) -> None:
        """`flush` for asyncio."""
        ...

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
        ...

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
        ...

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        ...

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        ...

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        ...

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Open it; a second call does nothing."""
        ...

    def disconnect(self) -> None:
        """Finish what is under way and close it; a second call does nothing."""
        ...


class PrunableStore(NativeStore, Protocol):
    """A `NativeStore` whose history can be pruned; `pystator.stores.pruning` decides what goes."""

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have history rows, in key order; empty at the end.

        About ``limit`` of them, each with the time at which the first of its rows that is no
        snapshot was recorded, in the order of history; None when there are only snapshots.
        """
        ...

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts, each of them whole; for each, how many of its ``ids`` were there.

        None for a cut whose guard is gone: nothing of it was done. A snapshot is left out where
        there is one of its version or of a later one.
        """
        ...

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        ...

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        ...


class RestorableStore(NativeStore, Protocol):
    """A `NativeStore` that takes entities and rows of another store as they are."""

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if the store has what its ``base`` and ``after`` say.

        Every field is kept: versions, times, commit ids, the time of recording. At most one parcel
        of a call is of one key. `STALE`: the store has something else, and nothing of this parcel
        was written. `REFUSED`: it cannot be stored here.
        """
        ...

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        ...


class MarkedStore(RestorableStore, Protocol):
    """A `RestorableStore` that keeps marks, and changes them together with what it restores.

    A mark is a short text under a name: how far somebody has come.
    """

    def marks(self, prefix: str) -> dict[str, str]:
        """The marks whose names begin so."""
        ...

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """Put all parcels in and change the mark, in one transaction, or do nothing.

        Only the ``base`` of a parcel is compared, not its ``after``. False: the mark is not
        ``before`` (None: there is none).

        Raises:
            StaleVersionError: The store has something else than the parcels go on from.
            InvalidValueError: Something cannot be stored here.
        """
        ...

    def forget_events(self, ids: Sequence[tuple[str, str, str]]) -> None:
        """Forget event ids (entity, machine, event id): their rows stay, without them."""
        ...


class MachineStore(Protocol):
    """A store that keeps definitions of machines, version by version."""

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already.

        Raises:
            ConfigurationError: This version was there with another fingerprint: it never changes.
        """
        ...

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        ...

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        ...

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        ...

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        ...

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        ...
