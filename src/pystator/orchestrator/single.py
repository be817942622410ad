"""One plain event: the decisions of `pystator.orchestrator.program`, for the way most events take.

Nothing is made here that this way does not need: no case, no draft, no group. Whatever is not plain
(no entity yet, another machine version, timers, a failed step, another writer) is handed to the
program, with what was loaded.
"""

from typing import Any, Final

from pystator.engine.frame import NeedGuard
from pystator.engine.result import Facts, TransitionResult
from pystator.orchestrator.actions import act, record
from pystator.orchestrator.cases import Case
from pystator.orchestrator.draft import Draft
from pystator.orchestrator.program import process, settle
from pystator.orchestrator.requests import Program
from pystator.orchestrator.rows import patch_of
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import find_out, write
from pystator.records import Commit, Entity, Entry, EntryKind, Loaded, Lookup, Outcome, OutcomeKind

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
    loaded: tuple[Loaded, int] = yield Lookup(entity_id, settings.name)
    entity = loaded[0].entity
    now = loaded[1]
    if (
        entity is None
        or entity.fingerprint != settings.fingerprint
        or entity.machine_name != settings.name
        or entity.timers
        or entity.history is not None
    ):
        return (yield from _in_full(settings, Case(entity_id, trigger, payload), loaded))
    commit_id = settings.identify(now)
    if now < entity.updated_at:  # noqa: PLR1730 - four times as fast as max()
        now = entity.updated_at
    context = entity.context
    try:
        result = settings.machine.step(entity.state, trigger, payload, context, now)
    except NeedGuard:
        return (yield from _in_full(settings, Case(entity_id, trigger, payload), loaded))
    facts = result.facts
    if facts.reason is not None or not facts.success or facts.delays or facts.deadlines:
        case = Case(entity_id, trigger, payload)
        draft = Draft(settings, entity_id, entity, loaded[1], began)
        draft.judge(case, result, now)
        return (yield from _record(settings, case, draft))
    commit = _commit(settings, entity, result, facts, payload, now, began, commit_id)
    try:
        outcome: Outcome = yield commit
    except Exception as error:  # noqa: BLE001 # a driver's error: what it wrote is found out
        outcome = _known((yield from find_out(settings, (commit,), error))[0])
    if outcome.kind is _APPLIED:
        if facts.actions:
            todo = (commit.new_version, facts.actions, result)
            done = yield from act(settings, entity_id, todo)
            yield from record(settings, (done,))
        return result
    if outcome.error is not None:
        raise outcome.error
    return (yield from _in_full(settings, Case(entity_id, trigger, payload), None))


def _commit(
    settings: Settings,
    entity: Entity,
    result: TransitionResult,
    facts: Facts,
    payload: dict[str, Any] | None,
    now: int,
    began: int,
    commit_id: str,
) -> Commit:
    before, context = entity.context, result.context
    expected = entity.version
    version = expected + 1
    result.written = version
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
        expected,
        version,
        None if target == entity.state else target,
        None if context is before else context,
        None,
        None,
        settings.version,
        settings.fingerprint,
        now,
        (entry,),
        commit_id,
    )


def _in_full(
    settings: Settings, case: Case, loaded: tuple[Loaded, int] | None
) -> Program[TransitionResult]:
    answer = None if loaded is None else ([loaded[0]], loaded[1])
    yield from process(settings, (case,), answer)
    return case.answer()


def _known(outcome: Outcome | Exception) -> Outcome:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _record(settings: Settings, case: Case, draft: Draft) -> Program[TransitionResult]:
    """Write what a draft says of its only case; the whole program if another writer was first."""
    commit = draft.commit()
    outcomes = [None] if commit is None else (yield from write(settings, (commit,)))
    settle(draft, outcomes[0])
    if case.open:
        yield from process(settings, (case,))
    return case.answer()
