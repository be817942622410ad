"""Looking for an answer for a moment before sleeping until it comes.

To sleep and to be woken takes longer than a server on the same machine takes for a load: without
this, an event took 1.2 times as long. One thread of a store looks at a time, it gives way to
whoever else wants the processor, and where answers do not come so soon - the server is far away, a
commit waits for a disk - it soon tries only now and then.
"""

import os
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

__all__ = ["Glance"]

MOMENT: Final = 0.000_1
"""Seconds of looking."""

RARELY: Final = 255
"""So many waits go by without a look, at most, after looks that were in vain."""

_give_way: Final[Callable[[], object]] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Glance:
    """For answers of one kind, which take about as long as each other.

    Args:
        turn: Who holds it may look.
    """

    __slots__ = ("_passed", "_turn", "_wait")

    def __init__(self, turn: Lock) -> None:
        self._turn = turn
        self._passed = 0
        self._wait = 0

    def at(self, poll: Callable[[float], bool]) -> bool:
        """Has the answer come within a moment? False when it was not looked for, too.

        Args:
            poll: Waits so many seconds for the answer.
        """
        if self._passed < self._wait:
            self._passed += 1
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            end = time.perf_counter() + MOMENT
            while not poll(0):
                if time.perf_counter() > end:
                    self._wait = min(2 * self._wait + 1, RARELY)
                    self._passed = 0
                    return False
                _give_way()
            self._wait //= 2
            return True
        finally:
            self._turn.release()
