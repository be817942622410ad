"""Replies -> records, and the text of a history row.

A row is a member of a sorted set, all of whose scores are 0, so that members are in the order of
their bytes::

    0000000000050193d5e0a1b2c00003["event","pay",{"n":1},...]
    `----------'`--------------'`----------------------------'
      version         id            the rest, as text of the codec

- version: 12 hexadecimal digits; of rows that change nothing, the version they saw;
- id: 16 of them: 11 of the milliseconds and 5 of the sequence of the row's entry in the feed;
- the rest: a list, whose last value is the time of recording; before it stands the trace, in rows
  that have one.

Reading needs nothing but the codec: payload, patch and actions stand in the row as they are.
"""

from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from pystator.errors import SchemaError
from pystator.records import Entity, EntryKind, HistoryEntry
from pystator.stores.codec import decode
from pystator.stores.columns import decode_history, decode_timers

__all__ = [
    "DIGITS",
    "ENTITY_FIELDS",
    "LARGEST_VERSION",
    "SEQUENCE",
    "archived_of",
    "digits_of",
    "entity_of",
    "entry_of",
    "id_of",
    "quoted",
    "version_of",
]

DIGITS: Final = 28
"""Digits in front of a row."""

SEQUENCE: Final = 20
"""Bits of a row's id that count within a millisecond, and with it the partitions of a cluster."""

LARGEST_VERSION: Final = 16**12 - 1

ENTITY_FIELDS: Final = (
    "machine_name",
    "version",
    "state",
    "context",
    "history",
    "timers",
    "machine_version",
    "fingerprint",
    "created_at",
    "updated_at",
    "commit_id",
    "state_since",
)
"""What is asked of an entity's hash, in this order; ``next_due`` is for the index alone."""

Reply = Sequence[Any]


def digits_of(version: int, row_id: int) -> str:
    """The place of a row."""
    return f"{version:012x}{row_id:016x}"


def version_of(member: str) -> int:
    """The version of a row, of its text or of its digits."""
    return int(member[:12], 16)


def id_of(member: str) -> int:
    """The id of a row, of its text or of its digits."""
    return int(member[12:28], 16)


def entity_of(entity_id: str, reply: Reply) -> Entity | None:
    """The values of `ENTITY_FIELDS` -> the entity; None where there is none.

    Raises:
        SchemaError: Somebody else has put something under the key.
    """
    machine, version, state, context, history, timers, *rest = reply
    if version is None:
        if machine is None and state is None and context is None:
            return None
        raise foreign(entity_id)
    machine_version, fingerprint, created, updated, commit_id, since = rest
    archived_at: int | None = None
    try:
        number = int(version)
    except ValueError:
        number, archived_at = archived_of(version)
    return Entity(
        entity_id,
        machine,
        number,
        state,
        decode(context),
        decode_history(history) if history else None,
        decode_timers(timers) if timers else {},
        machine_version,
        fingerprint,
        int(created),
        int(updated),
        commit_id,
        int(since),
        archived_at,
    )


def archived_of(version: str) -> tuple[int, int | None]:
    """The version in an entity's hash, and when the entity was archived: see ``lua/apart.lua``."""
    number, _, since = version.partition("@")
    return int(number), int(since) if since else None


def foreign(entity_id: str) -> SchemaError:
    """The error of an entity's hash that no store of ours wrote."""
    return SchemaError(
        f"the hash of entity {entity_id!r} has no version: something else wrote it; give the store"
        " another key_prefix=, or move that key away",
        context={"entity_id": entity_id},
    )


quoted: Final = encode_basestring_ascii
"""The text of a string in a row."""


def entry_of(entity_id: str, machine: str, member: str) -> HistoryEntry:
    """A member of the sorted set -> the row."""
    kind, trigger, payload, now, patch, source, target, actions, *rest = decode(member[DIGITS:])
    success, code, message, event_id, digest, actor, occurred_at, duration, ref, *rest = rest
    commit_id, machine_version, fingerprint, *traced, recorded_at = rest
    return HistoryEntry(
        id_of(member),
        entity_id,
        machine,
        version_of(member),
        EntryKind(kind),
        trigger,
        payload,
        now,
        None if patch is None else (patch["set"], tuple(patch["unset"])),
        source,
        target,
        () if actions is None else tuple(actions),
        success,
        code,
        message,
        event_id,
        digest,
        actor,
        occurred_at,
        duration,
        ref,
        commit_id,
        machine_version,
        fingerprint,
        recorded_at,
        traced[0] if traced else None,
    )
