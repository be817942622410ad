"""What waits for the commit of a transaction that is the caller's.

Laws:

- Nothing that reaches out of the transaction happens before it is committed: no action runs, and no
  hook is told that an event is complete.
- Afterwards it happens once: whoever takes it from the result has taken it.
- It does not happen when the transaction was rolled back: the commit is looked for in the store.
"""

from collections.abc import Iterable, Sequence

from pystator.engine.result import TransitionResult
from pystator.errors import InvalidValueError
from pystator.orchestrator.cases import Case
from pystator.orchestrator.requests import Load, Program, ReadBack
from pystator.orchestrator.settings import Settings
from pystator.records import Entity, HistoryEntry, Loaded, Lookup, Page

__all__ = ["check_committed", "held_by", "hold", "take"]

PENDING = "pending_actions"
"""In a result's metadata: the names of the actions that wait, in order."""


def hold(settings: Settings, cases: Sequence[Case]) -> None:
    """Leave with each result what has to wait; tell the hooks of what does not: failures."""
    hooks = settings.hooks
    for case in cases:
        result = case.result
        if result is None:
            if hooks is not None:
                hooks.answered(case)
            continue
        is_final = case.commit_id is None or not result.success
        if hooks is not None and is_final:
            hooks.answered(case)
        if case.todos:
            result.metadata[PENDING] = [spec.name for _, specs, *_ in case.todos for spec in specs]
        if case.todos or (hooks is not None and not is_final):
            result.held = case
        if hooks is not None:
            hooks.left(case)  # whether the caller commits or not, this is its time


def held_by(results: Iterable[TransitionResult]) -> list[Case]:
    """The cases of results with which something waits."""
    found = [getattr(result, "held", None) for result in results]
    return [case for case in found if isinstance(case, Case)]


def take(case: Case) -> bool:
    """Take what waits with a case's result; False when somebody else was first."""
    result = case.result
    if result is None:
        return False
    try:
        del result.held
    except AttributeError:
        return False
    result.metadata.pop(PENDING, None)
    return True


def check_committed(settings: Settings, cases: Sequence[Case]) -> Program[None]:
    """Look for the commits in the store.

    Raises:
        InvalidValueError: One is not there.
    """
    if not cases:
        return
    lookups = [Lookup(case.entity_id, settings.name) for case in cases]
    answer: tuple[list[Loaded], int] = yield Load(lookups)
    for case, found in zip(cases, answer[0], strict=True):
        if not (yield from _is_committed(settings, case, found.entity)):
            raise InvalidValueError(
                f"{case.what} of entity {case.entity_id!r} is not committed: run its actions after"
                " the commit of your transaction; when that was rolled back, there are none to run",
                context={"entity_id": case.entity_id, "trigger": case.trigger or None},
            )


def _is_committed(settings: Settings, case: Case, entity: Entity | None) -> Program[bool]:
    result = case.result
    if result is None or entity is None or entity.version < result.written:
        return False
    if entity.commit_id == case.commit_id:
        return True
    after: str | None = None
    while True:  # others have changed it since: its row tells
        page: Page[HistoryEntry] = yield ReadBack(case.entity_id, settings.name, after)
        if any(row.commit_id == case.commit_id for row in page.items):
            return True
        after = page.next
        if after is None or page.items[-1].version < result.written:
            return False
