"""The public methods of a store whose operations are generators, each once for both faces.

::

    history(...)  --+                            +-- ask   (this thread)
                    +--> _history(...) --------->|
    ahistory(...) --+    an operation: no I/O    +-- aask  (the running loop)

A store says which operation a method is, and how one is run. `load` and `commit` stay its own: they
are what every event pays for.
"""

from abc import abstractmethod
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pystator.records import Cut, Entity, HistoryEntry, Key, Outcome, Page, Parcel, StoredMachine
from pystator.stores.keys import names_asked
from pystator.stores.programs import long_ago
from pystator.stores.prunable import CompleteStore

__all__ = ["OperatedStore"]

R = TypeVar("R")
"""What an operation of the store yields: what it asks the server."""

T = TypeVar("T")


class OperatedStore(CompleteStore, Generic[R]):
    """Queries, pruning, restoring and machines, over one operation each."""

    @abstractmethod
    def ask(self, operation: Generator[R, Any, T]) -> T:
        """Run an operation, blocking."""

    @abstractmethod
    async def aask(self, operation: Generator[R, Any, T]) -> T:
        """Run an operation on the running loop."""

    # The store's operations -----------------------------------------------------------------------

    @abstractmethod
    def _machines(self, entity_id: str) -> Generator[R, Any, list[str]]:
        """Of `machines`."""

    @abstractmethod
    def _history(
        self,
        entity_id: str,
        machine: str | None,
        after: str | None,
        limit: int,
        *,
        newest_first: bool,
    ) -> Generator[R, Any, Page[HistoryEntry]]:
        """Of `history`."""

    @abstractmethod
    def _entities(
        self,
        state: str | None,
        machines: tuple[str, ...] | None,
        since: int | None,
        after: str | None,
        limit: int,
        *,
        archived: bool,
    ) -> Generator[R, Any, Page[Entity]]:
        """Of `entities`: those that have been in their configuration since before ``since``."""

    @abstractmethod
    def _count_by_state(
        self, machines: tuple[str, ...] | None, *, archived: bool
    ) -> Generator[R, Any, dict[str, int]]:
        """Of `count_by_state`."""

    @abstractmethod
    def _due(self, now: int, limit: int, machine: str | None) -> Generator[R, Any, list[Key]]:
        """Of `due`."""

    @abstractmethod
    def _feed(
        self,
        cursor: str | None,
        limit: int,
        machines: tuple[str, ...] | None,
        entity_id: str | None,
    ) -> Generator[R, Any, Page[HistoryEntry]]:
        """Of `feed`."""

    @abstractmethod
    def _feed_end(self) -> Generator[R, Any, str]:
        """Of `feed_end`."""

    @abstractmethod
    def _prune_keys(
        self, after: Key | None, limit: int
    ) -> Generator[R, Any, list[tuple[Key, int | None]]]:
        """Of `prune_keys`."""

    @abstractmethod
    def _prune_rows(self, cuts: Sequence[Cut]) -> Generator[R, Any, list[int | None]]:
        """Of `prune_rows`."""

    @abstractmethod
    def _restore(self, parcels: Sequence[Parcel]) -> Generator[R, Any, list[Outcome]]:
        """Of `restore`."""

    @abstractmethod
    def _save_machine(self, machine: StoredMachine) -> Generator[R, Any, bool]:
        """Of `save_machine`."""

    @abstractmethod
    def _stored_machine(
        self, name: str, version: str | None
    ) -> Generator[R, Any, StoredMachine | None]:
        """Of `stored_machine`."""

    @abstractmethod
    def _stored_machines(
        self, after: str | None, limit: int
    ) -> Generator[R, Any, Page[StoredMachine]]:
        """Of `stored_machines`."""

    @abstractmethod
    def _delete_machine(self, name: str, version: str | None) -> Generator[R, Any, int]:
        """Of `delete_machine`."""

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return self.ask(self._machines(entity_id))

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
        return self.ask(self._history(entity_id, machine, after, limit, newest_first=newest_first))

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
        since = long_ago(self.now, in_state_longer_than)
        names = self._names(machine_name, machine_names)
        return self.ask(self._entities(state, names, since, after, limit, archived=archived))

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """Configuration -> number of entities."""
        names = self._names(machine_name, machine_names)
        return self.ask(self._count_by_state(names, archived=archived))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        return self.ask(self._due(now, limit, self._machine(machine_name)))

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor."""
        return self.ask(self._feed(cursor, limit, names_asked(machine_names), entity_id))

    def feed_end(self) -> str:
        """The feed's cursor after everything that is there now."""
        return self.ask(self._feed_end())

    # Their twins ----------------------------------------------------------------------------------

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await self.aask(self._machines(entity_id))

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
        read = self._history(entity_id, machine, after, limit, newest_first=newest_first)
        return await self.aask(read)

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
        since = long_ago(self.now, in_state_longer_than)
        names = self._names(machine_name, machine_names)
        return await self.aask(self._entities(state, names, since, after, limit, archived=archived))

    async def acount_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        names = self._names(machine_name, machine_names)
        return await self.aask(self._count_by_state(names, archived=archived))

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return await self.aask(self._due(now, limit, self._machine(machine_name)))

    async def afeed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await self.aask(self._feed(cursor, limit, names_asked(machine_names), entity_id))

    async def afeed_end(self) -> str:
        """`feed_end` for asyncio."""
        return await self.aask(self._feed_end())

    # Pruning --------------------------------------------------------------------------------------

    def prune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        return self.ask(self._prune_keys(after, limit))

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        return self.ask(self._prune_rows(cuts))

    async def aprune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await self.aask(self._prune_keys(after, limit))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await self.aask(self._prune_rows(cuts))

    # Restoring ------------------------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if the store has what its ``base`` and ``after`` say."""
        return self.ask(self._restore(parcels))

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await self.aask(self._restore(parcels))

    # Definitions of machines ----------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already.

        Raises:
            ConfigurationError: This version was there with another fingerprint: it never changes.
        """
        return self.ask(self._save_machine(machine))

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return self.ask(self._stored_machine(name, version))

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return self.ask(self._stored_machines(after, limit))

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        Raises:
            ConfigurationError: Entities of this machine are alive.
        """
        return self.ask(self._delete_machine(name, version))

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return await self.aask(self._save_machine(machine))

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await self.aask(self._stored_machine(name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await self.aask(self._stored_machines(after, limit))

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio."""
        return await self.aask(self._delete_machine(name, version))
