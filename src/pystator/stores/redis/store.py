"""The store in a Redis or Valkey server: fast, and for any number of processes and machines."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

from pystator.db.extras import from_extra
from pystator.db.resolve import one_url
from pystator.errors import ConfigurationError, StoreUnavailableError
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
from pystator.stores.linked import LinkedStore, check_options
from pystator.stores.operated import OperatedStore

with from_extra("redis", "redis", "hiredis"):
    from pystator.db.redis_url import find_redis
    from pystator.stores.redis import feed, listing, machines, pruning, reads, restoring
    from pystator.stores.redis.checks import check_rights, check_server, warn_unless_persistent
    from pystator.stores.redis.encode import Write, prepare, prepared
    from pystator.stores.redis.layout import Layout
    from pystator.stores.redis.link import Link
    from pystator.stores.redis.ops import Operation, Request, loading
    from pystator.stores.redis.quick import commit_one, load_one
    from pystator.stores.redis.wire import Wire
    from pystator.stores.redis.writing import Terms, committing, writing

__all__ = ["RedisStateStore"]

T = TypeVar("T")

KEY_PREFIX: Final = "pystator"


class RedisStateStore(LinkedStore[Link, Write], OperatedStore[Request]):
    """A state store in Redis, Valkey, or a cluster of either.

    A load is one round trip and so is a commit, which is one script: all of it is written, or
    nothing. What is answered is as durable as the server's ``appendfsync`` makes it. The feed of a
    cluster has rows of one entity in their order, and those of different ones about in the order
    of time.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://...`` over TLS, or
            ``unix:///path/to/socket?db=0``; of a cluster, any node. By default
            ``PYSTATOR_REDIS_URL``, then ``pystator.cfg``; there is no other default.
        key_prefix: What all keys of the store begin with. Stores of different prefixes share
            nothing. By default the URL's ``key_prefix``, then ``pystator``.
        machine_name: The machine whose entities the public methods mean when they are given none.
        pool_size: Connections that the threads of this process share, and as many for each event
            loop, at most; of a cluster, to each node.
        timeout: Seconds to wait for a connection, and for an answer; after them a
            `StoreUnavailableError`.
        context_limit: Bytes an encoded context may have.
        clock: The wall clock, in microseconds since the epoch; the system's by default.
        connection_string: Another name of ``url``.

    Raises:
        ConfigurationError: The URL or an option is wrong, none is given, or the driver is missing
            (it comes with the extra ``redis``).
    """

    durable: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    combines: ClassVar[bool] = True
    in_flight: ClassVar[int] = 2
    takes_ahead: ClassVar[bool] = True

    def __init__(
        self,
        url: str | None = None,
        *,
        key_prefix: str | None = None,
        machine_name: str | None = None,
        pool_size: int = 10,
        timeout: float = 30.0,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
        connection_string: str | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        check_options(pool_size, timeout)
        parsed = find_redis(one_url(url, connection_string))
        self.url = str(parsed)
        self.key_prefix = _checked_prefix(
            (parsed.key_prefix or KEY_PREFIX) if key_prefix is None else key_prefix
        )
        link = Link(parsed, key_prefix=self.key_prefix, pool_size=pool_size, timeout=timeout)
        self._terms = Terms(parsed, link.layout, None)
        self._begin(
            link,
            lambda writes: _run(link, writing(Terms(parsed, link.layout, link.epoch), writes)),
        )

    def __repr__(self) -> str:
        return f"RedisStateStore({self.url!r}, key_prefix={self.key_prefix!r})"

    @property
    def epoch(self) -> str | None:
        """What the data must belong to for anything to be written; None for whatever it is.

        `ReplicatedStateStore` sets it.
        """
        return self._link.epoch

    @epoch.setter
    def epoch(self, epoch: str | None) -> None:
        self._link.epoch = epoch

    @property
    def layout(self) -> Layout:
        """The names of keys."""
        return self._link.layout

    @property
    def terms(self) -> Terms:
        """What all writes share."""
        link, terms = self._link, self._terms
        if terms.layout is not link.layout or terms.epoch != link.epoch:
            terms = self._terms = Terms(link.url, link.layout, link.epoch)
        return terms

    # Opening and closing --------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Connect to the server; a second call does nothing.

        Args:
            auto_initialize: There is nothing to make in Redis: keys come when they are needed.
            validate_schema: There is no schema, either.

        Raises:
            ConfigurationError: The server evicts keys when its memory is full.
            StoreUnavailableError: There is no connection to be had; the message says why.
        """
        del auto_initialize, validate_schema
        self._link.open(self._look)
        self._later.wake()
        return self

    def _look(self, wire: Wire) -> bool:
        facts = check_server(wire, self._link.url)
        layout = Layout(self.key_prefix, is_cluster=facts.is_cluster)
        check_rights(wire, self._link.url, layout)
        warn_unless_persistent(wire, self._link.url, facts)
        return facts.is_cluster

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        return _run(self._link, loading(self._link.layout, lookups)) if lookups else []

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`load` of one entity without event ids, which is what most events ask."""
        return load_one(self._link, entity_id, machine_name)

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        if len(commits) == 1:
            write = prepared(commits[0], self.now(), self.context_limit)
            return [commit_one(self._link, self.terms, write)]
        return _run(self._link, self._committing(commits)) if commits else []

    def commit_ahead(self, commits: Iterable[Commit]) -> list[Outcome]:
        """`commit` of what is decided while the server works; one `Outcome` for each drawn."""
        return _run(self._link, self._committing(commits))

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows in a moment, together with others; returns at once."""
        self._later.add(prepare(commits, self.now(), self.context_limit))

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await _arun(self._link, loading(self._link.layout, lookups)) if lookups else []

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await _arun(self._link, self._committing(commits)) if commits else []

    async def acommit_ahead(self, commits: Iterable[Commit]) -> list[Outcome]:
        """`commit_ahead` for asyncio."""
        return await _arun(self._link, self._committing(commits))

    def _committing(self, commits: Iterable[Commit]) -> Operation[list[Outcome]]:
        return committing(self.terms, commits, self.now(), self.context_limit)

    # Operations -----------------------------------------------------------------------------------

    def ask(self, operation: Operation[T]) -> T:
        """Run an operation, blocking."""
        return _run(self._link, operation)

    async def aask(self, operation: Operation[T]) -> T:
        """Run an operation on the running loop."""
        return await _arun(self._link, operation)

    def _machines(self, entity_id: str) -> Operation[list[str]]:
        return reads.machines(self.layout, entity_id)

    def _history(
        self,
        entity_id: str,
        machine: str | None,
        after: str | None,
        limit: int,
        *,
        newest_first: bool,
    ) -> Operation[Page[HistoryEntry]]:
        return reads.history(
            self.layout, entity_id, machine, after, limit, newest_first=newest_first
        )

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
        return listing.entities(
            self.layout, state, machines, since, after, limit, archived=archived
        )

    def _count_by_state(
        self, machines: tuple[str, ...] | None, *, archived: bool
    ) -> Operation[dict[str, int]]:
        return reads.count_by_state(self.layout, machines, archived=archived)

    def _due(self, now: int, limit: int, machine: str | None) -> Operation[list[Key]]:
        return reads.due(self.layout, now, limit, machine)

    def _feed(
        self,
        cursor: str | None,
        limit: int,
        machines: tuple[str, ...] | None,
        entity_id: str | None,
    ) -> Operation[Page[HistoryEntry]]:
        return feed.feed(self.layout, cursor, limit, machines, entity_id)

    def _feed_end(self) -> Operation[str]:
        return feed.feed_end(self.layout)

    def _prune_keys(self, after: Key | None, limit: int) -> Operation[list[tuple[Key, int | None]]]:
        return pruning.prune_keys(self.layout, after, limit)

    def _prune_rows(self, cuts: Sequence[Cut]) -> Operation[list[int | None]]:
        return pruning.prune_rows(self.layout, cuts, self.now())

    def _restore(self, parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
        return restoring.restore(self.terms, parcels)

    def _save_machine(self, machine: StoredMachine) -> Operation[bool]:
        return machines.save(self.layout, machine)

    def _stored_machine(self, name: str, version: str | None) -> Operation[StoredMachine | None]:
        return machines.machine(self.layout, name, version)

    def _stored_machines(self, after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
        return machines.machines(self.layout, after, limit)

    def _delete_machine(self, name: str, version: str | None) -> Operation[int]:
        return machines.delete(self.layout, name, version)


# Running ------------------------------------------------------------------------------------------


def _run(link: Link, operation: Operation[T]) -> T:
    replies: Any = None
    wrote = False
    try:
        while True:
            request = operation.send(replies)
            try:
                replies = link.run(request)
            except StoreUnavailableError as error:
                _qualify(error, wrote=wrote)
                raise
            wrote = wrote or not request.reads
    except StopIteration as done:
        result: T = done.value
        return result


async def _arun(link: Link, operation: Operation[T]) -> T:
    replies: Any = None
    wrote = False
    while True:
        try:
            request = operation.send(replies)
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            replies = await link.arun(request)
        except StoreUnavailableError as error:
            _qualify(error, wrote=wrote)
            raise
        wrote = wrote or not request.reads


def _qualify(error: StoreUnavailableError, *, wrote: bool) -> None:
    """That nothing was written is said of the whole operation, not of its last request."""
    if wrote:
        error.context.pop("written", None)


def _checked_prefix(prefix: object) -> str:
    if (
        not isinstance(prefix, str)
        or not 0 < len(prefix) <= LONGEST_PREFIX
        or not prefix.isprintable()
        or set("{}") & set(prefix)
    ):
        raise ConfigurationError(
            f"key_prefix={prefix!r:.80}: 1 to {LONGEST_PREFIX} printable characters without braces"
        )
    inside = _INSIDE.search(prefix)
    if inside:
        raise ConfigurationError(
            f"key_prefix={prefix!r}: keys that begin so may be those of a store with the key_prefix"
            f" {prefix[: inside.start()]!r}: leave {inside[1]!r} out"
        )
    return prefix


_INSIDE: Final = re.compile(r":(entity|state|due|archived)(?=:|$)")
"""What stands in a prefix that other stores' keys begin with, too."""


LONGEST_PREFIX: Final = 100
