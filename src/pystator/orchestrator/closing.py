"""The end of an orchestrator, for blocking and for async code."""

import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from pystator.orchestrator.scheduling import Scheduler
from pystator.stores.protocols import NativeStore

__all__ = ["Closing"]


class Closing:
    """Ends the scheduler and waits for outcomes of actions.

    At once in blocking code, when awaited in async code.

    Args:
        ended: Waits for what is under way on the running loop.
    """

    def __init__(
        self,
        store: NativeStore,
        scheduler: Scheduler | None = None,
        ended: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._ended = ended
        self._store = store
        self._scheduler = scheduler
        if scheduler is not None:
            scheduler.cease()
        if store.sync and not _loop_runs():
            store.flush()

    def __await__(self) -> Generator[Any, Any, None]:
        if self._scheduler is not None:
            yield from self._scheduler.stop().__await__()
        if self._ended is not None:
            yield from self._ended().__await__()
        yield from self._store.aflush().__await__()


def _loop_runs() -> bool:
    asyncio = sys.modules.get("asyncio")  # where it was never imported, no loop runs
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
