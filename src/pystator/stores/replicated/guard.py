"""What a replicated store checks while it serves: that the hot store still is what it was.

A hot store that was emptied answers "there is nothing", which nobody would doubt. So:

- Nothing that was not found is believed before the epoch has been seen. Commits name their epoch
  anyway: the script refuses another one.
- When a connection was lost, or is a new one, the server may have been started again, with older
  data. A thread compares it with the durable store; callers do not wait for it, as that one may be
  down.
"""

import threading
import time
from typing import TYPE_CHECKING, Final

from pystator.errors import FSMError, ReplicationError, StoreUnavailableError
from pystator.stores.replicated.pair import Pair
from pystator.stores.replicated.stream import asking_epochs

if TYPE_CHECKING:
    from pystator.stores.redis import RedisStateStore

__all__ = ["Guard"]

AGAIN: Final = 1.0
"""Seconds between two looks, at least."""


class Guard:
    """Watches the hot store of a connected pair.

    Args:
        pair: The stores.
        epoch: To which they belong.
    """

    def __init__(self, pair: Pair, epoch: str) -> None:
        self._pair = pair
        self._hot: RedisStateStore = pair.hot
        self._link = pair.hot.parts[0]
        self.epoch = epoch
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._looked = 0.0
        self._seen = self._link.changes
        self.found: ReplicationError | None = None

    def check(self) -> None:
        """Refuse what is known to be wrong, and look again when a connection is a new one.

        Raises:
            ReplicationError: The hot store has lost data.
        """
        if self.found is not None:
            raise ReplicationError(self.found.message, context=self.found.context)
        if self._link.changes != self._seen:
            self._look()

    def doubt(self) -> None:
        """Something was not found: see that this is not because everything is gone.

        Raises:
            ReplicationError: The hot store is of another epoch.
        """
        self._judge(self._hot.ask(asking_epochs(self._link.layout)))

    async def adoubt(self) -> None:
        """`doubt` for asyncio."""
        found = await self._hot.aask(asking_epochs(self._link.layout))
        if found != {self.epoch}:
            import asyncio  # blocking programs never pay for it

            await asyncio.to_thread(self._judge, found)

    def explained(self, error: FSMError) -> FSMError:
        """The error of a commit, which may be that the epoch is another one."""
        if not isinstance(error, ReplicationError):
            return error
        try:
            self._pair.verify(self.epoch)
        except FSMError as told:
            if isinstance(told, ReplicationError):
                return told
        return error

    async def aexplained(self, error: FSMError) -> FSMError:
        """`explained` for asyncio."""
        import asyncio

        return await asyncio.to_thread(self.explained, error)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        with self._lock:  # who has just made it has started it
            thread = self._thread
        if thread is not None:
            thread.join()

    def _judge(self, found: set[str | None]) -> None:
        if found != {self.epoch}:
            self._pair.verify(self.epoch)

    def _look(self) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            if self._thread is None or not self._thread.is_alive():
                name = "pystator replication guard"
                self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        self._closed.wait(self._looked + AGAIN - time.monotonic())
        while not self._closed.is_set():
            changes = self._link.changes
            self._looked = time.monotonic()
            try:
                self._pair.verify(self.epoch)
            except StoreUnavailableError:
                self._closed.wait(AGAIN)
            except ReplicationError as error:
                self.found = error
                return
            else:
                self._seen = changes
                return
