"""Connections of event loops: each loop has its own, and they end with it.

They are plain sockets that the loop watches, without transports or tasks: a loop that ends leaves
nothing to be awaited, and giving one back never waits, so that no cancellation comes between. A
connection is made in a thread, for names are looked up and certificates checked blocking.
"""

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.connection import AbstractConnection

from pystator.errors import StoreUnavailableError
from pystator.stores.redis.errors import LOST
from pystator.stores.redis.pool import MAX_IDLE, MAX_LIFETIME
from pystator.stores.redis.talk import Broken, Exchange, Part, Pause, Result, Talk
from pystator.stores.redis.wire import CHUNK, Address, Wire, close_connection, open_connection

if TYPE_CHECKING:
    from pystator.stores.redis.link import Link

__all__ = ["LoopPool", "LoopWire", "Loops", "drive"]

_CLOSING: Final = 5.0
"""Seconds that a loop of another thread is given to close its connections."""

_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
_NOT_YET: Final = (BlockingIOError, InterruptedError, ssl.SSLWantWriteError)


class LoopWire(Wire):
    """A connection of an event loop.

    Args:
        connection: The driver's, connected.
        timeout: Seconds to wait for an answer.
        loop: The running loop.
    """

    __slots__ = ("_expected", "_failure", "_loop", "_replies", "_waiter")

    def __init__(
        self, connection: AbstractConnection, timeout: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(connection, timeout)
        self._loop = loop
        self._expected = 0
        self._replies: list[Any] = []
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._sock.setblocking(False)
        loop.add_reader(self._sock.fileno(), self._read)

    def is_alive(self) -> bool:
        """The server has not closed it."""
        return self._failure is None and super().is_alive()

    async def exchange(self, chunks: Iterable[bytes], part: Part) -> list[Any]:
        """Send the commands of a part; their replies.

        Raises:
            OSError: The connection was lost, or they did not come in time.
        """
        self.is_clean = False
        self._replies = []
        self._expected = -1  # not known yet
        deadline = self._loop.time() + self._timeout
        for chunk in chunks:
            self.sent = True
            await self._send(chunk, deadline)
        self._expected = len(part.packed)
        if len(self._replies) < self._expected:
            await self._wait(deadline)
        replies, self._replies = self._replies, []
        self.is_clean = True
        return replies

    async def _send(self, chunk: bytes, deadline: float) -> None:
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except _NOT_YET:
                ready: asyncio.Future[None] = self._loop.create_future()
                fd = self._sock.fileno()
                self._loop.add_writer(fd, _done, ready)
                try:
                    await self._before(deadline, ready)
                finally:
                    self._loop.remove_writer(fd)

    async def _wait(self, deadline: float) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._before(deadline, self._waiter)
        finally:
            self._waiter = None

    async def _before(self, deadline: float, future: "asyncio.Future[None]") -> None:
        alarm = self._loop.call_at(deadline, _expire, future)
        try:
            await future
        finally:
            alarm.cancel()

    def _read(self) -> None:
        """Something came, or the server has closed it."""
        try:
            while True:
                data = self._sock.recv(CHUNK)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self._reader.feed(data)
                if len(data) < CHUNK and type(self._sock) is not ssl.SSLSocket:
                    break
        except _NOT_NOW:
            pass
        except LOST as error:
            self._fail(error)
            return
        reply = self._next()
        while reply is not False:
            self._replies.append(reply)
            reply = self._next()
        waiter = self._waiter
        if waiter is not None and len(self._replies) >= self._expected and not waiter.done():
            waiter.set_result(None)

    def _next(self) -> Any:
        try:
            return self._reader.gets()
        except LOST as error:
            self._fail(error)
            return False

    def _fail(self, error: Exception) -> None:
        self._failure = error
        with suppress(Exception):
            self._loop.remove_reader(self._sock.fileno())
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def close(self) -> None:
        """Close it; in its loop, or when that has ended."""
        if not self._loop.is_closed():
            with suppress(OSError, ValueError, RuntimeError):
                self._loop.remove_reader(self._sock.fileno())
        super().close()


_Waiter = asyncio.Future[LoopWire | None]
"""Is given a connection, or None: there is room for a new one."""


class LoopPool:
    """The connections of one event loop to one server.

    Args:
        link: Whose they are.
        address: Of the server.
        loop: The running loop.
    """

    def __init__(self, link: "Link", address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._link = link
        self._address = address
        self._idle: list[LoopWire] = []
        self._all: set[LoopWire] = set()
        self._count = 0
        self._waiting: deque[_Waiter] = deque()

    async def take(self) -> LoopWire:
        """A connection that nobody else uses meanwhile, and that works as far as one can know.

        Raises:
            OSError: None can be made; or an error of the driver.
            StoreUnavailableError: There is none in time.
        """
        self._link.check_open()
        idle = self._idle
        while idle:
            wire = idle.pop()
            if wire.is_alive():
                return wire
            self._drop(wire)
        deadline = time.monotonic() + self._link.timeout
        while True:
            if self._count < self._link.pool_size:
                return await self._connect()
            given = await self._wait(deadline)
            if given is not None:
                return given

    def give_back(self, wire: LoopWire) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        now = time.monotonic()
        if not wire.is_clean or now > wire.expires:
            self._drop(wire)
            self._wake(None)
        elif not self._wake(wire):
            wire.used = now
            self._idle.append(wire)
            if self._idle[0].used < now - MAX_IDLE:
                self._drop(self._idle.pop(0))

    def close(self) -> None:
        """Close it from any thread, whether or not the loop runs, or ever will again."""
        if not self.loop.is_running():
            for wire in list(self._all):
                self._drop(wire)
        elif _running_loop() is self.loop:
            self.retire(None)
        else:
            done = threading.Event()
            with suppress(RuntimeError):  # it ended just now
                self.loop.call_soon_threadsafe(self.retire, done)
                done.wait(_CLOSING)

    def retire(self, done: threading.Event | None) -> None:
        """Close what nobody uses; the others are closed when they come back."""
        for wire in self._idle:
            self._drop(wire)
        self._idle.clear()
        for wire in self._all:
            wire.expires = 0.0
        while self._wake(None):
            pass  # they look again
        if done is not None:
            done.set()

    async def _connect(self) -> LoopWire:
        link = self._link
        self._count += 1
        making = self.loop.run_in_executor(
            None, open_connection, link.url, self._address, link.timeout
        )
        try:
            connection = await asyncio.shield(making)
            wire = LoopWire(connection, link.timeout, self.loop)
        except BaseException:
            making.add_done_callback(_abandon)
            self._count -= 1
            self._wake(None)
            raise
        wire.expires = time.monotonic() + MAX_LIFETIME if link.is_open else 0.0
        self._all.add(wire)
        link.changes += 1
        return wire

    async def _wait(self, deadline: float) -> LoopWire | None:
        """Wait for a connection that somebody gives back, or for room to make one."""
        waiter: _Waiter = self.loop.create_future()
        self._waiting.append(waiter)
        alarm = self.loop.call_later(max(deadline - time.monotonic(), 0), _expire, waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        except TimeoutError as error:
            raise self._link.exhausted() from error
        finally:
            alarm.cancel()
        try:
            self._link.check_open()
        except StoreUnavailableError:
            self._pass_on(given)
            raise
        return given

    def _pass_on(self, wire: LoopWire | None) -> None:
        """What a waiter that is gone was given is somebody else's."""
        if wire is None:
            self._wake(None)
        else:
            self.give_back(wire)

    def _wake(self, wire: LoopWire | None) -> bool:
        """Give a connection, or the room for one, to who has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(wire)
                return True
        return False

    def _drop(self, wire: LoopWire) -> None:
        with suppress(*LOST):
            wire.close()
        if wire in self._all:
            self._all.remove(wire)
            self._count -= 1


class Loops:
    """The pools of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._lock = threading.Lock()
        self._pools: dict[tuple[int, Address], LoopPool] = {}

    def pool(self, address: Address) -> LoopPool:
        """The running loop's, to a server."""
        loop = asyncio.get_running_loop()
        found = self._pools.get((id(loop), address))
        if found is None or found.loop is not loop:
            found = self._made(loop, address)
        return found

    def _made(self, loop: asyncio.AbstractEventLoop, address: Address) -> LoopPool:
        with self._lock:
            for key, pool in list(self._pools.items()):
                if pool.loop.is_closed():
                    del self._pools[key]
                    pool.close()
            made = self._pools[id(loop), address] = LoopPool(self._link, address, loop)
            return made

    def close(self) -> None:
        """Close every pool."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()


# Driving ------------------------------------------------------------------------------------------


async def drive(link: "Link", steps: Talk) -> list[Any]:
    """Do what a talk asks for, on the running loop."""
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as done:
            replies: list[Any] = done.value
            return replies
        if isinstance(step, Exchange):
            parts = step.parts
            if len(parts) == 1:
                answer = [await _exchange(link, parts[0])]
            else:
                answer = await _together(link, parts)
        elif isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        else:
            link.loop_pool(step.address).retire(None)


async def _together(link: "Link", parts: Sequence[Part]) -> list[Result]:
    """Parts for several servers, which work at the same time."""
    return await asyncio.gather(*(_exchange(link, part) for part in parts))


async def _exchange(link: "Link", part: Part) -> Result:
    try:
        pool = link.loop_pool(part.address)
        wire = await pool.take()
    except (*LOST, StoreUnavailableError) as error:
        return Broken(error, sent=False)
    wire.sent = False
    try:
        return await wire.exchange(part.chunks(), part)
    except LOST as error:
        return Broken(error, wire.sent)
    finally:
        pool.give_back(wire)


def _done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError("timed out"))


def _abandon(making: "asyncio.Future[AbstractConnection]") -> None:
    """A connection that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        close_connection(making.result())


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
