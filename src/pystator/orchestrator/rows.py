"""History rows as decisions write them, and what they say about contexts."""

from typing import Any

from pystator.errors import FSMError, readable
from pystator.orchestrator.cases import Case
from pystator.records import HISTORY, Context, Entry, EntryKind, Patch

__all__ = [
    "Recorded",
    "failed_row",
    "patch_of",
    "row",
    "with_history",
    "without_history",
]

Recorded = dict[str, list[str]]
"""Recorded history states: name of a compound, region or parallel state -> its active leaves."""

_ABSENT: Any = object()
_Planned = tuple[dict[str, Any], ...]


def row(
    case: Case | None,
    version: int,
    kind: EntryKind,
    trigger: str | None,
    now: int,
    patch: Patch | None,
    source: str | None,
    target: str | None,
    planned: _Planned = (),
    spent: int | None = None,
) -> Entry:
    """The row of something that succeeded; ``case`` is None for a timer."""
    if case is None:
        return Entry(
            version, kind, trigger, None, now, patch, source, target, planned, duration_us=spent
        )
    return Entry(
        version, kind, trigger, case.payload, now, patch, source, target, planned, True, None, None,
        case.event_id, case.request_hash, case.actor, case.occurred_at, spent, None, case.trace,
    )  # fmt: skip


def failed_row(
    case: Case | None,
    version: int,
    kind: EntryKind,
    trigger: str | None,
    now: int,
    error: FSMError | None,
    source: str | None,
    target: str | None = None,
    spent: int | None = None,
) -> Entry:
    """The row of something that failed; ``target`` is the fallback state, where there is one."""
    code = None if error is None else error.code.value
    message = None if error is None else readable(error.message)
    if case is None:
        return Entry(
            version, kind, trigger, None, now, None, source, target, (), False, code, message,
            duration_us=spent,
        )  # fmt: skip
    return Entry(
        version, kind, trigger, case.payload, now, None, source, target, (), False, code, message,
        case.event_id, case.request_hash, case.actor, case.occurred_at, spent, None, case.trace,
    )  # fmt: skip


def patch_of(before: Context, after: Context) -> Patch | None:
    """What changed at the top level; None when it is the very same context.

    Values are compared by identity: ``1`` and ``True`` are equal and yet another value.
    """
    if after is before:
        return None
    get = before.get
    changed: Context = {}
    added = 0
    for key, value in after.items():
        known = get(key, _ABSENT)
        if known is not value:
            changed[key] = value
            if known is _ABSENT:
                added += 1
    removed: tuple[str, ...] = ()
    if len(after) - added != len(before):
        removed = tuple([key for key in before if key not in after])
    return (changed, removed) if changed or removed else None


def with_history(context: Context, history: Recorded) -> Context:
    """A context as a step takes it.

    What stands in the context already is newer: a user wrote it there, straight from a result.
    """
    return context if HISTORY in context else {**context, HISTORY: history}


def without_history(context: Context) -> tuple[Context, Recorded]:
    """A step's context as users see it, and what it has recorded of history states."""
    own = context.copy()
    recorded: Recorded = own.pop(HISTORY)
    return own, recorded
