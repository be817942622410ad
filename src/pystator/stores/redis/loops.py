"""Connections of event loops, see `pystator.stores.loops`.

They are plain sockets that the loop watches, without transports or tasks. A connection is made in a
thread, for names are looked up and certificates checked blocking.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.connection import AbstractConnection

from pystator.errors import FSMError, StoreUnavailableError
from pystator.stores import loops
from pystator.stores.loops import expire
from pystator.stores.redis.errors import LOST
from pystator.stores.redis.pool import MAX_IDLE, MAX_LIFETIME
from pystator.stores.redis.talk import Broken, Exchange, Part, Pause, Result, Talk
from pystator.stores.redis.wire import CHUNK, Address, Wire, close_connection, open_connection

if TYPE_CHECKING:
    from pystator.stores.redis.link import Link

__all__ = ["LoopPool", "LoopWire", "Loops", "drive"]

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
        alarm = self._loop.call_at(deadline, expire, future)
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


class LoopPool(loops.LoopPool[LoopWire]):
    """The connections of one event loop to one server.

    Args:
        link: Whose they are.
        address: Of the server.
        loop: The running loop.
    """

    def __init__(self, link: "Link", address: Address, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, loop)
        self._link = link
        self._address = address

    def give_back(self, connection: LoopWire) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        self._put(connection, not connection.is_clean, MAX_IDLE)

    def _end(self, connection: LoopWire) -> None:
        with suppress(*LOST):
            connection.close()

    def _in_vain(self) -> FSMError:
        return self._link.exhausted()

    async def _connect(self, deadline: float) -> LoopWire:
        del deadline  # the thread that makes it keeps to the timeout
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


class Loops(loops.Loops[Address, LoopPool]):
    """The pools of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        super().__init__(lambda loop, address: LoopPool(link, address, loop))


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


def _abandon(making: "asyncio.Future[AbstractConnection]") -> None:
    """A connection that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        close_connection(making.result())
