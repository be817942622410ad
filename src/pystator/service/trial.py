"""What an event would do to an entity that no store keeps: nothing is run, nothing is written.

::

    state    trigger
    given    given      step(state, trigger)                           result
    given    absent     what data alone does there                     result
    absent   given      start, then step(where it began, trigger)      result, start
    absent   absent     start                                          result
"""

from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, TypeVar

from pystator.definition.issues import configuration_error
from pystator.engine.machine import StateMachine
from pystator.engine.public import Event, check_payload
from pystator.engine.result import TransitionResult
from pystator.errors import ConfigurationError, EvaluationError
from pystator.records import Context, record, to_datetime
from pystator.service.checking import read
from pystator.stores.codec import copy

__all__ = [
    "MOST_ACTIONS",
    "MOST_STATES",
    "MOST_TRANSITIONS",
    "Trial",
    "attempt",
    "checked",
    "tried",
]

MOST_STATES: Final = 2_000
MOST_TRANSITIONS: Final = 20_000
"""Each source counts."""
MOST_ACTIONS: Final = 10_000
"""Planned by one event."""
COMPILED: Final = 16
"""Machines that are kept compiled."""

T = TypeVar("T")


@record
class Trial:
    """What is tried.

    Attributes:
        state: The entity's configuration; None begins one.
        trigger: The event; None for what happens without one.
        context: The entity's data.
        payload: The event's own data: merged into the context before guards.
        now: The time of the step; the clock's without.
    """

    state: str | None
    trigger: str | None
    context: Context
    payload: Mapping[str, Any]
    now: datetime | None


def attempt(
    content: bytes,
    *,
    state: str | None,
    trigger: str | None,
    context: dict[str, Any],
    payload: dict[str, Any],
    now: str | None,
) -> dict[str, Any]:
    """A trial with a stranger's machine.

    Args:
        content: The machine as JSON.
        state: See `Trial`, as for the next three.
        trigger: The event.
        context: The entity's data.
        payload: The event's.
        now: In ISO 8601.

    Raises:
        ConfigurationError: The machine has mistakes, is too large for a trial, or names guards that
            only an application could answer.
        FSMError: See `tried`.
    """
    machine = _compiled(content)
    moment = None if now is None else datetime.fromisoformat(now)
    return _finished(tried(machine, Trial(state, trigger, context, payload, moment)))


async def tried(machine: StateMachine, trial: Trial) -> dict[str, Any]:
    """What the event would do, as plain data. A rejection is an answer, too.

    Raises:
        UndefinedStateError: The machine has no such state.
        InvalidValueError: A name of the context is reserved, or what would be written could not be
            stored.
        EvaluationError: The event plans more than it may.
    """
    checked(trial)
    event = None if trial.trigger is None else Event(trial.trigger, trial.payload)
    begun: TransitionResult | None = None
    state, context = trial.state, trial.context
    if state is None:
        given = context if event else {**context, **trial.payload}
        begun = await machine.astart(given, now=trial.now)
        if event is None or not begun.success or begun.target_state is None:
            return _answer(machine, begun, None)
        state, context = begun.target_state, begun.context
    if event is None:
        result = await machine.aapply(state, trial.payload, context, now=trial.now)
    else:
        result = await machine.aprocess(state, event, context, now=trial.now)
    return _answer(machine, result, begun)


def checked(trial: Trial) -> None:
    """A trial's data could be an entity's and an event's.

    Raises:
        InvalidValueError: It could not be stored, or a name is reserved.
    """
    for name, data in (("context", trial.context), ("payload", trial.payload)):
        check_payload(data)
        copy(dict(data), name=name)


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that awaits nothing: a stranger's machine has no async guards."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    work.close()
    raise EvaluationError("the machine waits for something outside of it")


# Machines of strangers ----------------------------------------------------------------------------

_machines: OrderedDict[bytes, StateMachine] = OrderedDict()


def _compiled(content: bytes) -> StateMachine:
    """The machine, compiled once: those that were asked for last are kept."""
    key = blake2b(content, digest_size=16).digest()
    machine = _machines.pop(key, None) or _made(content)
    _machines[key] = machine
    while len(_machines) > COMPILED:
        _machines.popitem(last=False)
    return machine


def _made(content: bytes) -> StateMachine:
    definition, issues = read(content, plain=True)
    if definition is None:
        raise configuration_error(issues)
    for most, found, what in (
        (MOST_STATES, len(definition.nodes), "states"),
        (MOST_TRANSITIONS, len(definition.transitions), "transitions"),
    ):
        if found > most:
            raise ConfigurationError(
                f"the machine has {found:,} {what}, and one that is sent along has at most"
                f" {most:,}: store it (POST /machines) and name it in machine_name",
                context={"what": what, "number": found, "most": most},
            )
    machine = StateMachine.from_definition(definition)
    guards = sorted(machine.guard_names)
    if guards and not definition.lenient_guards:
        raise ConfigurationError(
            f"the machine names guards that an application registers: {', '.join(guards[:12])}; one"
            " that is sent along has none: write {expr: ...} or {check: ...}, name a served machine"
            " in machine_name, or let them pass with meta.strict_guard_registry: false",
            context={"guards": guards[:100]},
        )
    return machine


# The answer ---------------------------------------------------------------------------------------


def _answer(
    machine: StateMachine, result: TransitionResult, begun: TransitionResult | None
) -> dict[str, Any]:
    return {
        "machine_name": machine.name,
        "machine_version": machine.version,
        **_view(result),
        "start": None if begun is None else _view(begun),
    }


def _view(result: TransitionResult) -> dict[str, Any]:
    error = result.error
    if error is not None and isinstance(error.__cause__, MemoryError):
        raise error.__cause__  # it says nothing about the event
    actions = result.all_actions
    if len(actions) > MOST_ACTIONS:
        raise EvaluationError(
            f"the event plans {len(actions):,} actions, and a trial tells of at most"
            f" {MOST_ACTIONS:,}",
            context={"actions": len(actions), "most": MOST_ACTIONS},
        )
    timers = result.timers
    if result.success:
        copy(result.context)
    return {
        "trigger": result.trigger,
        "success": result.success,
        "source_state": result.source_state,
        "target_state": result.target_state,
        "reason": result.reason,
        "context": result.context if result.success else None,
        "actions": [spec.to_dict() for spec in actions],
        "timers": {
            "armed": {name: _time(name, moment) for name, moment in timers.armed.items()},
            "cancelled": list(timers.cancelled),
        },
        "microsteps": [step.to_dict() for step in result.microsteps],
        "now": None if result.now is None else _time("now", result.now),
        "error": None if error is None else error.to_dict(),
    }


def _time(name: str, moment: int) -> str:
    try:
        return to_datetime(moment).isoformat()
    except OverflowError as error:
        raise EvaluationError(
            f"the deadline of {name!r} is not in the years 1 to 9999", context={"timer": name}
        ) from error
