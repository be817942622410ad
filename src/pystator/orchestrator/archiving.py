"""Putting an entity away, and taking it back.

Laws:

- An archived entity stays as it is, with its history: no event, no data and nobody's hand moves it,
  each of which leaves a rejection (`pystator.orchestrator.draft`), and its timers do not fire.
- Both are changes: they make a version, and a row that tells who did it and why.
- Neither asks the machine anything: an entity of another version of the machine remains one.
- An entity that is put away already, or is not, stays as it is: nothing is written, so that a call
  whose answer was lost can be made again.
- Timers keep their deadlines. Those that have passed meanwhile fire when the entity is back.
"""

from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator.answers import gave_up, not_met
from pystator.orchestrator.cases import Case
from pystator.orchestrator.checks import check_entity, no_entity
from pystator.orchestrator.patience import Patience
from pystator.orchestrator.requests import Program
from pystator.orchestrator.rows import row
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import write
from pystator.records import UNARCHIVE, Commit, Entity, EntryKind, Loaded, Lookup, OutcomeKind

__all__ = ["archive"]


def archive(settings: Settings, case: Case, *, back: bool) -> Program[TransitionResult]:
    """Put the case's entity away, or take it back.

    Raises:
        EntityNotFoundError: There is no such entity.
        EntityMachineMismatchError: It belongs to another machine.
        StaleVersionError: The case expects another version.
    """
    patience = Patience(settings)
    while True:
        found: tuple[Loaded, int] = yield Lookup(case.entity_id, settings.name)
        entity, now = found[0].entity, found[1]
        if entity is None:
            raise no_entity(settings, case.entity_id)
        check_entity(settings, entity, any_state=True)
        if case.expected is not None and case.expected != entity.version:
            raise not_met(case.entity_id, case.expected, entity.version)
        if (entity.archived_at is None) is back:
            return _told(entity, max(now, entity.updated_at), entity.version, "ignored")
        commit = _commit(settings, case, entity, now, back=back)
        (outcome,) = yield from write(settings, (commit,))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.kind is OutcomeKind.APPLIED:
            reason = EntryKind.UNARCHIVED if back else EntryKind.ARCHIVED
            told = _told(entity, commit.now, commit.new_version, reason.value)
            told.recorded = commit.entries[0]
            return told
        if outcome.kind is OutcomeKind.REFUSED:
            raise outcome.error or FSMError("the store refused the commit and gave no reason")
        if not (yield from patience.wait()):
            raise gave_up(case.entity_id, settings.patience)


def _commit(settings: Settings, case: Case, entity: Entity, wall: int, *, back: bool) -> Commit:
    now, version, state = max(wall, entity.updated_at), entity.version + 1, entity.state
    kind = EntryKind.UNARCHIVED if back else EntryKind.ARCHIVED
    entry = row(case, version, kind, None, now, None, state, state)
    timers = entity.timers if back and entity.timers else None  # schedulers hear of them
    return Commit(
        entity.entity_id, settings.name, entity.version, version, None, None, None, timers,
        entity.machine_version, entity.fingerprint, now, (entry,), settings.identify(wall),
        UNARCHIVE if back else now,
    )  # fmt: skip


def _told(entity: Entity, now: int, version: int, reason: str) -> TransitionResult:
    result = TransitionResult.from_parts(
        success=True,
        source_state=entity.state,
        target_state=entity.state,
        trigger=None,
        context=entity.context,
        now=now,
        reason=reason,
    )
    result.written = version
    return result
