"""Values as expressions and effects see them: kinds in words, sizes, and the place of an error."""

import ast
import datetime as dt
from collections.abc import Callable
from decimal import Context as Arithmetic
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any, TypeGuard

from pystator.definition.expressions import MAX_BITS
from pystator.errors import EvaluationError

__all__ = [
    "DECIMALS",
    "MAX_SIZE",
    "TIMES",
    "Place",
    "as_decimal",
    "class_of",
    "copied",
    "is_big",
    "is_list",
    "is_object",
    "kind",
    "lookup",
    "size",
]

class_of: Callable[[object], Any] = type
"""`type`, whose answer the type checkers do not follow."""

lookup: Callable[..., Any] = vars(dict)["get"]
"""`dict.get` itself: also of a subclass it runs no code of the subclass."""

MAX_SIZE = 65_536
"""Characters of a text, items of a list, values in an object that a step makes."""

MAX_LEVELS = 64
"""Levels of a value that an effect writes."""

DECIMALS = Arithmetic(prec=28, traps=[InvalidOperation, DivisionByZero, Overflow])
"""How Decimals are calculated, whatever the calling thread has set: 28 digits, halves to even."""

TIMES = (dt.datetime, dt.date, dt.time, dt.timedelta)

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float, Decimal), "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (dict, "an object"),
    ((dt.datetime, dt.date), "a time"),
    (dt.timedelta, "a duration"),
)


def kind(value: object) -> str:
    """The value's kind in words: ``a number``, ``null``."""
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return f"a {type(value).__name__}"


class Place:
    """Where something is evaluated: makes the errors of this place.

    Attributes:
        text: The whole expression, check or effect, as it is shown.
        node: The part of the expression; None for all of it.
    """

    __slots__ = ("node", "text")

    def __init__(self, text: str, node: ast.expr | None = None) -> None:
        self.text = text
        self.node = node

    def error(self, message: str) -> EvaluationError:
        """An error here."""
        where = f"`{self.text}`"
        context: dict[str, object] = {"expression": self.text}
        if self.node is not None:
            part = ast.unparse(self.node)
            context["offset"] = self.node.col_offset
            if part.replace(" ", "") != self.text.replace(" ", ""):
                where = f"`{part}` of {where}"
        return EvaluationError(f"{message}, in {where}", context=context)


def is_big(value: int) -> bool:
    """The integer is beyond what expressions work with."""
    return value.bit_length() > MAX_BITS


def as_decimal(value: float) -> Decimal:
    """A float as it is printed: 1.1 -> Decimal("1.1")."""
    return Decimal(repr(value))


def is_list(value: object) -> TypeGuard[list[Any]]:
    """A list; a tuple is one, too."""
    return isinstance(value, list | tuple)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """An object: a dict."""
    return isinstance(value, dict)


def size(value: object, limit: int, levels: int = MAX_LEVELS) -> int:
    """How many values there are in a list or object, counting what is shared each time.

    Args:
        value: Counts itself, too.
        limit: Counting ends soon after it.
        levels: Levels a value may have; one more makes the answer ``limit + 1``.
    """
    count = 1
    level: list[Any] = [value]
    for _ in range(levels):
        below: list[Any] = []
        for item in level:
            inner: Any = item.values() if is_object(item) else item
            count += len(inner)
            if count > limit:
                return count
            below.extend([part for part in inner if is_object(part) or is_list(part)])
        if not below:
            return count
        level = below
    return limit + 1


def copied(value: Any) -> Callable[[], Any]:
    """How to make one more copy of plain data: a machine's literals are never handed out."""
    if is_object(value):
        parts = {key: copied(inner) for key, inner in value.items()}
        return lambda: {key: make() for key, make in parts.items()}
    if is_list(value):
        items = [copied(inner) for inner in value]
        return lambda: [make() for make in items]
    return lambda: value
