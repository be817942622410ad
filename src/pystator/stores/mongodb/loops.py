"""Clients of event loops: each loop has its own, and it ends with it.

PyMongo's `AsyncMongoClient` belongs to the loop it is first used on: it has tasks of its own there,
and only that loop can close it. So a loop's client is closed when the loop shuts down, by an
asynchronous generator that is told so, as `asyncio.run` tells all of them.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from pystator.stores.mongodb.documents import Document

if TYPE_CHECKING:
    from pystator.stores.mongodb.link import Link

__all__ = ["Loops"]

_CLOSING: Final = 5.0
"""Seconds that a loop of another thread is given to close its connections."""


class _LoopClient:
    """The client of one loop."""

    def __init__(self, link: "Link", loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(link.url.text, **link.options)
        self.database: AsyncDatabase[Document] = self._client[link.database]
        self._end = _until_the_end(self._client)

    async def begin(self) -> None:
        """Let the loop know that there is something to close."""
        await anext(self._end)

    def close(self) -> None:
        """Close it from any thread, whether or not the loop runs, or ever will again."""
        loop = self.loop
        if loop.is_closed():
            return  # it was closed with the loop, or nobody can
        if _running_loop() is loop:
            _closing.add(task := loop.create_task(self._aclose()))
            task.add_done_callback(_closing.discard)
            return
        with suppress(RuntimeError, TimeoutError):  # it began to run, or ended, just now
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(self._aclose(), loop).result(_CLOSING)
            elif _running_loop() is None:
                loop.run_until_complete(self._aclose())

    async def _aclose(self) -> None:
        await self._end.aclose()


_closing: Final[set[asyncio.Task[None]]] = set()
"""Clients that are being closed: a loop keeps no task alive."""


async def _until_the_end(client: AsyncMongoClient[Document]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()


class Loops:
    """The clients of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._lock = threading.Lock()
        self._clients: dict[int, _LoopClient] = {}
        self._is_closed = False

    async def database(self) -> AsyncDatabase[Document]:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(id(loop))
        if found is None or found.loop is not loop:
            with self._lock:
                if self._is_closed:
                    self._link.check_open()
                for key, client in list(self._clients.items()):
                    if client.loop.is_closed():
                        del self._clients[key]
                found = self._clients[id(loop)] = _LoopClient(self._link, loop)
            await found.begin()
        return found.database

    def close(self) -> None:
        """Close every client."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
            self._is_closed = True
        for client in clients:
            client.close()


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
