"""The store in a MongoDB database: durable, for any number of processes and machines."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar, Final, Self, TypeVar

from pystator.db.extras import from_extra
from pystator.db.mongodb_url import DATABASE, check_database, find_mongodb
from pystator.db.resolve import one_url
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
from pystator.stores.linked import LinkedStore, check_options
from pystator.stores.operated import OperatedStore

with from_extra("mongodb", "pymongo", "bson"):
    from pystator.stores.mongodb import feed, indexes, machines, pruning, reads, restoring
    from pystator.stores.mongodb.encode import Write, prepare
    from pystator.stores.mongodb.link import Link, Operation, Request, Rows
    from pystator.stores.mongodb.loading import load_one, loading
    from pystator.stores.mongodb.relay import Numbers
    from pystator.stores.mongodb.writing import committing

__all__ = ["MongoDBStateStore"]

T = TypeVar("T")


class MongoDBStateStore(LinkedStore[Link, Write], OperatedStore[Request | Rows]):
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
        connection_string: Another name of ``url``.

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
        connection_string: str | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        check_options(pool_size, timeout)
        parsed = find_mongodb(one_url(url, connection_string))
        self.url = str(parsed)
        self.database_name = (
            parsed.database or DATABASE if database_name is None else check_database(database_name)
        )
        link = Link(parsed, self.database_name, pool_size=pool_size, timeout=timeout)
        forgotten = self._forgotten = _Forgotten()
        numbers = self._numbers = Numbers()
        self._begin(link, lambda writes: link.run(committing(writes, forgotten, numbers)))

    def __repr__(self) -> str:
        return f"MongoDBStateStore({self.url!r}, database_name={self.database_name!r})"

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

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await self._link.arun(loading(lookups, self._forgotten)) if lookups else []

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        if not commits:
            return []
        writes = prepare(commits, self.now(), self.context_limit)
        return await self._link.arun(committing(writes, self._forgotten, self._numbers))

    # Operations -----------------------------------------------------------------------------------

    def ask(self, operation: Operation[T]) -> T:
        """Run an operation, blocking."""
        return self._link.run(operation)

    async def aask(self, operation: Operation[T]) -> T:
        """Run an operation on the running loop."""
        return await self._link.arun(operation)

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
        return feed.feed(cursor, limit, machines, entity_id, self._numbers)

    def _feed_end(self) -> Operation[str]:
        return feed.feed_end(self._numbers)

    def _prune_keys(self, after: Key | None, limit: int) -> Operation[list[tuple[Key, int | None]]]:
        return pruning.prune_keys(after, limit)

    def _prune_rows(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        return pruning.prune_rows(cuts, self.now(), self._numbers)

    def _restore(self, parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
        return restoring.restoring(parcels, self._numbers)

    def _save_machine(self, machine: StoredMachine) -> Operation[bool]:
        check_machine(machine)
        return machines.save_machine(machine)

    def _stored_machine(self, name: str, version: str | None) -> Operation[StoredMachine | None]:
        return machines.stored_machine(name, version)

    def _stored_machines(self, after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
        return machines.stored_machines(after, limit)

    def _delete_machine(self, name: str, version: str | None) -> Operation[int]:
        return machines.delete_machine(name, version)


class _Forgotten(OrderedDict[str, tuple[int, frozenset[str]]]):
    """What is known of event ids that documents have forgotten, of the keys that were met last."""

    def __setitem__(self, key: str, known: tuple[int, frozenset[str]]) -> None:
        super().__setitem__(key, known)
        while len(self) > _KEYS:
            with suppress(KeyError):  # another thread was first
                self.popitem(last=False)


_KEYS: Final = 10_000
