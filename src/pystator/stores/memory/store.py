"""The store in memory: for tests, development, and as the model that every other store is held to.

Laws:

- It refuses what a durable store would refuse, with the same words.
- What goes in is copied, and what comes out is copied: nobody can reach into the store.
- A commit is cheap and a read of history pays: rows are kept as the commit gave them and become
  `HistoryEntry` records when somebody asks.

::

    _slots      (entity_id, machine) -> Slot: the entity, its lines, its event ids
    _machines   entity_id -> names of machines with a slot of this id
    _feed       every line, by the order of commits; its index is the feed's cursor, and None
                stands where a row was pruned
    _due        machine -> heap of (deadline, entity_id), with entries that are no longer true
"""

import threading
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from heapq import heappush
from time import time_ns
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from pystator.errors import InvalidValueError
from pystator.records import (
    Commit,
    Entity,
    Entry,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    StoredMachine,
    Timers,
)
from pystator.stores.codec import LIMIT, SURE, WIDE, freeze, is_flat
from pystator.stores.columns import archived_after, next_due, state_since
from pystator.stores.keys import (
    check_commit,
)
from pystator.stores.memory.reading import ReadableMemory
from pystator.stores.memory.slots import Line, Parts, Slot, entity_of, place_of, row_of
from pystator.stores.refusals import kind_of

__all__ = ["InMemoryStateStore"]

_Rare = tuple[int, dict[str, list[str]] | None, Timers, int | None, int | None]
"""What few commits change: when it was made, history states, timers, the earliest deadline, when it
was archived."""

_NOTHING: Final[Mapping[str, HistoryEntry]] = MappingProxyType({})
_ABSENT: Final = object()
_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)


