"""Stored records as plain data: times in ISO 8601, empty things included.

The HTTP API and ``--json`` show the same.
"""

from typing import TYPE_CHECKING, Any

from pystator.service.times import iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pystator.engine.result import TransitionResult
    from pystator.records import Entity, Entry, HistoryEntry, Patch, StoredMachine

__all__ = [
    "entity_view",
    "entry_view",
    "event_view",
    "item_view",
    "machine_view",
    "reason_of",
    "result_view",
]

NO_PATCH: "Patch" = ({}, ())


def entity_view(entity: "Entity") -> dict[str, Any]:
    """An entity."""
    return {
        "entity_id": entity.entity_id,
        "machine_name": entity.machine_name,
        "machine_version": entity.machine_version,
        "state": entity.state,
        "version": entity.version,
        "context": entity.context,
        "history_states": entity.history or {},
        "timers": {name: iso(deadline) for name, (deadline, _) in sorted(entity.timers.items())},
        "created_at": iso(entity.created_at),
        "updated_at": iso(entity.updated_at),
        "state_since": iso(entity.state_since),
        "archived_at": iso(entity.archived_at),
    }


def result_view(entity_id: str, result: "TransitionResult") -> dict[str, Any]:
    """What became of an event."""
    error = result.error
    return {
        "entity_id": entity_id,
        "trigger": result.trigger,
        "success": result.success,
        "source_state": result.source_state,
        "target_state": result.target_state,
        "version": result.metadata.get("version"),
        "reason": result.reason,
        "replayed": result.replayed,
        "context": result.context if result.success else None,
        "actions": [spec.to_dict() for spec in result.all_actions],
        "action_errors": result.metadata.get("action_errors"),
        "error": None if error is None else error.to_dict(),
    }


def entry_view(entry: "HistoryEntry") -> dict[str, Any]:
    """A history row."""
    changed, removed = entry.patch or NO_PATCH
    return {
        "version": entry.version,
        "kind": str(entry.kind),
        "trigger": entry.trigger,
        "source_state": entry.source_state,
        "target_state": entry.target_state,
        "success": entry.success,
        "error_code": entry.error_code,
        "error_message": entry.error_message,
        "event_id": entry.event_id,
        "payload": entry.payload,
        "changed": dict(changed),
        "removed": list(removed),
        "actions": [dict(action) for action in entry.actions],
        "ref": entry.ref,
        "actor": entry.actor,
        "machine_version": entry.machine_version,
        "occurred_at": iso(entry.occurred_at),
        "now": iso(entry.now),
        "recorded_at": iso(entry.recorded_at),
        "duration_us": entry.duration_us,
        "trace": entry.trace,
    }


def machine_view(machine: "StoredMachine") -> dict[str, Any]:
    """A version of a machine, without its definition."""
    return {
        "name": machine.name,
        "version": machine.version,
        "fingerprint": machine.fingerprint,
        "description": machine.description,
        "created_at": iso(machine.created_at or None),
    }


def item_view(entry: "HistoryEntry") -> dict[str, Any]:
    """A history row among those of other entities."""
    return {
        "entity_id": entry.entity_id,
        "machine_name": entry.machine_name,
        "timestamp": iso(entry.recorded_at),
        **entry_view(entry),
    }


def event_view(
    entity_id: str,
    machine_name: str,
    machine_version: str,
    row: "Entry | HistoryEntry",
    action_errors: "Sequence[Mapping[str, Any]]" = (),
) -> dict[str, Any]:
    """What became of an event: told from its row, so that it can be told again from the store.

    Args:
        entity_id: The entity.
        machine_name: Its machine.
        machine_version: The version of the machine that decided.
        row: The event's row.
        action_errors: Outcomes of its actions that failed.
    """
    changed, removed = row.patch or NO_PATCH
    return {
        "entity_id": entity_id,
        "machine_name": machine_name,
        "machine_version": machine_version,
        "kind": str(row.kind),
        "trigger": row.trigger,
        "success": row.success,
        "source_state": row.source_state,
        "target_state": row.target_state,
        "version": row.version,
        "reason": reason_of(row),
        "actions": row.actions,
        "changed": changed,
        "removed": removed,
        "event_id": row.event_id,
        "now": iso(row.now),
        "action_errors": action_errors,
    }


def reason_of(row: "Entry | HistoryEntry") -> str | None:
    """Why an event was rejected, or ``ignored``; None when it was applied."""
    if row.success:
        return "ignored" if row.kind == "rejected" else None
    return "no_transition" if row.error_code == "invalid_transition" else row.error_code
