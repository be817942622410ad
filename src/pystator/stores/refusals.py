"""Why a value cannot be stored, and where it is: the slow half of the context codec.

The codec's fast paths only notice *that* something is wrong. This module walks the value again,
with the path in hand, and says what to do about it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from pystator.errors import InvalidValueError

__all__ = ["MAX_DEPTH", "MAX_INT", "Refusal", "explain", "kind_of"]

MAX_DEPTH: Final = 100
"""Containers within containers."""

MAX_INT: Final = 10**4_300
"""The first integer with more digits than Python reads from a text by default."""


kind_of: Final[Callable[[Any], type[object]]] = type
"""``type``, which type checkers would otherwise take for a way to narrow."""


class Refusal(Exception):  # noqa: N818 - a signal inside the codec, never an error of a user
    """The value cannot be stored, or not by the fast way."""


def explain(value: Any, name: str, limit: int) -> InvalidValueError:
    """The error for a value that the codec refused.

    Args:
        value: The whole value.
        name: The first part of the path.
        limit: Bytes it may have.
    """
    for path, reason, message in _findings(value, name, [], [limit]):
        return InvalidValueError(
            f"{path}: {message}",
            context={"path": path, "reason": reason},
        )
    return InvalidValueError(
        f"{name}: it changed while it was being stored; give the store its own copy",
        context={"path": name, "reason": "changed"},
    )


_Finding = tuple[str, str, str]


def _findings(value: Any, path: str, above: list[int], room: list[int]) -> Iterator[_Finding]:
    if issubclass(kind_of(value), dict | list):
        yield from _in_container(value, path, above, room)
    elif isinstance(value, str):
        yield from _in_text(value, path)
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if not -MAX_INT < int(value) < MAX_INT:
            yield path, "integer", "an integer of more than 4,300 digits cannot be stored"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, "not_finite", f"{value!r} is no number a store can hold; use null"
    else:
        yield from _in_object(value, path)


def _in_text(value: str, path: str) -> Iterator[_Finding]:
    try:
        str.encode(value)
    except UnicodeEncodeError as error:
        message = (
            f"the text has a lone surrogate at character {error.start}, which is no Unicode; "
            "decode its source with errors='replace'"
        )
        yield path, "surrogate", message


def _in_container(
    value: dict[Any, Any] | list[Any], path: str, above: list[int], room: list[int]
) -> Iterator[_Finding]:
    if id(value) in above:
        yield path, "cycle", "the value contains itself"
        return
    if len(above) >= MAX_DEPTH:
        yield path, "too_deep", f"more than {MAX_DEPTH} containers within each other"
        return
    room[0] -= 2 * len(value)
    if room[0] < 0:
        yield path, "too_large", "the value has more items than the size limit allows"
        return
    above.append(id(value))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _findings(item, f"{path}[{index}]", above, room)
    else:
        for key, item in value.items():
            yield from _in_item(key, item, path, above, room)
    above.pop()


def _in_item(
    key: Any, item: Any, path: str, above: list[int], room: list[int]
) -> Iterator[_Finding]:
    if not isinstance(key, str):
        message = f"the key {_shown(key)} is of type {_name(key)}; keys are strings"
        yield path, "key", message
        return
    where = f"{path}.{key}" if key.isidentifier() else f"{path}[{_shown(key)}]"
    for _, reason, message in _in_text(key, path):
        yield where, reason, f"in the key, {message}"
        return
    yield from _findings(item, where, above, room)


def _in_object(value: Any, path: str) -> Iterator[_Finding]:
    from pystator.stores.tags import tag  # noqa: PLC0415 - tags raise the refusals of this module

    if isinstance(value, tuple):
        yield path, "tuple", "a tuple cannot be stored, it would come back as a list; use a list"
        return
    if isinstance(value, set | frozenset):
        yield path, "set", "a set cannot be stored; use a sorted list"
        return
    try:
        tag(value)
    except Refusal:
        if _name(value) == "decimal.Decimal":
            yield path, "not_finite", f"{value!r} is no number a store can hold; use null"
            return
        message = f"{_shown(value)} of type {_name(value)} cannot be stored{_advice(value)}"
        yield path, "object", message


def _advice(value: Any) -> str:
    name = _name(value)
    if name.endswith("timedelta"):
        return "; store its total_seconds()"
    if hasattr(value, "model_dump"):
        return "; store its model_dump(mode='json')"
    if hasattr(value, "__dataclass_fields__"):
        return "; store its dataclasses.asdict()"
    if hasattr(value, "_value_"):
        return "; store its value"
    return "; use strings, numbers, booleans, null, lists and dictionaries"


def _name(value: Any) -> str:
    name, module = kind_of(value).__qualname__, kind_of(value).__module__
    return name if module == "builtins" else f"{module}.{name}"


def _shown(value: Any) -> str:
    try:
        text = ascii(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ of a user's object must not hide the refusal
        return "the value"
    return text if len(text) <= 60 else f"{text[:57]}..."
