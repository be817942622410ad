"""What the store in memory takes from another store: parcels and machines, as they are."""

import threading
from abc import abstractmethod
from bisect import insort
from collections.abc import Mapping, Sequence
from heapq import heappush
from typing import Any, Final

from pystator.errors import InvalidValueError
from pystator.records import (
    Entity,
    Entry,
    HistoryEntry,
    Key,
    Outcome,
    OutcomeKind,
    Page,
    Parcel,
    StoredMachine,
)
from pystator.stores.codec import freeze
from pystator.stores.columns import UNLIMITED, next_due
from pystator.stores.definitions import (
    age,
    check_deletion,
    check_machine,
    is_same,
    machine_page,
    machines_after,
)
from pystator.stores.keys import rows_asked
from pystator.stores.memory.pruning import PrunableMemory
from pystator.stores.memory.slots import Line, Slot, place_of
from pystator.stores.parcels import check_parcel

__all__ = ["RestorableMemory"]

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)


class RestorableMemory(PrunableMemory):
    """Parcels and machines, over what `InMemoryStateStore` keeps."""

    _lock: threading.Lock
    _slots: dict[Key, Slot]
    _feed: list[Line | None]
    _order: list[Key] | None
    _due: dict[str, list[tuple[int, str]]]
    _definitions: dict[tuple[str, str], StoredMachine]

    @abstractmethod
    def _add(self, slot: Slot) -> None:
        """Keep a slot, with the lock held."""

    # Parcels --------------------------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if what is there is what it says."""
        with self._lock:
            return [self._restore(parcel) for parcel in parcels]

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return self.restore(parcels)

    def _restore(self, parcel: Parcel) -> Outcome:
        key = (parcel.entity_id, parcel.machine_name)
        slot = self._slots.get(key) or Slot(key)
        try:
            check_parcel(parcel)
            entity = parcel.entity
            context = None if entity is None else freeze(entity.context, limit=UNLIMITED)
            first = len(self._feed) + 1
            lines = [_line(slot, n, row) for n, row in enumerate(parcel.rows, first)]
        except InvalidValueError as error:
            return Outcome(OutcomeKind.REFUSED, error)
        newest = (slot.lines[-1][0], slot.lines[-1][5]) if slot.lines else None
        if slot.version != parcel.base or newest != parcel.after:
            return _STALE
        known = {line[3].event_id: line for line in lines if line[3].event_id is not None}
        ids = slot.ids or {}
        if known.keys() & ids:
            return _STALE
        if lines or entity is not None:
            self._add(slot)
        if entity is not None and context is not None:
            self._become(slot, entity, context)
        slot.ids = {**ids, **known} or None
        self._feed += lines
        for line in lines:
            insort(slot.lines, line, key=place_of)
        return _APPLIED

    def _become(self, slot: Slot, entity: Entity, context: tuple[Any, bool]) -> None:
        if not slot.version:
            self._order = None
        slot.version = entity.version
        slot.state = entity.state
        slot.context, slot.flat = context
        history = entity.history or None
        slot.history = history and {name: list(leaves) for name, leaves in history.items()}
        slot.timers = {name: (at, armed) for name, (at, armed) in entity.timers.items()}
        due = next_due(slot.timers)
        if due is not None and (due != slot.next_due or slot.archived_at is not None):
            heappush(self._due.setdefault(entity.machine_name, []), (due, entity.entity_id))
        slot.next_due = due
        slot.machine_version = entity.machine_version
        slot.fingerprint = entity.fingerprint
        slot.created_at = entity.created_at
        slot.updated_at = entity.updated_at
        slot.commit_id = entity.commit_id
        slot.state_since = entity.state_since
        slot.archived_at = entity.archived_at

    # Machines -------------------------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already.

        Raises:
            ConfigurationError: This version was there with another fingerprint: it never changes.
            InvalidValueError: It cannot be stored.
        """
        check_machine(machine)
        key = (machine.name, machine.version)
        with self._lock:
            there = self._definitions.get(key)
            if there is None:
                self._definitions[key] = machine
                return True
        return is_same(machine, there.fingerprint)

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        with self._lock:
            if version is not None:
                return self._definitions.get((name, version))
            found = [each for each in self._definitions.values() if each.name == name]
        return max(found, key=age, default=None)

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        place = machines_after(after)
        limit = rows_asked(limit)
        with self._lock:
            keys = sorted(key for key in self._definitions if key > place)
            return machine_page([self._definitions[key] for key in keys[: limit + 1]], limit)

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them; how many there were.

        Raises:
            ConfigurationError: Entities of this machine are alive.
        """
        with self._lock:
            found = [each for each in self._definitions.values() if each.name == name]
            gone = [each for each in found if version in {None, each.version}]
            if gone:
                writers = [
                    slot.machine_version
                    for key, slot in self._slots.items()
                    if key[1] == name and slot.version and slot.archived_at is None
                ]
                if version is not None and version != max(found, key=age).version:
                    writers = [each for each in writers if each == version]
                check_deletion(name, version, len(writers))
            for each in gone:
                del self._definitions[each.name, each.version]
        return len(gone)

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio."""
        return self.delete_machine(name, version)

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return self.save_machine(machine)

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return self.stored_machine(name, version)

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return self.stored_machines(after=after, limit=limit)


def _line(slot: Slot, number: int, row: HistoryEntry) -> Line:
    entry = Entry(
        row.version, row.kind, row.trigger, None, row.now, None, row.source_state,
        row.target_state, (), row.success, row.error_code, row.error_message, row.event_id,
        row.request_hash, row.actor, row.occurred_at, row.duration_us, row.ref,
        row.trace,
    )  # fmt: skip
    parts = None
    if row.payload is not None or row.patch is not None or row.actions:
        payload = None if row.payload is None else _frozen(row.payload, "payload")
        patch: Any = None
        if row.patch is not None:
            patch = (_frozen(row.patch[0], "context_patch"), tuple(row.patch[1]))
        actions: Any = [_frozen(each, "actions") for each in row.actions]
        parts = (payload, patch, actions)
    return (
        row.version, number, slot, entry, parts, row.commit_id, row.machine_version,
        row.fingerprint, row.recorded_at,
    )  # fmt: skip


def _frozen(fields: Mapping[str, Any], name: str) -> Any:
    return freeze(dict(fields), limit=UNLIMITED, name=name)[0]
