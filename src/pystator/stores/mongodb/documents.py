"""Documents of the MongoDB store: records <-> plain BSON, and what a document of an entity is.

::

    entity_states        one document a key: the entity, its newest rows, event ids
      _id                "id NUL machine": names have no control characters, so in order of keys
      entity_id, machine_name, version, state, context, history, timers, next_due,
      machine_version, fingerprint, created_at, updated_at, commit_id, state_since
      leaves             the leaves of ``state``, and where they are several ``state`` itself
      archived_at        of an archived entity: when; its ``state``, ``leaves`` and ``next_due`` are
                         under the names of `APART`, where nothing that asks for others meets them
      snapshot           the version that the newest snapshot row is of
      rev                a number that every write changes which adds something
      seq                rows that this key ever got; the id of a row is its number, from 1
      tail               the newest rows, in order: the last one is number `seq`
      waiting            true while there may be rows in `tail`
      ids                event ids of the rows in `tail`, and of others before them
      forgotten          how many event ids are in no `ids` any more; missing: none is
    transition_history   one document a row that has left its tail: "id NUL machine NUL number"
      id, entity_id, machine_name, and the fields of a row in a tail
      feed               its place in the feed
      gone               of a row that was pruned: when; only ``_id`` and ``feed`` are left of it

Laws:

- Every name is ours and every value is a string, a number of at most 64 bits or a boolean: nothing
  of the user's becomes a name, and what is structured is the codec's text. A field that would be
  None is not there.
- A key with rows but without an entity - of rejected events - is a document of version 0 that has
  none of an entity's other fields.
- A row is in its tail or in ``transition_history``, and for a moment in both, with the same number.
"""

from collections.abc import Mapping
from typing import Any, Final

from pystator.records import Commit, Entity, Entry, EntryKind, HistoryEntry
from pystator.stores.codec import decode
from pystator.stores.columns import (
    decode_actions,
    decode_history,
    decode_patch,
    decode_payload,
    decode_timers,
    encode_actions,
    encode_patch,
    encode_payload,
)

__all__ = [
    "AFTER",
    "APART",
    "BETWEEN",
    "ENTITY",
    "HISTORY",
    "MACHINES",
    "META",
    "SNAPSHOT",
    "STATES",
    "Document",
    "entity_of",
    "entry_of",
    "filed",
    "first_number",
    "id_of",
    "leaves_of",
    "row_id",
    "row_of",
    "size_of",
    "tail_of",
]

Document = dict[str, Any]
"""As PyMongo takes and gives it."""

STATES: Final = "entity_states"
HISTORY: Final = "transition_history"
MACHINES: Final = "machines"
META: Final = "pystator_meta"
"""The collections."""

SNAPSHOT: Final = "snapshot"
"""The kind of a row, and the field of its version in the document of its entity."""

BETWEEN: Final = "\x00"
"""Stands between the parts of an ``_id``."""

AFTER: Final = "\x01"
"""Comes right after `BETWEEN`: ``_id``s of an entity id are from ``id BETWEEN`` to ``id AFTER``."""

ENTITY: Final[Document] = dict.fromkeys(
    (
        "entity_id", "machine_name", "version", "state", "context", "history", "timers",
        "machine_version", "fingerprint", "created_at", "updated_at", "commit_id", "state_since",
        "archived_at", "archived_state",
    ), 1,
) | {"_id": 0}  # fmt: skip
"""The projection that `entity_of` needs."""

APART: Final = {
    "state": "archived_state",
    "leaves": "archived_leaves",
    "next_due": "archived_due",
}
"""What an archived entity is not to be found by -> where it is kept meanwhile."""

_KINDS: Final = {str(kind.value): kind for kind in EntryKind}


def id_of(entity_id: str, machine_name: str) -> str:
    """``_id`` of a key in ``entity_states``."""
    return f"{entity_id}{BETWEEN}{machine_name}"


def row_id(key: str, number: int) -> str:
    """``_id`` of a row in ``transition_history``; in the order of numbers."""
    return f"{key}{BETWEEN}{number:016d}"


def leaves_of(state: str) -> list[str]:
    """What an entity in this state is found by: each leaf, and the whole configuration."""
    leaves = state.split("+")
    return leaves if len(leaves) == 1 else [*leaves, state]


# Documents -> records -----------------------------------------------------------------------------


