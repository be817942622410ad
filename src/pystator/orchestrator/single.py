"""One plain event: the decisions of `pystator.orchestrator.program`, for the way most events take.

::

    load --> decide_one --> commit --> result
                 |             |
                 v             v
             conclude: whatever is not plain (no entity yet, another machine version, timers, a
             failed step, actions, another writer) goes on in the program, with what is known

Nothing is made here that this way does not need: no case, no draft, no group. The blocking driver
does not even make a generator for it (`Driver.run_one`), which would be a twelfth of the event.
"""

from typing import Any

from pystator.engine.result import TransitionResult
from pystator.orchestrator.actions import act, finish, record
from pystator.orchestrator.cases import Case
from pystator.orchestrator.draft import Draft
from pystator.orchestrator.plain import Decided, Single, decide_one
from pystator.orchestrator.program import process, settle
from pystator.orchestrator.requests import Program
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import find_out, write
from pystator.records import Loaded, Lookup, Outcome, OutcomeKind

__all__ = ["conclude", "process_one"]


def process_one(
    settings: Settings, entity_id: str, trigger: str, payload: dict[str, Any] | None
) -> Program[TransitionResult]:
    """Process an event without an event id, where there are neither hooks nor a validator.

    Raises:
        FSMError: The event could not be decided or written.
    """
    single = (settings, entity_id, trigger, payload, settings.tick())
    loaded: tuple[Loaded, int] = yield Lookup(entity_id, settings.name)
    decided = decide_one(settings, trigger, payload, loaded[0].entity, loaded[1], single[4])
    outcome: Outcome | Exception | None = None
    if decided is not None and decided[0] is not None:
        try:
            outcome = yield decided[0]
        except Exception as error:  # noqa: BLE001 # a driver's error: what it wrote is found out
            outcome = error
    return (yield from conclude(single, loaded, decided, outcome))


def conclude(
    single: Single,
    loaded: tuple[Loaded, int],
    decided: Decided | None,
    outcome: Outcome | Exception | None,
) -> Program[TransitionResult]:
    """Go on from a decision and what became of its commit.

    Raises:
        FSMError: The event could not be decided or written.
    """
    settings, entity_id, trigger, payload, began = single
    if decided is None:
        case = Case(entity_id, trigger, payload)
        yield from process(settings, (case,), ([loaded[0]], loaded[1]))
        return case.answer()
    commit, result = decided
    if commit is None:
        case = Case(entity_id, trigger, payload)
        draft = Draft(settings, entity_id, loaded[0].entity, loaded[1], began)
        draft.judge(case, result, max(loaded[1], draft.updated))
        return (yield from _record(settings, case, draft))
    if isinstance(outcome, Exception):
        outcome = (yield from find_out(settings, (commit,), outcome))[0]
    if isinstance(outcome, Exception):
        raise outcome
    if outcome is None or outcome.error is not None:
        raise outcome.error if outcome and outcome.error else RuntimeError("there is no outcome")
    if outcome.kind is OutcomeKind.APPLIED:
        specs = result.facts.actions
        if specs:
            done = yield from act(settings, entity_id, (commit.new_version, specs, result, None))
            yield from record(settings, (done,))
        return result
    case = Case(entity_id, trigger, payload)
    yield from process(settings, (case,))
    return case.answer()


def _record(settings: Settings, case: Case, draft: Draft) -> Program[TransitionResult]:
    """Write what a draft says of its only case; the whole program if another writer was first."""
    commit = draft.commit()
    outcomes = [None] if commit is None else (yield from write(settings, (commit,)))
    settle(draft, outcomes[0])
    if case.open:
        yield from process(settings, (case,))
    else:
        yield from finish(settings, (case,))
    return case.answer()
