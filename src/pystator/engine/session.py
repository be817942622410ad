"""One entity in memory: for tests, notebooks and programs that keep their entities themselves.

A session is the one place of the engine that remembers: state, context, armed timers and what
happened. It reads the clock it is given, fires timers that are due before each event, and can be
written down and taken up again.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Self

from pystator.engine.actions import ActionExecutor, ActionOutcome
from pystator.engine.copying import copy_mapping
from pystator.engine.driving import Step
from pystator.engine.frame import NeedGuard, VerdictKey
from pystator.engine.living import HISTORY_LIMIT, Clock, LivingEntity, ways
from pystator.engine.machine import StateMachine
from pystator.engine.public import Event, check_payload
from pystator.engine.result import TransitionResult
from pystator.engine.step import Verdicts, failed, wrapped
from pystator.errors import EvaluationError
from pystator.records import Context, from_datetime

__all__ = ["EntitySession"]


class EntitySession(LivingEntity):
    """An entity that lives in this object.

    Args:
        machine: Its machine.
        entity_id: For people and snapshots; means nothing to the machine.
        context: Its data at the start; copied.
        initial_state: Begin here, without entering it, instead of where the machine begins.
        execute_actions: Run the machine's actions after each step; their outcomes are in
            `outcomes`.
        history_limit: Results to remember.
        clock: Tells the time, as an aware datetime or in microseconds since the epoch; by default
            the system's.

    Raises:
        FSMError: The machine cannot begin with this context; the error says why.
        UndefinedStateError: ``initial_state`` is no state.

    Besides the methods, ``session.is_<state>`` tells whether a state or region is active, and
    ``session.<trigger>(**payload)`` sends an event; a real attribute of the same name wins, then
    use `send`.
    """

    __slots__ = ()

    def __init__(
        self,
        machine: StateMachine,
        entity_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        initial_state: str | None = None,
        execute_actions: bool = False,
        history_limit: int = HISTORY_LIMIT,
        clock: Clock | None = None,
    ) -> None:
        own = _own(context)
        told = ways(execute_actions, history_limit, clock)
        self._set_up(machine, entity_id, told)
        now = time.time_ns() // 1000 if clock is None else self._now()
        try:
            if initial_state is None:
                begun = machine.begin(own, now)
            else:
                begun = machine.place(initial_state, own, now)
        except NeedGuard as need:
            raise _async_guard(need) from None
        if not begun.success:
            begun.raise_for_error()
        self._take(begun, now)
        if execute_actions:
            self._run_actions(begun)

    @classmethod
    async def acreate(
        cls,
        machine: StateMachine,
        entity_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        execute_actions: bool = False,
        history_limit: int = HISTORY_LIMIT,
        clock: Clock | None = None,
    ) -> Self:
        """A session of a machine whose beginning has async guards or actions.

        Raises:
            FSMError: As for the constructor.
        """
        session = cls.__new__(cls)
        told = ways(execute_actions, history_limit, clock)
        EntitySession._set_up(session, machine, entity_id, told)
        await EntitySession._abegin(session, _own(context))
        return session

    async def _abegin(self, own: Context) -> None:
        now = self._now()
        begun = await self._awaiting(partial(self.machine.begin, own, now), None, now)
        self._take(begun.raise_for_error(), now)
        await self._arun_actions(begun)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name != "machine":
            machine = self.machine
            if name.startswith("is_") and machine.has_state(name[3:]):
                return machine.is_active(self._state, name[3:])
            trigger = machine.methods.get(name)
            if trigger is not None:
                return partial(self.send, trigger)
        raise AttributeError(
            f"a session has no attribute {name!r}: its machine has no such trigger,"
            " and no state for is_<state>"
        )

    def __dir__(self) -> list[str]:
        states = [*self.machine.state_names, *self.machine.region_names]
        flags = [f"is_{name}" for name in states]
        return sorted({*super().__dir__(), *self.machine.methods, *flags})

    def _repr_svg_(self) -> str:
        """The machine as a notebook shows it, with the states that are active."""
        from pystator.definition.drawing.chart import draw  # only where it is looked at
        from pystator.definition.drawing.svg import svg

        return svg(draw(self.machine.definition, current=self._state.split("+")))

    # Events ---------------------------------------------------------------------------------

    def send(self, trigger: str | Event, /, **payload: Any) -> TransitionResult:
        """Fire what is due, then take the event; a refused one changes nothing.

        Args:
            trigger: The event's name, or an `Event`.
            payload: Merged into the context before guards, readable as ``_event.data``.

        Raises:
            InvalidValueError: A payload name starts with ``_``.
            EvaluationError: A guard is async: use `asend`.
        """
        data: Mapping[str, Any] = payload
        if type(trigger) is str and trigger:
            name = trigger
            if payload:
                data = _own(payload)
        else:
            name, data = _taken_apart(trigger, payload)
        ways = self._ways
        self._outcomes = None
        now = time.time_ns() // 1000 if ways.clock is None else self._now()
        if self._timers:
            self._fire(now)
        try:
            result = self.machine.step(self._state, name, data, self._context, now)
        except NeedGuard as need:
            raise _async_guard(need) from None
        self._take(result, now)
        if ways.executes:
            self._run_actions(result)
        return result

    async def asend(self, trigger: str | Event, /, **payload: Any) -> TransitionResult:
        """`send` for machines with async guards or actions.

        While it waits for a guard, another task may send an event to the same session; then this
        event is decided anew.
        """
        name, data = _taken_apart(trigger, payload)
        self._outcomes = None
        now = self._now()
        await self._afire(now)
        result = await self._awaiting(partial(self._step, name, data, now), name, now)
        self._take(result, now)
        await self._arun_actions(result)
        return result

    def apply_data(self, data: Mapping[str, Any] | None = None, /, **more: Any) -> TransitionResult:
        """Merge data into the context and go where it leads, by the ``when`` of states.

        Due timers fire first. Where nothing leads anywhere, the data is merged all the same.

        Raises:
            InvalidValueError: A name starts with ``_``.
            EvaluationError: A guard is async: use `aapply_data`.
        """
        own = _own({**(data or {}), **more})
        self._outcomes = None
        now = self._now()
        self._fire(now)
        result = self._blocking(partial(self._route, own, now))
        self._take(result, now)
        self._run_actions(result)
        return result

    async def aapply_data(
        self, data: Mapping[str, Any] | None = None, /, **more: Any
    ) -> TransitionResult:
        """`apply_data` for machines with async guards or actions."""
        own = _own({**(data or {}), **more})
        self._outcomes = None
        now = self._now()
        await self._afire(now)
        result = await self._awaiting(partial(self._route, own, now), None, now)
        self._take(result, now)
        await self._arun_actions(result)
        return result

    # Timers ---------------------------------------------------------------------------------

    def fire_due(self, now: datetime | None = None) -> list[TransitionResult]:
        """Fire the timers that are due, in order of their deadlines; the results."""
        self._outcomes = None
        return self._fire(self._now() if now is None else from_datetime(now))

    async def afire_due(self, now: datetime | None = None) -> list[TransitionResult]:
        """`fire_due` for machines with async guards or actions."""
        self._outcomes = None
        return await self._afire(self._now() if now is None else from_datetime(now))

    def _fire(self, now: int) -> list[TransitionResult]:
        results: list[TransitionResult] = []
        while (due := self._first_due(now, len(results))) is not None:
            timer, moment = due
            result = self._blocking(partial(self._ring, timer, moment))
            self._use_up(timer)
            self._take(result, moment)
            self._run_actions(result)
            results.append(result)
        return results

    async def _afire(self, now: int) -> list[TransitionResult]:
        results: list[TransitionResult] = []
        while (due := self._first_due(now, len(results))) is not None:
            timer, moment = due
            result = await self._awaiting(partial(self._ring, timer, moment), timer, moment)
            if (self._timers or {}).get(timer) != moment:
                continue  # another task fired or cancelled it, while a guard was waited for
            self._use_up(timer)
            self._take(result, moment)
            await self._arun_actions(result)
            results.append(result)
        return results

    # Steps ----------------------------------------------------------------------------------

    def _step(
        self, name: str, data: Mapping[str, Any], now: int, verdicts: Verdicts | None
    ) -> TransitionResult:
        return self.machine.step(self._state, name, data, self._context, now, verdicts)

    def _route(
        self, data: Mapping[str, Any], now: int, verdicts: Verdicts | None
    ) -> TransitionResult:
        return self.machine.merge(self._state, data, self._context, now, verdicts)

    def _ring(self, timer: str, moment: int, verdicts: Verdicts | None) -> TransitionResult:
        return self.machine.fire(self._state, timer, self._context, moment, verdicts)

    @staticmethod
    def _blocking(step: Step) -> TransitionResult:
        try:
            return step(None)
        except NeedGuard as need:
            raise _async_guard(need) from None

    async def _awaiting(self, step: Step, trigger: str | None, now: int) -> TransitionResult:
        """The step with the verdicts of async guards; begun anew when the entity was changed."""
        verdicts: dict[VerdictKey, bool] = {}
        while True:
            state, context = self._state, self._context
            try:
                return step(verdicts)
            except NeedGuard as need:
                try:
                    verdict = bool(await need.call())
                except Exception as error:  # noqa: BLE001 # a guard is the user's code
                    return failed(state or None, trigger, wrapped(error), context, now)
                if self._state is not state or self._context is not context:
                    verdicts = {}
                else:
                    verdicts[need.key] = verdict

    # Actions --------------------------------------------------------------------------------

    def _run_actions(self, result: TransitionResult) -> None:
        if self._ways.executes and result.facts.actions:
            executor = ActionExecutor(self.machine.actions)
            self._note(executor.execute(result.all_actions, self._context))

    async def _arun_actions(self, result: TransitionResult) -> None:
        if self._ways.executes and result.facts.actions:
            executor = ActionExecutor(self.machine.actions)
            self._note(await executor.async_execute(result.all_actions, self._context))

    def _note(self, outcomes: list[ActionOutcome]) -> None:
        self._outcomes = [*(self._outcomes or ()), *outcomes]

    @classmethod
    def from_snapshot(
        cls,
        machine: StateMachine,
        snapshot: Mapping[str, Any],
        *,
        execute_actions: bool = False,
        history_limit: int = HISTORY_LIMIT,
        clock: Clock | None = None,
    ) -> Self:
        """Take an entity up again: nothing is entered, no action runs, timers keep their deadlines.

        Raises:
            InvalidValueError: This is no snapshot.
            MachineVersionMismatchError: The machine has no such state; see the context of the
                error.
        """
        session = cls.__new__(cls)
        told = ways(execute_actions, history_limit, clock)
        EntitySession._set_up(session, machine, None, told)
        EntitySession._resume(session, snapshot)
        return session


def _own(context: Mapping[str, Any] | None) -> Context:
    """A context of the session's own."""
    if not context and (context is None or context.__class__ is dict):
        return {}
    check_payload(context)
    return copy_mapping(context)


def _taken_apart(trigger: str | Event, payload: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    event = trigger if isinstance(trigger, Event) else Event(trigger)
    return event.trigger, _own({**event.payload, **payload})


def _async_guard(need: NeedGuard) -> EvaluationError:
    return EvaluationError(
        f"guard {need.name!r} is async: use `await session.asend(...)`"
        " (aapply_data, afire_due, EntitySession.acreate)",
        context={"guard": need.name},
    )
