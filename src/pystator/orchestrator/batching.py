"""Group commit for asyncio: calls that arrive while a batch is in flight share the next one.

Laws:

- The first call does not wait for company: it is sent with those of the same turn of the loop.
- Order by arrival, for each entity and between entities; a batch is bounded.
- A batch is one load and one commit. What needs more - another writer was first, an async guard -
  goes on alone with the later events of its entity behind it, and holds up nobody else.
- A caller that is cancelled before its batch is sent has sent nothing; afterwards its event takes
  its course, actions included.
- A guard that would wait for its own entity is told so, see `pystator.orchestrator.waiting`.
- A combiner belongs to one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from contextvars import Context
from typing import Any, Final

from pystator.engine.result import TransitionResult
from pystator.orchestrator.actions import finish
from pystator.orchestrator.cases import Case
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.program import announce, decide, decide_once
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.waiting import DECIDING, Deciding, Waits, nobodys

__all__ = ["MOST", "Combiner"]

MOST: Final = 256
"""Events of one batch."""


class _Call:
    """A case and the caller that waits for it."""

    __slots__ = ("case", "future")

    def __init__(self, case: Case, future: "asyncio.Future[None]") -> None:
        self.case = case
        self.future = future


class Combiner:
    """Collects the calls of one event loop into batches.

    Args:
        most: Events of one batch.
    """

    def __init__(
        self,
        settings: Settings,
        driver: Driver,
        *,
        most: int = MOST,
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._most = most
        self._waiting: deque[_Call] = deque()
        self._alone: Waits = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sending = False

    async def submit(self, case: Case) -> TransitionResult:
        """Have the case decided and written in a batch, then run its actions.

        Raises:
            EvaluationError: A guard waits for an event that waits for this guard.
            FSMError: The event could not be decided or written.
        """
        asker = DECIDING.get()
        if asker is None or not asker.asking:
            return await self._submit(case)
        asker.wait_for(self._alone, case.entity_id)
        try:
            return await self._submit(case)
        finally:
            asker.go_on(self._alone, case.entity_id)

    async def _submit(self, case: Case) -> TransitionResult:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        announce(self._settings, (case,))
        self._waiting.append(_Call(case, future))
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # answered and cancelled in one turn
                self._finish(case)
            raise
        if case.todos or self._settings.hooks is not None:
            await asyncio.shield(self._finish(case))
        return case.answer()

    def _finish(self, case: Case) -> "asyncio.Task[None]":
        """Run the case's actions, whether or not its caller stays for them."""
        return self._spawn(self._driver.arun(finish(self._settings, (case,))))

    def _wake(self) -> None:
        if not self._sending and self._waiting:
            self._sending = True
            self._spawn(self._send(), nobodys())

    def _spawn(
        self, work: Coroutine[Any, Any, None], context: Context | None = None
    ) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self) -> None:
        """Send batches until nobody waits."""
        batch: list[_Call] = []
        try:
            while True:
                batch = self._next_batch()
                if not batch:
                    return
                await self._decide(batch)
        except BaseException:
            _abandon(self._waiting)
            raise
        finally:
            self._sending = False
            _abandon(batch)

    def _next_batch(self) -> list[_Call]:
        """The oldest calls whose callers are still there and whose entities are not busy."""
        batch: list[_Call] = []
        held: list[_Call] = []
        waiting = self._waiting
        while waiting and len(batch) < self._most:
            call = waiting.popleft()
            if call.future.done():
                continue
            (held if call.case.entity_id in self._alone else batch).append(call)
        waiting.extendleft(reversed(held))
        return batch

    async def _decide(self, batch: Sequence[_Call]) -> None:
        cases = [call.case for call in batch]
        try:
            await self._driver.arun(decide_once(self._settings, cases))
        except Exception as error:  # noqa: BLE001 # each caller gets it
            _fail(cases, error)
        left: dict[str, list[_Call]] = {}
        for call in batch:
            if call.case.open:
                left.setdefault(call.case.entity_id, []).append(call)
            else:
                self._release(call)
        for entity_id, calls in left.items():
            deciding = self._alone[entity_id] = Deciding(self._settings, entity_id)
            self._spawn(self._go_on(deciding, calls))

    async def _go_on(self, deciding: Deciding, calls: Sequence[_Call]) -> None:
        """Decide one entity's cases with all the patience they need."""
        cases = [call.case for call in calls]
        DECIDING.set(deciding)
        try:
            try:
                await self._driver.arun(decide(self._settings, cases))
            except Exception as error:  # noqa: BLE001 # each caller gets it
                _fail(cases, error)
            for call in calls:
                self._release(call)
        finally:
            self._alone.pop(deciding.entity_id, None)
            _abandon(calls)
            self._wake()

    def _release(self, call: _Call) -> None:
        if not call.future.done():
            call.future.set_result(None)
        elif call.case.todos or self._settings.hooks is not None:  # its caller is gone
            self._finish(call.case)


def _fail(cases: Sequence[Case], error: Exception) -> None:
    for case in cases:
        if case.open:
            case.error = error


def _abandon(calls: Iterable[_Call]) -> None:
    """The loop is closing: nobody is left waiting for ever."""
    for call in calls:
        if not call.future.done():
            call.future.cancel()
