"""A topology with the guards bound to it: the pure operations."""

import time
from collections.abc import Mapping
from typing import Any

from pystator.engine.copying import copy_value
from pystator.engine.fork import Fork
from pystator.engine.frame import BoundGuard, Frame, Test
from pystator.engine.guards import bind_guard
from pystator.engine.plans import Cell, Choice, Plan
from pystator.engine.registry import GuardRegistry
from pystator.engine.result import Facts, TransitionResult
from pystator.engine.step import Macrostep, Verdicts, deadline, failed, wrapped
from pystator.engine.table import Row
from pystator.engine.topology import Topology
from pystator.errors import ErrorCode, InvalidTransitionError
from pystator.records import Context

__all__ = ["Engine"]


class Engine:
    """What steps.

    Attributes:
        vector: Place -> bound guard; see `pystator.engine.frame`.
        quick: No guard is async: a closure of registered guards alone does not look at the frame.
        idle: The frame for closures that do not look at it.
        registry, revision: What is bound, and as of when.
    """

    __slots__ = ("idle", "quick", "registry", "revision", "topology", "vector")

    def __init__(self, topology: Topology, guards: GuardRegistry) -> None:
        self.topology = topology
        self.registry = guards
        self.revision = guards.revision
        names = topology.guard_names
        lenient = topology.definition.lenient_guards
        entries = [guards.find(name) for name in names]
        self.vector: list[BoundGuard] = [
            bind_guard(name, entry, lenient=lenient)
            for name, entry in zip(names, entries, strict=True)
        ]
        self.quick = not any(entry.is_async for entry in entries if entry is not None)
        self.idle = Frame(self.vector)

    def step(
        self,
        row: Row,
        cell: Cell,
        payload: Mapping[str, Any] | None,
        context: Context,
        now: int | None,
        verdicts: Verdicts | None,
    ) -> TransitionResult:
        """One event, from the cell that its trigger leads to.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        if not isinstance(cell, Plan | Choice):
            return TransitionResult(cell, context, now)
        merged = {**context, **payload} if payload else context
        if cell.fast:
            return TransitionResult(cell, merged, now)
        if cell.light and self.quick:
            return self.quickly(row, cell, context, merged, now, payload)
        if isinstance(cell, Fork) and cell.forks and self.quick:
            found = self.forked(row, cell, context, merged, now, payload)
            if isinstance(found, TransitionResult):
                return found
            if found.light:
                return self.quickly(row, found, context, merged, now, payload)
            cell = found
        frame = Frame(self.vector, cell.trigger, payload, now, row.active, verdicts)
        return Macrostep(self.topology, row, context, frame).run(cell, merged)

    def quickly(
        self,
        row: Row,
        cell: Cell,
        given: Context,
        merged: Context,
        now: int | None,
        payload: Mapping[str, Any] | None = None,
    ) -> TransitionResult:
        """A step whose closures look at nothing but the context, up to what follows."""
        try:
            if cell.lone is not None:
                test, plan, refusal = cell.lone
                if not test(merged, self.idle):
                    return TransitionResult(refusal, given, now)
            elif isinstance(cell, Plan):
                plan = cell
            elif isinstance(cell, Choice):
                found = cell.decide(merged, self.idle)
                if not isinstance(found, Plan):
                    return TransitionResult(found, given, now)
                plan = found
            else:
                return TransitionResult(cell, given, now)
            if plan.effect is not None:
                merged = plan.effect(merged, self.idle)
            if plan.quiet:
                return TransitionResult(plan, merged, now)
            return self._followed(plan, row, given, merged, now, payload)
        except Exception as error:  # noqa: BLE001 # guards are the user's code: a failure is a result
            return failed(cell.source_state, cell.trigger, wrapped(error), given, now)

    def _followed(
        self,
        plan: Plan,
        start: Row,
        given: Context,
        context: Context,
        now: int | None,
        payload: Mapping[str, Any] | None,
    ) -> TransitionResult:
        """What comes of a light plan that was run, with what follows it without an event."""
        table = self.topology.table
        while not plan.quiet:
            cell = table[plan.target].eventless
            if cell is None:
                break
            if isinstance(cell, Choice) and cell.blind:
                found = cell.decide(context, self.idle)
                if not isinstance(found, Plan):
                    break
                cell = found
            if not isinstance(cell, Plan) or (joined := start.sequel(plan, cell)) is None:
                frame = Frame(self.vector, plan.trigger, payload, now, start.active)
                return Macrostep(self.topology, start, given, frame).resume(plan, cell, context)
            if cell.effect is not None:
                context = cell.effect(context, self.idle)
            plan = joined
        return TransitionResult(plan, context, now)

    def forked(
        self,
        row: Row,
        fork: Fork,
        given: Context,
        merged: Context,
        now: int | None,
        payload: Mapping[str, Any] | None = None,
    ) -> TransitionResult | Plan:
        """As `quickly`, if the fork leads to a plan that is idle; else that plan."""
        try:
            found = fork.decide(merged, self.idle)
        except Exception as error:  # noqa: BLE001 # as in any step
            return failed(fork.source_state, fork.trigger, wrapped(error), given, now)
        if not isinstance(found, Plan):
            return TransitionResult(found, given, now)
        if found.fast:
            return TransitionResult(found, merged, now)
        return self.quickly(row, found, given, merged, now, payload) if found.idle else found

    def start(
        self,
        context: Context,
        now: int | None,
        verdicts: Verdicts | None,
        *,
        alone: bool = True,
    ) -> TransitionResult:
        """The start of an entity: defaults of the state variables, initial states, what follows.

        Args:
            context: What the entity begins with.
            now: The step's time.
            verdicts: Of async guards.
            alone: No event comes next in the same commit. What is required may come with one, and
                is looked at then.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        missing = {
            variable.key: copy_value(variable.default)
            for variable in self.topology.definition.variables
            if variable.has_default and variable.key not in context
        }
        merged = {**context, **missing} if missing else context
        frame = Frame(self.vector, None, None, now, frozenset(), verdicts)
        step = Macrostep(self.topology, None, context, frame, checked=alone)
        return step.run(self.topology.start, merged, check=False)

    def fire(
        self, row: Row, timer: str, context: Context, now: int, verdicts: Verdicts | None
    ) -> TransitionResult:
        """The deadline of a timer.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        cell = row.timer(timer)
        if cell is not None:
            return self.step(row, cell, None, context, now, verdicts)
        facts = Facts(
            success=False,
            source_state=row.text,
            target_state=None,
            trigger=timer,
            reason="void_timer",
            cancelled=(timer,),
            void=True,
        )
        return TransitionResult(facts, context, now)

    def apply(
        self,
        row: Row,
        data: Mapping[str, Any],
        context: Context,
        now: int | None,
        verdicts: Verdicts | None,
    ) -> TransitionResult:
        """New data without an event: merged into the context, and what follows from it alone.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        frame = Frame(self.vector, None, None, now, row.active, verdicts)
        merged = {**context, **data}
        return Macrostep(self.topology, row, context, frame).settle(row, merged)

    def place(self, row: Row, context: Context, now: int) -> TransitionResult:
        """Be in a configuration without having entered it."""
        topology = self.topology
        frame = Frame(self.vector, None, None, now, row.active)
        if row.choosing is not None:
            error = InvalidTransitionError(
                f"nobody can rest in the choice state {row.choosing!r}:"
                " place the entity in a state it leads to",
                context={"state": row.text},
                code=ErrorCode.CHOICE_UNRESOLVED,
            )
            return failed(None, None, error, context, now)
        try:
            delays, ats = topology.planner.timers_of(row.configuration)
            deadlines = [(timer, now + delay) for timer, delay in delays]
            for timer, evaluate in ats:
                moment = deadline(timer, evaluate, context, frame)
                if moment is not None:
                    deadlines.append((timer, moment))
        except Exception as cause:  # noqa: BLE001 # as in any step
            return failed(None, None, wrapped(cause), context, now)
        facts = Facts(
            success=True,
            source_state=None,
            target_state=row.text,
            trigger=None,
            deadlines=tuple(deadlines),
        )
        return TransitionResult(facts, context, now)

    def holds(
        self,
        row: Row,
        guards: tuple[Test, ...],
        context: Context,
        trigger: str | None,
        payload: Mapping[str, Any] | None = None,
    ) -> bool:
        """All of the guards hold in this configuration, at this moment.

        Raises:
            NeedGuard: One of them has to be awaited.
        """
        moment = time.time_ns() // 1000 if self.topology.reads_time else None
        frame = Frame(self.vector, trigger, payload, moment, row.active)
        return all(guard(context, frame) for guard in guards)
