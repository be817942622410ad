"""One macrostep: everything that one event does.

Laws of a step:

- It is a pure function of configuration, event, context, time and the verdicts of async guards. It
  reads no clock.
- Guards of one selection are all evaluated before any effect, against the configuration at the
  start of the microstep.
- An event that fails, for whatever reason, changes nothing: the result holds the very context that
  came in.

::

    event --> checks --> selection --nobody--> refused
                            |
                            v
        .-----> microstep: exits, content, entries <------------.
        |                   |                                   |
        |      terminal? <--+--> eventless transition? ---------'
        |          |        |
        |          |        `--> raised event that somebody takes?
        |          |                      |            |
        |----------|----------------------'            no
        |          |                                   v
        `----------|------------------- data alone leads somewhere?
                   v                                   |
              at rest: choice resolved? checks --> result
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pystator.engine.frame import Evaluate, Frame, NeedGuard, VerdictKey
from pystator.engine.plans import Choice, Plan
from pystator.engine.result import Facts, Microstep, TransitionResult
from pystator.engine.table import Row
from pystator.engine.topology import Topology
from pystator.errors import (
    ErrorCode,
    EvaluationError,
    FSMError,
    InvalidTransitionError,
)
from pystator.records import Context, from_datetime

__all__ = ["LIVELOCK", "Macrostep", "Verdicts", "deadline", "failed", "wrapped"]

LIVELOCK: Final = 1_000
"""Microsteps of one event after which it is certain that it never comes to rest."""

Verdicts = Mapping[VerdictKey, bool]


class Macrostep:
    """One event under way.

    Args:
        start: The row of the configuration before the event; None when an entity begins.
        given: The context as it came in: what the result holds when the event fails.
        frame: What closures see; planned actions and raised events gather in it.
        checked: Look at the context, if the machine says so.
    """

    __slots__ = (
        "_active",
        "_armed",
        "_cancelled",
        "_checks",
        "_frame",
        "_given",
        "_start",
        "_topology",
        "_trigger",
        "_visited",
    )

    def __init__(
        self,
        topology: Topology,
        start: Row | None,
        given: Context,
        frame: Frame,
        *,
        checked: bool = True,
    ) -> None:
        self._topology = topology
        self._checks = topology.checks if checked else None
        self._start = start
        self._given = given
        self._frame = frame
        self._trigger = frame.trigger
        self._active = frame.active
        self._visited: set[str] | None = None
        if topology.definition.auto_route:
            self._visited = set(frame.active)
        self._armed: dict[str, int] = {}
        self._cancelled: dict[str, None] = {}

    def run(self, cell: Plan | Choice, context: Context, *, check: bool = True) -> TransitionResult:
        """The result of the event, whatever happens.

        Args:
            cell: What the event's trigger leads to.
            context: The context the event sees: with its payload.
            check: Look at the context before guards, if the machine says so.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        try:
            if check and self._checks is not None:
                self._checks.check(context, self._frame)
            plan = cell if isinstance(cell, Plan) else cell.decide(context, self._frame)
            if not isinstance(plan, Plan):
                return TransitionResult(plan, self._given, self._frame.now)
            if plan.short and plan.quiet:
                if plan.effect is not None:
                    context = plan.effect(context, self._frame)
                return TransitionResult(plan, context, self._frame.now)
            return self._advance(plan, context)
        except NeedGuard:
            raise
        except Exception as error:  # noqa: BLE001 # guards are the user's code: a failure is a result
            source = None if self._start is None else self._start.text
            return failed(source, self._trigger, wrapped(error), self._given, self._frame.now)

    def settle(self, row: Row, context: Context) -> TransitionResult:
        """What data alone does, without an event: eventless transitions and routing.

        Args:
            row: Where the entity is.
            context: With the data that came.

        Raises:
            NeedGuard: The verdict of an async guard is missing.
        """
        try:
            if self._checks is not None:
                self._checks.check(context, self._frame)
            self._visited = set(row.active)
            plan = None if row.ends else self._following(row, context)
            if plan is None:
                return self._at_rest(row, context, [])
            return self._advance(plan, context)
        except NeedGuard:
            raise
        except Exception as error:  # noqa: BLE001 # as for an event
            return failed(row.text, None, wrapped(error), self._given, self._frame.now)

    def resume(self, plan: Plan, cell: Plan | Choice, context: Context) -> TransitionResult:
        """Go on behind a light plan that was run without a frame.

        Args:
            plan: What was run.
            cell: The eventless one where it leads.
            context: With what it wrote.
        """
        frame = self._frame
        frame.calls.extend(plan.actions)
        self._move_timers(plan, context)
        frame.active = self._topology.table[plan.target].active
        following = self._select(cell, context)
        if following is None:
            return TransitionResult(plan, context, frame.now)
        return self._advance(following, context, plan.microsteps)

    def _advance(
        self, plan: Plan, context: Context, before: Iterable[Microstep] = ()
    ) -> TransitionResult:
        """Microsteps until nothing follows."""
        frame, table = self._frame, self._topology.table
        steps = [*before]
        while True:
            context = self._microstep(plan, context)
            steps.extend(plan.microsteps)
            row = table[plan.target]
            frame.active = row.active
            if self._visited is not None:
                self._visited.update(row.active)
            if row.ends:
                break
            following = self._following(row, context)
            if following is None:
                break
            if len(steps) >= LIVELOCK:
                raise _livelock(steps)
            plan = following
        if plan.short and len(steps) == 1:
            return TransitionResult(plan, context, frame.now)
        return self._at_rest(row, context, steps)

    def _at_rest(self, row: Row, context: Context, steps: list[Microstep]) -> TransitionResult:
        """The result of an event after which nothing follows."""
        if row.choosing is not None:
            raise InvalidTransitionError(
                f"choice state {row.choosing!r} cannot be left: no guard of its transitions holds;"
                " add a last transition without guards",
                context={"state": row.choosing, "trigger": self._trigger},
                code=ErrorCode.CHOICE_UNRESOLVED,
            )
        frame = self._frame
        if self._checks is not None and steps:
            self._checks.check(context, frame)
        facts = Facts(
            success=True,
            source_state=None if self._start is None else self._start.text,
            target_state=row.text,
            trigger=self._trigger,
            actions=tuple(frame.calls),
            deadlines=tuple(self._armed.items()),
            cancelled=tuple(self._cancelled),
            microsteps=tuple(steps),
        )
        return TransitionResult(facts, context, frame.now)

    def _microstep(self, plan: Plan, context: Context) -> Context:
        """Exits, content and entries, then the timers."""
        frame = self._frame
        if plan.short:
            if plan.effect is not None:
                context = plan.effect(context, frame)
            frame.calls.extend(plan.actions)
            self._move_timers(plan, context)
            return context
        as_events = self._topology.definition.errors == "event"
        for phase, active, block in plan.blocks:
            frame.phase = phase
            if active is not None:
                frame.active = active
            try:
                for step in block:
                    context = step.run(context, frame)
            except FSMError:
                if not as_events:
                    raise
                frame.raised.append("error.execution")
        self._move_timers(plan, context)
        return context

    def _move_timers(self, plan: Plan, context: Context) -> None:
        for timer in plan.cancelled:
            self._cancel(timer)
        for timer, delay in plan.delays:
            self._arm(timer, self._frame.time + delay)
        for timer, evaluate in plan.ats:
            moment = deadline(timer, evaluate, context, self._frame)
            if moment is None:
                self._cancel(timer)
            else:
                self._arm(timer, moment)

    def _arm(self, timer: str, moment: int) -> None:
        self._armed[timer] = moment
        self._cancelled.pop(timer, None)

    def _cancel(self, timer: str) -> None:
        """Only what may have been armed before the event is a change to anybody else."""
        self._armed.pop(timer, None)
        if timer == self._trigger or self._topology.timers[timer].source in self._active:
            self._cancelled[timer] = None

    def _following(self, row: Row, context: Context) -> Plan | None:
        """What happens without a new event: eventless, then raised, then by data."""
        if row.eventless is not None:
            plan = self._select(row.eventless, context)
            if plan is not None:
                return plan
        if self._frame.raised:
            plan = self._raised(row, context)
            if plan is not None:
                return plan
        if self._visited is not None and row.routing is not None:
            return row.routing.unvisited(self._visited, context, self._frame)
        return None

    def _raised(self, row: Row, context: Context) -> Plan | None:
        """The first raised event that somebody takes; the others before it leave no trace."""
        frame = self._frame
        before = frame.trigger, frame.data
        while frame.raised:
            event = frame.raised.pop(0)
            cell = row.internal(event)
            if cell is not None:
                frame.trigger, frame.data = event, None
                plan = self._select(cell, context)
                if plan is not None:
                    return plan
        frame.trigger, frame.data = before
        return None

    def _select(self, cell: Plan | Choice, context: Context) -> Plan | None:
        found = cell if isinstance(cell, Plan) else cell.decide(context, self._frame)
        return found if isinstance(found, Plan) else None


