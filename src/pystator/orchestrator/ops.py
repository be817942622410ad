"""What is asked besides events: start an entity, read it, put it by hand; fire what is due."""

import logging
from collections.abc import Sequence

from pystator.engine.frame import NeedGuard
from pystator.engine.result import TransitionResult
from pystator.errors import EntityExistsError, FSMError
from pystator.orchestrator.actions import act, finish, record
from pystator.orchestrator.answers import conflict, gave_up, is_same, not_met, replayed
from pystator.orchestrator.cases import Case
from pystator.orchestrator.checks import no_entity
from pystator.orchestrator.draft import Draft, Overdue
from pystator.orchestrator.patience import Patience
from pystator.orchestrator.program import Answer, announce, await_guard, settle
from pystator.orchestrator.requests import FindDue, Load, Program
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import write, write_traced
from pystator.records import Commit, Entity, Key, Loaded, Lookup, Outcome, OutcomeKind

__all__ = ["create", "fire_due", "force", "read"]

_log = logging.getLogger("pystator.timers")


def read(settings: Settings, entity_id: str) -> Program[Entity | None]:
    """The entity as stored."""
    answer: Answer = yield Load((Lookup(entity_id, settings.name),))
    return answer[0][0].entity


def create(settings: Settings, case: Case) -> Program[TransitionResult]:
    """Start an entity that must not exist.

    Raises:
        EntityExistsError: It does.
    """
    announce(settings, (case,))
    try:
        yield from _create(settings, case)
    except Exception as error:  # noqa: BLE001 # the hooks hear of it, then the caller gets it
        case.error = error
    yield from finish(settings, (case,))
    return case.answer()


def _create(settings: Settings, case: Case) -> Program[None]:
    """Answer the case of a start, or raise why there is no answer."""
    patience = Patience(settings)
    while case.open:
        began = settings.tick()
        found, now = yield from _load(settings, case)
        row = found.known.get(case.event_id or "")
        if row is not None:
            if not is_same(case, row):
                raise conflict(case)
            case.result = replayed(row)
            return
        if found.entity is not None:
            raise _exists(settings, found.entity)
        draft = Draft(settings, case.entity_id, None, now, began)
        if settings.tracer is None:
            yield from _begin(draft, case)
        else:
            with settings.tracer.within("step", case, {"entity_id": case.entity_id}):
                yield from _begin(draft, case)
        yield from _write(settings, draft, case, patience)


def _exists(settings: Settings, entity: Entity) -> EntityExistsError:
    if entity.archived_at is None:
        where, remedy = f"in state {entity.state!r}", "send it events"
    else:
        where, remedy = "and is archived", "take it back with unarchive"
    return EntityExistsError(
        f"entity {entity.entity_id!r} of machine {settings.name!r} exists already, {where}:"
        f" {remedy}, or use another id",
        context={"entity_id": entity.entity_id, "state": entity.state},
    )


def _begin(draft: Draft, case: Case) -> Program[None]:
    while not draft.has_answered(case):
        try:
            draft.start(case)
        except NeedGuard as need:
            yield from await_guard(draft, case, need)


def force(settings: Settings, case: Case, state: str) -> Program[TransitionResult]:
    """Put an entity into a state without running anything.

    Raises:
        EntityNotFoundError: There is no such entity.
        StaleVersionError: The case expects another version.
        UndefinedStateError: There is no such state.
    """
    patience = Patience(settings)
    while case.open:
        began = settings.tick()
        found, now = yield from _load(settings, case)
        entity = found.entity
        if entity is None:
            raise no_entity(settings, case.entity_id)
        if case.expected is not None and case.expected != entity.version:
            raise not_met(case.entity_id, case.expected, entity.version)
        draft = Draft(settings, case.entity_id, entity, now, began, by_hand=True)
        if entity.archived_at is not None:
            draft.turn_away(case)
        else:
            placed = settings.machine.place(state, entity.context, max(now, entity.updated_at))
            draft.put(case, placed.raise_for_error())
        yield from _write(settings, draft, case, patience)
    return case.answer()


def _load(settings: Settings, case: Case) -> Program[tuple[Loaded, int]]:
    ids = () if case.event_id is None else (case.event_id,)
    lookups = (Lookup(case.entity_id, settings.name, ids),)
    answer: Answer
    if settings.tracer is None:
        answer = yield Load(lookups)
    else:
        with settings.tracer.within("load", case, {"entities": 1}):
            answer = yield Load(lookups)
    return answer[0][0], answer[1]


