"""Callers: each makes its calls one after the other, and asks again where that is safe."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pystator import EventRequest
from pystator.engine.copying import copy_mapping
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator import actions, program
from pystator.orchestrator.cases import Case
from pystator.records import to_datetime
from simulation.journal import SHARED, said, scribble
from simulation.network import Killed
from simulation.plan import CallerPlan, Item, Op

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

__all__ = ["Caller"]


class Caller:
    """One caller, which outlives its process.

    Attributes:
        done: It has made all its calls.
        process: Where it lives now.
    """

    def __init__(self, world: "World", plan: CallerPlan) -> None:
        self.world = world
        self.name = plan.name
        self.done = False
        self._left = list(plan.ops)
        self._busy = False
        self._children: list[asyncio.Task[Any]] = []

    # Lives ----------------------------------------------------------------------------------------

    def start(self, process: "Process") -> None:
        """Live in a process."""
        self.process = process
        process.callers.append(self)
        self.task = self.world.loop.create_task(self._live(process), context=process.context.copy())

    def restart(self, process: "Process") -> None:
        """The process died; what was under way may have been done."""
        if self._busy:
            self._busy = False
            self._children = []
            op = self._left[0]
            for item in op.items:
                self.world.journal.notes[item.tag].died = True
            self._settle(op, [Killed()] * len(op.items))
        if not self.done:
            self.start(process)

    def calls(self) -> list["asyncio.Task[Any]"]:
        """What can be cancelled."""
        if not self._busy:
            return []
        return [self.task, *self._children]

    async def _live(self, process: "Process") -> None:
        try:
            while self._left:
                await self.world.breathe(self.name, process)
                await self._call(process, self._left[0])
        except Killed:
            return
        self.done = True

    # Calls ----------------------------------------------------------------------------------------

    async def _call(self, process: "Process", op: Op) -> None:
        world = self.world
        if world.trace is not None:
            world.tell(f"{self.name} in {process.name}", f"calls {op}", None)
        alone = len(op.items) == 1
        for item in op.items:
            world.journal.sent(item, self.name, op.kind, world.steps, alone=alone)
        self._busy = True
        answers: Sequence[Any]
        try:
            answers = await getattr(self, f"_{op.kind}")(process, op.items)
        except FSMError as error:
            answers = [error] * len(op.items)
        except asyncio.CancelledError as error:
            if not self.task.cancelling():
                raise AssertionError(f"{op} was cancelled by nobody") from error
            answers = [error] * len(op.items)
        while self.task.cancelling():
            self.task.uncancel()
        self._busy = False
        self._children = []
        self._settle(op, answers)

    def _settle(self, op: Op, answers: Sequence[Any]) -> None:
        world = self.world
        again: list[Item] = []
        for item, answer in zip(op.items, answers, strict=True):
            note = world.journal.notes[item.tag]
            if isinstance(answer, asyncio.CancelledError):
                note.left = True
                note.died = note.died or op.kind not in SHARED
            if note.told(answer, world.steps):
                again.append(item)
            elif _is_applied(answer) and item.tag not in world.server.written:
                raise AssertionError(f"{item} is answered ({said(answer)}), and is not written")
        if world.trace is not None:
            told = ", ".join(
                f"{item.tag} {said(answer)}" for item, answer in zip(op.items, answers, strict=True)
            )
            world.tell(self.name, f"is told {told}", None)
        if again:
            self._left[0] = Op(op.kind, tuple(again))
        else:
            del self._left[0]
            self.done = not self._left

    async def _event(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        item = items[0]
        self.world.journal.arrived(item)
        options = _options(item)
        data = copy_mapping(item.data)
        if item.trigger is None:
            answer = await _ask(process, "apply_data", item.entity, data, **options)
        else:
            answer = await _ask(
                process, "process_event", item.entity, item.trigger, data, **options
            )
        if not process.blocks:  # there the result may share what is deep in the caller's own data
            scribble(data)
        return [answer]

    async def _pipeline(self, process: "Process", items: tuple[Item, ...]) -> Sequence[Any]:
        """All at once, and none waits for the other."""
        if process.blocks:
            return [await self._safely(process, item) for item in items]
        create = self.world.loop.create_task
        self._children = [create(self._safely(process, item)) for item in items]
        return await asyncio.gather(*self._children, return_exceptions=True)

    async def _stream(self, process: "Process", items: tuple[Item, ...]) -> Sequence[Any]:
        """One after the other, and none waits for the answer of the one before."""
        if process.blocks:
            return [await self._safely(process, item) for item in items]
        children: list[asyncio.Task[Any]] = []
        self._children = children
        try:
            for item in items:
                children.append(self.world.loop.create_task(self._safely(process, item)))
                await self.world.breathe(self.name, process)
            return await asyncio.gather(*children, return_exceptions=True)
        except asyncio.CancelledError:
            for child in children:
                child.cancel()
            raise

    async def _safely(self, process: "Process", item: Item) -> Any:
        try:
            return (await self._event(process, (item,)))[0]
        except FSMError as error:
            return error

    async def _batch(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        requests = [
            EventRequest(
                item.entity,
                item.trigger or "note",
                item.data,
                item.event_id,
                now=_moment(item),
                expected_version=item.expects,
            )
            for item in items
        ]
        return await _ask(process, "process_events", requests)

    async def _once(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        """As group commit does it: what one load and one commit can, and the rest with patience."""
        orchestrator = process.orchestrator
        cases: list[Case] = []
        for item in items:
            case = Case(
                item.entity, item.trigger or "", item.data, item.event_id, now=_moment(item),
                expected=item.expects,
            )  # fmt: skip
            case.is_data = item.trigger is None
            if item.event_id is not None:
                case.identify(item.trigger)
            cases.append(case)

        def decided() -> Any:
            program.announce(orchestrator._settings, cases)
            groups: dict[str, list[Case]] = {}
            for case in cases:
                groups.setdefault(case.entity_id, []).append(case)
            yield from program.decide_groups(orchestrator._settings, groups)
            left = [case for case in cases if case.open]
            yield from program.decide(orchestrator._settings, left)
            yield from actions.finish(orchestrator._settings, cases)

        if process.blocks:
            orchestrator._driver.run(decided())
        else:
            await orchestrator._driver.arun(decided())
        return [case.error if case.result is None else case.result for case in cases]

    async def _create(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        (item,) = items
        return [await _ask(process, "create_entity", item.entity, item.data, **_options(item))]

    async def _force(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        (item,) = items
        state = "paused" if self.world.plan.machine == "chart" else "odd"
        return [
            await _ask(process, "force_state", item.entity, state, reason=item.tag, actor=self.name)
        ]

    async def _archive(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        (item,) = items
        return [await _ask(process, "archive", item.entity, reason=item.tag, actor=self.name)]

    async def _unarchive(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        (item,) = items
        return [await _ask(process, "unarchive", item.entity, reason=item.tag, actor=self.name)]

    async def _sweep(self, process: "Process", items: tuple[Item, ...]) -> list[Any]:
        self.world.journal.fired += await _ask(process, "fire_due")
        return []


def _is_applied(answer: Any) -> bool:
    return isinstance(answer, TransitionResult) and answer.success and answer.reason != "ignored"


def _options(item: Item) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if item.event_id is not None:
        options["event_id"] = item.event_id
    if item.at is not None:
        options["now"] = _moment(item)
    if item.expects is not None:
        options["expected_version"] = item.expects
    return options


def _moment(item: Item) -> datetime | None:
    return None if item.at is None else to_datetime(item.at)


def _ask(process: "Process", name: str, *args: Any, **options: Any) -> Awaitable[Any]:
    """The method, or its async twin."""
    if not process.blocks:
        return getattr(process.orchestrator, f"async_{name}")(*args, **options)
    call: Callable[..., Any] = getattr(process.orchestrator, name)
    return _now(call, *args, **options)


async def _now(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return call(*args, **options)
