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

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NoReturn, Protocol, Self, runtime_checkable

from pystator.errors import ConfigurationError
from pystator.records import (
    Commit,
    Entity,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    Page,
    StoredMachine,
)

__all__ = [
    "AheadStore",
    "AsyncStateStore",
    "MachineStore",
    "NativeStore",
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
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """Entities in key order, keyset-paged.

        Args:
            state: Only those in this state: an active leaf or a whole configuration.
            machine_name: Only those of this machine.
            machine_names: Only those of these machines, instead of ``machine_name``.
            in_state_longer_than: Only those whose `Entity.state_since` is longer ago than this, by
                the store's clock.
            archived: Those that were archived, instead of those that were not.
            after: The cursor ``next`` of an earlier page.
            limit: At most so many.
        """
        ...

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """Configuration -> number of entities, which are chosen as by `entities`."""
        ...

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first.

        Archived ones are not among them.
        """
        ...

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor.

        ``next`` is never None: it is the cursor to come back with. It has passed the rows that were
        left out, so a page without items is not the end: the end is where ``next`` is ``cursor``.
        ``cursors`` has the cursor after each of the items.

        Args:
            cursor: Where to go on; None: at the beginning.
            limit: At most so many.
            machine_names: Only rows of these machines.
            entity_id: Only rows of entities of this id.
        """
        ...

    def feed_end(self) -> str:
        """The feed's cursor after everything that is there now."""
        cursor: str | None = None
        while True:
            page = self.feed(cursor, 1_000)
            if page.next is None or not page.items:
                return page.next or ""
            cursor = page.next

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
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """`entities` for asyncio."""
        ...

    async def acount_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        ...

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        ...

    async def afeed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        ...

    async def afeed_end(self) -> str:
        """`feed_end` for asyncio."""
        cursor: str | None = None
        while True:
            page = await self.afeed(cursor, 1_000)
            if page.next is None or not page.items:
                return page.next or ""
            cursor = page.next

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Open it; a second call does nothing."""
        ...

    def disconnect(self) -> None:
        """Finish what is under way and close it; a second call does nothing."""
        ...


class AheadStore(NativeStore, Protocol):
    """A `NativeStore` that works on the first commits while it draws the next ones."""

    takes_ahead: ClassVar[bool]
    """It does."""

    def commit_ahead(self, commits: Iterable[Commit]) -> list[Outcome]:
        """`commit` of what is decided when it is drawn; one `Outcome` for each that was."""
        ...

    async def acommit_ahead(self, commits: Iterable[Commit]) -> list[Outcome]:
        """`commit_ahead` for asyncio."""
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

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        No entity of the machine may be alive: one that is not archived. A version that is not the
        newest one goes as soon as no such entity was written last by it. A store that can see
        entities of the machine come while it looks does both at once.

        Raises:
            ConfigurationError: Entities are alive; ``context["live"]`` says how many.
        """
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

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio."""
        ...
