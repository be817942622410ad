"""The store in a MongoDB database: durable, for any number of processes and machines."""

import math
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar, Final, Self

from pystator.db.extras import from_extra
from pystator.db.mongodb_url import DATABASE, check_database, find_mongodb
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
from pystator.stores.later import Later
from pystator.stores.programs import long_ago
from pystator.stores.prunable import CompleteStore

with from_extra("mongodb", "pymongo", "bson"):
    from pystator.stores.mongodb import feed, indexes, machines, pruning, reads, restoring
    from pystator.stores.mongodb.encode import Write, prepare
    from pystator.stores.mongodb.link import Link
    from pystator.stores.mongodb.loading import load_one, loading
    from pystator.stores.mongodb.relay import Numbers
    from pystator.stores.mongodb.writing import committing

__all__ = ["MongoDBStateStore"]


class MongoDBStateStore(CompleteStore):
    """A state store in a MongoDB database, of a single server or of a replica set.

    A load is one command, and so is a commit, whether of one entity or of a thousand. What is
    answered is confirmed by a majority of the replica set and in its journals, unless the URL says
    otherwise (``w=``, ``journal=``).

    Args:
        url: ``mongodb://user:password@host:port/database?option=value`` or ``mongodb+srv://...``,
            with every option that PyMongo knows. By default ``PYSTATOR_MONGODB_URL``, then
            ``pystator.cfg``; there is no other default.
        database_name: The database; by default the URL's, and ``pystator`` if it names none.
        machine_name: The machine whose entities the public methods mean when they are given none.
        pool_size: Connections that the threads of this process share, and as many for each event
            loop, at most.
        timeout: Seconds to wait for a server, for a connection, and for the answer to a command;
            after them a `StoreUnavailableError`.
        context_limit: Bytes an encoded context may have.
        clock: The wall clock, in microseconds since the epoch; the system's by default.

    Raises:
        ConfigurationError: The URL or an option is wrong, none is given, or the driver is missing
            (it comes with the extra ``mongodb``).
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
        database_name: str | None = None,
        machine_name: str | None = None,
        pool_size: int = 10,
        timeout: float = 30.0,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        _check_options(pool_size, timeout)
        parsed = find_mongodb(url)
        self.url = str(parsed)
        self.database_name = (
            parsed.database or DATABASE if database_name is None else check_database(database_name)
        )
        link = self._link = Link(parsed, self.database_name, pool_size=pool_size, timeout=timeout)
        forgotten = self._forgotten = _Forgotten()
        numbers = self._numbers = Numbers()
        self._later: Later[Write] = Later(
            lambda writes: link.run(committing(writes, forgotten, numbers)), lambda: link.is_open
        )
        _stores.add(self)
        # At the latest when the program ends: rows that may wait are then written.
        self._finalizer = weakref.finalize(self, _close_quietly, link, self._later)

    def __repr__(self) -> str:
        return f"MongoDBStateStore({self.url!r}, database_name={self.database_name!r})"

    @property
    def parts(self) -> tuple[Link, Later[Write]]:
        """Its connections and its rows that may wait."""
        return self._link, self._later

    # Opening and closing --------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Connect to the server; a second call does nothing.

        Args:
            auto_initialize: Make the collections and their indexes when there are none. Any number
                of processes may do so at once.
            validate_schema: Refuse a layout that this release does not fit.

        Raises:
            SchemaError: The database has no collections of ours, or older ones; the message says
                what to do.
            StoreUnavailableError: There is no server to be had; the message says why.
        """
        ensuring = indexes.ensure(
            self._link.url,
            self.database_name,
            auto_initialize=auto_initialize,
            validate_schema=validate_schema,
        )
        self._link.open(lambda: self._link.run(ensuring))
        self._later.wake()
        return self

    def disconnect(self) -> None:
        """Write what waits and close every connection; a second call does nothing."""
        try:
            self._later.close()
        finally:
            self._link.close()

    async def adisconnect(self) -> None:
        """`disconnect` for asyncio: connections of the running loop are closed when it returns.

        Those of another loop are closed when that one ends, or when it uses the store again.
        """
        await super().adisconnect()
        await self._link.aclose()

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        return self._link.run(loading(lookups, self._forgotten)) if lookups else []

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`load` of one entity without event ids, which is what most events ask."""
        return self._link.run(load_one(entity_id, machine_name))

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        if not commits:
            return []
        writes = prepare(commits, self.now(), self.context_limit)
        return self._link.run(committing(writes, self._forgotten, self._numbers))

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows in a moment, together with others; returns at once."""
        self._later.add(prepare(commits, self.now(), self.context_limit))

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self._later.flush()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await self._link.arun(loading(lookups, self._forgotten)) if lookups else []

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        if not commits:
            return []
        writes = prepare(commits, self.now(), self.context_limit)
        return await self._link.arun(committing(writes, self._forgotten, self._numbers))

    async def aflush(self) -> None:
        """`flush` for asyncio: in a thread, as it waits for the one that writes."""
        import asyncio  # blocking programs never pay for it

        await asyncio.to_thread(self.flush)

    # Reads ----------------------------------------------------------------------------------------

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        return self._link.run(reads.machines(entity_id))

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
        return self._link.run(read)

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
        return self._link.run(reads.entities(state, machine, since, after, limit))

    def count_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """Configuration -> number of entities."""
        return self._link.run(reads.count_by_state(self._machine(machine_name)))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        return self._link.run(reads.due(now, limit, self._machine(machine_name)))

    def feed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """Rows of all entities in an order in which no later commit appears before the cursor."""
        return self._link.run(feed.feed(cursor, limit, self._numbers))

    def _machine(self, machine_name: str | None) -> str | None:
        return self.machine_name if machine_name is None else machine_name

    # Their twins ----------------------------------------------------------------------------------

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await self._link.arun(reads.machines(entity_id))

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
        return await self._link.arun(read)

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
        return await self._link.arun(read)

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        read = reads.count_by_state(self._machine(machine_name))
        return await self._link.arun(read)

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        read = reads.due(now, limit, self._machine(machine_name))
        return await self._link.arun(read)

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await self._link.arun(feed.feed(cursor, limit, self._numbers))

    # Pruning --------------------------------------------------------------------------------------

    def prune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """The next keys that have history rows, each with the age of its oldest row."""
        return self._link.run(pruning.prune_keys(after, limit))

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        return self._link.run(pruning.prune_rows(cuts, self.now(), self._numbers))

    async def aprune_keys(self, after: Key | None, limit: int) -> list[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await self._link.arun(pruning.prune_keys(after, limit))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await self._link.arun(pruning.prune_rows(cuts, self.now(), self._numbers))

    # What comes from elsewhere --------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if it fits to what is there."""
        return self._link.run(restoring.restoring(parcels, self._numbers)) if parcels else []

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already."""
        check_machine(machine)
        return self._link.run(machines.save_machine(machine))

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        return self._link.run(machines.stored_machine(name, version))

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        return self._link.run(machines.stored_machines(after, limit))

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await self._link.arun(restoring.restoring(parcels, self._numbers)) if parcels else []

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        check_machine(machine)
        return await self._link.arun(machines.save_machine(machine))

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await self._link.arun(machines.stored_machine(name, version))

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await self._link.arun(machines.stored_machines(after, limit))


class _Forgotten(OrderedDict[str, tuple[int, frozenset[str]]]):
    """What is known of event ids that documents have forgotten, of the keys that were met last."""

    def __setitem__(self, key: str, known: tuple[int, frozenset[str]]) -> None:
        super().__setitem__(key, known)
        while len(self) > _KEYS:
            with suppress(KeyError):  # another thread was first
                self.popitem(last=False)


_KEYS: Final = 10_000


def _check_options(pool_size: object, timeout: object) -> None:
    """See that they are what they can be; settings often come as texts.

    Raises:
        ConfigurationError: One is not.
    """
    if not isinstance(pool_size, int) or pool_size < 1:
        raise ConfigurationError(f"pool_size={pool_size!r}: a number of connections, 1 or more")
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r}: a number of seconds, more than 0")


def _close_quietly(link: Link, later: Later[Write]) -> None:
    """For a store that nobody closed: there is no caller to tell."""
    if link.is_open:
        with suppress(FSMError):
            later.close()
    link.close()


# Forks --------------------------------------------------------------------------------------------

_stores: Final[weakref.WeakSet[MongoDBStateStore]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        link, later = store.parts
        later.forget()
        link.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
