"""Commits whose answer may be lost.

An exception from a commit says nothing about what was written. So the newest rows are read back: a
row with the commit's id is the proof. What is not there is sent again *as it was*, id included, so
that the compare-and-set decides: applied now; or stale, and then either its own first attempt came
through late (its id is found) or another writer was first, and the commit can never come through
any more and may be decided again.

A batch that fails as a whole is cut in halves until the commit that cannot be written stands
alone: its neighbours survive it.

In a transaction of the caller's there is nothing to find out: what it holds is the caller's to
commit, and after an error of its connection nothing more is sent over it.
"""

from collections.abc import Sequence

from pystator.errors import StoreUnavailableError
from pystator.orchestrator.requests import Program, ReadBack, Write
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, HistoryEntry, Outcome, OutcomeKind, Page

__all__ = ["find_out", "write"]

_APPLIED = Outcome(OutcomeKind.APPLIED)


def write(settings: Settings, commits: Sequence[Commit]) -> Program[list[Outcome | Exception]]:
    """Write; for each commit its outcome, or the error that says "unknown" or "not possible"."""
    try:
        outcomes: list[Outcome | Exception] = yield Write(commits)
    except Exception as error:  # noqa: BLE001 # a driver's error: what it wrote is found out below
        return (yield from find_out(settings, commits, error))
    return outcomes


def find_out(
    settings: Settings, commits: Sequence[Commit], error: Exception
) -> Program[list[Outcome | Exception]]:
    """After an error: what was written, and the rest once more."""
    if settings.holds or _is_certain(error) or not settings.rows:
        return [error] * len(commits)
    found: dict[int, Outcome | Exception] = {}
    for place, commit in enumerate(commits):
        try:
            if (yield from _is_written(commit)):
                found[place] = _APPLIED
        except Exception:  # noqa: BLE001 # the store still does not answer: the first error tells more
            found[place] = error
    missing = [place for place in range(len(commits)) if place not in found]
    half = (len(missing) + 1) // 2
    for part in (missing[:half], missing[half:]):
        if part:
            again = yield from _send_again(settings, [commits[place] for place in part], error)
            found.update(zip(part, again, strict=True))
    return [found[place] for place in range(len(commits))]


def _is_certain(error: Exception) -> bool:
    """The store says that nothing was written, and that it has tried for long enough."""
    return isinstance(error, StoreUnavailableError) and error.context.get("written") is False


def _send_again(
    settings: Settings, commits: Sequence[Commit], error: Exception
) -> Program[list[Outcome | Exception]]:
    try:
        outcomes: list[Outcome | Exception] = yield Write(commits)
    except Exception as failure:  # noqa: BLE001 # as in `write`
        if len(commits) > 1:
            return (yield from find_out(settings, commits, failure))
        return [error]
    for place, commit in enumerate(commits):
        outcome = outcomes[place]
        if isinstance(outcome, Outcome) and outcome.kind in {
            OutcomeKind.STALE,
            OutcomeKind.DUPLICATE,
        }:
            try:
                if (yield from _is_written(commit)):
                    outcomes[place] = _APPLIED
            except Exception:  # noqa: BLE001 # unknown again, and this time it stays so
                outcomes[place] = error
    return outcomes


def _is_written(commit: Commit) -> Program[bool]:
    after: str | None = None
    while True:
        page: Page[HistoryEntry] = yield ReadBack(commit.entity_id, commit.machine_name, after)
        if any(row.commit_id == commit.commit_id for row in page.items):
            return True
        after = page.next
        if after is None or page.items[-1].version < commit.new_version:
            return False