def entity_of(document: Mapping[str, Any]) -> Entity | None:
    """The entity; None for a key that only has rows.

    The driver has a type of its own for what is longer than 32 bits, as times are.
    """
    version = document["version"]
    if not version:
        return None
    get = document.get
    history, timers, archived_at = get("history"), get("timers"), get("archived_at")
    return Entity(
        document["entity_id"],
        document["machine_name"],
        version,
        document["state" if archived_at is None else "archived_state"],
        decode(document["context"]),
        None if history is None else decode_history(history),
        {} if timers is None else decode_timers(timers),
        document["machine_version"],
        document["fingerprint"],
        int(document["created_at"]),
        int(document["updated_at"]),
        document["commit_id"],
        int(document["state_since"]),
        None if archived_at is None else int(archived_at),
    )


def first_number(document: Mapping[str, Any]) -> int:
    """The number of the first row in the tail."""
    number: int = document["seq"]
    return number - len(document.get("tail", ())) + 1


def tail_of(document: Mapping[str, Any]) -> list[HistoryEntry]:
    """The rows in the tail, in the order they were written; not that of history."""
    entity_id, machine_name = document["entity_id"], document["machine_name"]
    return [
        entry_of(row, number, entity_id, machine_name)
        for number, row in enumerate(document.get("tail", ()), first_number(document))
    ]


def entry_of(
    row: Mapping[str, Any], number: int, entity_id: str, machine_name: str
) -> HistoryEntry:
    """A row of a tail, or of ``transition_history``, as a record."""
    get = row.get
    occurred_at = get("occurred_at")
    return HistoryEntry(
        number,
        entity_id,
        machine_name,
        row["version"],
        _KINDS[row["kind"]],
        get("trigger"),
        decode_payload(get("payload")),
        int(row["now"]),
        decode_patch(get("context_patch")),
        get("source_state"),
        get("target_state"),
        decode_actions(get("actions")),
        row["success"],
        get("error_code"),
        get("error_message"),
        get("event_id"),
        get("request_hash"),
        get("actor"),
        None if occurred_at is None else int(occurred_at),
        get("duration_us"),
        get("ref"),
        row["commit_id"],
        row["machine_version"],
        row["fingerprint"],
        int(row["recorded_at"]),
        get("trace"),
    )


# Records -> documents -----------------------------------------------------------------------------


def row_of(entry: Entry, commit: Commit, recorded_at: int, limit: int) -> Document:
    """A row for a tail.

    Raises:
        InvalidValueError: A value of it cannot be stored.
    """
    row: Document = {
        "version": entry.version,
        "kind": entry.kind.value,
        "now": entry.now,
        "success": entry.success,
        "commit_id": commit.commit_id,
        "machine_version": commit.machine_version,
        "fingerprint": commit.fingerprint,
        "recorded_at": recorded_at,
    }
    for name, value in (
        ("trigger", entry.trigger),
        ("payload", encode_payload(entry.payload, limit=limit)),
        ("context_patch", encode_patch(entry.patch, limit=limit)),
        ("source_state", entry.source_state),
        ("target_state", entry.target_state),
        ("actions", encode_actions(entry.actions) if entry.actions else None),
        ("error_code", entry.error_code),
        ("error_message", entry.error_message),
        ("event_id", entry.event_id),
        ("request_hash", entry.request_hash),
        ("actor", entry.actor),
        ("occurred_at", entry.occurred_at),
        ("duration_us", entry.duration_us),
        ("ref", entry.ref),
        ("trace", entry.trace),
    ):
        if value is not None:
            row[name] = value
    return row


def size_of(fields: Mapping[str, Any]) -> int:
    """Bytes of a document, about: any of its texts may be a long one."""
    texts = [value for value in fields.values() if type(value) is str]
    return _PLAIN + sum([len(each) if each.isascii() else len(each.encode()) for each in texts])


_PLAIN: Final = 300
"""Bytes of a document besides its texts, about."""


def filed(document: Mapping[str, Any], row: Mapping[str, Any], number: int) -> Document:
    """A row of a tail, as it is in ``transition_history``.

    Args:
        document: The key's document.
        row: The row.
        number: Its number.
    """
    return {
        "_id": row_id(document["_id"], number),
        "id": number,
        "entity_id": document["entity_id"],
        "machine_name": document["machine_name"],
        **row,
    }
