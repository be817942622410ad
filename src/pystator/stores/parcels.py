"""Parcels in the form in which the SQL stores keep them: texts of the codec, times in microseconds.

What comes from another store of ours is in this form already, and is never decoded on its way.
"""

from collections.abc import Sequence
from typing import Any, Final

from pystator.errors import InvalidValueError, StaleVersionError
from pystator.records import Entity, EntryKind, HistoryEntry, Key, Parcel, record
from pystator.stores.codec import encode
from pystator.stores.columns import (
    UNLIMITED,
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    next_due,
)
from pystator.stores.keys import (
    check_entity_id,
    check_event_id,
    check_machine_name,
    check_state,
    check_text,
)

__all__ = [
    "ENTITY_VALUES",
    "ROW_VALUES",
    "EntityRow",
    "HistoryRow",
    "RawParcel",
    "check_parcel",
    "entity_row",
    "history_row",
    "raw",
    "unfit",
]

ENTITY_VALUES: Final = (
    "version",
    "state",
    "context",
    "history",
    "timers",
    "next_due",
    "machine_version",
    "fingerprint",
    "created_at",
    "updated_at",
    "commit_id",
    "state_since",
    "archived_at",
)
"""What an `EntityRow` has, in this order: the columns of an entity beside its key."""

ROW_VALUES: Final = (
    "version",
    "kind",
    "trigger",
    "payload",
    "now",
    "context_patch",
    "source_state",
    "target_state",
    "actions",
    "success",
    "error_code",
    "error_message",
    "event_id",
    "request_hash",
    "actor",
    "occurred_at",
    "duration_us",
    "ref",
    "commit_id",
    "machine_version",
    "fingerprint",
    "recorded_at",
    "trace",
)
"""What a `HistoryRow` has, in this order: the columns of a history row beside its key and its id.

Texts are texts or None, numbers and times are integers or None, ``success`` is true or false.
"""

EntityRow = Sequence[Any]
HistoryRow = Sequence[Any]

_KINDS: Final = {kind: str(kind.value) for kind in EntryKind}
"""Members of an enumeration are subclasses of str, which drivers bind slowly."""

_LARGEST: Final = 2**63 - 1


@record
class RawParcel:
    """A `Parcel` as the SQL stores keep it.

    Attributes:
        entity: The `ENTITY_VALUES` that the entity becomes; None leaves it as it is.
        rows: The `ROW_VALUES` of each history row, in order.
        base: The version that the entity has in the other store; 0 when it is not there.
        after: Version and commit id of the newest row that the other store has of this key.
    """

    entity_id: str
    machine_name: str
    entity: EntityRow | None
    rows: Sequence[HistoryRow]
    base: int
    after: tuple[int, str] | None = None

    @property
    def key(self) -> Key:
        """``(entity_id, machine_name)``."""
        return (self.entity_id, self.machine_name)

    @property
    def size(self) -> int:
        """Characters of its longest texts: contexts, payloads and patches."""
        size = 0 if self.entity is None else len(self.entity[2])
        return size + sum([len(row[3] or "") + len(row[5] or "") for row in self.rows])


def raw(parcel: Parcel) -> RawParcel:
    """Encode a parcel.

    Raises:
        InvalidValueError: Something of it cannot be stored.
    """
    check_parcel(parcel)
    return RawParcel(
        parcel.entity_id,
        parcel.machine_name,
        None if parcel.entity is None else entity_row(parcel.entity),
        [history_row(row) for row in parcel.rows],
        parcel.base,
        parcel.after,
    )


def entity_row(entity: Entity) -> EntityRow:
    """What `ENTITY_VALUES` tells.

    Raises:
        InvalidValueError: Its context cannot be stored.
    """
    return (
        entity.version,
        entity.state,
        encode(entity.context, limit=UNLIMITED),
        encode_history(entity.history),
        encode_timers(entity.timers),
        next_due(entity.timers),
        entity.machine_version,
        entity.fingerprint,
        entity.created_at,
        entity.updated_at,
        entity.commit_id,
        entity.state_since,
        entity.archived_at,
    )


