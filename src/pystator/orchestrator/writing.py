"""Commits whose answer may be lost.

An exception from a commit says nothing about what was written. So all commits of the batch are
looked up in one load:

=========================================  =======================================================
found                                      the commit
=========================================  =======================================================
its event id, or the entity with its id    is written
its event id in another commit             is not, and never will be: a duplicate
the entity at the version it expects       is not written, or not yet: it is sent again *as it was*
the entity at a version up to its own      is not, and never will be: another writer was first
the entity beyond that, or only rows       is or is not: the entity's newest rows tell
=========================================  =======================================================

What is sent again carries the same id, so that the compare-and-set decides: applied now; or
refused, and then it is looked up once more: its own first attempt may have come through late, or
another writer was first. That a refused commit is not there at all is the answer of a read that is
out of date: it is asked again.

A batch that fails as a whole is cut in halves until the commit that cannot be written stands
alone: its neighbours survive it. A store that does not answer is waited for as long as a contended
event (`pystator.orchestrator.settings.PATIENCE`), however many commits there are; what is unknown
then stays the error that it was.

In a transaction of the caller's there is nothing to find out: what it holds is the caller's to
commit, and after an error nothing is sent over its connection again.
"""

from collections.abc import Sequence

from pystator.errors import StoreUnavailableError
from pystator.orchestrator.ahead import Drawn
from pystator.orchestrator.cases import Case
from pystator.orchestrator.patience import Patience
from pystator.orchestrator.requests import Load, Program, ReadBack, Write, WriteAhead
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.tracing import Tracer, end_commit
from pystator.records import (
    Commit,
    EntryKind,
    HistoryEntry,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Page,
)

__all__ = ["find_out", "write", "write_ahead", "write_traced"]

_APPLIED = Outcome(OutcomeKind.APPLIED)
_STALE = Outcome(OutcomeKind.STALE)
_DUPLICATE = Outcome(OutcomeKind.DUPLICATE)


def write(settings: Settings, commits: Sequence[Commit]) -> Program[list[Outcome | Exception]]:
    """Write; for each commit its outcome, or the error that says "unknown" or "not possible"."""
    try:
        outcomes: list[Outcome | Exception] = yield Write(commits)
    except Exception as error:  # noqa: BLE001 # a driver's error: what it wrote is found out below
        return (yield from find_out(settings, commits, error))
    return outcomes


def write_ahead(settings: Settings, commits: Drawn) -> Program[list[Outcome | Exception]]:
    """`write` of what is decided meanwhile; the outcomes of all that were drawn."""
    try:
        outcomes: list[Outcome | Exception] = yield WriteAhead(commits)
    except Exception as error:  # noqa: BLE001 # as in `write`; the rest of them was not sent
        return (yield from find_out(settings, commits.all(), error))
    return outcomes


def write_traced(
    settings: Settings, tracer: Tracer, cases: Sequence[Case], commits: Sequence[Commit]
) -> Program[list[Outcome | Exception]]:
    """`write`, and a span of it for the events that it serves."""
    part = tracer.part("commit", cases, {"entities": len(commits)})
    outcomes = yield from write(settings, commits)
    end_commit(part, outcomes)
    return outcomes


def find_out(
    settings: Settings, commits: Sequence[Commit], error: Exception
) -> Program[list[Outcome | Exception]]:
    """After an error: what was written, and the rest once more."""
    search = _Search(settings, commits, error)
    if settings.rows and not settings.holds and not _is_certain(error):
        yield from search.run()
    return search.outcomes


def _is_certain(error: Exception) -> bool:
    """The store says that nothing was written, and that it has tried for long enough."""
    return isinstance(error, StoreUnavailableError) and error.context.get("written") is False


