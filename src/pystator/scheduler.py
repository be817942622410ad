"""Timers fired in this process, on its event loop.

    from pystator.scheduler import AsyncioScheduler

    orchestrator = Orchestrator(machine, store, scheduler=AsyncioScheduler())
    ...
    await orchestrator.close()

Laws:

- The timers stand in the store. A scheduler knows only when to look next: it may be killed at any
  moment, and those of many processes may share a store - a timer fires once, by compare-and-set.
- Between sweeps no task waits, only a timer handle of the loop: a loop that ends takes it along.
- One sweep at a time. One that fails is followed by another, after a growing pause, and is told to
  the log and to ``on_error``.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from pystator.errors import ConfigurationError, ErrorCode, EvaluationError
from pystator.orchestrator.scheduling import StoredTimers, Sweep

__all__ = ["AsyncioScheduler"]

_log = logging.getLogger("pystator.timers")

_FIRST_PAUSE: Final = 0.01
"""Seconds until the next sweep, when nothing fired and something should have."""

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 30.0
"""Seconds until the next try after a failure; it doubles from the first to the longest."""


class _Handle(Protocol):
    """Something that will ring."""

    def cancel(self) -> None: ...


class AsyncioScheduler:
    """Fires the ``after``, ``at`` and ``timeout`` transitions of an orchestrator's entities.

    It begins when the orchestrator is made or first used where an event loop runs, and ends with
    ``await orchestrator.close()``. It sleeps until the earliest deadline; a commit of this process
    that arms an earlier one wakes it.

    Args:
        poll_interval: Seconds after which it looks for timers that other processes have armed.
        limit: The most entities fired in one go; then other tasks have their turn.
        on_error: Called with the error of each sweep that fails, besides the log. The next one is
            tried after a pause that grows to half a minute.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        *,
        poll_interval: float = 1.0,
        limit: int = 100,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        if not poll_interval > 0:
            raise _wrong("poll_interval", "is a number of seconds above 0", poll_interval)
        if type(limit) is not int or limit < 1:
            raise _wrong("limit", "is a whole number of entities, at least 1", limit)
        if on_error is not None and not callable(on_error):
            raise _wrong("on_error", "is a function of the error", on_error)
        self._poll = poll_interval
        self._limit = limit
        self._on_error = on_error
        self._timers: StoredTimers | None = None
        self._clock: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._busy = False  # from when a sweep is wanted until it is over
        self._task: asyncio.Task[Sweep] | None = None
        self._handles: list[_Handle] = []
        self._due: int | None = None  # the deadline it rests until; None while busy, too
        self._told: int | None = None  # the earliest deadline armed during the sweep
        self._pause = 0.0
        self._failures = 0
        self._waiting: list[asyncio.Future[None]] = []

    # For everybody ------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """It has begun, and was not stopped."""
        loop = self._loop
        return loop is not None and not loop.is_closed() and not self._stopped

    async def idle(self) -> None:
        """Wait until all that is due by now has fired, or cannot fire."""
        self.start()
        loop = asyncio.get_running_loop()
        while self._busy and self._loop is loop:
            waiter = loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "running" if self.running else "not begun"
        return f"<AsyncioScheduler {state}>"

    # For its orchestrator -----------------------------------------------------------------------

    def attach(self, timers: StoredTimers) -> None:
        """Serve these timers.

        Raises:
            ConfigurationError: It serves an orchestrator already.
        """
        if self._timers is not None:
            raise ConfigurationError(
                "scheduler= belongs to another orchestrator: make an AsyncioScheduler for each",
                context={"option": "scheduler"},
            )
        self._timers = timers
        if callable(getattr(timers.given, "call_at", None)):
            self._clock = timers.given

    def start(self) -> None:
        """Begin on the running event loop; without one, and when it has begun, do nothing."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop is self._loop:
            return
        with self._lock:
            before = self._loop
            if self._stopped or self._timers is None or (before and before.is_running()):
                return
            self._task = None
            self._loop = loop
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:  # of a loop that has stopped, and may go on
                with suppress(RuntimeError):  # it is closed
                    waiter.get_loop().call_soon_threadsafe(_resolve, waiter)
            if self._clock is not None:
                self._clock.join(self.idle)
            self._ring_soon()

    def wake(self, deadline: int) -> None:
        """Look no later than this.

        Another thread may tell of a deadline while the loop's looks for the next one. It is not
        lost: `_due` is None from before the look until there is an answer.
        """
        self.start()
        due = self._due
        if due is None or deadline < due:
            self._call(lambda: self._hear(deadline))

    def cease(self) -> None:
        """Begin no further sweep."""
        self._stopped = True
        self._call(self._fall_silent)

    async def stop(self) -> None:
        """Begin no further sweep, and wait for the one under way."""
        self.cease()
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        if loop is asyncio.get_running_loop():
            await self._ended()
        elif loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ended(), loop))

    # On the loop --------------------------------------------------------------------------------

    def _call(self, call: Callable[[], None]) -> None:
        """Call it on the loop: at once if this is its thread, else soon."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            call()
            return
        with suppress(RuntimeError):  # it was closed this very moment
            loop.call_soon_threadsafe(call)

    def _hear(self, deadline: int) -> None:
        """A timer was armed."""
        if self._stopped:
            return
        if self._busy:
            self._told = _earlier(self._told, deadline)
        elif self._due is None or deadline < self._due:
            self._rest(deadline, self._poll)

    def _ring_soon(self) -> None:
        self._cancel()
        self._busy = True
        if self._loop is not None:
            self._handles.append(self._loop.call_soon(self._ring))

    def _ring(self) -> None:
        """Begin a sweep."""
        self._cancel()
        timers, loop = self._timers, self._loop
        if timers is None or loop is None or loop.is_closed() or self._stopped or self._task:
            return
        self._busy = True
        self._told = None
        self._task = loop.create_task(timers.sweep(self._limit), name="pystator-timers")
        self._task.add_done_callback(self._swept)

    def _swept(self, task: "asyncio.Task[Sweep]") -> None:
        """Decide when to come again."""
        if task is not self._task:  # it was left on a loop that had stopped
            return
        self._task = None
        error = None if task.cancelled() else task.exception()
        if self._stopped:
            self._fall_silent()
        elif task.cancelled() or error is not None:
            self._rest(None, self._failed(error))
        else:
            self._plan(task.result())

    def _plan(self, sweep: Sweep) -> None:
        if sweep.endless is not None:
            self._rest(self._later(sweep), self._failed(_endless(sweep)))
            return
        if self._failures:
            _log.warning("timers are fired again, after %d failures", self._failures)
        self._failures = 0
        if sweep.overdue and sweep.fired:
            self._pause = 0.0
            self._ring_soon()
        elif sweep.overdue:
            self._pause = min(max(_FIRST_PAUSE, self._pause * 2), self._poll)
            self._rest(self._later(sweep), self._pause)
        else:
            self._pause = 0.0
            self._rest(_earlier(self._told, sweep.deadline), self._poll)

    def _later(self, sweep: Sweep) -> int | None:
        """The next deadline, where what is overdue has to wait."""
        told = self._told
        if told is not None and self._timers is not None and told <= self._timers.clock():
            told = None
        return _earlier(told, sweep.deadline)

    def _failed(self, error: BaseException | None) -> float:
        """Tell of a sweep that failed; the seconds until the next try."""
        pause: float = min(_FIRST_RETRY * 2**self._failures, _LONGEST_RETRY)
        pause *= 0.5 + random.random() / 2  # noqa: S311 # many processes should not come at once
        if isinstance(error, Exception):
            self._failures = min(self._failures + 1, 16)
            _log.error(
                "timers do not fire as they should, the next try is in %.1f s: %s", pause, error
            )
            if self._on_error is not None:
                try:
                    self._on_error(error)
                except Exception:  # noqa: BLE001 # it is the user's code, and timers go on
                    _log.exception("on_error of the scheduler failed")
        return pause

    def _rest(self, deadline: int | None, seconds: float) -> None:
        """Sleep until the deadline, and no longer than this."""
        timers, loop = self._timers, self._loop
        if timers is None or loop is None:
            return
        left = None if deadline is None else deadline - timers.clock()
        if left is not None and left <= 0:
            self._ring_soon()
            return
        self._cancel()
        if left is not None and self._clock is None:
            seconds = min(seconds, left / 1_000_000)
        elif left is not None:
            self._handles.append(self._clock.call_at(deadline, self._ring))
        self._handles.append(loop.call_later(seconds, self._ring))
        self._due = deadline
        self._release()

    def _fall_silent(self) -> None:
        self._cancel()
        if self._clock is not None:
            self._clock.leave(self.idle)
        self._release()

    def _release(self) -> None:
        """Nothing that is due is left to those who wait for it."""
        self._busy = self._task is not None
        if self._busy:
            return
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _resolve(waiter)

    def _cancel(self) -> None:
        self._due = None
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()

    async def _ended(self) -> None:
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait({task})


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _endless(sweep: Sweep) -> EvaluationError:
    return EvaluationError(
        f"a timer of entity {sweep.endless!r} re-arms itself for a time that has passed, and fires"
        f" without end ({sweep.fired} times just now): let its transition lead to a state that"
        " does not arm it, or set a later time",
        context={"entity_id": sweep.endless},
        code=ErrorCode.LIVELOCK,
    )


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _wrong(option: str, what: str, value: object) -> ConfigurationError:
    return ConfigurationError(
        f"{option}= {what}, not {value!r:.80}", context={"option": option, "value": repr(value)}
    )
