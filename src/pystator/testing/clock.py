"""A clock that stands still until it is told to move.

Stores, orchestrators and sessions read it (``clock=``); an `AsyncioScheduler` of an orchestrator
with such a clock sleeps on it, and so may a test's own tasks (``await clock.sleep(60)``). A test of
two weeks takes as long as what happens in them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from pystator.records import from_datetime, to_datetime

__all__ = ["FakeClock"]

_MICROSECOND: Final = timedelta(microseconds=1)

_PATIENCE: Final = 5.0
"""Real seconds in which a task that was woken sleeps again or ends."""


class _Alarm:
    """Something to call at a moment; `cancel` it in time."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Microseconds since the epoch, by hand; give it to whatever takes ``clock=``.

    Args:
        now: Where it starts: microseconds, or an aware datetime.

    Example:
        >>> clock = FakeClock(0)
        >>> clock.advance(timedelta(days=14))
        >>> clock.now.isoformat()
        '1970-01-15T00:00:00+00:00'
    """

    def __init__(self, now: int | datetime = 1_700_000_000_000_000) -> None:
        self.microseconds = from_datetime(now) if isinstance(now, datetime) else now
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._numbers = count()
        self._joined: list[Callable[[], Awaitable[None]]] = []
        self._woken: dict[asyncio.Task[Any], asyncio.Future[None]] = {}

    def __call__(self) -> int:
        """The time, in microseconds."""
        return self.microseconds

    @property
    def now(self) -> datetime:
        """The time, as an aware UTC datetime."""
        return to_datetime(self.microseconds)

    # Moving it ----------------------------------------------------------------------------------

    def advance(self, seconds: float | timedelta) -> None:
        """Move it on, or back; who sleeps on it wakes when the event loop runs again."""
        goal = self.microseconds + _microseconds(seconds)
        while self._ring_next(goal):
            pass
        self.microseconds = goal

    async def aadvance(self, seconds: float | timedelta) -> None:
        """Move it on from one sleeper's moment to the next, each of them having its turn.

        A scheduler fires what is due, a task runs until it sleeps on this clock again or ends; then
        the next moment comes.

        Raises:
            TimeoutError: A task that was woken does neither for five seconds.
        """
        goal = self.microseconds + _microseconds(seconds)
        await self._settle()
        while self._ring_next(goal):
            await self._settle()
        self.microseconds = goal
        await self._settle()

    def _ring_next(self, goal: int) -> bool:
        """Move on to the first alarm that is not after the goal, and ring it."""
        while self._alarms and self._alarms[0][0] <= goal:
            moment, _, alarm = heappop(self._alarms)
            callback = alarm.callback
            if callback is not None:
                self.microseconds = max(self.microseconds, moment)
                callback()
                return True
        return False

    async def _settle(self) -> None:
        """Let everybody who was woken do what there is to do."""
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        for task, back in list(self._woken.items()):
            self._woken.pop(task, None)
            if task.get_loop() is not loop:
                continue
            either: set[asyncio.Future[Any]] = {back, task}
            done, _ = await asyncio.wait(
                either, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise TimeoutError(
                    f"{task.get_name()!r} was woken and waits for something else than this clock:"
                    " use clock.advance(...), and wait for what it does"
                )
        for idle in list(self._joined):
            await idle()

    # Sleeping on it -----------------------------------------------------------------------------

    async def sleep(self, seconds: float | timedelta) -> None:
        """`asyncio.sleep` by this clock: until somebody has moved it on that far."""
        span = _microseconds(seconds)
        if span <= 0:
            await asyncio.sleep(0)
            return
        task = asyncio.current_task()
        back = None if task is None else self._woken.get(task)
        if back is not None and not back.done():
            back.set_result(None)
        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)
                if task is not None:
                    self._woken[task] = loop.create_future()

        alarm = self.call_at(self.microseconds + span, wake)
        try:
            await woken
        finally:
            alarm.cancel()

    def call_at(self, moment: int, callback: Callable[[], None]) -> _Alarm:
        """Call it when the clock gets there; at once if it is there already.

        Returns:
            A handle: ``cancel()`` it in time.
        """
        alarm = _Alarm(callback)
        if moment <= self.microseconds:
            callback()
        else:
            heappush(self._alarms, (moment, next(self._numbers), alarm))
        return alarm

    def join(self, idle: Callable[[], Awaitable[None]]) -> None:
        """`aadvance` waits for this after each move; for schedulers."""
        if idle not in self._joined:
            self._joined.append(idle)

    def leave(self, idle: Callable[[], Awaitable[None]]) -> None:
        """`aadvance` does not wait for it any more."""
        if idle in self._joined:
            self._joined.remove(idle)


def _microseconds(seconds: float | timedelta) -> int:
    span = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
    return span // _MICROSECOND
