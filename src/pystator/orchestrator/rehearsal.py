"""What an event would do: decided as any other, and then not written."""

from copy import copy

from pystator.engine.frame import NeedGuard
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator.cases import Case
from pystator.orchestrator.draft import MOST_TIMERS, Draft, Overdue
from pystator.orchestrator.program import Answer, await_guard
from pystator.orchestrator.requests import Load, Program
from pystator.orchestrator.settings import Settings
from pystator.records import Lookup
from pystator.stores.codec import copy as detached
from pystator.stores.keys import check_commit

__all__ = ["rehearse"]


def rehearse(settings: Settings, case: Case) -> Program[TransitionResult]:
    """Decide the event on a paper that is thrown away; timers that are due fire before it.

    Guards and the validator are asked; hooks and telemetry hear nothing, and no action runs.

    Raises:
        FSMError: It cannot be decided.
    """
    quiet = copy(settings)
    quiet.hooks = None
    quiet.tracer = None
    began = quiet.tick()
    answer: Answer = yield Load((Lookup(case.entity_id, settings.name),))
    draft = Draft(quiet, case.entity_id, answer[0][0].entity, answer[1], began)
    try:
        while not draft.has_answered(case):
            try:
                draft.take(case)
            except NeedGuard as need:
                yield from await_guard(draft, case, need)
    except Overdue:
        raise FSMError(
            f"entity {case.entity_id!r} has more than {MOST_TIMERS} timers that are due: what an"
            " event would do after them is known when they have fired",
            context={"entity_id": case.entity_id},
        ) from None
    commit = draft.commit()
    if commit is not None:  # what a store would refuse is told, as of an event
        check_commit(commit)
        for value in (commit.context, case.payload):
            detached(value or {})
    return draft.answers[-1][1]
