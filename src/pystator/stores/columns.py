"""Texts of the other structured columns, and what a change did to a context.

One form on every store that keeps text: patches ``{"set": {...}, "unset": [...]}``, timers
``{"id": [deadline, armed_version]}``, history states ``{"parent": ["leaf"]}``, actions a list.
``None`` is NULL: nothing was recorded.
"""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Final

from pystator.records import UNARCHIVE, Commit, Context, Patch, Timers
from pystator.stores.codec import LIMIT, copy, decode, encode
from pystator.stores.refusals import kind_of

__all__ = [
    "ENTITY_COLUMNS",
    "HISTORY_COLUMNS",
    "UNLIMITED",
    "apply_patch",
    "archived_after",
    "decode_actions",
    "decode_history",
    "decode_patch",
    "decode_payload",
    "decode_timers",
    "encode_actions",
    "encode_history",
    "encode_patch",
    "encode_payload",
    "encode_timers",
    "make_patch",
    "next_due",
    "state_since",
]

ENTITY_COLUMNS: Final = (
    "entity_id, machine_name, version, state, context, history, timers, machine_version,"
    " fingerprint, created_at, updated_at, commit_id, state_since, archived_at"
)
"""The columns of an entity, in the order of `Entity`."""

HISTORY_COLUMNS: Final = (
    'id, entity_id, machine_name, version, kind, "trigger", payload, now, context_patch,'
    " source_state, target_state, actions, success, error_code, error_message, event_id,"
    " request_hash, actor, occurred_at, duration_us, ref, commit_id, machine_version, fingerprint,"
    " recorded_at, trace"
)
"""The columns of a history row, in the order of `HistoryEntry`."""

UNLIMITED: Final = 2**62
"""Bytes a text may have that was stored already, perhaps with another limit."""

_SIMPLE: Final = frozenset({str, int, bool, NoneType})
_ABSENT: Final = object()


def make_patch(before: Context, after: Context) -> Patch | None:
    """What turns one context into the other; None when they are the same.

    Values are compared as stored: ``True`` is not ``1``, and ``Decimal("1.1")`` is not
    ``Decimal("1.10")``. Contexts are values: what both share is taken for unchanged.

    Raises:
        InvalidValueError: A changed value cannot be stored.
    """
    changed = {
        key: value for key, value in after.items() if not _same(before.get(key, _ABSENT), value)
    }
    removed = tuple(key for key in before if key not in after)
    return (changed, removed) if changed or removed else None


def _same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    kind = kind_of(new)
    if old is _ABSENT or kind_of(old) is not kind:
        return False
    return bool(old == new) if kind in _SIMPLE else encode(old) == encode(new)


def apply_patch(context: Context, patch: Patch | None) -> Context:
    """The context after the change; shares nothing with the patch, and values with the context."""
    if patch is None:
        return dict(context)
    changed, removed = patch
    after: Context = {key: value for key, value in context.items() if key not in removed}
    after.update(copy(dict(changed), limit=UNLIMITED))
    return after


def encode_payload(payload: Mapping[str, Any] | None, *, limit: int = LIMIT) -> str | None:
    """An event's payload.

    Raises:
        InvalidValueError: It cannot be stored.
    """
    return None if payload is None else encode(_plain(payload), limit=limit, name="payload")


def decode_payload(text: str | None) -> dict[str, Any] | None:
    """What `encode_payload` took."""
    return None if text is None else decode(text)


def encode_patch(patch: Patch | None, *, limit: int = LIMIT) -> str | None:
    """A context's patch.

    Raises:
        InvalidValueError: A value of it cannot be stored.
    """
    if patch is None:
        return None
    changed, removed = patch
    # Put together from parts, which are mostly flat.
    text = encode(_plain(changed), limit=limit, name="context_patch")
    gone = encode(list(removed), limit=limit, name="context_patch") if removed else "[]"
    return f'{{"set":{text},"unset":{gone}}}'


def decode_patch(text: str | None) -> Patch | None:
    """What `encode_patch` took."""
    if text is None:
        return None
    fields = decode(text)
    return fields["set"], tuple(fields["unset"])


def encode_actions(actions: Sequence[Mapping[str, Any]]) -> str | None:
    """Planned actions or outcomes; none are NULL.

    Raises:
        InvalidValueError: A parameter cannot be stored.
    """
    return encode([_plain(action) for action in actions], name="actions") if actions else None


def decode_actions(text: str | None) -> tuple[dict[str, Any], ...]:
    """What `encode_actions` took."""
    return () if text is None else tuple(decode(text))


def encode_timers(timers: Timers) -> str | None:
    """Armed timers; none are NULL."""
    return encode({key: list(value) for key, value in timers.items()}) if timers else None


def decode_timers(text: str | None) -> Timers:
    """What `encode_timers` took."""
    return {} if text is None else {key: (at, armed) for key, (at, armed) in decode(text).items()}


def encode_history(history: Mapping[str, list[str]] | None) -> str | None:
    """Recorded history states; none are NULL."""
    return encode(_plain(history)) if history else None


def decode_history(text: str | None) -> dict[str, list[str]] | None:
    """What `encode_history` took."""
    return None if text is None else decode(text)


def next_due(timers: Timers) -> int | None:
    """The earliest deadline."""
    return min(timers.values())[0] if timers else None


def state_since(commit: Commit) -> int | None:
    """When the entity came into the state the commit leaves it in; None: before the commit.

    A run of events may leave a state and come back: what counts is the last row that led elsewhere,
    or the first one of a new entity.
    """
    if len(commit.entries) > 1:
        for entry in reversed(commit.entries):
            if entry.target_state is not None and entry.target_state != entry.source_state:
                return entry.now
        if not commit.expected_version:
            return commit.entries[0].now
    return None if commit.state is None else commit.now


def archived_after(commit: Commit, before: int | None) -> int | None:
    """`Entity.archived_at` after the commit."""
    asked = commit.archived_at
    return before if asked is None else None if asked == UNARCHIVE else asked


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return fields if kind_of(fields) is dict else dict(fields)  # type: ignore[return-value] # it is
