"""Results that no step made: replays of recorded answers, and refusals from outside the engine."""

from collections.abc import Mapping
from typing import Any, cast

from pystator.engine.actions import spec_of
from pystator.engine.result import TransitionResult
from pystator.errors import (
    ErrorCode,
    EvaluationError,
    FSMError,
    IdempotencyConflictError,
    StaleVersionError,
    error_of,
)
from pystator.orchestrator.cases import Case
from pystator.records import Context, HistoryEntry

__all__ = [
    "REFUSALS",
    "again",
    "conflict",
    "failure",
    "gave_up",
    "is_same",
    "not_met",
    "raised",
    "refusal",
    "replayed",
]

REFUSALS = frozenset(
    {
        "context_invalid",
        "entity_archived",
        "entity_not_found",
        "guard_rejected",
        "no_transition",
        "terminal_state",
        "undefined_trigger",
    }
)
"""Reasons of ordinary rejections: the event is not allowed. Others are errors of the machine."""

_REASONS = {ErrorCode.INVALID_TRANSITION.value: "no_transition"}
"""Codes of errors whose reason has another name."""

_NO_CONTEXT = cast("Context", None)
"""A replayed answer has no context: what the entity holds now is not what it held then."""


def refusal(
    error: FSMError,
    reason: str,
    *,
    trigger: str | None,
    state: str | None,
    context: Context,
    now: int | None,
    metadata: Mapping[str, Any] | None = None,
) -> TransitionResult:
    """A rejection for a reason the engine does not know of."""
    return TransitionResult.from_parts(
        success=False,
        source_state=state,
        target_state=None,
        trigger=trigger,
        context=context,
        now=now,
        error=error,
        reason=reason,
        metadata=metadata,
    )


def raised(what: str, error: Exception) -> EvaluationError:
    """The error of user code that raised while an event was decided."""
    return EvaluationError(
        f"{what} raised {type(error).__name__}: {error}",
        context={"raised": type(error).__name__, "message": str(error)},
    )


def failure(case: Case) -> TransitionResult:
    """The result of a bulk call's item that could not be decided or written."""
    error = case.error
    if not isinstance(error, FSMError):
        message = f"{type(error).__name__}: {error}"
        error = FSMError(message, context={"raised": type(error).__name__})
        error.__cause__ = case.error
    return refusal(
        error, error.code.value, trigger=case.trigger, state=None, context=_NO_CONTEXT, now=None
    )


def gave_up(entity_id: str, seconds: float) -> StaleVersionError:
    """Other writers were first for too long."""
    return StaleVersionError(
        f"entity {entity_id!r}: for {seconds:g} s others changed it each time this event was about"
        " to be written, or it had more timers due than fire in that time: nothing of the event was"
        " written; send it again, or send this entity's events from fewer places",
        context={"entity_id": entity_id, "seconds": seconds},
    )


def not_met(entity_id: str, expected: int, actual: int) -> StaleVersionError:
    """The event was to meet another version."""
    if not actual:
        found = f"there is no entity {entity_id!r}"
    else:
        found = f"entity {entity_id!r} is at version {actual}"
    wanted = f"version {expected} was expected" if expected else "none was expected"
    return StaleVersionError(
        f"{found}, and {wanted}: nothing was done; look at what it is now, and decide again",
        context={"entity_id": entity_id, "expected": expected, "actual": actual},
    )


# Idempotency ------------------------------------------------------------------------------------


def is_same(case: Case, row: HistoryEntry) -> bool:
    """The row records this very event: same id, same trigger and payload."""
    return row.request_hash is None or row.request_hash == case.request_hash


def conflict(case: Case) -> IdempotencyConflictError:
    """Its event id belongs to another event."""
    return IdempotencyConflictError(
        f"event id {case.event_id!r} of entity {case.entity_id!r} was used before,"
        " for another trigger or payload: a new event needs a new id",
        context={
            "entity_id": case.entity_id,
            "event_id": case.event_id,
            "trigger": case.trigger,
        },
    )


def replayed(row: HistoryEntry) -> TransitionResult:
    """The answer that was given when the row was written."""
    error: FSMError | None = None
    reason: str | None = None
    if not row.success:
        error = _rebuilt(row)
        reason = _REASONS.get(error.code.value, error.code.value)
    elif row.kind == "rejected":
        reason = "ignored"
    result = TransitionResult.from_parts(
        success=row.success,
        source_state=row.source_state,
        target_state=row.target_state,
        trigger=row.trigger,
        context=_NO_CONTEXT,
        now=row.now,
        actions=[spec_of(plain) for plain in row.actions],
        error=error,
        reason=reason,
        metadata={"replayed": True},
        replayed=True,
    )
    result.written = row.version
    result.recorded = row
    return result


def again(first: TransitionResult) -> TransitionResult:
    """The answer to a second event of the same id in one call."""
    result = TransitionResult.from_parts(
        success=first.success,
        source_state=first.source_state,
        target_state=first.target_state,
        trigger=first.trigger,
        context=_NO_CONTEXT,
        now=first.now,
        actions=first.facts.actions,
        error=first.error,
        reason=first.reason,
        metadata={**first.metadata, "replayed": True},
        replayed=True,
    )
    result.written = first.written
    if first.row is not None:
        result.recorded = first.row
    return result


def _rebuilt(row: HistoryEntry) -> FSMError:
    """The error a row recorded."""
    facts = {"entity_id": row.entity_id, "state": row.source_state, "trigger": row.trigger}
    return error_of(row.error_code or "", row.error_message or "the event failed", facts)
