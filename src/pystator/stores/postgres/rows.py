"""Rows of the PostgreSQL store in the wire's binary form: values <-> bytes <-> records.

Times are microseconds, as everywhere; the wire counts them from the year 2000. A text column of a
batch travels as one text, its parts joined by a control character that no stored text contains:
that is ten times as fast as making an array. A text that may contain anything - an error's message
- is escaped where it does.
"""

import json
import re
import struct
import threading
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.numeric import Int8BinaryLoader

from pystator.errors import InvalidValueError
from pystator.records import Entity, EntryKind, HistoryEntry
from pystator.stores.codec import decode
from pystator.stores.columns import (
    decode_actions,
    decode_history,
    decode_patch,
    decode_payload,
    decode_timers,
)

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext
    from psycopg.pq.abc import PGresult

__all__ = [
    "NEVER",
    "UNSTORABLE",
    "Row",
    "Value",
    "binary",
    "entity_of",
    "entry_of",
    "escaped",
    "from_time",
    "integers",
    "rows_of",
    "texts",
    "to_time",
]

Row = tuple[Any, ...]
"""A row of a result: values as Python has them, times as the wire counts them."""

Value = str | int | bytes | None
"""Of a column; bytes are in binary form already."""

UNSTORABLE: Final = (struct.error, UnicodeEncodeError, InvalidValueError)
"""What encoding a value raises that the database could not hold."""

_EPOCH: Final = 946_684_800_000_000
"""The wire's zero in microseconds since 1970."""

NEVER: Final = -(2**63)
"""``-infinity`` on the wire: before every moment."""

_BETWEEN: Final = "\x1f"
_NULL: Final = "\x1e"
_ESCAPED: Final = "\x01"

_pack: Final = struct.Struct("!q").pack


# Values -> bytes ----------------------------------------------------------------------------------


def to_time(microseconds: int) -> int:
    """A moment as the wire counts it."""
    return microseconds - _EPOCH


def binary(values: Sequence[Value]) -> list[bytes | None]:
    """One row.

    Raises:
        struct.error, UnicodeEncodeError: A value is none that PostgreSQL has.
    """
    row: list[bytes | None] = []
    for value in values:
        if isinstance(value, str):
            row.append(value.encode())
        else:
            row.append(_pack(value) if isinstance(value, int) else value)
    return row


def texts(values: Sequence[str | None]) -> bytes | None:
    """A column of texts and an empty one, for `string_to_array`; None when all are NULL.

    Raises:
        InvalidValueError: A text has one of the two characters that stand between texts.
        UnicodeEncodeError: A text is none.
    """
    if not values:
        return None
    missing = 0
    try:  # most columns have no NULL, and looking for one takes longer than joining
        joined = f"{_BETWEEN.join(values)}{_BETWEEN}"  # type: ignore[arg-type] # that is the question
    except TypeError:
        missing = values.count(None)
        if missing == len(values):
            return None
        joined = f"{_BETWEEN.join([_NULL if each is None else each for each in values])}{_BETWEEN}"
    if joined.count(_BETWEEN) != len(values) or joined.count(_NULL) != missing:
        raise InvalidValueError("a text has a control character that cannot be stored there")
    return joined.encode()


def integers(values: Sequence[int | None], kind: int) -> bytes | None:
    """A column of integers or times as an array; None when all are NULL.

    Args:
        values: The integers.
        kind: The OID of their type.

    Raises:
        struct.error: One is too large.
    """
    if not values:
        return None
    count = len(values)
    if values[0] is not None:
        try:
            plain = _packer(count)(*chain.from_iterable(zip(repeat(8), values, strict=False)))
        except struct.error:
            if None not in values:
                raise
        else:
            return _HEAD.pack(1, 0, kind, count, 1) + plain
    elif values.count(None) == count:
        return None
    parts = [_NO_VALUE if value is None else _EIGHT + _pack(value) for value in values]
    return _HEAD.pack(1, 1, kind, count, 1) + b"".join(parts)


_HEAD: Final = struct.Struct("!iiIii")
_EIGHT: Final = struct.pack("!i", 8)
_NO_VALUE: Final = struct.pack("!i", -1)


def _packer(count: int) -> Callable[..., bytes]:
    kept = _packers.get(count)
    if kept is None:
        if len(_packers) >= 256:
            _packers.clear()
        kept = _packers[count] = struct.Struct(f"!{'iq' * count}").pack
    return kept


_packers: Final[dict[int, Callable[..., bytes]]] = {}


def escaped(text: str | None) -> str | None:
    """A text that may contain anything, also what PostgreSQL has no place for."""
    if text is None or _AWKWARD.search(text) is None:
        return text
    return f"{_ESCAPED}{json.dumps(text)}"


_AWKWARD: Final = re.compile("[\x00\x01\x1e\x1f\ud800-\udfff]")


# Results -> records -------------------------------------------------------------------------------


class _Plain:
    """What psycopg's loaders ask of a connection; times are integers here."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)


_Plain.adapters.register_loader("timestamptz", Int8BinaryLoader)


class _OfThread(threading.local):
    """A transformer keeps the loaders it has found, for one thread at a time."""

    def __init__(self) -> None:
        self.transformer = Transformer(cast("AdaptContext", _Plain))


_of_thread: Final = _OfThread()


def rows_of(result: "PGresult") -> list[Row]:
    """The rows of a result, loaded in C: ten times as fast as value by value."""
    transformer = _of_thread.transformer
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def from_time(value: int) -> int:
    """A moment that the wire counted."""
    return value + _EPOCH


def entity_of(row: Row, at: int = 0) -> Entity:
    """A row with `ENTITY_COLUMNS` from this place on -> the entity."""
    history, timers = row[at + 5], row[at + 6]
    return Entity(
        row[at],
        row[at + 1],
        row[at + 2],
        row[at + 3],
        decode(row[at + 4]),
        None if history is None else decode_history(history),
        {} if timers is None else decode_timers(timers),
        row[at + 7],
        row[at + 8],
        row[at + 9] + _EPOCH,
        row[at + 10] + _EPOCH,
        row[at + 11],
        row[at + 12] + _EPOCH,
        None if row[at + 13] is None else row[at + 13] + _EPOCH,
    )


def entry_of(row: Row, at: int = 0) -> HistoryEntry:
    """A row with `HISTORY_COLUMNS` from this place on -> the entry."""
    number, entity_id, machine, version, kind, trigger, payload, now, patch, *rest = row[at:]
    source, target, actions, success, code, message, event_id, digest, actor, *rest = rest
    occurred_at, duration, ref, commit_id, machine_version, fingerprint, recorded_at, trace, *_ = (
        rest
    )
    return HistoryEntry(
        number,
        entity_id,
        machine,
        version,
        EntryKind(kind),
        trigger,
        decode_payload(payload),
        now + _EPOCH,
        decode_patch(patch),
        source,
        target,
        decode_actions(actions),
        success,
        code,
        _unescaped(message),
        event_id,
        digest,
        actor,
        None if occurred_at is None else occurred_at + _EPOCH,
        duration,
        ref,
        commit_id,
        machine_version,
        fingerprint,
        recorded_at + _EPOCH,
        trace,
    )


def _unescaped(text: str | None) -> str | None:
    if text is None or not text.startswith(_ESCAPED):
        return text
    plain: str = json.loads(text[1:])
    return plain
