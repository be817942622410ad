"""Pools of event loops, see `pystator.stores.loops`.

They are not psycopg's: its async pool connects in a task of its own, which swallows the
cancellation at the end of ``asyncio.run`` and makes it hang.
"""

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import TupleRow

from pystator.db.postgres import OPTIONS
from pystator.errors import FSMError
from pystator.stores import loops
from pystator.stores.postgres.waiting import abandon
from pystator.stores.postgres.wire import Wire

if TYPE_CHECKING:
    from pystator.stores.postgres.link import Link

__all__ = ["AsyncConnection", "LoopPool", "Loops"]


class AsyncConnection(psycopg.AsyncConnection[TupleRow]):
    """A connection that knows its wire.

    Attributes:
        expires: When it is not used any more (monotonic seconds): names of hosts change.
        used: When it was given back.
    """

    wire: Wire
    expires: float = 0.0
    used: float = 0.0

    def is_alive(self) -> bool:
        """The server has not closed it."""
        return self.wire.is_alive()


class LoopPool(loops.LoopPool[AsyncConnection]):
    """The connections of one event loop.

    Args:
        link: Whose they are.
        loop: The running loop.
    """

    def __init__(self, link: "Link", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, loop)
        self._link = link

    def give_back(self, connection: AsyncConnection) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        if not connection.wire.is_clean():
            abandon(connection.pgconn)
        self._put(connection, connection.closed, self._link.max_idle)

    def _end(self, connection: AsyncConnection) -> None:
        connection.pgconn.finish()

    def _in_vain(self) -> FSMError:
        return self._link.waited_in_vain(len(self._all))

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


class Loops(loops.Loops[None, LoopPool]):
    """The pools of all event loops of this process.

    Args:
        link: Whose they are.
    """

    def __init__(self, link: "Link") -> None:
        super().__init__(lambda loop, _: LoopPool(link, loop))
