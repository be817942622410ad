"""What the store in memory keeps of an entity, and how it becomes records again."""

from collections.abc import Collection
from typing import Any

from pystator.records import Entity, Entry, EntryKind, HistoryEntry, Key, Timers
from pystator.stores.codec import thaw

__all__ = [
    "Line",
    "Parts",
    "Slot",
    "entity_of",
    "forget",
    "has_snapshot",
    "oldest",
    "place_of",
    "row_of",
]


class Slot:
    """One key: its entity (from version 1 on), its history rows in order, its event ids."""

    __slots__ = (
        "archived_at",
        "commit_id",
        "context",
        "created_at",
        "fingerprint",
        "flat",
        "history",
        "ids",
        "key",
        "lines",
        "machine_version",
        "next_due",
        "state",
        "state_since",
        "timers",
        "updated_at",
        "version",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.version = 0
        self.state = ""
        self.context: Any = {}
        self.flat = True
        self.history: dict[str, list[str]] | None = None
        self.timers: Timers = {}
        self.next_due: int | None = None
        self.machine_version = ""
        self.fingerprint = ""
        self.created_at = 0
        self.updated_at = 0
        self.commit_id = ""
        self.state_since = 0
        self.archived_at: int | None = None
        self.lines: list[Line] = []
        self.ids: dict[str, Line] | None = None


Parts = tuple[Any, Any, Any]
"""The frozen payload, patch and actions of a history row."""

Line = tuple[int, int, Slot, Entry, Parts | None, str, str, str, int]
"""A history row: version, id, slot, entry, parts (None for none), commit id, machine version,
fingerprint, time of recording."""


def place_of(line: Line) -> tuple[int, int]:
    """Where it stands in its entity's history."""
    return line[0], line[1]


def entity_of(slot: Slot) -> Entity:
    """The entity, the caller's own."""
    entity_id, machine_name = slot.key
    history = slot.history
    return Entity(
        entity_id,
        machine_name,
        slot.version,
        slot.state,
        slot.context.copy() if slot.flat else thaw(slot.context, flat=False),
        None if history is None else {name: list(leaves) for name, leaves in history.items()},
        slot.timers.copy(),
        slot.machine_version,
        slot.fingerprint,
        slot.created_at,
        slot.updated_at,
        slot.commit_id,
        slot.state_since,
        slot.archived_at,
    )


def row_of(line: Line) -> HistoryEntry:
    """The row, the reader's own."""
    version, number, slot, entry, parts, commit_id, machine_version, fingerprint, recorded_at = line
    payload, patch, actions = (None, None, ()) if parts is None else parts
    return HistoryEntry(
        number,
        *slot.key,
        version,
        entry.kind,
        entry.trigger,
        thaw(payload, flat=False),
        entry.now,
        None if patch is None else (thaw(patch[0], flat=False), patch[1]),
        entry.source_state,
        entry.target_state,
        tuple(thaw(each, flat=False) for each in actions),
        entry.success,
        entry.error_code,
        entry.error_message,
        entry.event_id,
        entry.request_hash,
        entry.actor,
        entry.occurred_at,
        entry.duration_us,
        entry.ref,
        commit_id,
        machine_version,
        fingerprint,
        recorded_at,
        entry.trace,
    )


def oldest(slot: Slot) -> int | None:
    """When the first row that is no snapshot was recorded; None without one."""
    for line in slot.lines:
        if line[3].kind is not EntryKind.SNAPSHOT:
            return line[8]
    return None


def has_snapshot(slot: Slot, version: int) -> bool:
    """A snapshot of this version or a later one is among the rows."""
    return any(line[0] >= version and line[3].kind is EntryKind.SNAPSHOT for line in slot.lines)


def forget(slot: Slot, numbers: Collection[int]) -> None:
    """Take rows out of an entity's history, and their event ids out of what is known."""
    left: list[Line] = []
    known: dict[str, Line] = {}
    for line in slot.lines:
        if line[1] not in numbers:
            left.append(line)
            if line[3].event_id is not None:
                known[line[3].event_id] = line
    slot.lines = left
    slot.ids = known or None