class _Search:
    """Commits, and what became of them as far as it is known: until then, the error."""

    def __init__(self, settings: Settings, commits: Sequence[Commit], error: Exception) -> None:
        self.outcomes: list[Outcome | Exception] = [error] * len(commits)
        self._commits = commits
        self._error = error
        self._patience = Patience(settings)

    def run(self) -> Program[None]:
        """Look for all, and send again what is missing: all of it, then ever smaller parts."""
        yield from self._patience.wait()  # the time runs from here
        parts = [(yield from self._look(range(len(self._commits))))]
        while parts and (yield from self._patience.wait(advanced=True)):
            part = parts.pop()
            if part:
                parts += yield from self._send_again(part)

    def _send_again(self, part: list[int]) -> Program[list[list[int]]]:
        """Send a part; the smaller parts that are to be sent next."""
        try:
            outcomes: list[Outcome | Exception] = yield Write(
                [self._commits[place] for place in part]
            )
        except Exception as failure:  # noqa: BLE001 # as in `write`
            if _is_certain(failure):
                return []
            missing = yield from self._look(part)
            half = (len(missing) + 1) // 2
            return [missing[half:], missing[:half]] if len(part) > 1 else []
        refused: list[int] = []
        for place, outcome in zip(part, outcomes, strict=True):
            self.outcomes[place] = outcome
            if isinstance(outcome, Outcome) and outcome.kind in _REFUSED:
                self.outcomes[place] = self._error
                refused.append(place)
        while refused:
            refused = yield from self._look(refused)
            if refused and not (yield from self._patience.wait()):
                break
        return []

    def _look(self, places: Sequence[int]) -> Program[list[int]]:
        """Look commits up, in one load; those that are not there.

        While the store does not answer, none is said to be missing.
        """
        while True:
            try:
                return (yield from self._find(places))
            except Exception:  # noqa: BLE001 # the first error tells more
                if not (yield from self._patience.wait()):
                    return []

    def _find(self, places: Sequence[int]) -> Program[list[int]]:
        commits = [self._commits[place] for place in places]
        loaded: list[Loaded]
        loaded, _ = yield Load([_lookup(commit) for commit in commits])
        missing: list[int] = []
        for place, commit, found in zip(places, commits, loaded, strict=True):
            outcome = _told(commit, found)
            if outcome is None and _may_be_in_rows(commit, found):
                if (yield from _is_in_rows(commit)):
                    outcome = _APPLIED
                elif commit.new_version != commit.expected_version:
                    outcome = _STALE
            if outcome is None:
                missing.append(place)
            else:
                self.outcomes[place] = outcome
        return missing


_REFUSED = frozenset({OutcomeKind.STALE, OutcomeKind.DUPLICATE})


def _lookup(commit: Commit) -> Lookup:
    ids = [entry.event_id for entry in commit.entries if entry.event_id is not None]
    return Lookup(commit.entity_id, commit.machine_name, tuple(ids))


def _told(commit: Commit, found: Loaded) -> Outcome | None:
    """What a load tells for sure."""
    for row in found.known.values():
        return _APPLIED if row.commit_id == commit.commit_id else _DUPLICATE
    entity = found.entity
    if entity is None or commit.new_version == commit.expected_version:
        return None
    if entity.commit_id == commit.commit_id:
        return _APPLIED
    if commit.expected_version < entity.version <= commit.new_version:
        return _STALE
    return None


def _may_be_in_rows(commit: Commit, found: Loaded) -> bool:
    """Its rows may be there though the load did not find it."""
    if commit.new_version == commit.expected_version:
        return all(entry.event_id is None for entry in commit.entries)
    return found.entity is not None and found.entity.version > commit.new_version


def _is_in_rows(commit: Commit) -> Program[bool]:
    """A row has its id, and another commit has not made its version.

    Raises:
        LookupError: Nobody's row tells who has: they are out of date.
    """
    version = commit.new_version
    changes = version != commit.expected_version
    after: str | None = None
    while True:
        page: Page[HistoryEntry] = yield ReadBack(commit.entity_id, commit.machine_name, after)
        for row in page.items:
            if row.commit_id == commit.commit_id:
                return True
            if changes and row.version == version and row.kind not in _UNCHANGING:
                return False
        after = page.next
        if after is None or page.items[-1].version < version:
            break
    if changes:
        raise LookupError(f"version {version} of entity {commit.entity_id!r} has no row")
    return False


_UNCHANGING = frozenset({EntryKind.REJECTED, EntryKind.ACTION})
"""Rows that carry the version they saw."""
