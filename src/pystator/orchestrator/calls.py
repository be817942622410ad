"""What calls bring along and take home: data, names, results of many."""

from collections.abc import Iterable, Sequence
from typing import Any

from pystator.engine.result import TransitionResult
from pystator.errors import StaleVersionError, StoreUnavailableError
from pystator.orchestrator.answers import failure
from pystator.orchestrator.cases import Case, plain_payload
from pystator.records import EventRequest

__all__ = ["names_of", "payload_of", "results_of", "several"]


def several(results: TransitionResult | Iterable[TransitionResult]) -> list[TransitionResult]:
    """One result, or those of a list."""
    return [results] if isinstance(results, TransitionResult) else [*results]


def results_of(cases: Sequence[Case], *, first: bool, held: bool = False) -> list[TransitionResult]:
    """The results of a bulk call's cases, in order.

    Args:
        cases: All of one chunk.
        first: Nothing was done before.
        held: In a transaction of the caller's.

    Raises:
        StoreUnavailableError: It was the first chunk, and the store is down.
        StaleVersionError, StoreUnavailableError: The caller's transaction cannot be kept.
    """
    if held:
        for case in cases:
            error = case.error
            if error and (isinstance(error, StoreUnavailableError) or _is_lost(error)):
                raise error
    error = cases[0].error
    down = first and isinstance(error, StoreUnavailableError)
    if down and error is not None and all(case.error is error for case in cases):
        raise error
    return [failure(case) if case.result is None else case.result for case in cases]


def _is_lost(error: Exception) -> bool:
    """Others have changed what the transaction had read; an event that was not to be is no harm."""
    return isinstance(error, StaleVersionError) and "expected" not in error.context


def names_of(item: Any) -> tuple[str, str]:
    """What can be said of an item that is no event."""
    if isinstance(item, EventRequest):
        return str(item.entity_id), str(item.trigger)
    try:
        entity_id, trigger, *_ = item
    except (TypeError, ValueError):
        return "", ""
    return str(entity_id), str(getattr(trigger, "trigger", trigger))


def payload_of(context: Any) -> dict[str, Any]:
    """An event's data, copied as far as a plain event needs it.

    Raises:
        InvalidValueError: It is no mapping, or a key is no string or starts with ``_``.
    """
    if type(context) is not dict:
        return plain_payload(context)
    own: dict[Any, Any] = {**context}
    for key in own:
        if type(key) is not str or key[:1] == "_":
            return plain_payload(own)
    return own
