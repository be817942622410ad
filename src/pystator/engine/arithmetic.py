"""Arithmetic of expressions: what it means, its limits, and closures for the shapes that occur.

- Null is not a number: an error that says how to give a default.
- An integer has at most `MAX_BITS` bits, at any moment: sizes are checked before multiplying and raising to a power.
- With a Decimal, a literal is a Decimal of its own text and a float one of its ``repr``; 28 digits, halves to even.
- ``+`` also joins texts and lists, up to `MAX_SIZE`; ``-`` also gives the duration between two times.

A closure's quick path takes floats and integers below 2**30, whose results cannot be too big.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from pystator.definition.expressions import MAX_BITS
from pystator.engine.comparisons import paired
from pystator.engine.frame import Evaluate, Frame
from pystator.engine.values import DECIMALS, MAX_SIZE, Place, as_decimal, is_big, kind
from pystator.records import Context

__all__ = ["LOW", "SMALL", "Calculate", "arithmetic", "calculation", "exact_of", "negative"]

Calculate = Callable[[Any, Any], Any]
"""``(a, b)`` -> the result, or an error of its place."""

SMALL = 1 << 30
"""Integers below it are one machine word to Python: products of two are far from any limit."""

LOW = -SMALL
"""The same on the other side of zero."""

_PLAIN: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_DECIMAL: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: DECIMALS.add,
    ast.Sub: DECIMALS.subtract,
    ast.Mult: DECIMALS.multiply,
    ast.Div: DECIMALS.divide,
    ast.FloorDiv: DECIMALS.divide_int,
    ast.Mod: DECIMALS.remainder,
}
_NUMBER = (int, float, Decimal)
_MAX_EXPONENT = 100_000
"""Of a Decimal's power."""


def calculation(
    kind_: type[ast.operator],
    place: Place,
    left_exact: Decimal | None = None,
    right_exact: Decimal | None = None,
) -> Calculate:
    """The meaning of an operator, for all values.

    Args:
        left_exact, right_exact: The text of that side, when it is a fractional literal.
    """

    def calculate(a: Any, b: Any) -> Any:
        try:
            if isinstance(a, _NUMBER) and isinstance(b, _NUMBER):
                if isinstance(a, Decimal) or isinstance(b, Decimal):
                    if left_exact is not None:
                        a = left_exact
                    a, b = paired(a, b, right_exact)
                    return _decimal(kind_, a, b, place)
                return _number(kind_, a, b, place)
            if isinstance(a, date | timedelta) or isinstance(b, date | timedelta):
                return _time(kind_, a, b, place)
        except ZeroDivisionError:
            raise place.error("division by zero") from None
        except (ArithmeticError, ValueError):
            raise place.error("the result is not a number that can be kept") from None
        if kind_ is ast.Add:
            return _joined(a, b, place)
        raise _no_number(a, b, place)

    return calculate


def _no_number(a: Any, b: Any, place: Place) -> Exception:
    if a is None or b is None:
        node = place.node
        side = (node.left if a is None else node.right) if isinstance(node, ast.BinOp) else node
        name = ast.unparse(side)
        return place.error(f"{name} is null: give it a default, e.g. coalesce({name}, 0)")
    return place.error(f"cannot calculate with {kind(a)} and {kind(b)}")


def _too_big(place: Place) -> Exception:
    return place.error(f"an integer has at most {MAX_BITS} bits")


