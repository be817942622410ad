"""Rows of the PostgreSQL store in the wire's binary form: values <-> bytes <-> records.

Times are microseconds, as everywhere; the wire counts them from the year 2000. A text column of a
batch travels as one text, its parts joined by a control character that no stored text contains:
that is ten times as fast as making an array. A text that may contain anything - an error's message
- is escaped where it does.
"""

import json
import re
import struct
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any, Final

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
from pystator.stores.postgres_wire import Row

__all__ = [
    "ENTITY_COLUMNS",
    "HISTORY_COLUMNS",
    "UNSTORABLE",
    "binary",
    "entity_of",
    "entry_of",
    "escaped",
    "from_time",
    "integers",
    "number",
    "texts",
    "to_time",
]

ENTITY_COLUMNS: Final = (
    "entity_id, machine_name, version, state, context, history, timers, machine_version,"
    " fingerprint, created_at, updated_at, commit_id, state_since"
)

HISTORY_COLUMNS: Final = (
    'id, entity_id, machine_name, version, kind, "trigger", payload, now, context_patch,'
    " source_state, target_state, actions, success, error_code, error_message, event_id,"
    " request_hash, actor, occurred_at, duration_us, ref, commit_id, machine_version, fingerprint,"
    " recorded_at"
)

Value = str | int | bytes | None
"""Of a column; bytes are in binary form already."""

UNSTORABLE: Final = (struct.error, UnicodeEncodeError, InvalidValueError)
"""What encoding a value raises that the database could not hold."""

_EPOCH: Final = 946_684_800_000_000
"""The wire's zero in microseconds since 1970."""

_BETWEEN: Final = "\x1f"
_NULL: Final = "\x1e"
_ESCAPED: Final = "\x01"

_pack: Final = struct.Struct("!q").pack
_unpack: Final = struct.Struct("!q").unpack


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
    missing = values.count(None)
    if missing == len(values):
        return None
    parts: Any = [_NULL if value is None else value for value in values] if missing else values
    joined = f"{_BETWEEN.join(parts)}{_BETWEEN}"
    if joined.count(_BETWEEN) != len(values) or (joined.count(_NULL) != missing):
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
    missing = values.count(None)
    count = len(values)
    if missing == count:
        return None
    head = _HEAD.pack(1, 1 if missing else 0, kind, count, 1)
    if missing:
        return head + b"".join(
            [_NO_VALUE if value is None else _EIGHT + _pack(value) for value in values]
        )
    return head + _packer(count)(*chain.from_iterable(zip(repeat(8), values, strict=False)))


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


# Bytes -> records ---------------------------------------------------------------------------------


def number(value: bytes | None) -> int:
    """A bigint."""
    found: int = _unpack(value)[0]  # type: ignore[arg-type] # where it can be NULL, the caller looks
    return found


def from_time(value: bytes | None) -> int:
    """A timestamptz."""
    return number(value) + _EPOCH


def entity_of(row: Row) -> Entity:
    """A row of `ENTITY_COLUMNS` -> the entity."""
    return Entity(
        _text(row[0]),
        _text(row[1]),
        number(row[2]),
        _text(row[3]),
        decode(_text(row[4])),
        None if row[5] is None else decode_history(_text(row[5])),
        {} if row[6] is None else decode_timers(_text(row[6])),
        _text(row[7]),
        _text(row[8]),
        from_time(row[9]),
        from_time(row[10]),
        _text(row[11]),
        from_time(row[12]),
    )


def entry_of(row: Row) -> HistoryEntry:
    """A row of `HISTORY_COLUMNS` -> the entry."""
    return HistoryEntry(
        number(row[0]),
        _text(row[1]),
        _text(row[2]),
        number(row[3]),
        EntryKind(_text(row[4])),
        _maybe(row[5]),
        decode_payload(_maybe(row[6])),
        from_time(row[7]),
        decode_patch(_maybe(row[8])),
        _maybe(row[9]),
        _maybe(row[10]),
        decode_actions(_maybe(row[11])),
        row[12] == b"\x01",
        _maybe(row[13]),
        _unescaped(_maybe(row[14])),
        _maybe(row[15]),
        _maybe(row[16]),
        _maybe(row[17]),
        None if row[18] is None else from_time(row[18]),
        None if row[19] is None else number(row[19]),
        None if row[20] is None else number(row[20]),
        _text(row[21]),
        _text(row[22]),
        _text(row[23]),
        from_time(row[24]),
    )


def _text(value: bytes | None) -> str:
    return value.decode()  # type: ignore[union-attr] # these columns are never NULL


def _maybe(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _unescaped(text: str | None) -> str | None:
    if text is None or not text.startswith(_ESCAPED):
        return text
    plain: str = json.loads(text[1:])
    return plain
