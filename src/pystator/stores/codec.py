"""The context codec: what a store can hold, and its text.

Laws:

- A value comes back equal and of the same type, from every store:
  ``decode(encode(v)) == copy(v) == v``.
- What cannot do so is refused before anything is written, with the path to it. Nothing is bent
  silently.
- `copy` and `encode` give the same verdict, so that the memory store refuses what a database would.

The text is JSON. What JSON has no word for is a tag, ``{"$t": ["decimal", "1.10"]}``; a dictionary
of the user's that has a key ``$t`` is wrapped, ``{"$t": ["dict", [[key, value], ...]]}``.

Kept:
    dict with string keys, list, str, bool, None, int up to 4,300 digits, finite float, finite
    Decimal, datetime, date, UUID, bytes.
Normalised:
    A subclass is stored as its base (``StrEnum`` -> str, ``IntEnum`` -> int, ``defaultdict`` ->
    dict) and comes back equal to what was given. A datetime of a zone that is neither UTC, nor a
    fixed offset, nor a `zoneinfo.ZoneInfo` comes back at the fixed offset it had: the same moment.
Refused:
    tuples, sets, non-string keys, lone surrogates, NaN and infinities, cycles, more than 100
    levels, longer integers, every other object, more than 1,000,000 encoded bytes.
"""

import json
from collections.abc import Callable
from json import encoder as _json
from types import NoneType
from typing import Any, Final

from pystator.errors import InvalidValueError
from pystator.stores.refusals import MAX_DEPTH, MAX_INT, Refusal, explain, kind_of
from pystator.stores.tags import TAG, identical, tag, untag

__all__ = [
    "LIMIT",
    "SURE",
    "WIDE",
    "copy",
    "decode",
    "encode",
    "freeze",
    "is_flat",
    "rewrite",
    "thaw",
]

LIMIT: Final = 1_000_000
"""Bytes of UTF-8 that an encoded value may have, by default."""

_WORD: Final = 1 << 63
_LONG: Final = 1_024
WIDE: Final = 64
"""Items of a flat dictionary, at most."""

SURE: Final = WIDE * 6 * (_LONG + WIDE + 2)
"""No flat dictionary of at most 64 known keys and short strings encodes to more bytes than this."""

_KEPT: Final = frozenset({str, bool, NoneType})

_known_keys: set[str] = set()
"""Keys met before: exact strings of at most 64 ASCII characters, other than the tag's."""


def encode(value: Any, *, limit: int = LIMIT, name: str = "context") -> str:
    """A value -> its text.

    Args:
        value: Any value the module's table keeps.
        limit: Bytes of UTF-8 that the text may have.
        name: What the value is, as the first part of the path in an error.

    Raises:
        InvalidValueError: It cannot be stored; message and ``context["path"]`` say what and where.
    """
    try:
        text = _dumps(value if is_flat(value) else _tagged(value, 0, [limit]))
        size = len(text) if text.isascii() else len(text.encode())
    except (Refusal, ValueError):  # ValueError: NaN, infinities, lone surrogates
        raise explain(value, name, limit) from None
    if size > limit:
        raise InvalidValueError(
            f"{name}: {size:,} bytes when encoded, more than the limit of {limit:,}; "
            "keep large data elsewhere and store its key",
            context={"path": name, "reason": "too_large", "size": size, "limit": limit},
        )
    return text


def decode(text: str) -> Any:
    """The text of a value -> the value, its own.

    Raises:
        InvalidValueError: The text was not made by `encode`.
    """
    try:
        value, end = (_tagged_json if _TAG_TEXT in text else _plain_json).raw_decode(text)
        if end != len(text):
            raise ValueError("there is text after the value")  # noqa: TRY301 - one answer to all
    except (ValueError, TypeError, ArithmeticError, RecursionError, LookupError) as error:
        raise InvalidValueError(
            f"the stored text is not a value of the context codec: {error}",
            context={"reason": "not_codec_text", "text": text[:100]},
        ) from error
    return value


def copy(value: Any, *, limit: int = LIMIT, name: str = "context") -> Any:
    """A deep copy, exactly as `encode` and `decode` would give it, or the same refusal.

    Args:
        value: Any value the module's table keeps.
        limit: Bytes of UTF-8 that the encoded value may have.
        name: What the value is, as the first part of the path in an error.

    Raises:
        InvalidValueError: As `encode`.
    """
    return freeze(value, limit=limit, name=name)[0]


def freeze(value: Any, *, limit: int = LIMIT, name: str = "context") -> tuple[Any, bool]:
    """`copy`, and whether the copy is a flat dictionary, for `thaw`."""
    if limit >= SURE:
        if is_flat(value):
            return value.copy(), True
        try:
            return _copied(value, 0, [limit]), False
        except Refusal:
            pass  # too unusual for the fast way; the codec decides
    return decode(encode(value, limit=limit, name=name)), False


def thaw(value: Any, *, flat: bool) -> Any:
    """A deep copy of what `freeze` gave, without checking it again."""
    return value.copy() if flat else _thawed(value)


# Flat dictionaries: most contexts are -------------------------------------------------------------