def failed(
    source: str | None, trigger: str | None, error: FSMError, context: Context, now: int | None
) -> TransitionResult:
    """The result of an event that met an error."""
    details: dict[str, Any] = {
        key: error.context[key] for key in ("problems", "cycle") if key in error.context
    }
    error.context.setdefault("state", source)
    error.context.setdefault("trigger", trigger)
    facts = Facts(
        success=False,
        source_state=source,
        target_state=None,
        trigger=trigger,
        reason=error.code.value,
        details=details,
        cause=error,
    )
    return TransitionResult(facts, context, now)


def wrapped(error: Exception) -> FSMError:
    """An error of user code as one of ours."""
    if isinstance(error, FSMError):
        return error
    wrapper = EvaluationError(
        f"a guard or effect raised {type(error).__name__}: {error}",
        context={"error": type(error).__name__, "message": str(error)},
    )
    wrapper.__cause__ = error
    return wrapper


def deadline(timer: str, evaluate: Evaluate, context: Context, frame: Frame) -> int | None:
    """The deadline of a timer whose time is data, in microseconds; None arms nothing.

    Raises:
        EvaluationError: The value is no moment: an aware datetime, its ISO 8601 text, or
            microseconds.
    """
    value = evaluate(context, frame)
    if value is None or (type(value) is int and value >= 0):
        return value
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            return from_datetime(moment)
        cause = None
    except ValueError as error:
        cause = error
    why = f" ({cause})" if isinstance(value, datetime) else ""
    raise EvaluationError(
        f"timer {timer!r}: {value!r:.100} is no moment{why}; use an aware datetime, its ISO 8601"
        " text, e.g. 2026-03-01T12:00:00Z, or microseconds since 1970",
        context={"timer": timer, "value": repr(value)},
    ) from cause


def _livelock(steps: list[Microstep]) -> EvaluationError:
    """The error for an event that never comes to rest, with the states it goes round in."""
    states = [step.target for step in steps]
    last = states[-1]
    before = next((back for back in range(2, len(states) + 1) if states[-back] == last), 2)
    cycle = states[-before:]
    return EvaluationError(
        f"the event never comes to rest: after {len(steps):,} microsteps it goes round in"
        f" {' -> '.join(cycle[:12])}; guard one of these transitions",
        context={"cycle": cycle},
        code=ErrorCode.LIVELOCK,
    )
