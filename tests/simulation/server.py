"""The database of these worlds: the memory store, what it held before, and what came too late.

It is what every process talks to, through a network that is not to be trusted (`simulation.network`).
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from pystator import InMemoryStateStore
from pystator.records import (
    Commit,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Page,
)

__all__ = ["Server", "tag_of"]

PAGE = 3
"""Rows of a page of history: so few that what is read back often takes several."""


class Server:
    """A store that remembers, for replicas that lag behind.

    Args:
        clock: The time, in microseconds.
        store: What keeps it all; a new memory store by default.

    Attributes:
        store: What is true now.
        written: Tags of events that were applied.
    """

    def __init__(self, clock: Callable[[], int], store: Any = None) -> None:
        self.store = InMemoryStateStore(clock=clock) if store is None else store
        self.written: set[str] = set()
        self._now = 0
        self._when: dict[str, int] = {}
        self._past: dict[Key, list[tuple[int, Entity]]] = {}

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """As it is."""
        return self.store.load(lookups)

    def load_of_replica(self, lookups: Sequence[Lookup], lag: int) -> list[Loaded]:
        """As it was some commits ago, event ids included."""
        point = self._now - lag
        answer: list[Loaded] = []
        for lookup, now in zip(lookups, self.store.load(lookups), strict=True):
            before = self._past.get((lookup.entity_id, lookup.machine_name), ())
            entity = next((each for at, each in reversed(before) if at <= point), None)
            known = {name: row for name, row in now.known.items() if self._is_old(row, point)}
            answer.append(Loaded(deepcopy(entity), known))  # whoever gets it may write on it
        return answer

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Written, or not, each for itself."""
        outcomes = self.store.commit(commits)
        written: list[Lookup] = []
        for commit, outcome in zip(commits, outcomes, strict=True):
            if outcome.kind is OutcomeKind.APPLIED:
                written.append(Lookup(commit.entity_id, commit.machine_name))
                self._when.setdefault(commit.commit_id, self._now + 1)
                for entry in commit.entries:
                    if entry.payload and entry.kind is not EntryKind.REJECTED:
                        self.written.add(tag_of(entry))
        if written:
            self._now += 1
            for loaded in self.store.load(written):
                if loaded.entity is not None:
                    self._past.setdefault(loaded.entity.key, []).append((self._now, loaded.entity))
        return outcomes

    def history(self, entity_id: str, machine_name: str, after: str | None) -> Page[HistoryEntry]:
        """A page of rows, newest first."""
        return self.store.history(
            entity_id, machine_name=machine_name, after=after, newest_first=True, limit=PAGE
        )

    def history_of_replica(
        self, entity_id: str, machine_name: str, after: str | None, lag: int
    ) -> Page[HistoryEntry]:
        """The same some commits ago."""
        point = self._now - lag
        page = self.history(entity_id, machine_name, after)
        return Page([row for row in page.items if self._is_old(row, point)], page.next)

    def _is_old(self, row: HistoryEntry, point: int) -> bool:
        return self._when[row.commit_id] <= point

    def due(self, now: int, limit: int, machine_name: str) -> list[Key]:
        """Whose timers are due."""
        return self.store.due(now, limit, machine_name=machine_name)


def tag_of(entry: Entry | HistoryEntry) -> str:
    """Whose event it is; what is done by hand has its tag for a reason, also where it is rejected."""
    payload = entry.payload or {}
    return str(payload.get("tag", payload.get("reason")))
