"""Ctrl-C: the first time stop after the work under way, the second time at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from pystator.cli.output import note

__all__ = ["Stopping"]


class Stopping:
    """Within it, Ctrl-C and SIGTERM ask to stop.

    Attributes:
        asked: Somebody asked to stop.
        event: Set as well, for work that waits meanwhile.
        busy: Work is under way that should be finished first. While nothing is (waiting for a slow
            pipe), the first Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self.event = threading.Event()
        self.busy = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take over the two signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.event.set()
        if self.asked or not self.busy:
            self.asked = True
            raise KeyboardInterrupt
        self.asked = True
        note("stopping after the batch under way (once more: at once)", "warn")