def history_row(row: HistoryEntry) -> HistoryRow:
    """What `ROW_VALUES` tells.

    Raises:
        InvalidValueError: Something of it cannot be stored.
    """
    return (
        row.version,
        _KINDS[EntryKind(row.kind)],
        row.trigger,
        encode_payload(row.payload, limit=UNLIMITED),
        row.now,
        encode_patch(row.patch, limit=UNLIMITED),
        row.source_state,
        row.target_state,
        encode_actions(row.actions),
        row.success,
        row.error_code,
        row.error_message,
        row.event_id,
        row.request_hash,
        row.actor,
        row.occurred_at,
        row.duration_us,
        row.ref,
        row.commit_id,
        row.machine_version,
        row.fingerprint,
        row.recorded_at,
        row.trace,
    )


# Checks -------------------------------------------------------------------------------------------


def check_parcel(parcel: Parcel) -> None:
    """What can be said about a parcel without looking at the store; contexts are the codec's.

    Raises:
        InvalidValueError: It cannot be stored.
    """
    check_entity_id(parcel.entity_id)
    check_machine_name(parcel.machine_name)
    key = (parcel.entity_id, parcel.machine_name)
    entity = parcel.entity
    if parcel.base < 0:
        raise _wrong(key, f"no entity has version {parcel.base}")
    if entity is not None:
        if entity.key != key or entity.version < 1:
            raise _wrong(key, f"it holds version {entity.version} of {entity.key!r}")
        _check_entity(entity)
    for row in parcel.rows:
        if (row.entity_id, row.machine_name) != key or row.version < 0:
            raise _wrong(key, f"it holds a row of {(row.entity_id, row.machine_name)!r}")
        _check_row(row)
    ids = [row.event_id for row in parcel.rows if row.event_id is not None]
    if len(set(ids)) < len(ids):
        raise _wrong(key, "two of its rows have one event id")


def _check_entity(entity: Entity) -> None:
    check_state(entity.state)
    for name in (entity.machine_version, entity.fingerprint, entity.commit_id):
        check_text(name, "text of an entity")
    times = (entity.created_at, entity.updated_at, entity.state_since, entity.archived_at)
    timers = [number for timer in entity.timers.values() for number in timer]
    _check_numbers(entity.version, *times, *timers)


def _check_row(row: HistoryEntry) -> None:
    for state in (row.source_state, row.target_state):
        if state is not None:
            check_state(state)
    if row.event_id is not None:
        check_event_id(row.event_id)
    for name in (
        row.trigger, row.actor, row.request_hash, row.error_code,
        row.commit_id, row.machine_version, row.fingerprint, row.trace,
    ):  # fmt: skip
        if name is not None:
            check_text(name, "text of a history row")
    times = (row.now, row.recorded_at, row.occurred_at)
    _check_numbers(row.version, row.duration_us, row.ref, *times)
    if row.error_message is not None and not row.error_message.isascii():
        _check_unicode(row.error_message)


def _check_numbers(*numbers: int | None) -> None:
    for number in numbers:
        if number is not None and not -_LARGEST <= number <= _LARGEST:
            raise InvalidValueError(
                f"the number {number} cannot be stored: it has more than 64 bits",
                context={"value": str(number)},
            )


def _check_unicode(message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"the error message {message!a:.80} cannot be stored: character {error.start} is a lone"
            " surrogate",
            context={"value": f"{message!a:.80}"},
        ) from None


def _wrong(key: Key, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"the parcel of {key[0]!r} cannot be stored: {why}",
        context={"entity_id": key[0], "machine_name": key[1]},
    )


def unfit(keys: Sequence[Key]) -> StaleVersionError:
    """The error of changes that do not go on from what a store has."""
    shown = ", ".join(f"{entity_id!r} of machine {machine!r}" for entity_id, machine in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return StaleVersionError(
        f"the store has other versions, or other event ids, of {shown}{more} than those that these"
        " changes go on from; nothing was written",
        context={"keys": [list(key) for key in keys[:100]]},
    )
