"""What an orchestrator is told by its user, checked before anything depends on it."""

from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import cast

from pystator.engine.machine import StateMachine
from pystator.errors import ConfigurationError, InvalidValueError
from pystator.orchestrator.hooks import NAMES
from pystator.orchestrator.scheduling import SCHEDULER

__all__ = ["check_by_hand", "check_limit", "check_most", "check_options", "check_state"]


def check_options(
    machine: object,
    hooks: object,
    validator: object,
    scheduler: object,
    action_delivery: str,
    telemetry: object,
) -> None:
    """Refuse what could not work, or not in this release.

    Raises:
        ConfigurationError: The message names the option.
    """
    if not isinstance(machine, StateMachine):
        raise _wrong(
            "machine",
            f"must be a StateMachine, not {type(machine).__name__}:"
            " StateMachine.from_yaml(path) or .from_dict(config) makes one",
        )
    _check_scheduler(scheduler)
    if action_delivery != "inline":
        raise _wrong(
            "action_delivery",
            f'does not have {action_delivery!r}, it is not in this release: use "inline",'
            " which runs actions after the commit, at most once",
        )
    _check_validator(validator)
    _check_hooks(hooks)
    _check_telemetry(telemetry)


def _check_scheduler(scheduler: object) -> None:
    if scheduler is not None and (
        isinstance(scheduler, type)
        or not all(callable(getattr(scheduler, name, None)) for name in SCHEDULER)
    ):
        raise _wrong(
            "scheduler",
            f"must be an AsyncioScheduler() of pystator.scheduler, not {scheduler!r:.80}",
        )


def _check_validator(validator: object) -> None:
    if validator is None:
        return
    if not callable(validator):
        raise _wrong(
            "context_validator",
            "must be a function (entity_id, state, trigger, context) -> (ok, errors),"
            f" not {type(validator).__name__}",
        )
    if iscoroutinefunction(validator) or iscoroutinefunction(type(validator).__call__):
        raise _wrong(
            "context_validator", "must be a blocking function: do what waits in an async guard"
        )


def _check_hooks(hooks: object) -> None:
    if hooks is None:
        return
    if not isinstance(hooks, Sequence):
        raise _wrong("hooks", f"must be a list, e.g. [LoggingHook()], not {type(hooks).__name__}")
    for hook in cast("Sequence[object]", hooks):
        if isinstance(hook, type) or not any(callable(getattr(hook, name, None)) for name in NAMES):
            raise _wrong("hooks", f"has {hook!r:.80}, which is no TransitionHook object")


def _check_telemetry(telemetry: object) -> None:
    if telemetry is not None and (
        isinstance(telemetry, type)
        or not all(callable(getattr(telemetry, name, None)) for name in ("event", "part"))
    ):
        raise _wrong(
            "telemetry",
            "must be an object with the methods of pystator.orchestrator.tracing.Telemetry,"
            f" not {telemetry!r:.80}",
        )


def check_state(state: object) -> None:
    """A state to put an entity into.

    Raises:
        InvalidValueError: It is no text.
    """
    if not isinstance(state, str):
        raise InvalidValueError(
            f"a state is a text, several are joined by '+', e.g. 'packed+paid'; not {state!r:.80}",
            context={"what": "state", "value": repr(state)},
        )


def check_by_hand(call: str, reason: object, actor: object) -> None:
    """Who does something to an entity by hand says so, and why: history is to tell it.

    Raises:
        InvalidValueError: One of the two is empty.
    """
    for name, value in (("reason", reason), ("actor", actor)):
        if not isinstance(value, str) or not value.strip():
            raise InvalidValueError(
                f"{call} needs reason= and actor=, who does it and why,"
                f" as texts for its history: {name} is {value!r:.80}",
                context={"what": name, "value": repr(value)},
            )


def check_limit(limit: object) -> int:
    """A number of entities.

    Raises:
        InvalidValueError: It is none.
    """
    if type(limit) is not int:
        raise InvalidValueError(
            f"limit= is a whole number of entities, not {limit!r:.80}",
            context={"what": "limit", "value": repr(limit)},
        )
    return limit


def check_most(most: object) -> int:
    """A number of calls that may wait.

    Raises:
        ConfigurationError: It is none.
    """
    if type(most) is not int or most < 1:
        raise _wrong("most_waiting", f"is a whole number of calls, 1 or more, not {most!r:.80}")
    return most


def _wrong(option: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{option}= {why}", context={"option": option})
