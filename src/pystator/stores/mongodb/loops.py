"""Clients of event loops: each loop has its own, and it ends with it.

PyMongo's `AsyncMongoClient` belongs to the loop it is first used on: it has tasks of its own there,
and only code of that loop can close it, and only whole. So it is closed

- when its loop shuts down, by an asynchronous generator that is told so, as `asyncio.run` tells all
  of them once their tasks are over;
- before that, by the next call of the store on that loop, or by ``adisconnect``, if the store was
  disconnected. Nobody runs a loop that is not his own for it, and no task is left behind that the
  end of its loop could cancel half-way.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from pystator.stores.mongodb.documents import Document

if TYPE_CHECKING:
    from pystator.stores.mongodb.link import Link

__all__ = ["Loops", "close_retired"]


class _LoopClient:
    """The client of one loop."""

    def __init__(self, link: "Link", loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        client: AsyncMongoClient[Document] = AsyncMongoClient(link.url.text, **link.options)
        self.database: AsyncDatabase[Document] = client[link.database]
        self._end = _until_the_end(client)

    async def begin(self) -> None:
        """Let the loop know that there is something to close."""
        await anext(self._end)

    async def close(self) -> None:
        """Close it, on its loop."""
        await self._end.aclose()


async def _until_the_end(client: AsyncMongoClient[Document]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()


_retired: Final[list[_LoopClient]] = []
"""Clients of stores that were disconnected: kept until they are closed."""

_lock: Final = threading.Lock()


async def close_retired() -> None:
    """Close the clients of the running loop whose stores were disconnected."""
    loop = asyncio.get_running_loop()
    with _lock:
        mine = [client for client in _retired if client.loop is loop]
        _retired[:] = [
            client for client in _retired if client.loop is not loop and not client.loop.is_closed()
        ]
    for client in mine:
        await client.close()


class Loops:
    """The clients of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._clients: dict[int, _LoopClient] = {}
        self._is_closed = False

    async def database(self) -> AsyncDatabase[Document]:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(id(loop))
        if found is not None and found.loop is loop:
            return found.database
        await close_retired()
        with _lock:
            if self._is_closed:
                self._link.check_open()
            for key, client in list(self._clients.items()):
                if client.loop.is_closed():
                    del self._clients[key]
            found = self._clients.get(id(loop))  # another task may have been first
            is_new = found is None
            if found is None:
                found = self._clients[id(loop)] = _LoopClient(self._link, loop)
        if is_new:
            await found.begin()
        return found.database

    def close(self) -> None:
        """Retire every client."""
        with _lock:
            self._is_closed = True
            _retired.extend(
                client for client in self._clients.values() if not client.loop.is_closed()
            )
            self._clients.clear()
