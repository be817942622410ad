"""Commits of the PostgreSQL store as rows: everything a statement needs, and nothing sent yet."""

from collections.abc import Sequence
from typing import Final

from pystator.errors import FSMError, InvalidValueError
from pystator.records import UNARCHIVE, Commit, Entry, EntryKind, Key, Outcome, OutcomeKind
from pystator.stores.codec import encode
from pystator.stores.columns import (
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    next_due,
    state_since,
)
from pystator.stores.keys import check_commit
from pystator.stores.postgres import sql
from pystator.stores.postgres.rows import NEVER, UNSTORABLE, Value, escaped, to_time

__all__ = ["LARGEST", "Write", "prepare", "refusal"]

LARGEST: Final = 4_000_000
"""Characters of contexts in one statement."""

_KINDS: Final = {kind: str(kind.value) for kind in EntryKind}


class Write:
    """One commit, ready for the wire.

    Attributes:
        role: 0 when it only appends, 1 when it changes an entity, 2 when it creates one.
        rows: A row for each history entry: what `pystator.stores.postgres.sql.WRITE_TYPES` tells.
        ids: Its event ids.
        size: Characters of its context, its payloads and its patches.
        refused: The answer, when the commit cannot be stored.
    """

    __slots__ = ("ids", "key", "refused", "role", "rows", "size")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.role = sql.NOTE
        self.rows: list[tuple[Value, ...]] = []
        self.ids: list[str] = []
        self.size = 0
        self.refused: Outcome | None = None


def prepare(commits: Sequence[Commit], recorded_at: int, limit: int) -> list[Write]:
    """Encode commits, in order.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    recorded = to_time(recorded_at)
    return [_prepare(commit, recorded, limit) for commit in commits]


def _prepare(commit: Commit, recorded: int, limit: int) -> Write:
    write = Write((commit.entity_id, commit.machine_name))
    try:
        changes = commit.new_version != commit.expected_version
        # An entity that is there has a key that was checked; one that is not is stale anyway.
        check_commit(commit, known=changes and commit.expected_version > 0)
        entity = _entity(write, commit, limit) if changes else _nothing(commit)
        for entry in commit.entries:
            if write.rows and changes:
                entity = _nothing(commit)
            write.rows.append(entity + _entry(write, entry, recorded, limit))
    except UNSTORABLE as error:
        write.refused = refusal(error)
    return write


def _nothing(commit: Commit) -> tuple[Value, ...]:
    """The entity's part of a row that does not touch it."""
    return (
        commit.entity_id, commit.machine_name, None, None, None, None, None, None, None,
        commit.machine_version, commit.fingerprint, None, commit.commit_id, None, None,
    )  # fmt: skip


def _entity(write: Write, commit: Commit, limit: int) -> tuple[Value, ...]:
    write.role = sql.ROLE_CHANGE if commit.expected_version else sql.ROLE_CREATE
    context = None if commit.context is None else encode(commit.context, limit=limit)
    write.size = 0 if context is None else len(context)
    timers = commit.timers
    since = state_since(commit)
    due = None if timers is None else next_due(timers)
    return (
        commit.entity_id,
        commit.machine_name,
        commit.expected_version,
        commit.new_version,
        commit.state,
        context,
        None if commit.history is None else encode_history(commit.history) or "",
        None if timers is None else encode_timers(timers) or "",
        None if due is None else to_time(due),
        commit.machine_version,
        commit.fingerprint,
        to_time(commit.now),
        commit.commit_id,
        None if since is None else to_time(since),
        None if commit.archived_at is None else _archived(commit.archived_at),
    )


def _archived(at: int) -> int:
    return NEVER if at == UNARCHIVE else to_time(at)


def _entry(write: Write, entry: Entry, recorded: int, limit: int) -> tuple[Value, ...]:
    if entry.event_id is not None:
        write.ids.append(entry.event_id)
    payload = encode_payload(entry.payload, limit=limit)
    patch = encode_patch(entry.patch, limit=limit)
    write.size += len(payload or "") + len(patch or "")
    return (
        entry.version,
        _KINDS[entry.kind],
        entry.trigger,
        payload,
        to_time(entry.now),
        patch,
        entry.source_state,
        entry.target_state,
        encode_actions(entry.actions) if entry.actions else None,
        None if entry.success else 1,
        entry.error_code,
        escaped(entry.error_message),
        entry.event_id,
        entry.request_hash,
        entry.actor,
        None if entry.occurred_at is None else to_time(entry.occurred_at),
        entry.duration_us,
        entry.ref,
        recorded,
        entry.trace,
    )


def refusal(error: Exception) -> Outcome:
    """The answer to a commit that cannot be stored."""
    if isinstance(error, FSMError):
        return Outcome(OutcomeKind.REFUSED, error)
    text = str(error).strip().partition("\n")[0]
    code = getattr(error, "sqlstate", None)
    return Outcome(
        OutcomeKind.REFUSED,
        InvalidValueError(f"the commit cannot be stored: {text}", context={"sqlstate": code}),
    )
