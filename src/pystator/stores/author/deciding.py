"""What becomes of a commit, and records as plain values."""

from collections.abc import Container, Sequence
from typing import Any, Final

from pystator.errors import InvalidValueError
from pystator.records import (
    Commit,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Outcome,
    OutcomeKind,
    record,
)
from pystator.stores.codec import LIMIT, copy, decode, encode
from pystator.stores.columns import (
    archived_after,
    decode_actions,
    decode_history,
    decode_patch,
    decode_payload,
    decode_timers,
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    state_since,
)
from pystator.stores.keys import check_commit
from pystator.stores.pruning import UNLIMITED

__all__ = ["Written", "decide", "entity_of", "entity_values", "row_of", "row_values"]

_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)


@record
class Written:
    """What a commit writes.

    Attributes:
        entity: What the entity becomes; None when the commit only appends rows.
        rows: Its history rows, with their ids.
    """

    entity: Entity | None
    rows: list[HistoryEntry]


def decide(
    commit: Commit,
    entity: Entity | None,
    known: Container[str],
    *,
    first_id: int,
    recorded_at: int,
    limit: int = LIMIT,
) -> Written | Outcome:
    """What the commit writes, or why it writes nothing. Nothing of it is kept by reference.

    Args:
        commit: The commit.
        entity: The entity of its key, as it is.
        known: Event ids of the key's history.
        first_id: The id of its first row; the others follow. Ids grow in the order of commits.
        recorded_at: The store's clock.
        limit: The store's ``context_limit``.
    """
    try:
        check_commit(commit)
        context = commit.context
        if context is not None:
            context = copy(dict(context), limit=limit)
        rows = [
            _row(commit, entry, first_id + number, recorded_at, limit)
            for number, entry in enumerate(commit.entries)
        ]
    except InvalidValueError as error:
        return Outcome(OutcomeKind.REFUSED, error)
    ids = [entry.event_id for entry in commit.entries if entry.event_id is not None]
    if len(set(ids)) < len(ids) or any(each in known for each in ids):
        return _DUPLICATE
    if commit.new_version == commit.expected_version:
        return Written(None, rows)
    if commit.expected_version != (0 if entity is None else entity.version):
        return _STALE
    return Written(_after(commit, entity, context), rows)


def _row(commit: Commit, entry: Entry, number: int, recorded_at: int, limit: int) -> HistoryEntry:
    """The history row of an entry, with values of its own."""
    payload = decode_payload(encode_payload(entry.payload, limit=limit))
    patch = decode_patch(encode_patch(entry.patch, limit=limit))
    actions = decode_actions(encode_actions(entry.actions))
    return HistoryEntry(
        number,
        commit.entity_id,
        commit.machine_name,
        entry.version,
        entry.kind,
        entry.trigger,
        payload,
        entry.now,
        patch,
        entry.source_state,
        entry.target_state,
        actions,
        entry.success,
        entry.error_code,
        entry.error_message,
        entry.event_id,
        entry.request_hash,
        entry.actor,
        entry.occurred_at,
        entry.duration_us,
        entry.ref,
        commit.commit_id,
        commit.machine_version,
        commit.fingerprint,
        recorded_at,
        entry.trace,
    )


def _after(commit: Commit, entity: Entity | None, context: dict[str, Any] | None) -> Entity:
    """The entity after a commit that changes it."""
    since = state_since(commit)
    if entity is None:
        entity = Entity(
            commit.entity_id, commit.machine_name, 0, "", {}, None, {}, "", "", commit.now, 0, "", 0
        )
    return Entity(
        commit.entity_id,
        commit.machine_name,
        commit.new_version,
        entity.state if commit.state is None else commit.state,
        entity.context if context is None else context,
        entity.history if commit.history is None else _own(commit.history),
        entity.timers if commit.timers is None else dict(commit.timers),
        commit.machine_version,
        commit.fingerprint,
        entity.created_at,
        commit.now,
        commit.commit_id,
        entity.state_since if since is None else since,
        archived_after(commit, entity.archived_at),
    )


def _own(history: dict[str, list[str]]) -> dict[str, list[str]] | None:
    return {name: list(leaves) for name, leaves in history.items()} or None


# Records as plain values --------------------------------------------------------------------------


def entity_values(entity: Entity) -> list[str | int | None]:
    """An entity as texts and numbers, in the order of its fields."""
    return [
        entity.entity_id,
        entity.machine_name,
        entity.version,
        entity.state,
        encode(entity.context, limit=UNLIMITED),
        encode_history(entity.history),
        encode_timers(entity.timers),
        entity.machine_version,
        entity.fingerprint,
        entity.created_at,
        entity.updated_at,
        entity.commit_id,
        entity.state_since,
        entity.archived_at,
    ]


def entity_of(values: Sequence[Any]) -> Entity:
    """The entity whose `entity_values` these are, the caller's own."""
    entity_id, machine, version, state, context, history, timers, *rest = values
    return Entity(
        entity_id,
        machine,
        version,
        state,
        decode(context),
        decode_history(history),
        decode_timers(timers),
        *rest,
    )


def row_values(row: HistoryEntry) -> list[str | int | bool | None]:
    """A history row as texts, numbers and truth values, in the order of its fields."""
    return [
        row.id,
        row.entity_id,
        row.machine_name,
        row.version,
        str(row.kind.value),
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
    ]


def row_of(values: Sequence[Any]) -> HistoryEntry:
    """The history row whose `row_values` these are, the caller's own."""
    number, entity_id, machine, version, kind, trigger, payload, now, patch, *middle = values
    source, target, actions, *rest = middle
    return HistoryEntry(
        number,
        entity_id,
        machine,
        version,
        EntryKind(kind),
        trigger,
        decode_payload(payload),
        now,
        decode_patch(patch),
        source,
        target,
        decode_actions(actions),
        *rest,
    )
