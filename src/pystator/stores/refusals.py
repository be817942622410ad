"""Why a value cannot be stored, and where it is: the slow half of the context codec.

The codec's fast paths only notice *that* something is wrong. This module walks the value again,
with the path in hand, and says what to do about it.
"""

import math
from collections.abc import Callable
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
    walk = _Walk(limit)
    finding = walk.look(value)
    if finding is None:
        finding = "changed", "it changed while it was being stored; give the store its own copy"
    path = _path(name, walk.above)
    return InvalidValueError(f"{path}: {finding[1]}", context={"path": path, "reason": finding[0]})


_Finding = tuple[str, str]
"""Reason and message."""


class _Walk:
    """A walk to the first value that cannot be stored; ``above`` is then the way to it.

    Attributes:
        above: The keys and indexes on the way.
        within: Identities of the containers on the way.
        room: What is left of the size limit; an item takes two bytes at least.
    """

    def __init__(self, limit: int) -> None:
        self.above: list[Any] = []
        self.within: set[int] = set()
        self.room = limit

    def look(self, value: Any) -> _Finding | None:
        """What is wrong with the value, or with something in it."""
        if issubclass(kind_of(value), dict | list):
            return self._into(value)
        if isinstance(value, str):
            return _in_text(value)
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int):
            fits = -MAX_INT < int(value) < MAX_INT
            return (
                None
                if fits
                else ("integer", "an integer of more than 4,300 digits cannot be stored")
            )
        if isinstance(value, float):
            return None if math.isfinite(value) else _not_finite(value)
        return _in_object(value)

    def _into(self, value: Any) -> _Finding | None:
        if id(value) in self.within:
            return "cycle", "the value contains itself"
        if len(self.above) >= MAX_DEPTH:
            return "too_deep", f"more than {MAX_DEPTH} containers within each other"
        self.room -= 2 * len(value)
        if self.room < 0:
            return "too_large", "the value has more items than the size limit allows"
        self.within.add(id(value))
        keyed = issubclass(kind_of(value), dict)
        for key, item in value.items() if keyed else enumerate(value):
            finding = _in_key(key) if keyed else None
            if finding is not None and finding[0] == "key":
                return finding
            self.above.append(key)
            finding = finding or self.look(item)
            if finding is not None:
                return finding
            self.above.pop()
        self.within.remove(id(value))
        return None


def _path(name: str, above: list[Any]) -> str:
    path = name
    for key in above:
        plain = isinstance(key, str) and key.isidentifier() and len(key) <= 60
        path += f".{key}" if plain else f"[{_shown(key)}]"
    return path


def _in_key(key: Any) -> _Finding | None:
    if not isinstance(key, str):
        return "key", f"the key {_shown(key)} is of type {_name(key)}; keys are strings"
    finding = _in_text(key)
    return finding and (finding[0], f"in the key, {finding[1]}")


def _in_text(value: str) -> _Finding | None:
    try:
        str.encode(value)
    except UnicodeEncodeError as error:
        return "surrogate", (
            f"the text has a lone surrogate at character {error.start}, which is no Unicode; "
            "decode its source with errors='replace'"
        )
    return None


def _not_finite(value: Any) -> _Finding:
    return "not_finite", f"{value!r} is no number a store can hold; use null"


def _in_object(value: Any) -> _Finding | None:
    from pystator.stores.tags import tag  # tags raise the refusals of this module

    if isinstance(value, tuple):
        return "tuple", "a tuple cannot be stored, it would come back as a list; use a list"
    if isinstance(value, set | frozenset):
        return "set", "a set cannot be stored; use a sorted list"
    try:
        tag(value)
    except Refusal:
        if _name(value) == "decimal.Decimal":
            return _not_finite(value)
        return "object", f"{_shown(value)} of type {_name(value)} cannot be stored{_advice(value)}"
    return None


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