class InMemoryStateStore(ReadableMemory):
    """A state store in this process's memory, complete and thread-safe; gone with the process.

    Args:
        machine_name: The machine whose entities the public methods mean when they are given none.
        context_limit: Bytes an encoded context may have.
        clock: The time rows are recorded at, in microseconds since the epoch; the system's clock
            by default.
    """

    durable: ClassVar[bool] = False
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    combines: ClassVar[bool] = False

    def __init__(
        self,
        *,
        machine_name: str | None = None,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(machine_name=machine_name, context_limit=context_limit, clock=clock)
        self._is_flat = is_flat if context_limit >= SURE else _never
        self._follows_system = clock is None  # then it is asked itself, in half the time
        self._lock = threading.Lock()
        # Each step waits for the lock and takes it. No interrupt comes between a step and the try
        # that follows, as one does after a call; a with statement would cost half as much again.
        self._turns = iter(self._lock.acquire, False)
        self._release = self._lock.release
        self._slots: dict[Key, Slot] = {}
        self._machines: dict[str, list[str]] = {}
        self._order: list[Key] | None = []
        self._feed: list[Line | None] = []
        self._due: dict[str, list[tuple[int, str]]] = {}
        self._definitions: dict[tuple[str, str], StoredMachine] = {}

    # Loads and commits ----------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        slots = self._slots
        answer: list[Loaded] = []
        for _ in self._turns:
            try:
                for lookup in lookups:
                    slot = slots.get((lookup.entity_id, lookup.machine_name))
                    if slot is None:
                        answer.append(Loaded(None, _NOTHING))
                        continue
                    event_ids = lookup.event_ids
                    known = self._known(slot, event_ids) if event_ids else _NOTHING
                    answer.append(Loaded(entity_of(slot) if slot.version else None, known))
                break
            finally:
                self._release()
        return answer

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`load` of one entity without event ids, in two thirds of the time."""
        found: Entity | None = None
        for _ in self._turns:
            try:
                slot = self._slots.get((entity_id, machine_name))
                if slot is not None and slot.version:
                    found = entity_of(slot)
                break
            finally:
                self._release()
        return found

    def _known(self, slot: Slot, event_ids: Sequence[str]) -> dict[str, HistoryEntry]:
        ids = slot.ids
        if ids is None:
            return {}
        return {each: row_of(ids[each]) for each in event_ids if each in ids}

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        recorded_at = time_ns() // 1_000 if self._follows_system else self.now()
        outcomes: list[Outcome] = []
        for _ in self._turns:
            try:
                if len(commits) == 1:
                    outcomes.append(self._commit(commits[0], recorded_at))
                else:
                    outcomes += [self._commit(commit, recorded_at) for commit in commits]
                break
            finally:
                self._release()
        return outcomes

    def _commit(self, commit: Commit, recorded_at: int) -> Outcome:  # noqa: C901, PLR0912, PLR0915 - hot
        key = (commit.entity_id, commit.machine_name)
        slot = self._slots.get(key)
        expected = commit.expected_version
        changes = commit.new_version != expected
        try:
            check_commit(commit, known=slot is not None)
            if slot is None:
                slot = Slot(key)
            if changes and commit.context is not None:
                context, flat = self._kept(slot, commit.context)
            else:
                context, flat = slot.context, slot.flat
            lines = self._lines(slot, commit, context if flat else {}, recorded_at)
        except InvalidValueError as error:
            return Outcome(OutcomeKind.REFUSED, error)
        if (slot.ids is not None or len(lines) > 1) and _meets(slot, commit.entries):
            return _DUPLICATE
        rare: _Rare | None = None
        since: int | None = None
        if changes:
            if slot.version != expected:
                return _STALE
            since = commit.now if commit.state is not None else None
            if len(lines) > 1:
                since = state_since(commit)
            if (
                not expected
                or commit.history is not None
                or commit.timers is not None
                or commit.archived_at is not None
            ):
                rare = self._rarely(slot, commit)
        elif not slot.lines:
            self._add(slot)
        own = slot.lines
        place = own[-1][0] if own else 0
        late = False
        known: dict[str, Line] | None = None
        for line in lines:
            if line[0] < place:
                late = True  # outcomes of actions come late
            place = line[0]
            event_id = line[3].event_id
            if event_id is not None:
                known = known or {}
                known[event_id] = line
        if late:
            own = own.copy()
            for line in lines:
                insort(own, line, key=place_of)
        # From here on nothing is called and nothing fails: an interrupt comes before or after.
        if changes:
            slot.version = commit.new_version
            slot.context = context
            slot.flat = flat
            if commit.state is not None:
                slot.state = commit.state
            if since is not None:
                slot.state_since = since
            slot.machine_version = commit.machine_version
            slot.fingerprint = commit.fingerprint
            slot.updated_at = commit.now
            slot.commit_id = commit.commit_id
            if rare is not None:
                slot.created_at, slot.history, slot.timers, slot.next_due, slot.archived_at = rare
        if known is not None:
            if slot.ids is None:
                slot.ids = known
            else:
                slot.ids |= known
        self._feed += lines
        if late:
            slot.lines = own
        else:
            own += lines
        return _APPLIED

    def _kept(self, slot: Slot, context: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The context, frozen. Values that a flat one has already need no second check."""
        if kind_of(context) is not dict:
            return freeze(context, limit=self.context_limit)
        known: Callable[..., Any] = slot.context.get if slot.flat else _nothing
        fresh: dict[str, Any] = {}
        for name, value in context.items():
            if known(name, _ABSENT) is not value:
                fresh[name] = value  # noqa: PERF403 - a comprehension has a frame of its own
        if len(context) <= WIDE and self._is_flat(fresh):
            return context.copy(), True
        return freeze(context, limit=self.context_limit)

    def _lines(
        self, slot: Slot, commit: Commit, context: dict[str, Any], recorded_at: int
    ) -> list[Line]:
        """The commit's rows, frozen; ``context`` is the new one if it is flat."""
        number = len(self._feed)
        lines: list[Line] = []
        for entry in commit.entries:
            number += 1
            parts: Parts | None = None
            if entry.payload is not None or entry.patch is not None or entry.actions:
                parts = self._parts(entry, context)
            lines.append(
                (
                    entry.version,
                    number,
                    slot,
                    entry,
                    parts,
                    commit.commit_id,
                    commit.machine_version,
                    commit.fingerprint,
                    recorded_at,
                )
            )
        return lines

    def _parts(self, entry: Entry, context: dict[str, Any]) -> Parts:
        """The entry's payload, patch and actions, frozen."""
        payload: Any = entry.payload
        if payload is not None:
            payload = self._frozen(payload, context, "payload")
        patch: Any = entry.patch
        if patch is not None:
            changed = self._frozen(patch[0], context, "context_patch")
            patch = (changed, tuple(patch[1]))
        actions: Any = entry.actions
        if actions:
            try:
                actions = [self._frozen(each, {}, "actions") for each in actions]
            except InvalidValueError:  # said once more, with the number of the action
                freeze([dict(each) for each in actions], limit=self.context_limit, name="actions")
                raise
        return payload, patch, actions

    def _frozen(self, fields: Mapping[str, Any], context: dict[str, Any], name: str) -> Any:
        """A frozen copy. What has only values of the flat context needs no second check."""
        known = context.get
        for key, value in fields.items():
            if known(key, _ABSENT) is not value:
                break
        else:
            return dict(fields)
        if self._is_flat(fields):
            return dict(fields)
        plain = fields if kind_of(fields) is dict else dict(fields)
        return freeze(plain, limit=self.context_limit, name=name)[0]

    def _rarely(self, slot: Slot, commit: Commit) -> _Rare:
        """What few commits do: make an entity, record history states, arm timers, archive."""
        created, history, timers, due = slot.created_at, slot.history, slot.timers, slot.next_due
        if not slot.version:
            created = commit.now
            self._add(slot)
            self._order = None
        if commit.history is not None:
            history = {name: list(leaves) for name, leaves in commit.history.items()} or None
        if commit.timers is not None and (commit.timers or timers):
            timers = dict(commit.timers)
            due = next_due(timers)
        archived = archived_after(commit, slot.archived_at)
        # Those that are archived fall out of the heap when they would be due.
        if due is not None and (due != slot.next_due or archived != slot.archived_at):
            entity_id, machine = slot.key
            heappush(self._due.setdefault(machine, []), (due, entity_id))
        return created, history, timers, due, archived

    def _add(self, slot: Slot) -> None:
        """Interrupted between two of these, it is done again, in full, by the next commit."""
        entity_id, machine = slot.key
        names = self._machines.setdefault(entity_id, [])
        if machine not in names:
            insort(names, machine)
        self._slots[slot.key] = slot

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows of commits that change nothing: here, at once."""
        self.commit(commits)

    def flush(self) -> None:
        """Nothing waits here."""

    # Connections ----------------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """There is nothing to open; the arguments are those of the other stores."""
        del auto_initialize, validate_schema
        return self

    def disconnect(self) -> None:
        """There is nothing to close; what the store holds stays until the process ends."""

    async def aconnect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """`connect` for asyncio."""
        return self.connect(auto_initialize=auto_initialize, validate_schema=validate_schema)

    async def adisconnect(self) -> None:
        """`disconnect` for asyncio."""


def _meets(slot: Slot, entries: Sequence[Entry]) -> bool:
    """An event id of the entries is there already, or twice among them."""
    ids = slot.ids
    new = [entry.event_id for entry in entries if entry.event_id is not None]
    return len(set(new)) < len(new) or (ids is not None and any(each in ids for each in new))


def _nothing(_: str, absent: object) -> object:
    """``get`` of a context in which nothing is known."""
    return absent


def _never(_: Any) -> bool:
    """Where the limit is so small that nothing is surely below it."""
    return False
