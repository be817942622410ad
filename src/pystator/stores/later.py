"""Rows that may wait: gathered for a moment, and written by a thread that comes and goes."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from pystator.errors import StoreUnavailableError

__all__ = ["Later"]

W = TypeVar("W")
"""A commit, ready to be written."""

_LATER: Final = 0.03
"""Seconds for which rows are gathered."""

_AGAIN: Final = 1.0
"""Seconds until they are tried again when it is certain that they were not written."""


_MOST: Final = 100_000
"""Rows that wait for a server that is away; of more, the oldest are lost."""


class Later(Generic[W]):
    """Writes best effort what it is given, soon, in batches.

    Args:
        write: Writes, blocking.
        is_open: Whether it can.
    """

    def __init__(self, write: Callable[[list[W]], object], is_open: Callable[[], bool]) -> None:
        self._write = write
        self._is_open = is_open
        self.forget()

    def forget(self) -> None:
        """In a forked child: what waits is the parent's to write."""
        self._waiting: deque[W] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._is_running = False

    def add(self, writes: list[W]) -> None:
        """Take rows; returns at once."""
        self._waiting.extend(writes)
        self.wake()

    def wake(self) -> None:
        """See that what waits is written."""
        if self._is_running or not self._waiting:
            return
        with self._lock:
            if not self._is_running:
                self._is_running = True
                self._closing.clear()
                # A daemon: a program may end without disconnecting; the store's finaliser flushes.
                threading.Thread(target=self._work, name="pystator-later", daemon=True).start()

    def flush(self) -> None:
        """Write all that was taken, and wait for what is being written.

        Raises:
            StoreUnavailableError: It could not be written.
        """
        with self._writing:
            writes = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not writes:
                return
            try:
                self._write(writes)
            except StoreUnavailableError as error:
                # What may have been written is not written again: it would be told twice.
                if error.context.get("written") is False:
                    room = max(_MOST - len(self._waiting), 0)
                    self._waiting.extendleft(reversed(writes[-room:] if room else ()))
                raise

    def close(self) -> None:
        """Write all that was taken, and let the thread end."""
        self._closing.set()
        self.flush()

    def _work(self) -> None:
        pause = _LATER
        while True:
            self._closing.wait(pause)
            pause = _LATER
            with suppress(Exception):  # best effort; a reader tells what is not there as unknown
                self.flush()
            with self._lock:
                if not self._waiting or self._closing.is_set() or not self._is_open():
                    self._is_running = False
                    return
            pause = _AGAIN
