"""The decision about a plain event, as one function: no case, no draft, no group is made for it.

Plain is an event of an entity that is there, was written by this very machine, has no timers and is
not archived, and whose step succeeds without an async guard. Hooks, validators and telemetry make
no event plain.
"""

from typing import Any, Final

from pystator.engine.frame import NeedGuard
from pystator.engine.result import TransitionResult
from pystator.orchestrator.cases import Case
from pystator.orchestrator.rows import Recorded, patch_of, with_history, without_history
from pystator.orchestrator.settings import Settings
from pystator.records import HISTORY, Commit, Entity, Entry, EntryKind, Patch

__all__ = ["Decided", "Single", "decide_one"]

_EVENT: Final = EntryKind.EVENT

Single = tuple[Settings, str, str, dict[str, Any] | None, int]
"""A plain event: (settings, entity id, trigger, payload, tick at its start)."""

Decided = tuple[Commit | None, TransitionResult]
"""What was decided; without a commit, the result has to be recorded."""


def decide_one(
    settings: Settings,
    trigger: str,
    payload: dict[str, Any] | None,
    entity: Entity | None,
    now: int,
    began: int,
    case: Case | None = None,
) -> Decided | None:
    """Decide a plain event; None when it is not plain.

    Args:
        settings: The machine and the user's choices.
        trigger: The event's name.
        payload: Its data.
        entity: As it was loaded.
        began: The tick at the event's start.
        now: The wall clock, in microseconds.
        case: What else goes into the event's row.

    Raises:
        UndefinedStateError: The stored state is none of this machine.
    """
    if (
        entity is None
        or entity.fingerprint != settings.fingerprint
        or entity.machine_name != settings.name
        or entity.timers
        or entity.archived_at is not None
    ):
        return None
    wall = now
    if now < entity.updated_at:  # noqa: PLR1730 - four times as fast as max()
        now = entity.updated_at
    before = entity.context
    history = entity.history
    given = with_history(before, history) if history is not None and settings.remembers else before
    try:
        result = settings.machine.step(entity.state, trigger, payload, given, now)
    except NeedGuard:
        return None
    facts = result.facts
    if facts.reason is not None or not facts.success or facts.delays or facts.deadlines:
        return None, result
    source, target, specs = facts.source_state, facts.target_state, facts.actions
    after = result.context
    expected = entity.version
    version = result.written = expected + 1
    recorded: Recorded | None = None
    patch: Patch | None = None
    if after is not before:
        if settings.remembers and HISTORY in after:
            after, recorded = without_history(after)
            result.context = after
            if recorded == history:
                recorded = None
        patch = patch_of(before, after)
        if patch is None:
            result.context = before
    planned = tuple([spec.to_dict() for spec in specs]) if specs else ()
    spent = (settings.tick() - began) // 1_000
    if case is None:
        entry = Entry(
            version, _EVENT, facts.trigger, payload, now, patch, source, target, planned, True,
            None, None, None, None, None, None, spent,
        )  # fmt: skip
    else:
        entry = Entry(
            version, _EVENT, facts.trigger, payload, now, patch, source, target, planned, True,
            None, None, case.event_id, case.request_hash, case.actor, case.occurred_at, spent, None,
            case.trace,
        )  # fmt: skip
    result.recorded = entry
    commit = Commit(
        entity.entity_id, settings.name, expected, version,
        None if target == entity.state else target, None if patch is None else after, recorded,
        None, settings.version, settings.fingerprint, now, (entry,), settings.identify(wall),
    )  # fmt: skip
    return commit, result