def _number(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Any:
    """Integers and floats."""
    if not (isinstance(a, int) and isinstance(b, int)):
        if kind_ is ast.Pow:
            result = a**b
            if isinstance(result, complex):
                raise place.error("a negative number has no such root")
            return result
        return _PLAIN[kind_](a, b)
    if is_big(a) or is_big(b):
        raise _too_big(place)
    if kind_ is ast.Pow:
        if b > 0 and a not in {-1, 0, 1} and (a.bit_length() - 1) * b >= MAX_BITS:
            raise _too_big(place)
        result = a**b
    elif kind_ is ast.Mult and a.bit_length() + b.bit_length() > MAX_BITS + 1:
        raise _too_big(place)
    else:
        result = _PLAIN[kind_](a, b)
    if isinstance(result, int) and is_big(result):
        raise _too_big(place)
    return result


def _decimal(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Decimal:
    """At least one Decimal."""
    for side in (a, b):
        if isinstance(side, int) and is_big(side):
            raise _too_big(place)
    a = a if isinstance(a, Decimal) else Decimal(a)
    b = b if isinstance(b, Decimal) else Decimal(b)
    if kind_ is not ast.Pow:
        return _DECIMAL[kind_](a, b)
    if abs(b) > _MAX_EXPONENT:
        raise place.error(f"the exponent of a Decimal is at most {_MAX_EXPONENT}")
    return DECIMALS.power(DECIMALS.plus(a), DECIMALS.plus(b))


def _time(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Any:
    """Times and durations."""
    if a is None or b is None:
        raise _no_number(a, b, place)
    if isinstance(a, Decimal):
        a = float(a)
    if isinstance(b, Decimal):
        b = float(b)
    try:
        if kind_ is not ast.Pow:
            return _PLAIN[kind_](a, b)
    except TypeError:
        pass
    hint = ""
    if isinstance(a, date) and isinstance(b, date):
        hint = ": both need a time zone, or neither"
    elif isinstance(a, _NUMBER) or isinstance(b, _NUMBER):
        hint = ": make a duration of a number with seconds(), hours(), days()"
    raise place.error(f"cannot calculate with {kind(a)} and {kind(b)}{hint}")


def _joined(a: Any, b: Any, place: Place) -> Any:
    """Texts and lists."""
    if isinstance(a, str) and isinstance(b, str):
        if len(a) + len(b) > MAX_SIZE:
            raise place.error(f"a text has at most {MAX_SIZE:,} characters")
        return a + b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) + len(b) > MAX_SIZE:
            raise place.error(f"a list has at most {MAX_SIZE:,} items")
        return [*a, *b]
    if a is not None and b is not None and (isinstance(a, str) or isinstance(b, str)):
        raise place.error(f"cannot join {kind(a)} and {kind(b)}: make a text of it with str()")
    raise _no_number(a, b, place)


# Closures ---------------------------------------------------------------------------------------


def arithmetic(
    kind_: type[ast.operator],
    left: Evaluate,
    right: Evaluate,
    calculate: Calculate,
    constant: Any = None,
) -> Evaluate:
    """The closure of an operator.

    Args:
        constant: The right side when it is a number that is written there.
    """
    quick_constant = _QUICK_CONSTANT.get(kind_)
    if quick_constant is not None and (
        type(constant) is float or (type(constant) is int and LOW < constant < SMALL)
    ):
        return quick_constant(left, constant, calculate)
    quick = _QUICK.get(kind_)
    if quick is not None:
        return quick(left, right, calculate)
    return lambda context, frame: calculate(left(context, frame), right(context, frame))


def _add(left: Evaluate, right: Evaluate, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        if ta is type(b) and (ta is float or (ta is int and LOW < a < SMALL and LOW < b < SMALL)):
            return a + b
        return slow(a, b)

    return run


def _sub(left: Evaluate, right: Evaluate, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        if ta is type(b) and (ta is float or (ta is int and LOW < a < SMALL and LOW < b < SMALL)):
            return a - b
        return slow(a, b)

    return run


def _mul(left: Evaluate, right: Evaluate, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        if ta is type(b) and (ta is float or (ta is int and LOW < a < SMALL and LOW < b < SMALL)):
            return a * b
        return slow(a, b)

    return run


def _div(left: Evaluate, right: Evaluate, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        if b and ta is type(b) and (ta is float or ta is int):
            try:
                return a / b
            except OverflowError:
                return slow(a, b)
        return slow(a, b)

    return run


_QUICK: Mapping[type[ast.operator], Callable[[Evaluate, Evaluate, Calculate], Evaluate]] = {
    ast.Add: _add,
    ast.Sub: _sub,
    ast.Mult: _mul,
    ast.Div: _div,
}


def _add_constant(left: Evaluate, constant: Any, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        ta = type(a)
        if ta is float or (ta is int and LOW < a < SMALL):
            return a + constant
        return slow(a, constant)

    return run


def _sub_constant(left: Evaluate, constant: Any, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        ta = type(a)
        if ta is float or (ta is int and LOW < a < SMALL):
            return a - constant
        return slow(a, constant)

    return run


def _mul_constant(left: Evaluate, constant: Any, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        ta = type(a)
        if ta is float or (ta is int and LOW < a < SMALL):
            return a * constant
        return slow(a, constant)

    return run


def _mod_constant(left: Evaluate, constant: Any, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        if type(a) is int and constant and LOW < a < SMALL:
            return a % constant
        return slow(a, constant)

    return run


_QUICK_CONSTANT: Mapping[type[ast.operator], Callable[[Evaluate, Any, Calculate], Evaluate]] = {
    ast.Add: _add_constant,
    ast.Sub: _sub_constant,
    ast.Mult: _mul_constant,
    ast.Mod: _mod_constant,
}


def negative(operand: Evaluate, place: Place, *, negate: bool) -> Evaluate:
    """Unary ``-``, or ``+`` when ``negate`` is false: of a number or a duration."""

    def run(context: Context, frame: Frame) -> Any:
        value = operand(context, frame)
        if isinstance(value, Decimal):
            return value.copy_negate() if negate else value
        if isinstance(value, int | float | timedelta):
            if isinstance(value, int) and is_big(value):
                raise _too_big(place)
            return -value if negate else +value
        if value is None:
            name = ast.unparse(place.node.operand) if isinstance(place.node, ast.UnaryOp) else "it"
            raise place.error(f"{name} is null: give it a default, e.g. coalesce({name}, 0)")
        raise place.error(f"{kind(value)} has no sign")

    return run


def exact_of(text: str, value: float) -> Decimal:
    """A fractional literal as the Decimal that is written."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return as_decimal(value)
