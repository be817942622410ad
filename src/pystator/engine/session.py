"""One entity in memory: for tests, notebooks and programs that keep their entities themselves.

A session is the one place of the engine that remembers: state, context, armed timers and what
happened. It reads the clock it is given, fires timers that are due before each event, and can be
written down and taken up again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Self

from pystator.engine.actions import ActionExecutor, ActionOutcome
from pystator.engine.copying import copy_mapping
from pystator.engine.frame import NeedGuard, VerdictKey
from pystator.engine.machine import StateMachine
from pystator.engine.public import Event, check_payload
from pystator.engine.result import TransitionResult
from pystator.engine.step import Verdicts, wrapped
from pystator.errors import (
    ErrorCode,
    EvaluationError,
    FSMError,
    InvalidValueError,
    MachineVersionMismatchError,
)
from pystator.records import Context, from_datetime

__all__ = ["EntitySession"]

_FIRINGS = 1_000
"""Timers one event may fire on its way; more means that they re-arm each other without end."""

_FORMAT = 1


class EntitySession:
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

    Besides the methods, ``session.is_<state>`` tells whether a state is active, and
    ``session.<trigger>(**payload)`` sends an event; a real attribute of the same name wins, then
    use `send`.
    """

    def __init__(
        self,
        machine: StateMachine,
        entity_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        initial_state: str | None = None,
        execute_actions: bool = False,
        history_limit: int = 100,
        clock: Callable[[], datetime | int] | None = None,
    ) -> None:
        check_payload(context or {})
        own = copy_mapping(context or {})
        self._set_up(machine, entity_id, execute_actions, history_limit, clock)
        now = self._now()
        if initial_state is None:
            begun = self._blocking(lambda verdicts: machine.begin(own, now, verdicts))
        else:
            begun = machine.place(initial_state, own, now)
        self._take(begun.raise_for_error())
        self._run_actions(begun)

    def _set_up(
        self,
        machine: StateMachine,
        entity_id: str | None,
        execute_actions: bool,
        history_limit: int,
        clock: Callable[[], datetime | int] | None,
    ) -> None:
        self.machine = machine
        self.entity_id = entity_id
        self.outcomes: list[ActionOutcome] = []
        self._executes = execute_actions
        self._clock = clock
        self._history: deque[TransitionResult] = deque(maxlen=history_limit)
        self._state = ""
        self._context: Context = {}
        self._timers: dict[str, int] = {}

    # What it is now -------------------------------------------------------------------------

    @property
    def current_state(self) -> str:
        """The configuration."""
        return self._state

    @property
    def context(self) -> Context:
        """A copy of its data."""
        return copy_mapping(self._context)

    @property
    def timers(self) -> dict[str, int]:
        """Armed timers: id -> deadline in microseconds since the epoch."""
        return dict(self._timers)

    @property
    def history(self) -> list[TransitionResult]:
        """The latest results, oldest first; refused events included."""
        return list(self._history)

    @property
    def allowed_triggers(self) -> list[str]:
        """Triggers that some transition has here, whatever its guards say."""
        return self.machine.get_available_triggers(self._state)

    @property
    def is_final(self) -> bool:
        """Nothing can happen any more."""
        return self.machine.is_terminal(self._state)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "machine" in self.__dict__:
            if name.startswith("is_") and name[3:] in self.machine.state_names:
                return name[3:] in self.machine.active_states(self._state)
            trigger = _trigger_of(name, self.machine.trigger_names)
            if trigger is not None:
                return partial(self.send, trigger)
        raise AttributeError(
            f"a session has no attribute {name!r}: its machine has no such trigger,"
            " and no state for is_<state>"
        )

    def __copy__(self) -> Self:
        """A session that goes its own way from here."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._history = self._history.copy()  # noqa: SLF001 # it is one of us
        made._timers = dict(self._timers)  # noqa: SLF001
        return made

    def __repr__(self) -> str:
        name = f" {self.entity_id!r}" if self.entity_id else ""
        return f"<EntitySession{name} of {self.machine.name!r} in {self._state!r}>"

    # Events ---------------------------------------------------------------------------------

    def send(self, trigger: str | Event, /, **payload: Any) -> TransitionResult:
        """Fire what is due, then take the event; a refused one changes nothing.

        Args:
            trigger: The event's name, or an `Event`.
            payload: Merged into the context before guards, readable as ``_event.data``.

        Raises:
            InvalidValueError: A payload name starts with ``_``.
        """
        event = _event(trigger, payload)
        now = self._now()
        self._fire(now)
        result = self._blocking(self._step(event, now))
        self._take(result)
        self._run_actions(result)
        return result

    async def asend(self, trigger: str | Event, /, **payload: Any) -> TransitionResult:
        """`send` for machines with async guards or actions."""
        event = _event(trigger, payload)
        now = self._now()
        for timer, moment in self._due(now):
            await self._atake(await self._awaiting(self._firing(timer, moment)))
        result = await self._awaiting(self._step(event, now))
        await self._atake(result)
        return result

    def fire_due(self, now: datetime | None = None) -> list[TransitionResult]:
        """Fire the timers that are due, in order of their deadlines; the results."""
        return self._fire(self._now() if now is None else from_datetime(now))

    def _fire(self, now: int) -> list[TransitionResult]:
        results: list[TransitionResult] = []
        for timer, moment in self._due(now):
            result = self._blocking(self._firing(timer, moment))
            self._take(result)
            self._run_actions(result)
            results.append(result)
        return results

    # Steps ----------------------------------------------------------------------------------

    def _now(self) -> int:
        if self._clock is None:
            return time.time_ns() // 1000
        now = self._clock()
        return now if isinstance(now, int) else from_datetime(now)

    def _step(self, event: Event, now: int) -> "_Step":
        return lambda verdicts: self.machine.step(
            self._state, event.trigger, event.payload, self._context, now, verdicts
        )

    def _firing(self, timer: str, moment: int) -> "_Step":
        return lambda verdicts: self.machine.fire(
            self._state, timer, self._context, moment, verdicts
        )

    def _due(self, now: int) -> Iterator[tuple[str, int]]:
        """The next timer to fire, while there is one; whoever asks fires it before asking again."""
        order = self.machine.timer_order
        for _ in range(_FIRINGS):
            due = [(moment, order(timer) or 0, timer) for timer, moment in self._timers.items()]
            first = min(due, default=None)
            if first is None or first[0] > now:
                return
            yield first[2], first[0]
        raise EvaluationError(
            f"timers re-arm each other without end: {_FIRINGS} fired before this event",
            context={"state": self._state},
            code=ErrorCode.LIVELOCK,
        )

    @staticmethod
    def _blocking(step: "_Step") -> TransitionResult:
        try:
            return step(None)
        except NeedGuard as need:
            raise EvaluationError(
                f"guard {need.name!r} is async: use `await session.asend(...)`",
                context={"guard": need.name},
            ) from None

    @staticmethod
    async def _awaiting(step: "_Step") -> TransitionResult:
        verdicts: dict[VerdictKey, bool] = {}
        while True:
            try:
                return step(verdicts)
            except NeedGuard as need:
                try:
                    verdicts[need.key] = bool(await need.call())
                except Exception as error:
                    raise wrapped(error) from error

    def _take(self, result: TransitionResult) -> None:
        """Be what the result says, and remember it."""
        self._history.append(result)
        timers = result.timers
        for timer in timers.cancelled:
            self._timers.pop(timer, None)
        if result.success and result.target_state is not None:
            self._timers.update(timers.armed)
            self._state = result.target_state
            self._context = result.context

    async def _atake(self, result: TransitionResult) -> None:
        self._take(result)
        if self._executes and result.all_actions:
            executor = ActionExecutor(self.machine.actions)
            self.outcomes = await executor.async_execute(result.all_actions, self._context)

    def _run_actions(self, result: TransitionResult) -> None:
        if self._executes and result.all_actions:
            executor = ActionExecutor(self.machine.actions)
            self.outcomes = executor.execute(result.all_actions, self._context)

    # Writing it down ------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to take it up again; plain data, if the context's values are plain."""
        return {
            "format": _FORMAT,
            "machine": self.machine.name,
            "machine_version": self.machine.version,
            "fingerprint": self.machine.fingerprint,
            "entity_id": self.entity_id,
            "state": self._state,
            "context": copy_mapping(self._context),
            "timers": dict(self._timers),
        }

    @classmethod
    def from_snapshot(
        cls,
        machine: StateMachine,
        snapshot: Mapping[str, Any],
        *,
        execute_actions: bool = False,
        history_limit: int = 100,
        clock: Callable[[], datetime | int] | None = None,
    ) -> Self:
        """Take an entity up again: nothing is entered, no action runs, timers keep their deadlines.

        Raises:
            InvalidValueError: This is no snapshot.
            MachineVersionMismatchError: The machine has no such state; see the context of the
                error.
        """
        if snapshot.get("format") != _FORMAT or not isinstance(snapshot.get("state"), str):
            raise InvalidValueError(
                "this is no snapshot of a session: use what session.snapshot() returned",
                context={"keys": sorted(str(key) for key in snapshot)},
            )
        try:
            machine.validate_state(snapshot["state"])
        except FSMError as error:
            raise MachineVersionMismatchError(
                f"the snapshot is of machine {snapshot['machine']!r} version"
                f" {snapshot['machine_version']!r}: {error.message}",
                context={"state": snapshot["state"], "machine_version": machine.version},
            ) from error
        session = cls.__new__(cls)
        EntitySession._set_up(
            session, machine, snapshot["entity_id"], execute_actions, history_limit, clock
        )
        EntitySession._resume(session, snapshot)
        return session

    def _resume(self, snapshot: Mapping[str, Any]) -> None:
        self._state = snapshot["state"]
        self._context = copy_mapping(snapshot["context"])
        self._timers = {
            timer: moment
            for timer, moment in snapshot["timers"].items()
            if self.machine.timer_order(timer) is not None
        }


_Step = Callable[[Verdicts | None], TransitionResult]
"""A step that only lacks the verdicts of async guards."""


def _event(trigger: str | Event, payload: Mapping[str, Any]) -> Event:
    if isinstance(trigger, Event):
        return Event(trigger.trigger, {**trigger.payload, **payload}) if payload else trigger
    return Event(trigger, payload)


def _trigger_of(name: str, triggers: list[str]) -> str | None:
    """The trigger a method name stands for: ``pay_now`` also for ``pay-now`` and ``pay.now``."""
    if name in triggers:
        return name
    return next(
        (
            trigger
            for trigger in triggers
            if trigger.replace("-", "_").replace(".", "_").replace(":", "_") == name
        ),
        None,
    )
