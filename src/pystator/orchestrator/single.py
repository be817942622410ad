"""One plain event: the decisions of `pystator.orchestrator.program`, for the way most events take.

Nothing is made here that this way does not need: no case, no draft, no group. Whatever is not plain
(no entity yet, another machine version, timers, a failed step, another writer) is handed to the
program, with what was loaded.
"""

from typing import Any, Final

from pystator.engine.frame import NeedGuard
from pystator.engine.result import TransitionResult
from pystator.orchestrator.actions import act
from pystator.orchestrator.cases import Case
from pystator.orchestrator.draft import Draft
from pystator.orchestrator.program import Answer, process, settle
from pystator.orchestrator.requests import AppendLater, Load, Program, Write
from pystator.orchestrator.rows import patch_of
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import find_out, write
from pystator.records import Commit, Entity, Entry, EntryKind, Lookup, Outcome, OutcomeKind

__all__ = ["process_one"]

_EVENT: Final = EntryKind.EVENT
_APPLIED: Final = OutcomeKind.APPLIED


def process_one(
    settings: Settings, entity_id: str, trigger: str, payload: dict[str, Any] | None
) -> Program[TransitionResult]:
    """Process an event without an event id, where there are neither hooks nor a validator.

    Raises:
        FSMError: The event could not be decided or written.
    """
    began = settings.tick()
    loaded: Answer = yield Load((Lookup(entity_id, settings.name),))
    entity = loaded[0][0].entity
    if (
        entity is None
        or entity.fingerprint != settings.fingerprint
        or entity.machine_name != settings.name
        or entity.timers
        or entity.history is not None
    ):
        return (yield from _in_full(settings, Case(entity_id, trigger, payload), loaded))
    context = entity.context
    now = max(loaded[1], entity.updated_at)
    try:
        result = settings.machine.step(entity.state, trigger, payload, context, now)
    except NeedGuard:
        return (yield from _in_full(settings, Case(entity_id, trigger, payload), loaded))
    facts = result.facts
    if not facts.success or facts.reason is not None or facts.delays or facts.deadlines:
        case = Case(entity_id, trigger, payload)
        draft = Draft(settings, entity_id, entity, now, began)
        draft.judge(case, result, now)
        return (yield from _record(settings, case, draft))
    specs = facts.actions
    commit = _commit(settings, entity, result, payload, now, began)
    try:
        outcomes: list[Outcome | Exception] = yield Write((commit,))
    except Exception as error:  # noqa: BLE001 # a driver's error: what it wrote is found out
        outcomes = yield from find_out(settings, (commit,), error)
    outcome = outcomes[0]
    if isinstance(outcome, Exception):
        raise outcome
    if outcome.kind is _APPLIED:
        if specs:
            done = yield from act(settings, entity_id, (commit.new_version, specs, result))
            if settings.rows:
                yield AppendLater((done,))
        return result
    if outcome.error is not None:
        raise outcome.error
    return (yield from _in_full(settings, Case(entity_id, trigger, payload), None))


def _commit(
    settings: Settings,
    entity: Entity,
    result: TransitionResult,
    payload: dict[str, Any] | None,
    now: int,
    began: int,
) -> Commit:
    facts = result.facts
    before, context = entity.context, result.context
    version = entity.version + 1
    result.version = version
    specs = facts.actions
    target = facts.target_state
    entry = Entry(
        version,
        _EVENT,
        facts.trigger,
        payload,
        now,
        None if context is before else patch_of(before, context),
        facts.source_state,
        target,
        tuple([spec.to_dict() for spec in specs]) if specs else (),
        True,
        None,
        None,
        None,
        None,
        None,
        None,
        (settings.tick() - began) // 1_000,
    )
    return Commit(
        entity.entity_id,
        settings.name,
        version - 1,
        version,
        target,
        None if context is before else context,
        None,
        None,
        settings.version,
        settings.fingerprint,
        now,
        (entry,),
        settings.identify(),
    )


def _in_full(settings: Settings, case: Case, loaded: Answer | None) -> Program[TransitionResult]:
    yield from process(settings, (case,), loaded)
    return case.answer()


def _record(settings: Settings, case: Case, draft: Draft) -> Program[TransitionResult]:
    """Write what a draft says of its only case; the whole program if another writer was first."""
    commit = draft.commit()
    outcomes = [None] if commit is None else (yield from write(settings, (commit,)))
    settle(draft, outcomes[0])
    if case.open:
        yield from process(settings, (case,))
    return case.answer()
