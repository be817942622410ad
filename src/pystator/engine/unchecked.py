"""Long arithmetic without a check at each operator.

A region is arithmetic (no powers) over fields and numeric constants. When every field it reads is a
float or an integer below 2**30, no integer in it can outgrow `bits`, which is known beforehand; so
the fields are looked at once, and the operators run bare. Anything else, a division by zero or a
missing field included, takes the checked way, which knows what it means.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pystator.definition.expressions import MAX_BITS
from pystator.engine.frame import Evaluate, Frame
from pystator.engine.values import class_of
from pystator.records import Context, record

__all__ = [
    "LOW",
    "PLAIN",
    "SMALL",
    "Region",
    "combined",
    "field_region",
    "guarded",
    "number_region",
]

SMALL = 1 << 30
"""Integers below it are one machine word to Python: products of two are far from any limit."""

LOW = -SMALL
"""The same on the other side of zero."""

PLAIN: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    kind: getattr(operator, name)
    for kind, name in {
        ast.Add: "add",
        ast.Sub: "sub",
        ast.Mult: "mul",
        ast.Div: "truediv",
        ast.FloorDiv: "floordiv",
        ast.Mod: "mod",
    }.items()
}
"""What the operators do to plain numbers."""

_WORTH_IT = 3
"""Operators from which on looking at the fields first is quicker."""


@record
class Region:
    """A part of an expression that can run bare.

    Attributes:
        run: Its closure, without checks.
        names: Fields it reads.
        bits: No integer in it has more, as long as the fields are below 2**30.
        operators: How many there are.
        name: Of a field alone.
        constant: Of a constant alone.
    """

    run: Evaluate
    names: frozenset[str]
    bits: int
    operators: int = 0
    name: str | None = None
    constant: float | None = None


def field_region(name: str) -> Region:
    """A field by its name."""
    return Region(lambda context, _frame: context[name], frozenset([name]), 30, name=name)


def number_region(value: object) -> Region | None:
    """A constant, if it is a number."""
    if type(value) is float or (type(value) is int and value.bit_length() <= 64):
        number = value
        bits = 0 if isinstance(number, float) else number.bit_length()
        return Region(lambda _context, _frame: number, frozenset(), bits, constant=number)
    return None


def combined(kind: type[ast.operator], a: Region | None, b: Region | None) -> Region | None:
    """The region of an operator over two regions; None when it has to be checked."""
    plain = PLAIN.get(kind)
    if a is None or b is None or plain is None:
        return None
    bits = a.bits + b.bits if kind is ast.Mult else max(a.bits, b.bits) + 1
    if bits > MAX_BITS:
        return None
    return Region(_bare(plain, a, b), a.names | b.names, bits, a.operators + b.operators + 1)


def _bare(plain: Callable[[Any, Any], Any], a: Region, b: Region) -> Evaluate:
    left, right, first, second, number = a.run, b.run, a.name, b.name, b.constant
    if first is not None and second is not None:
        return lambda context, _frame: plain(context[first], context[second])
    if first is not None and number is not None:
        return lambda context, _frame: plain(context[first], number)
    if second is not None:
        return lambda context, frame: plain(left(context, frame), context[second])
    if number is not None:
        return lambda context, frame: plain(left(context, frame), number)
    return lambda context, frame: plain(left(context, frame), right(context, frame))


def guarded(region: Region | None, checked: Evaluate) -> Evaluate:
    """The bare way for fields that fit, the checked way for all others and for short parts."""
    if region is None or region.operators < _WORTH_IT or not region.names:
        return checked
    bare = region.run
    names = sorted(region.names)
    values: Callable[[Context], Iterable[Any]] = operator.itemgetter(*names, names[0])  # a tuple

    def run(context: Context, frame: Frame) -> Any:
        try:
            for value in values(context):
                kind = class_of(value)
                if not (kind is float or (kind is int and LOW < value < SMALL)):
                    return checked(context, frame)
            return bare(context, frame)
        except (KeyError, ArithmeticError):
            return checked(context, frame)

    return run