def _write(settings: Settings, draft: Draft, case: Case, patience: Patience) -> Program[None]:
    """Write a draft of one case; the case stays open when another writer was first."""
    commit = draft.commit()
    outcomes: Sequence[Outcome | Exception | None] = (None,)
    if commit is not None and settings.tracer is not None:
        outcomes = yield from write_traced(settings, settings.tracer, (case,), (commit,))
    elif commit is not None:
        outcomes = yield from write(settings, (commit,))
    settle(draft, outcomes[0])
    if case.open and not (yield from patience.wait()):
        case.error = gave_up(case.entity_id, settings.patience)


# Timers -----------------------------------------------------------------------------------------


def fire_due(settings: Settings, now: int | None, limit: int) -> Program[list[TransitionResult]]:
    """Fire the timers of entities that are due; what another process fired first is left alone.

    Args:
        settings: The machine and the user's choices.
        now: Microseconds since the epoch; None is the wall clock.
        limit: The most entities to look at.
    """
    stuck: set[Key] = set()
    while (
        True
    ):  # those that cannot fire stay the first in line: the others are looked for past them
        found: tuple[list[Key], int] = yield FindDue(now, limit + len(stuck), settings.name)
        keys = sorted(key for key in found[0] if key not in stuck)
        if not keys:
            return []
        drafts, commits = yield from _sweep_all(settings, keys, found[1])
        if commits:
            break
        stuck.update(keys)
    outcomes = yield from write(settings, commits)
    return (yield from _fired(settings, drafts, outcomes))


def _sweep_all(
    settings: Settings, keys: Sequence[Key], now: int
) -> Program[tuple[list[Draft], list[Commit]]]:
    """The entities' due timers fired on paper, and what to write of them."""
    began = settings.tick()
    answer: Answer = yield Load([Lookup(entity_id, name) for entity_id, name in keys])
    drafts: list[Draft] = []
    commits: list[Commit] = []
    for found in answer[0]:
        if found.entity is None or found.entity.archived_at is not None:
            continue
        draft = yield from _sweep(settings, found.entity, now, began)
        commit = None if draft is None else draft.commit()
        if draft is not None and commit is not None:
            drafts.append(draft)
            commits.append(commit)
    return drafts, commits


def _sweep(settings: Settings, entity: Entity, now: int, began: int) -> Program[Draft | None]:
    """The entity with its due timers fired on paper; None when this machine cannot take it on."""
    try:
        draft = Draft(settings, entity.entity_id, entity, now, began)
    except Exception as error:  # noqa: BLE001 # this entity cannot be taken on; the others can
        _tell(settings, entity.entity_id, error)
        return None
    draft.sweeping = True
    try:
        while (need := _fire(draft, now)) is not None:
            yield from await_guard(draft, None, need)
    except Overdue:
        pass
    except Exception as error:  # noqa: BLE001 # as above; what fired before is kept
        _tell(settings, entity.entity_id, error)
    draft.adopt()
    return draft


def _fire(draft: Draft, now: int) -> NeedGuard | None:
    try:
        draft.fire(now)
    except NeedGuard as need:
        return need
    return None


def _fired(
    settings: Settings, drafts: Sequence[Draft], outcomes: Sequence[Outcome | Exception]
) -> Program[list[TransitionResult]]:
    """Run the actions of what was written; the results, by entity in order."""
    results: list[TransitionResult] = []
    rows: list[Commit] = []
    for draft, outcome in zip(drafts, outcomes, strict=True):
        if isinstance(outcome, Exception) or outcome.kind is OutcomeKind.REFUSED:
            error = outcome if isinstance(outcome, Exception) else outcome.error
            _tell(settings, draft.entity_id, error or FSMError("the store refused the commit"))
            continue
        if outcome.kind is not OutcomeKind.APPLIED:
            continue
        for todo in draft.todos:
            done = yield from act(settings, draft.entity_id, todo)
            rows.append(done)
        for result in draft.fired:
            result.metadata["entity_id"] = draft.entity_id
            if settings.hooks is not None:
                settings.hooks.settled(draft.entity_id, result.trigger, result)
        results += draft.fired
    yield from record(settings, rows)
    return results


def _tell(settings: Settings, entity_id: str, error: Exception) -> None:
    """Nobody waits for an answer about a timer: the log gets it."""
    _log.warning("timers of entity %r are not fired: %s", entity_id, error)
    if settings.hooks is not None:
        settings.hooks.failed(entity_id, None, error)
