"""The native protocol of a replicated store: everything is the hot store's, watched by the guard.

Machines are kept by both: the durable one first, so that what serves is never without a copy.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import ClassVar, Final, TypeVar, cast

from pystator.errors import ConfigurationError, FSMError, StoreUnavailableError
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
from pystator.stores.prunable import CompleteStore
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated.guard import Guard
from pystator.stores.replicated.pair import Durable

__all__ = ["Serving"]

T = TypeVar("T")


_TRIES: Final = 3
"""How often the durable store is brought up to date before its refusal is believed."""


class Serving(CompleteStore):
    """A store over a hot and a durable one.

    Args:
        hot: The store that serves.
        durable: The store that keeps.

    Attributes:
        hot_store, durable_store: The two.
        url: Both URLs, without passwords.
    """

    durable: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    combines: ClassVar[bool] = True
    in_flight: ClassVar[int] = 2

    def __init__(self, hot: RedisStateStore, durable: Durable) -> None:
        self.hot_store = hot
        self.durable_store = durable
        super().__init__(
            machine_name=hot.machine_name, context_limit=hot.context_limit, clock=hot.now
        )
        self.url = f"replicated://?hot={hot.url}&durable={durable.url}"
        self._guard: Guard | None = None

    @property
    def machine_name(self) -> str | None:
        """The machine whose entities the public methods mean when they are given none."""
        return self.hot_store.machine_name

    @machine_name.setter
    def machine_name(self, machine_name: str | None) -> None:
        self.hot_store.machine_name = machine_name

    def _open(self) -> Guard:
        """The guard.

        Raises:
            StoreUnavailableError: The store is not connected.
            ReplicationError: The hot store has lost data.
        """
        guard = self._guard
        if guard is None:
            raise StoreUnavailableError(
                f"the store of {self.url} is not connected: call store.connect() first",
                context={"written": False},
            )
        guard.check()
        return guard

    def _read(self, read: Callable[[], T]) -> T:
        """Read; what is not there is doubted."""
        guard = self._open()
        found = read()
        if _is_nothing(found):
            guard.doubt()
        guard.check()
        return found

    async def _aread(self, read: Callable[[], Awaitable[T]]) -> T:
        """`_read` for asyncio."""
        guard = self._open()
        found = await read()
        if _is_nothing(found):
            await guard.adoubt()
        guard.check()
        return found

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        return self._read(lambda: self.hot_store.load(lookups))

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`load` of one entity without event ids, which is what most events ask."""
        return self._read(lambda: self.hot_store.load_one(entity_id, machine_name))

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        guard = self._open()
        try:
            return self.hot_store.commit(commits)
        except FSMError as error:
            raise guard.explained(error) from error

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows in a moment, together with others; returns at once."""
        self._open()
        self.hot_store.append_later(commits)

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self.hot_store.flush()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await self._aread(lambda: self.hot_store.aload(lookups))

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        guard = self._open()
        try:
            return await self.hot_store.acommit(commits)
        except FSMError as error:
            raise await guard.aexplained(error) from error

    async def aflush(self) -> None:
        """`flush` for asyncio."""
        await self.hot_store.aflush()

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return self._read(lambda: self.hot_store.machines(entity_id))

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
        return self._read(
            lambda: self.hot_store.history(
                entity_id,
                machine_name=machine_name,
                after=after,
                limit=limit,
                newest_first=newest_first,
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
        return self._read(
            lambda: self.hot_store.entities(
                state=state,
                machine_name=machine_name,
                machine_names=machine_names,
                in_state_longer_than=in_state_longer_than,
                archived=archived,
                after=after,
                limit=limit,
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
        return self._read(
            lambda: self.hot_store.count_by_state(
                machine_name=machine_name, machine_names=machine_names, archived=archived
            )
        )

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        return self._read(lambda: self.hot_store.due(now, limit, machine_name=machine_name))

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor."""
        return self._read(
            lambda: self.hot_store.feed(
                cursor, limit, machine_names=machine_names, entity_id=entity_id
            )
        )

    def feed_end(self) -> str:
        """The feed's cursor after everything that is there now."""
        return self._read(self.hot_store.feed_end)

    # Their twins ----------------------------------------------------------------------------------

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await self._aread(lambda: self.hot_store.amachines(entity_id))

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
        return await self._aread(
            lambda: self.hot_store.ahistory(
                entity_id,
                machine_name=machine_name,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )
        )

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
        return await self._aread(
            lambda: self.hot_store.aentities(
                state=state,
                machine_name=machine_name,
                machine_names=machine_names,
                in_state_longer_than=in_state_longer_than,
                archived=archived,
                after=after,
                limit=limit,
            )
        )

    async def acount_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        return await self._aread(
            lambda: self.hot_store.acount_by_state(
                machine_name=machine_name, machine_names=machine_names, archived=archived
            )
        )

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return await self._aread(lambda: self.hot_store.adue(now, limit, machine_name=machine_name))

    async def afeed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await self._aread(
            lambda: self.hot_store.afeed(
                cursor, limit, machine_names=machine_names, entity_id=entity_id
            )
        )

    async def afeed_end(self) -> str:
        """`feed_end` for asyncio."""
        return await self._aread(self.hot_store.afeed_end)

    # Pruning and restoring: the durable store keeps what was pruned, and is pruned by itself ------

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        self._open()
        return self.hot_store.prune_keys(after, limit)

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        self._open()
        return self.hot_store.prune_rows(cuts)

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        self._open()
        return await self.hot_store.aprune_keys(after, limit)

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        self._open()
        return await self.hot_store.aprune_rows(cuts)

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put parcels of another store in; one `Outcome` for each, in order."""
        self._open()
        return self.hot_store.restore(parcels)

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        self._open()
        return await self.hot_store.arestore(parcels)

    # Machines -------------------------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already.

        Raises:
            ConfigurationError: This version was there with another fingerprint: it never changes.
        """
        self._open()
        self.durable_store.save_machine(machine)
        return self.hot_store.save_machine(machine)

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return self._read(lambda: self.hot_store.stored_machine(name, version))

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return self._read(lambda: self.hot_store.stored_machines(after=after, limit=limit))

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        The hot store goes first: it knows which entities are alive. The durable one has to be told
        of those that were archived a moment ago, so what waits is replicated if need be. Killed, or
        without the durable store, in between, this is called again.

        Raises:
            ConfigurationError: Entities of this machine are alive.
        """
        self._open()
        deleted = self.hot_store.delete_machine(name, version)
        try:
            return max(deleted, self._delete_durably(name, version))
        except FSMError as error:
            if not deleted:
                raise
            error.context.pop("written", None)
            raise type(error)(
                f"{self.hot_store.url} has deleted it, {self.durable_store.url} has not:"
                f" {error.message}; call this again",
                context=error.context,
            ) from error

    def _delete_durably(self, name: str, version: str | None) -> int:
        """`delete_machine` of the durable store, which is brought up to date if it refuses."""
        for _ in range(_TRIES):
            try:
                return self.durable_store.delete_machine(name, version)
            except ConfigurationError:
                self._catch_up()
        return self.durable_store.delete_machine(name, version)

    @abstractmethod
    def _catch_up(self) -> None:
        """Replicate what waits at this moment."""

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        self._open()
        await self.durable_store.asave_machine(machine)
        return await self.hot_store.asave_machine(machine)

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await self._aread(lambda: self.hot_store.astored_machine(name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await self._aread(lambda: self.hot_store.astored_machines(after=after, limit=limit))

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio, in a thread."""
        import asyncio  # blocking programs never pay for it

        return await asyncio.to_thread(self.delete_machine, name, version)


def _is_nothing(found: object) -> bool:
    """Something that was asked for is not there."""
    if isinstance(found, Page):
        return not cast("Page[object]", found).items
    if isinstance(found, list):
        entities = cast("list[object]", found)
        return not entities or any(
            isinstance(each, Loaded) and each.entity is None for each in entities
        )
    return not found