def is_flat(value: Any) -> bool:  # noqa: C901, PLR0911 - the hot path is one loop without calls
    """A small dictionary of short scalars, which needs neither tags nor a size check."""
    if kind_of(value) is not dict or len(value) > WIDE:
        return False
    known = _known_keys
    for key, item in value.items():
        if key not in known and not _learn(key):
            return False
        kind = kind_of(item)
        if kind is str:
            if not item.isascii() or len(item) > _LONG:
                return False
        elif kind is int:
            if not -_WORD < item < _WORD:
                return False
        elif kind is float:
            if item - item != 0.0:  # NaN and infinities
                return False
        elif item is not None and kind is not bool:
            return False
    return True


def _learn(key: Any) -> bool:
    if type(key) is not str or len(key) > WIDE or not key.isascii() or key == TAG:
        return False
    if len(_known_keys) >= 4_096:
        _known_keys.clear()
    _known_keys.add(key)
    return True


# Copies -------------------------------------------------------------------------------------------


def _copied(value: Any, depth: int, room: list[int]) -> Any:
    """A copy of the usual; `Refusal` at the first thing that needs the codec's judgement.

    ``room`` is what is left of the size limit, counted from above: six bytes for a character, 32
    for anything else.
    """
    kind = kind_of(value)
    if kind is str:
        room[0] -= 6 * len(value)
        if room[0] < 0 or not value.isascii():
            raise Refusal
        return value
    if kind is int:
        if not -_WORD < value < _WORD:
            raise Refusal
        return value
    if kind is bool or value is None:
        return value
    if kind is dict or kind is list:
        return _copied_container(value, depth, room)
    if kind is float and value - value == 0.0:
        return value
    if identical(value):
        room[0] -= 256
        return value
    raise Refusal


def _copied_container(value: Any, depth: int, room: list[int]) -> Any:
    room[0] -= 32 * len(value) + 2
    if depth > 30 or room[0] < 0:
        raise Refusal
    depth += 1
    if kind_of(value) is list:
        return [_copied(item, depth, room) for item in value]
    known = _known_keys
    copied: dict[str, Any] = {}
    for key, item in value.items():
        if key not in known and not _learn(key):
            raise Refusal
        room[0] -= 6 * WIDE
        copied[key] = _copied(item, depth, room)
    return copied


def _thawed(value: Any) -> Any:
    kind = kind_of(value)
    if kind is dict:
        return {
            key: _thawed(item) if type(item) is dict or type(item) is list else item
            for key, item in value.items()
        }
    if kind is list:
        return [_thawed(item) for item in value]
    return value


# Text ---------------------------------------------------------------------------------------------


def _tagged(value: Any, depth: int, room: list[int]) -> Any:  # noqa: PLR0911 - one line a type
    """The value as JSON can say it: itself where nothing had to be tagged."""
    kind = kind_of(value)
    if kind in _KEPT or kind is float:
        return value
    if kind is int:
        if not -MAX_INT < value < MAX_INT:
            raise Refusal
        return value
    if kind is dict or issubclass(kind, dict):
        return _tagged_dict(value, depth, room)
    if kind is list or issubclass(kind, list):
        return _tagged_list(value, depth, room)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return _tagged(int.__int__(value), depth, room)
    if issubclass(kind, float):
        return float.__float__(value)
    return {TAG: tag(value)}


def _tagged_dict(value: dict[Any, Any], depth: int, room: list[int]) -> Any:
    _enter(len(value), depth, room)
    plain: dict[str, Any] | None = None
    for key, item in value.items():
        if type(key) is not str:
            if not isinstance(key, str):
                raise Refusal
            plain = plain or dict(value)
        if type(item) in _KEPT:
            continue
        tagged = _tagged(item, depth + 1, room)
        if tagged is not item:
            if plain is None:
                plain = dict(value)
            plain[key] = tagged
    if plain is None:
        plain = value
    if TAG in plain:
        return {TAG: ["dict", [[key, item] for key, item in plain.items()]]}
    return plain


def _tagged_list(value: list[Any], depth: int, room: list[int]) -> list[Any]:
    _enter(len(value), depth, room)
    return [item if type(item) in _KEPT else _tagged(item, depth + 1, room) for item in value]


def _enter(size: int, depth: int, room: list[int]) -> None:
    """An item takes two bytes at least: ends cycles, and branches shared again and again."""
    room[0] -= 2 * size
    if depth >= MAX_DEPTH or room[0] < 0:
        raise Refusal


def _untagged(value: dict[str, Any]) -> Any:
    words = value.get(TAG)
    return value if words is None else untag(words)


_TAG_TEXT: Final = f'"{TAG}"'
_plain_json: Final = json.JSONDecoder()
_tagged_json: Final = json.JSONDecoder(object_hook=_untagged)
_json_encoder: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


def _fast_dumps() -> Callable[[Any], str]:
    """The C encoder, kept: ``JSONEncoder.encode`` makes one a call, which doubles its time."""
    make: Callable[..., Callable[[Any, int], tuple[str, ...]]] | None
    make = getattr(_json, "c_make_encoder", None)
    if make is None:
        return _json_encoder.encode
    escape = _json.encode_basestring
    encode_with = make(None, _json_encoder.default, escape, None, ":", ",", False, False, False)
    join = "".join
    return lambda value: join(encode_with(value, 0))


_dumps: Final = _fast_dumps()

rewrite: Final = _dumps
"""What ``json.loads`` made of a part of an encoded text -> that part's text, as it was."""
