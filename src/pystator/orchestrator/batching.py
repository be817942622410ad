"""Group commit for asyncio: calls that arrive while a batch is in flight share the next one.

::

    callers --> [gate] --> lines, by entity --> batch: load, decide, commit --> answers
                  ^                      '----> batch ...                       |
                  '---- as many as there is room for ---------------------------'

Laws:

- The first call does not wait for company: it is sent with those of the same turn of the loop.
- Order by arrival, for each entity and between entities; a batch is bounded, and so is one entity's
  part of it.
- As many batches are in flight as the store works on at once, always of different entities; and
  some more while those do not come back.
- A batch is one load and one commit. What needs more - another writer was first, an async guard -
  goes on alone with the later events of its entity behind it, and holds up nobody else.
- A bounded number of calls is held; further ones stand at the gate, and are let in in their order.
  Guards pass: those that hold the room may wait for them.
- A caller that is cancelled before its batch is sent has sent nothing; afterwards its event takes
  its course, actions included.
- A batch has nobody's context variables; a case's actions have its caller's, gone or not.
- A guard that would wait for its own entity is told so, see `pystator.orchestrator.waiting`.
- A combiner belongs to one event loop.
"""

import asyncio
from asyncio import Future
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from pystator.engine.result import TransitionResult
from pystator.orchestrator.actions import finish
from pystator.orchestrator.cases import Case, fail_open
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.lines import LATE, Batch, Groups, Lines
from pystator.orchestrator.program import announce, decide, decide_groups
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.waiting import DECIDING, Deciding, Waits

__all__ = ["Combiner"]


