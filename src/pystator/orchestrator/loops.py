"""Which combiner belongs to the running event loop."""

import asyncio
import threading
from weakref import WeakKeyDictionary, ref

from pystator.orchestrator.batching import Combiner
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.lines import batches_of
from pystator.orchestrator.settings import Settings

__all__ = ["Loops"]


class Loops:
    """The combiners of one orchestrator, one for each event loop; they go with their loops.

    Args:
        most_held: Calls that each of them holds before further ones wait.
    """

    def __init__(self, settings: Settings, driver: Driver, most_held: int) -> None:
        self._settings = settings
        self._driver = driver
        self._most_held = most_held
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[asyncio.AbstractEventLoop, Combiner] = WeakKeyDictionary()
        self._last: tuple[ref[asyncio.AbstractEventLoop], Combiner] | None = None

    def combiner(self) -> Combiner:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last[0]() is loop:
            return last[1]
        with self._lock:
            found = self._known.get(loop)
            if found is None:
                found = self._known[loop] = Combiner(
                    self._settings,
                    self._driver,
                    in_flight=batches_of(self._driver.store),
                    most_held=self._most_held,
                )
        self._last = (ref(loop), found)
        return found

    async def ended(self) -> None:
        """Wait for what is under way on the running loop."""
        with self._lock:
            found = self._known.get(asyncio.get_running_loop())
        if found is not None:
            await found.ended()
