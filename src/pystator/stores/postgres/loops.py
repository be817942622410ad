"""Pools of event loops: each loop has its own, and it ends with it.

They are not psycopg's: its async pool connects in a task of its own, which swallows the
cancellation at the end of ``asyncio.run`` and makes it hang. Here a connection is made by the task
that needs it, nothing runs in the background, and giving one back never waits, so that no
cancellation comes between.
"""

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import TupleRow

from pystator.db.postgres import OPTIONS
from pystator.errors import StoreUnavailableError
from pystator.stores.postgres.waiting import abandon
from pystator.stores.postgres.wire import Wire

if TYPE_CHECKING:
    from pystator.stores.postgres.link import Link

__all__ = ["AsyncConnection", "LoopPool", "Loops"]

_CLOSING: Final = 5.0
"""Seconds that a loop of another thread is given to close its connections."""


class AsyncConnection(psycopg.AsyncConnection[TupleRow]):
    """A connection that knows its wire.

    Attributes:
        expires: When it is not used any more (monotonic seconds): names of hosts change.
        used: When it was given back.
    """

    wire: Wire
    expires: float = 0.0
    used: float = 0.0


_Waiter = asyncio.Future[AsyncConnection | None]
"""Is given a connection, or None: there is room for a new one."""


class LoopPool:
    """The connections of one event loop.

    Args:
        link: Whose they are.
        loop: The running loop.
    """

    def __init__(self, link: "Link", loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._link = link
        self._idle: list[AsyncConnection] = []
        self._all: set[AsyncConnection] = set()
        self._count = 0
        self._waiting: deque[_Waiter] = deque()

    async def take(self) -> AsyncConnection:
        """A connection that nobody else uses meanwhile, and that works as far as one can know.

        Raises:
            StoreUnavailableError: There is none in time.
        """
        link = self._link
        link.check_open()
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.wire.is_alive():
                return connection
            self._drop(connection)
        deadline = time.monotonic() + link.timeout
        while True:
            if self._count < link.pool_size:
                return await self._connect(deadline)
            given = await self._wait(deadline)
            if given is not None:
                return given

    def give_back(self, connection: AsyncConnection) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        now = time.monotonic()
        if not connection.wire.is_clean():
            abandon(connection.pgconn)
        if connection.closed or now > connection.expires:
            self._drop(connection)
            self._wake(None)
        elif not self._wake(connection):
            connection.used = now
            self._idle.append(connection)
            if self._idle[0].used < now - self._link.max_idle:
                self._drop(self._idle.pop(0))

    def close(self) -> None:
        """Close it from any thread, whether or not the loop runs, or ever will again."""
        if not self.loop.is_running():
            for connection in list(self._all):
                self._drop(connection)
        elif _running_loop() is self.loop:
            self._retire(None)
        else:
            done = threading.Event()
            with suppress(RuntimeError):  # it ended just now
                self.loop.call_soon_threadsafe(self._retire, done)
                done.wait(_CLOSING)

    def _retire(self, done: threading.Event | None) -> None:
        """Close what nobody uses; the others are closed when they come back."""
        for connection in self._idle:
            self._drop(connection)
        self._idle.clear()
        for connection in self._all:
            connection.expires = 0.0
        while self._wake(None):
            pass  # they see that the link is closed
        if done is not None:
            done.set()

    async def _connect(self, deadline: float) -> AsyncConnection:
        link = self._link
        self._count += 1
        try:
            while True:
                link.check_open()
                try:
                    left = deadline - time.monotonic()
                    async with asyncio.timeout(left):
                        connection = await AsyncConnection.connect(link.conninfo, **OPTIONS)
                    self._configure(connection)
                except TimeoutError as error:
                    raise link.waited_in_vain(len(self._all)) from error
                except psycopg.Error as error:
                    link.note_failure(error)
                    await asyncio.sleep(link.next_try(deadline))
                else:
                    return connection
        except BaseException:
            self._count -= 1
            self._wake(None)
            raise

    def _configure(self, connection: AsyncConnection) -> None:
        link = self._link
        try:
            connection.wire = link.wire(connection.pgconn)
            connection.expires = time.monotonic() + link.max_lifetime
            link.check_open()
        except BaseException:
            connection.pgconn.finish()
            raise
        self._all.add(connection)

    async def _wait(self, deadline: float) -> AsyncConnection | None:
        """Wait for a connection that somebody gives back, or for room to make one."""
        waiter: _Waiter = self.loop.create_future()
        self._waiting.append(waiter)
        left = deadline - time.monotonic()
        alarm = self.loop.call_later(max(left, 0), _expire, waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        except TimeoutError as error:
            raise self._link.waited_in_vain(len(self._all)) from error
        finally:
            alarm.cancel()
        try:
            self._link.check_open()
        except StoreUnavailableError:
            self._pass_on(given)
            raise
        return given

    def _pass_on(self, connection: AsyncConnection | None) -> None:
        """What a waiter that is gone was given is somebody else's."""
        if connection is None:
            self._wake(None)
        else:
            self.give_back(connection)

    def _wake(self, connection: AsyncConnection | None) -> bool:
        """Give a connection, or the room for one, to who has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _drop(self, connection: AsyncConnection) -> None:
        connection.pgconn.finish()
        if connection in self._all:
            self._all.remove(connection)
            self._count -= 1


class Loops:
    """The pools of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._lock = threading.Lock()
        self._pools: dict[int, LoopPool] = {}

    def pool(self) -> LoopPool:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        found = self._pools.get(id(loop))
        if found is None or found.loop is not loop:
            found = self._made(loop)
        return found

    def _made(self, loop: asyncio.AbstractEventLoop) -> LoopPool:
        with self._lock:
            for key, pool in list(self._pools.items()):
                if pool.loop.is_closed():
                    del self._pools[key]
                    pool.close()
            made = self._pools[id(loop)] = LoopPool(self._link, loop)
            return made

    def close(self) -> None:
        """Close every pool."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()


def _expire(waiter: _Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
