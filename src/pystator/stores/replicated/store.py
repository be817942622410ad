"""The store that serves from Redis and keeps everything in PostgreSQL or SQLite as well."""

import logging
import threading
from typing import Any, Final, Self, cast

from pystator.errors import ConfigurationError, FSMError
from pystator.stores.copying import report as copying
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import joining
from pystator.stores.replicated.answers import Applied, Lag, Rebuilt
from pystator.stores.replicated.guard import Guard
from pystator.stores.replicated.location import parse_replicated
from pystator.stores.replicated.pair import Durable, Pair
from pystator.stores.replicated.places import in_order
from pystator.stores.replicated.replicator import Progress, Replicator
from pystator.stores.replicated.serving import Serving

__all__ = ["ReplicatedStateStore"]

_log: Final = logging.getLogger("pystator.replication")


class ReplicatedStateStore(Serving):
    """A state store that serves from Redis, and is replicated to PostgreSQL or SQLite.

    A commit is answered by Redis alone. With it, in the same script, goes an entry of a stream,
    which a replicator applies to the durable store: in order, and exactly once. Redis loses what
    its ``appendfsync`` allows; the durable store lacks, besides, what is not applied yet: `lag`.

    Somebody has to replicate: ``pystator replicate`` beside the programs, `replicate` in one of
    them, or ``background=True``. Several at once do no harm.

    Args:
        hot: The store that serves.
        durable: The store that keeps: a `PostgresStateStore` or a `SQLiteStateStore`.
        background: Replicate in a thread of this process, from `connect` to `disconnect`.

    Raises:
        ConfigurationError: One of the two cannot be that.
    """

    def __init__(self, *, hot: RedisStateStore, durable: Durable, background: bool = False) -> None:
        _check(hot, durable)
        super().__init__(hot, durable)
        self._background = background
        self._pair = Pair(hot, durable)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble: str | None = None

    @classmethod
    def from_url(cls, url: str, *, background: bool = False, **options: Any) -> Self:
        """The store of ``replicated://?hot=redis://...&durable=postgresql://...``.

        Args:
            url: The URL; an inner one is percent-encoded when it has a ``&``.
            background: Replicate in a thread of this process.
            options: Of the hot store, e.g. ``key_prefix=``.

        Raises:
            ConfigurationError: The URL or an option is wrong.
        """
        from pystator.stores.registry import create_state_store

        hot, durable = parse_replicated(url)
        return cls(
            hot=cast("RedisStateStore", create_state_store(hot, **options)),
            durable=cast("Durable", create_state_store(durable)),
            background=background,
        )

    def __repr__(self) -> str:
        return f"ReplicatedStateStore(hot={self.hot_store!r}, durable={self.durable_store!r})"

    # Opening and closing --------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Connect both, and see that they belong together; a second call does nothing.

        Args:
            auto_initialize: Make the durable store's tables when there are none, and join the two
                stores when both are empty.
            validate_schema: Refuse a schema that this release does not fit.

        Raises:
            ReplicationError: The stores do not belong together, or one of them has lost data; the
                message says what is known, and which command helps.
            StoreUnavailableError: One of them cannot be connected.
        """
        with self._lock:
            if self._guard is None:
                self._connect(auto_initialize, validate_schema)
        return self

    def _connect(self, auto_initialize: bool, validate_schema: bool) -> None:
        self._connect_both(auto_initialize, validate_schema)
        try:
            epoch = self._pair.join(make=auto_initialize)
        except BaseException:
            self._disconnect_both()
            raise
        self.hot_store.epoch = epoch
        self._guard = Guard(self._pair, epoch)
        if self._background:
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._replicate, name="pystator replicator", daemon=True
            )
            self._thread.start()

    def _connect_both(self, auto_initialize: bool = True, validate_schema: bool = True) -> None:
        for store in (self.hot_store, self.durable_store):
            store.connect(auto_initialize=auto_initialize, validate_schema=validate_schema)

    def disconnect(self) -> None:
        """Finish what is under way and disconnect both; a second call does nothing."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
            guard, self._guard = self._guard, None
            if thread is not None:
                thread.join()
            if guard is not None:
                guard.close()
            self._disconnect_both()

    def _disconnect_both(self) -> None:
        try:
            self.hot_store.disconnect()
        finally:
            self.hot_store.epoch = None
            self.durable_store.disconnect()

    # Replicating ----------------------------------------------------------------------------------

    def replicate(
        self,
        *,
        once: bool = False,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Applied:
        """Apply what waits to the durable store, and what comes, until it is told to stop.

        Args:
            once: End when nothing waits.
            stop: Set, it ends after the step under way.
            progress: Told after each step what was done so far.

        Raises:
            ReplicationError: The stores do not agree: somebody has to decide.
            StoreUnavailableError: One of them is down, and ``once`` was asked for; otherwise it is
                waited for.
        """
        self._open()
        return Replicator(self._pair, stop=stop, progress=progress).run(once=once)

    async def areplicate(self, *, once: bool = False, progress: Progress | None = None) -> Applied:
        """`replicate` for asyncio, in a thread; it ends when its task is cancelled."""
        import asyncio  # blocking programs never pay for it

        stop = threading.Event()
        work = asyncio.ensure_future(
            asyncio.to_thread(self.replicate, once=once, stop=stop, progress=progress)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            raise

    def _catch_up(self) -> None:
        """Replicate what waits at this moment; what others commit meanwhile is not waited for."""
        epoch = self._open().epoch
        heads = self._pair.stream.heads(self._pair.places(epoch))
        goal = {number: head.last for number, head in heads.items() if head.last is not None}
        reached = threading.Event()

        def look(_: Applied) -> None:
            places = self._pair.places(epoch)
            if all(in_order(places[number]) >= in_order(last) for number, last in goal.items()):
                reached.set()

        Replicator(self._pair, stop=reached, progress=look).run(once=True)

    def _replicate(self) -> None:
        """In the background."""
        try:
            Replicator(self._pair, stop=self._stop, progress=self._note).run()
        except FSMError as error:
            self._trouble = error.message
            _log.error("replication has stopped: %s", error.message)

    def _note(self, applied: Applied) -> None:
        if applied.trouble is not None and applied.trouble != self._trouble:
            _log.warning("replication waits: %s", applied.trouble)
        self._trouble = applied.trouble

    def lag(self) -> Lag:
        """How far the durable store is behind: for a gauge, or an alarm.

        Raises:
            ReplicationError: The stores do not belong together any more.
            StoreUnavailableError: One of them is down.
        """
        guard = self._open()
        lag = self._pair.lag(guard.epoch)
        return Lag(lag.entries, lag.seconds, lag.replicated, self._trouble)

    async def alag(self) -> Lag:
        """`lag` for asyncio."""
        import asyncio

        return await asyncio.to_thread(self.lag)

    # Bringing them together -----------------------------------------------------------------------

    def rebuild(
        self, *, discard: bool = False, progress: copying.Progress | None = None
    ) -> Rebuilt:
        """Copy the durable store into the hot one, which was emptied; then `connect` works again.

        Every replicated store that is connected refuses to write from then on, and has to be
        connected again. Killed half-way, it is run again.

        Args:
            discard: Empty the hot store first: what it has and was not replicated is gone.
            progress: Told what was copied so far; False ends it there.

        Raises:
            ReplicationError: The hot store is not empty, or somebody else does this.
        """
        return self._apart(lambda: joining.rebuild(self._pair, discard=discard, progress=progress))

    def adopt(self, *, progress: copying.Progress | None = None) -> Rebuilt:
        """Copy the hot store into the durable one, while nobody writes; then `connect` works.

        For a Redis that was used alone so far, and for a durable store that has lost something.

        Args:
            progress: Told what was copied so far; False ends it there.
        """
        return self._apart(lambda: joining.adopt(self._pair, progress=progress))

    def _apart(self, work: Any) -> Rebuilt:
        """Do something with both while this store serves nobody."""
        self.disconnect()
        self._connect_both()
        try:
            rebuilt: Rebuilt = work()
        finally:
            self._disconnect_both()
        return rebuilt


def _check(hot: object, durable: object) -> None:
    """See that the two can be what they are to be.

    Raises:
        ConfigurationError: One cannot.
    """
    if not isinstance(hot, RedisStateStore):
        raise ConfigurationError(
            f"hot= is a RedisStateStore, not {type(hot).__name__}", context={"option": "hot"}
        )
    if not hasattr(durable, "restore_marked"):
        raise ConfigurationError(
            f"durable= is a PostgresStateStore or a SQLiteStateStore, not {type(durable).__name__}",
            context={"option": "durable"},
        )
