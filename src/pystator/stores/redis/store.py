"""The store in a Redis or Valkey server: fast, and for any number of processes and machines."""

import math
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Self, TypeVar

from pystator.db.extras import from_extra
from pystator.errors import ConfigurationError, FSMError, StoreUnavailableError
from pystator.records import Commit, Entity, Loaded, Lookup, Outcome
from pystator.stores.codec import LIMIT

with from_extra("redis", "redis", "hiredis"):
    from pystator.db.redis_url import find_redis
    from pystator.stores.redis.checks import check_rights, check_server, warn_unless_persistent
    from pystator.stores.redis.encode import prepare, prepared
    from pystator.stores.redis.later import Later
    from pystator.stores.redis.layout import Layout
    from pystator.stores.redis.link import Link
    from pystator.stores.redis.ops import Operation, loading
    from pystator.stores.redis.quick import commit_one, load_one
    from pystator.stores.redis.reading import Reading
    from pystator.stores.redis.wire import Wire
    from pystator.stores.redis.writing import Terms, committing, writing

__all__ = ["RedisStateStore"]

T = TypeVar("T")

KEY_PREFIX: Final = "pystator"


class RedisStateStore(Reading):
    """A state store in Redis, Valkey, or a cluster of either.

    A load is one round trip and so is a commit, which is one script: all of it is written, or
    nothing. What is answered is as durable as the server's ``appendfsync`` makes it.

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
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        _check_options(pool_size, timeout)
        parsed = find_redis(url)
        self.url = str(parsed)
        self.key_prefix = _checked_prefix(
            (parsed.key_prefix or KEY_PREFIX) if key_prefix is None else key_prefix
        )
        link = self._link = Link(
            parsed, key_prefix=self.key_prefix, pool_size=pool_size, timeout=timeout
        )
        self._terms = Terms(parsed, link.layout, None)
        self._later = Later(
            lambda writes: _run(link, writing(Terms(parsed, link.layout, link.epoch), writes)),
            lambda: link.is_open,
        )
        _stores.add(self)
        # At the latest when the program ends: rows that may wait are then written.
        self._finalizer = weakref.finalize(self, _close_quietly, link, self._later)

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
    def parts(self) -> tuple[Link, Later]:
        """Its connections and its rows that may wait."""
        return self._link, self._later

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

    def ask(self, operation: "Operation[T]") -> T:
        """Run an operation, blocking."""
        return _run(self._link, operation)

    async def aask(self, operation: "Operation[T]") -> T:
        """Run an operation on the running loop."""
        return await _arun(self._link, operation)

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

    def disconnect(self) -> None:
        """Write what waits and close every connection; a second call does nothing."""
        try:
            self._later.close()
        finally:
            self._link.close()

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

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows in a moment, together with others; returns at once."""
        self._later.add(prepare(commits, self.now(), self.context_limit))

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self._later.flush()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await _arun(self._link, loading(self._link.layout, lookups)) if lookups else []

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await _arun(self._link, self._committing(commits)) if commits else []

    async def aflush(self) -> None:
        """`flush` for asyncio: in a thread, as it waits for the one that writes."""
        import asyncio  # blocking programs never pay for it

        await asyncio.to_thread(self.flush)

    def _committing(self, commits: Sequence[Commit]) -> "Operation[list[Outcome]]":
        return committing(self.terms, commits, self.now(), self.context_limit)


# Running ------------------------------------------------------------------------------------------


def _run(link: Link, operation: "Operation[T]") -> T:
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


async def _arun(link: Link, operation: "Operation[T]") -> T:
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


def _close_quietly(link: Link, later: "Later") -> None:
    """For a store that nobody closed: there is no caller to tell."""
    if link.is_open:
        with suppress(FSMError):
            later.close()
    link.close()


def _check_options(pool_size: object, timeout: object) -> None:
    if not isinstance(pool_size, int) or pool_size < 1:
        raise ConfigurationError(f"pool_size={pool_size!r}: a number of connections, 1 or more")
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r}: a number of seconds, more than 0")


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
    return prefix


LONGEST_PREFIX: Final = 100


# Forks --------------------------------------------------------------------------------------------

_stores: Final[weakref.WeakSet[RedisStateStore]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        link, later = store.parts
        later.forget()
        link.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
