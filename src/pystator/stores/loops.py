"""Pools of event loops: each loop has its own, and its connections end with it.

Nothing runs in the background: a connection is made by the task that needs it, and giving one back
never waits, so that no cancellation comes between, and a loop that ends leaves nothing to be
awaited.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar

from pystator.errors import FSMError, StoreUnavailableError

__all__ = ["LoopPool", "Loops", "expire"]

_CLOSING: Final = 5.0
"""Seconds that a loop of another thread is given to close its connections."""


class Pooled(Protocol):
    """A connection.

    Attributes:
        expires: When it is not used any more (monotonic seconds): names of hosts change.
        used: When it was given back.
    """

    expires: float
    used: float

    def is_alive(self) -> bool:
        """The server has not closed it."""
        ...


class Limits(Protocol):
    """What a pool asks of the link whose it is."""

    pool_size: int
    timeout: float

    def check_open(self) -> None:
        """Refuse to work before it is opened and after it is closed."""


C = TypeVar("C", bound=Pooled)
"""The store's kind of connection."""


class LoopPool(ABC, Generic[C]):
    """The connections of one event loop to one server.

    Args:
        limits: The link whose they are.
        loop: The running loop.
    """

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._limits = limits
        self._idle: list[C] = []
        self._all: set[C] = set()
        self._count = 0
        self._waiting: deque[asyncio.Future[C | None]] = deque()
        """Each is given a connection, or None: there is room for a new one."""

    # The store's ----------------------------------------------------------------------------------

    @abstractmethod
    async def _connect(self, deadline: float) -> C:
        """Make a connection, count it and keep it among all, or wake who waits for the room."""

    @abstractmethod
    def _end(self, connection: C) -> None:
        """Close a connection, in its loop or when that has ended."""

    @abstractmethod
    def _in_vain(self) -> FSMError:
        """There was no connection in time."""

    # Taking and giving back -----------------------------------------------------------------------

    async def take(self) -> C:
        """A connection that nobody else uses meanwhile, and that works as far as one can know.

        Raises:
            StoreUnavailableError: There is none in time.
        """
        limits = self._limits
        limits.check_open()
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_alive():
                return connection
            self._drop(connection)
        deadline = time.monotonic() + limits.timeout
        while True:
            if self._count < limits.pool_size:
                return await self._connect(deadline)
            given = await self._wait(deadline)
            if given is not None:
                return given

    @abstractmethod
    def give_back(self, connection: C) -> None:
        """Take a connection back; one that is in the middle of something is closed."""

    def _put(self, connection: C, is_broken: bool, max_idle: float) -> None:
        """Give it to who waits, or keep it; close it if it is broken or old."""
        now = time.monotonic()
        if is_broken or now > connection.expires:
            self._drop(connection)
            self._wake(None)
        elif not self._wake(connection):
            connection.used = now
            self._idle.append(connection)
            if self._idle[0].used < now - max_idle:
                self._drop(self._idle.pop(0))

    async def _wait(self, deadline: float) -> C | None:
        """Wait for a connection that somebody gives back, or for room to make one."""
        waiter: asyncio.Future[C | None] = self.loop.create_future()
        self._waiting.append(waiter)
        alarm = self.loop.call_later(max(deadline - time.monotonic(), 0), expire, waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        except TimeoutError as error:
            raise self._in_vain() from error
        finally:
            alarm.cancel()
        try:
            self._limits.check_open()
        except StoreUnavailableError:
            self._pass_on(given)
            raise
        return given

    def _pass_on(self, connection: C | None) -> None:
        """What a waiter that is gone was given is somebody else's."""
        if connection is None:
            self._wake(None)
        else:
            self.give_back(connection)

    def _wake(self, connection: C | None) -> bool:
        """Give a connection, or the room for one, to who has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _drop(self, connection: C) -> None:
        self._end(connection)
        if connection in self._all:
            self._all.remove(connection)
            self._count -= 1

    # Closing --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it from any thread, whether or not the loop runs, or ever will again."""
        if not self.loop.is_running():
            for connection in list(self._all):
                self._drop(connection)
        elif _running_loop() is self.loop:
            self.retire(None)
        else:
            done = threading.Event()
            with suppress(RuntimeError):  # it ended just now
                self.loop.call_soon_threadsafe(self.retire, done)
                done.wait(_CLOSING)

    def retire(self, done: threading.Event | None) -> None:
        """Close what nobody uses; the others are closed when they come back."""
        for connection in self._idle:
            self._drop(connection)
        self._idle.clear()
        for connection in self._all:
            connection.expires = 0.0
        while self._wake(None):
            pass  # they look again, and see it if the link is closed
        if done is not None:
            done.set()


A = TypeVar("A", bound=Hashable)
"""What tells servers apart; None where there is one."""

P = TypeVar("P", bound=LoopPool[Any])
"""The store's kind of pool."""


class Loops(Generic[A, P]):
    """The pools of all event loops of this process.

    Args:
        make: Makes the pool of a loop to a server.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop, A], P]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._pools: dict[tuple[int, A], P] = {}

    def pool(self, address: A) -> P:
        """The running loop's, to a server."""
        loop = asyncio.get_running_loop()
        found = self._pools.get((id(loop), address))
        if found is None or found.loop is not loop:
            found = self._made(loop, address)
        return found

    def _made(self, loop: asyncio.AbstractEventLoop, address: A) -> P:
        with self._lock:
            for key, pool in list(self._pools.items()):
                if pool.loop.is_closed():
                    del self._pools[key]
                    pool.close()
            made = self._pools[id(loop), address] = self._make(loop, address)
            return made

    def close(self) -> None:
        """Close every pool."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()


def expire(future: "asyncio.Future[Any]") -> None:
    """Whoever waits for it has waited for too long."""
    if not future.done():
        future.set_exception(TimeoutError("timed out"))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