class Combiner:
    """Collects the calls of one event loop into batches.

    Args:
        in_flight: Batches that the store works on at once.
        most_held: Calls that are held before further ones have to stand at the gate.
    """

    def __init__(
        self, settings: Settings, driver: Driver, *, in_flight: int, most_held: int
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._lines = Lines(in_flight)
        self._alone: Waits = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._woken = False
        self._watching = False
        self._most_held = most_held
        self._held = 0
        self._coming = 0  # of those held: let in at the gate, and not resumed yet
        self._gate: OrderedDict[Future[None], None] = OrderedDict()

    # Callers ------------------------------------------------------------------------------------

    def submit(self, case: Case) -> Coroutine[Any, Any, TransitionResult]:
        """Have the case decided and written in a batch, then run its actions.

        Raises:
            EvaluationError: A guard waits for an event that waits for this guard.
            FSMError: The event could not be decided or written.
        """
        asker = DECIDING.get()
        if asker is not None and asker.asking:
            return self._submit_for(asker, case)
        if self._held >= self._most_held or self._gate or self._coming:
            return self._submit_in_turn(case)
        return self._submit(case)

    async def _submit_for(self, asker: Deciding, case: Case) -> TransitionResult:
        """Submit what a guard sends."""
        asker.wait_for(self._alone, case.entity_id)
        try:
            return await self._submit(case)
        finally:
            asker.go_on(self._alone, case.entity_id)

    async def _submit_in_turn(self, case: Case) -> TransitionResult:
        """Submit when there is room, after those that stand at the gate already."""
        place: Future[None] = asyncio.get_running_loop().create_future()
        self._gate[place] = None
        self._leave(0)
        try:
            if place.done():  # there is room, after those who are resumed in this turn
                await asyncio.sleep(0)
            else:
                await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in and cancelled in one turn
                self._coming -= 1
                self._leave(1)
            else:  # it may have been passed over in the turn of its cancellation
                self._gate.pop(place, None)
            raise
        self._coming -= 1
        self._held -= 1  # kept for this call
        return await self._submit(case)

    async def _submit(self, case: Case) -> TransitionResult:
        case.caller = future = Future[None]()  # the running loop's, in half the time of asking it
        case.callers_context = copy_context()
        if self._settings.hooks is not None:
            announce(self._settings, (case,))
        self._held += 1
        self._lines.put(case)
        if not self._woken:
            self._wake()
        try:
            await future
        except asyncio.CancelledError as cancelled:
            if self._lines.remove(case):
                self._leave(1)
                if self._settings.hooks is not None:
                    self._settings.hooks.left(case, cancelled)
            elif not future.cancelled():  # answered and cancelled in one turn
                self._finish_for(case)
            raise
        if case.todos:
            await asyncio.shield(self._finish(case))
        elif self._settings.hooks is not None:
            self._settings.hooks.answered(case)
        return case.own_answer()

    def _leave(self, number: int) -> None:
        """So many calls are held no longer: let others in, and keep places for them."""
        self._held -= number
        gate = self._gate
        while gate and self._held < self._most_held:
            place, _ = gate.popitem(last=False)
            if not place.done():
                place.set_result(None)
                self._held += 1
                self._coming += 1

    def _finish(self, case: Case) -> "asyncio.Task[None]":
        """Run the case's actions, whether or not its caller stays for them."""
        work = self._driver.arun(finish(self._settings, (case,)))
        return self._spawn(work, context=case.callers_context)

    def _finish_for(self, case: Case) -> None:
        """The same for one whose caller is gone."""
        if case.todos:
            self._finish(case)
        elif self._settings.hooks is not None:
            case.callers_context.run(self._settings.hooks.answered, case)

    def _spawn(
        self,
        work: Coroutine[Any, Any, None],
        then: Callable[[], None] | None = None,
        *,
        context: Context | None = None,
    ) -> "asyncio.Task[None]":
        """Run it beside everything else, and then what has to follow whatever becomes of it."""
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)

        def ended(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            if then is not None:
                then()

        # Not by the task itself: one that is cancelled before its first step never runs.
        task.add_done_callback(ended)
        return task

    async def ended(self) -> None:
        """Wait until no batch and no action is under way, but for the one that calls this."""
        await asyncio.sleep(0)  # who was cancelled in this turn may still have actions to run
        own = asyncio.current_task()
        while True:
            if others := [task for task in self._tasks if task is not own]:
                await asyncio.wait(others)
            elif self._woken:
                await asyncio.sleep(0)
            else:
                return

    # Batches ------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Send at the end of this turn, when those who are about to call have called."""
        self._woken = True
        asyncio.get_running_loop().call_soon(self._send, context=Context())

    def _send(self) -> None:
        self._woken = False
        while (batch := self._lines.next()) is not None:
            self._send_batch(batch)
        if self._lines.ready and not self._watching:
            self._watching = True
            loop = asyncio.get_running_loop()
            loop.call_later(LATE, self._look_for_late, self._lines.landed, context=Context())

    def _send_batch(self, batch: Batch) -> None:
        self._forget_cancelled(batch.groups)
        if batch.groups:
            self._spawn(self._fly(batch), partial(self._landed, batch))
        else:
            self._landed(batch)

    def _look_for_late(self, landed: int) -> None:
        """Send one more batch if none has come back since."""
        self._watching = False
        if self._lines.landed == landed and (batch := self._lines.next(late=True)) is not None:
            self._send_batch(batch)
        self._send()

    def _forget_cancelled(self, groups: Groups) -> None:
        """Drop the cases whose callers are gone and have not said so yet."""
        gone = [case for group in groups.values() for case in group if case.caller.done()]
        for case in gone:
            group = groups[case.entity_id]
            group.remove(case)
            if not group:
                del groups[case.entity_id]
                self._lines.free((case.entity_id,))

    async def _fly(self, batch: Batch) -> None:
        """Decide and write a batch, and answer its callers."""
        groups = batch.groups
        try:
            await self._driver.arun(decide_groups(self._settings, groups))
        except Exception as error:  # noqa: BLE001 # each caller gets it
            fail_open(batch.cases, error)
        left: Groups = {}
        for entity_id, group in groups.items():
            for case in group:
                if case.result is None and case.error is None:
                    left.setdefault(entity_id, []).append(case)
                elif not case.caller.done():
                    case.caller.set_result(None)
                else:
                    self._finish_for(case)
        batch.left = left

    def _landed(self, batch: Batch) -> None:
        """A batch has come back: what is left over of an entity goes on alone."""
        self._lines.end(batch)
        groups, left = batch.groups, batch.left
        if left is None:
            _abandon(batch.cases)
        elif left:
            groups = {each: groups[each] for each in groups if each not in left}
            for entity_id, cases in left.items():
                deciding = self._alone[entity_id] = Deciding(self._settings, entity_id)
                self._held += len(cases)
                self._spawn(self._go_on(deciding, cases), partial(self._went, deciding, cases))
        self._make_room(groups, batch.size)

    async def _go_on(self, deciding: Deciding, cases: Sequence[Case]) -> None:
        """Decide one entity's cases with all the patience they need."""
        DECIDING.set(deciding)
        try:
            await self._driver.arun(decide(self._settings, cases))
        except Exception as error:  # noqa: BLE001 # each caller gets it
            fail_open(cases, error)
        for case in cases:
            if not case.caller.done():
                case.caller.set_result(None)
            else:
                self._finish_for(case)

    def _went(self, deciding: Deciding, cases: Sequence[Case]) -> None:
        """An entity that was decided alone has come back."""
        del self._alone[deciding.entity_id]
        _abandon(cases)
        self._make_room((deciding.entity_id,), len(cases))

    def _make_room(self, entities: Collection[str], size: int) -> None:
        """Entities are free again, and so many cases are held no longer."""
        self._lines.free(entities)
        self._leave(size)
        if self._lines.waiting and not self._woken:
            self._wake()


def _abandon(cases: Iterable[Case]) -> None:
    """The loop is closing: nobody is left waiting for ever."""
    for case in cases:
        if not case.caller.done():
            case.caller.cancel()
