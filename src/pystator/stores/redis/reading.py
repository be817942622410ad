"""The reads of `RedisStateStore`, its pruning, what it takes from other stores, and machines."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from pystator.records import (
    Cut,
    Entity,
    HistoryEntry,
    Key,
    Outcome,
    Page,
    Parcel,
    StoredMachine,
)
from pystator.stores.programs import long_ago
from pystator.stores.prunable import CompleteStore
from pystator.stores.redis import feed, listing, machines, pruning, reads, restoring
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.ops import Operation
from pystator.stores.redis.writing import Terms

__all__ = ["Reading"]

T = TypeVar("T")


class Reading(CompleteStore):
    """Methods over operations, each in its two faces."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """The names of keys."""

    @property
    @abstractmethod
    def terms(self) -> Terms:
        """What all writes share."""

    @abstractmethod
    def ask(self, operation: Operation[T]) -> T:
        """Run an operation, blocking."""

    @abstractmethod
    async def aask(self, operation: Operation[T]) -> T:
        """Run an operation on the running loop."""

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return self.ask(reads.machines(self.layout, entity_id))

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
        return self.ask(self._history(entity_id, machine_name, after, limit, newest_first))

    def _history(
        self,
        entity_id: str,
        machine_name: str | None,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> Operation[Page[HistoryEntry]]:
        machine = self._machine(machine_name)
        return reads.history(
            self.layout, entity_id, machine, after, limit, newest_first=newest_first
        )

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
        return self.ask(self._entities(state, machine_name, in_state_longer_than, after, limit))

    def _entities(
        self,
        state: str | None,
        machine_name: str | None,
        in_state_longer_than: timedelta | None,
        after: str | None,
        limit: int,
    ) -> Operation[Page[Entity]]:
        since = long_ago(self.now, in_state_longer_than)
        machine = self._machine(machine_name)
        return listing.entities(self.layout, state, machine, since, after, limit)

    def count_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """Configuration -> number of entities."""
        return self.ask(reads.count_by_state(self.layout, self._machine(machine_name)))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        return self.ask(reads.due(self.layout, now, limit, self._machine(machine_name)))

    def feed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor.

        Of a cluster, rows of one entity are in their order, and those of different ones about in
        the order of time.
        """
        return self.ask(feed.feed(self.layout, cursor, limit))

    def _machine(self, machine_name: str | None) -> str | None:
        return self.machine_name if machine_name is None else machine_name

    # Their twins ----------------------------------------------------------------------------------

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await self.aask(reads.machines(self.layout, entity_id))

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
        read = self._history(entity_id, machine_name, after, limit, newest_first)
        return await self.aask(read)

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
        read = self._entities(state, machine_name, in_state_longer_than, after, limit)
        return await self.aask(read)

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        return await self.aask(reads.count_by_state(self.layout, self._machine(machine_name)))

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return await self.aask(reads.due(self.layout, now, limit, self._machine(machine_name)))

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await self.aask(feed.feed(self.layout, cursor, limit))

    # Pruning --------------------------------------------------------------------------------------

    def prune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        return self.ask(pruning.prune_keys(self.layout, after, limit))

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        return self.ask(pruning.prune_rows(self.layout, cuts, self.now()))

    async def aprune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await self.aask(pruning.prune_keys(self.layout, after, limit))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await self.aask(pruning.prune_rows(self.layout, cuts, self.now()))

    # From other stores ----------------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if the store has what its ``base`` and ``after`` say."""
        return self.ask(restoring.restore(self.terms, parcels))

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await self.aask(restoring.restore(self.terms, parcels))

    # Machines -------------------------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already.

        Raises:
            ConfigurationError: This version was there with another fingerprint: it never changes.
        """
        return self.ask(machines.save(self.layout, machine))

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return self.ask(machines.machine(self.layout, name, version))

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return self.ask(machines.machines(self.layout, after, limit))

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return await self.aask(machines.save(self.layout, machine))

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await self.aask(machines.machine(self.layout, name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await self.aask(machines.machines(self.layout, after, limit))
