"""What users hand to a machine with an event, taken as it is meant or refused with a reason."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pystator.engine.public import Event
from pystator.records import Context, from_datetime

__all__ = ["check_names", "moment", "own", "taken_apart"]


def own(context: Mapping[str, Any] | None) -> Context:
    """A context as the step reads it: a dictionary, and that very one if it is."""
    if context is None:
        return {}
    if isinstance(context, dict):
        return context
    _check_mapping(context)
    return dict(context)


def _check_mapping(context: object) -> None:
    if not isinstance(context, Mapping):
        raise TypeError(
            f"a context is a mapping, e.g. {{'amount': 5}}, not {type(context).__name__}:"
            f" {context!r:.80}"
        )


def check_names(state: object, trigger: object) -> None:
    """Refuse what is no state and no trigger.

    Raises:
        TypeError: One of the two is of another type.
    """
    if not isinstance(state, str):
        raise TypeError(f"a state is a name, not {type(state).__name__}: {state!r:.80}")
    taken_apart(trigger)


def taken_apart(trigger: object) -> tuple[str, Mapping[str, Any] | None]:
    """The name and the payload of an event.

    Raises:
        TypeError: It is none.
    """
    if isinstance(trigger, Event):
        return trigger.trigger, trigger.payload
    if isinstance(trigger, str):
        return trigger, None
    raise TypeError(f"a trigger is a name or an Event, not {type(trigger).__name__}")


def moment(now: datetime | None, needed: bool) -> int | None:
    """The time of a step in microseconds: the given one, or the clock's if it needs one."""
    if now is not None:
        return from_datetime(now)
    return time.time_ns() // 1000 if needed else None
