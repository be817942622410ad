"""An event loop whose only clock is the number of its turns, and which knows whose work it does.

What is ready runs in the order in which it became ready, as asyncio promises; when answers come in is not the loop's
choice but the world's. What belongs to a process that has died is never run.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any, Self

__all__ = ["OWNER", "Loop", "Owner"]


class Owner:
    """Whoever has tasks that die with it."""

    def __init__(self) -> None:
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []


OWNER: ContextVar[Owner] = ContextVar("simulated_owner")


def _owned(context: Context | None) -> Context:
    """The context to run in: what a process begins is its own, whatever context it names."""
    if context is None:
        return copy_context()
    owner = OWNER.get(None)
    if owner is not None and OWNER not in context:
        context.run(OWNER.set, owner)
    return context


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("args", "callback", "context", "when")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = _owned(context)

    def cancel(self) -> None:
        self.callback = None

    def cancelled(self) -> bool:
        return self.callback is None


class Loop(asyncio.AbstractEventLoop):
    """As much of a loop as asyncio's own tasks and futures need.

    Attributes:
        ready: What runs next, in order.
        now: Seconds since the beginning.
        sleeping: What waits for a time: (when, number, handle).
        complaints: What asyncio would have logged.
    """

    def __init__(self, world: Any = None) -> None:
        self.world = world
        self.ready: deque[Handle] = deque()
        self.sleeping: list[tuple[float, int, Handle]] = []
        self.complaints: list[str] = []
        self.now = 0.0
        self._number = 0
        self._closed = False
        self._tasks: list[tuple[asyncio.Task[Any], Context]] = []

    def __enter__(self) -> Self:
        asyncio._set_running_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it runs any more, not even what closing its tasks would begin."""
        self._closed = True
        self.ready.clear()
        try:
            for task, context in self._tasks:
                if not task.done():
                    task._log_destroy_pending = False
                    context.run(task.get_coro().close)
        finally:
            asyncio._set_running_loop(None)

    def end(self) -> None:
        """Let go of everything."""
        self.world = None
        self._tasks.clear()
        self.sleeping.clear()

    # What runs ------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Run what is ready now, and not what that makes ready."""
        ready = self.ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            context = handle.context
            owner = context.get(OWNER)
            if owner is None or not owner.dead:
                context.run(callback, *handle.args)

    def wake(self) -> None:
        """Let the time come for which the first sleeper waits."""
        when, _, handle = heappop(self.sleeping)
        self.now = max(self.now, when)
        self.ready.append(handle)

    # What asyncio asks for ------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context)
        if not self._closed:
            self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context)
        handle.when = lambda: when
        self._number += 1
        heappush(self.sleeping, (when, self._number, handle))
        return handle

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        if self._closed:
            coro.close()
            never = self.create_future()
            never.cancel()
            return never
        context = _owned(context)
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        owner = context.get(OWNER)
        if owner is not None:
            owner.tasks.append(task)
        self._tasks.append((task, context))
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")
