"""Planned actions after the commit: run in order, their outcomes recorded as one row.

At most once: a process that dies between the commit and the outcomes leaves a row of planned
actions without a row of outcomes, which readers show as "unknown". An action that fails does not
undo the event.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from pystator.engine.actions import ActionOutcome, Around
from pystator.engine.result import TransitionResult
from pystator.errors import readable
from pystator.orchestrator.cases import Case, Todo
from pystator.orchestrator.held import check_committed, held_by, hold, take
from pystator.orchestrator.hooks import Hooks
from pystator.orchestrator.requests import AppendLater, Outcomes, Program, RunActions
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, Entry, EntryKind

__all__ = ["act", "finish", "record", "release"]

_log = logging.getLogger("pystator.actions")

_KEPT_BACK: Final = 64
"""Rows of outcomes of a long call that may be lost with the process."""


def finish(settings: Settings, cases: Sequence[Case]) -> Program[None]:
    """Run what the written cases planned, in order, and tell the hooks.

    Where the caller commits, both wait for that, see `pystator.orchestrator.held`.
    """
    if settings.holds:
        hold(settings, cases)
        return
    yield from _finish(settings, cases, settings.hooks)


def release(settings: Settings, results: Iterable[TransitionResult]) -> Program[None]:
    """`finish` for events whose caller has committed them; each once.

    Raises:
        InvalidValueError: One of them is not committed: nothing was done.
    """
    cases = held_by(results)
    yield from check_committed(settings, cases)
    for case in cases:
        if take(case):
            failed = case.result is not None and not case.result.success  # the hooks know
            yield from _finish(settings, (case,), None if failed else settings.hooks)


def _finish(settings: Settings, cases: Sequence[Case], hooks: Hooks | None) -> Program[None]:
    rows: list[Commit] = []
    for case in cases:
        for todo in case.todos or ():
            done = yield from act(settings, case.entity_id, todo, case)
            rows.append(done)
        if hooks is not None:
            hooks.answered(case)
        if len(rows) >= _KEPT_BACK:
            yield from record(settings, rows)
            rows = []
    yield from record(settings, rows)


def record(settings: Settings, rows: Sequence[Commit]) -> Program[None]:
    """Append rows of outcomes."""
    if rows and settings.rows:
        try:
            yield AppendLater(rows)
        except Exception:  # noqa: BLE001 # the events are written: their answers are not lost for this
            _log.exception("the outcomes of %d events' actions are not recorded", len(rows))


def act(
    settings: Settings, entity_id: str, todo: Todo, case: Case | None = None
) -> Program[Commit]:
    """Run the actions of one version; the commit that records their outcomes.

    Args:
        settings: The machine and the user's choices.
        entity_id: The entity.
        todo: The actions.
        case: Has its span, and theirs are within.
    """
    version, specs, result, trace = todo
    around: Around | None = None
    if settings.tracer is not None and case is not None:
        around = partial(settings.tracer.action, case)
    outcomes: Outcomes
    try:
        outcomes = yield RunActions(specs, result.context, trace, around)
    except Exception as error:  # noqa: BLE001 # none could run, and the event is written all the same
        outcomes = [ActionOutcome(spec.name, False, error, 0.0, 0) for spec in specs]
    plain = tuple([outcome.to_dict() for outcome in outcomes])
    failed = [each for each in plain if not each["ok"]]
    first = next((outcome.error for outcome in outcomes if not outcome.ok), None)
    if failed:
        result.metadata["action_errors"] = failed
    entry = Entry(
        version,
        EntryKind.ACTION,
        result.trigger,
        None,
        result.now or 0,
        None,
        None,
        None,
        plain,
        not failed,
        error_code="action_failed" if failed else None,
        error_message=None if first is None else readable(f"{failed[0]['name']}: {first}"),
        ref=version,
        trace=trace,
    )
    return Commit(
        entity_id, settings.name, version, version, None, None, None, None,
        settings.version, settings.fingerprint, entry.now, (entry,), settings.identify(entry.now),
    )  # fmt: skip
