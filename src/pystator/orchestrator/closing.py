"""The end of an orchestrator, for blocking and for async code."""

import sys
from collections.abc import Generator
from typing import Any

from pystator.stores.protocols import NativeStore

__all__ = ["Closing"]


class Closing:
    """Waits for outcomes of actions: at once in blocking code, when awaited in async code."""

    def __init__(self, store: NativeStore) -> None:
        self._store = store
        self._flushed = not _loop_runs()
        if self._flushed and store.sync:
            store.flush()

    def __await__(self) -> Generator[Any, Any, None]:
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
