"""The end of an orchestrator, for blocking and for async code."""

import sys
from collections.abc import Generator
from typing import Any

from pystator.orchestrator.scheduling import Scheduler
from pystator.stores.protocols import NativeStore

__all__ = ["Closing"]


class Closing:
    """Ends the scheduler and waits for outcomes of actions.

    At once in blocking code, when awaited in async code.
    """

    def __init__(self, store: NativeStore, scheduler: Scheduler | None = None) -> None:
        self._store = store
        self._scheduler = scheduler
        if scheduler is not None:
            scheduler.cease()
        self._flushed = not _loop_runs()
        if self._flushed and store.sync:
            store.flush()

    def __await__(self) -> Generator[Any, Any, None]:
        if self._scheduler is not None:
            yield from self._scheduler.stop().__await__()
        if not self._flushed:
            yield from self._store.aflush().__await__()
            self._flushed = True


def _loop_runs() -> bool:
    asyncio = sys.modules.get("asyncio")  # where it was never imported, no loop runs
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
