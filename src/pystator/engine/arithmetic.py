"""Arithmetic of expressions: what it means, its limits, and closures for the shapes that occur.

- Null is not a number: an error that says how to give a default.
- An integer has at most `MAX_BITS` bits at any moment: sizes are checked before multiplying and
  raising to a power.
- With a Decimal, a literal is a Decimal of its own text and a float one of its ``repr``; results
  have 28 digits, halves go to the even neighbour.
- ``+`` also joins texts and lists, up to `MAX_SIZE`; ``-`` also gives the duration between two
  times.

A closure's quick path takes floats and integers below 2**30, whose results cannot be too big.
"""

import ast
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from pystator.definition.expressions import MAX_BITS
from pystator.engine.comparisons import paired
from pystator.engine.frame import Evaluate, Frame
from pystator.engine.operands import Operand
from pystator.engine.unchecked import LOW, PLAIN, SMALL, combined, guarded
from pystator.engine.values import (
    DECIMALS,
    MAX_SIZE,
    Place,
    as_decimal,
    class_of,
    is_big,
    is_list,
    kind,
)
from pystator.errors import EvaluationError
from pystator.records import Context

__all__ = ["Calculate", "arithmetic", "calculation", "exact_of", "signed"]

Calculate = Callable[[Any, Any], Any]
"""``(a, b)`` -> the result, or an error of its place."""

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
        kind_: The operator.
        place: Where its errors happen.
        left_exact: The text of the left side, when it is a fraction that is written there.
        right_exact: The same of the right side.
    """

    def calculate(a: Any, b: Any) -> Any:
        try:
            if isinstance(a, _NUMBER) and isinstance(b, _NUMBER):
                if isinstance(a, Decimal) or isinstance(b, Decimal):
                    first = a if left_exact is None else left_exact
                    return _decimal(kind_, *paired(first, b, right_exact), place)
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


def _no_number(a: Any, b: Any, place: Place) -> EvaluationError:
    if a is not None and b is not None:
        return place.error(f"cannot calculate with {kind(a)} and {kind(b)}")
    node = place.node
    return _null(
        place, (node.left if a is None else node.right) if isinstance(node, ast.BinOp) else None
    )


def _null(place: Place, operand: ast.expr | None) -> EvaluationError:
    name = place.text if operand is None else ast.unparse(operand)
    return place.error(f"{name} is null: give it a default, e.g. coalesce({name}, 0)")


def _too_big(place: Place) -> EvaluationError:
    return place.error(f"an integer has at most {MAX_BITS} bits")


def _number(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Any:
    """Integers and floats."""
    if not (isinstance(a, int) and isinstance(b, int)):
        if kind_ is ast.Pow:
            result = a**b
            if isinstance(result, complex):
                raise place.error("a negative number has no such root")
            return result
        return PLAIN[kind_](a, b)
    if is_big(a) or is_big(b):
        raise _too_big(place)
    if kind_ is ast.Pow:
        if b > 0 and a not in {-1, 0, 1} and (a.bit_length() - 1) * b >= MAX_BITS:
            raise _too_big(place)
        result = a**b
    elif kind_ is ast.Mult and a.bit_length() + b.bit_length() > MAX_BITS + 1:
        raise _too_big(place)
    else:
        result = PLAIN[kind_](a, b)
    if isinstance(result, int) and is_big(result):
        raise _too_big(place)
    return result


def _decimal(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Decimal:
    """At least one Decimal."""
    for side in (a, b):
        if isinstance(side, int) and is_big(side):
            raise _too_big(place)
    first = a if isinstance(a, Decimal) else Decimal(a)
    second = b if isinstance(b, Decimal) else Decimal(b)
    if kind_ is not ast.Pow:
        return _DECIMAL[kind_](first, second)
    if abs(second) > _MAX_EXPONENT:
        raise place.error(f"the exponent of a Decimal is at most {_MAX_EXPONENT:,}")
    return DECIMALS.power(DECIMALS.plus(first), DECIMALS.plus(second))


def _time(kind_: type[ast.operator], a: Any, b: Any, place: Place) -> Any:
    """Times and durations."""
    if a is None or b is None:
        raise _no_number(a, b, place)
    if isinstance(a, Decimal):
        a = float(a)
    if isinstance(b, Decimal):
        b = float(b)
    if kind_ is not ast.Pow:
        try:
            return PLAIN[kind_](a, b)
        except TypeError:
            pass  # which two do not go together is said below
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
    if is_list(a) and is_list(b):
        if len(a) + len(b) > MAX_SIZE:
            raise place.error(f"a list has at most {MAX_SIZE:,} items")
        return [*a, *b]
    if a is not None and b is not None and (isinstance(a, str) or isinstance(b, str)):
        raise place.error(f"cannot join {kind(a)} and {kind(b)}: make a text of it with str()")
    raise _no_number(a, b, place)


# Closures ---------------------------------------------------------------------------------------


def arithmetic(
    kind_: type[ast.operator], left: Operand, right: Operand, calculate: Calculate
) -> Evaluate:
    """The closure of an operator; ``calculate`` is its full meaning."""
    return guarded(
        combined(kind_, left.region, right.region), _checked(kind_, left, right, calculate)
    )


def _checked(
    kind_: type[ast.operator], left: Operand, right: Operand, calculate: Calculate
) -> Evaluate:
    plain = PLAIN.get(kind_)
    if plain is None:
        base, exponent = left.run, right.run
        return lambda context, frame: calculate(base(context, frame), exponent(context, frame))
    value: Any = right.value
    if right.is_constant and (type(value) is float or (type(value) is int and LOW < value < SMALL)):
        return _with_constant(plain, left.run, value, calculate)
    if right.name is not None:
        if left.name is not None:
            return _fields(plain, (left.name, right.name), (left.run, right.run), calculate)
        return _with_field(plain, left.run, right.name, right.run, calculate)
    return _both(plain, left.run, right.run, calculate)


def _both(plain: Calculate, left: Evaluate, right: Evaluate, slow: Calculate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = class_of(a)
        tb = class_of(b)
        if (ta is float and (tb is float or tb is int)) or (
            ta is int and (tb is float or (tb is int and LOW < a < SMALL and LOW < b < SMALL))
        ):
            try:
                return plain(a, b)
            except ArithmeticError:
                pass  # the slow way says what is wrong
        return slow(a, b)

    return run


def _with_field(
    plain: Calculate, left: Evaluate, name: str, right: Evaluate, slow: Calculate
) -> Evaluate:
    """``... + qty``."""

    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        try:
            b = context[name]
        except KeyError:
            b = right(context, frame)
        ta = class_of(a)
        tb = class_of(b)
        if (ta is float and (tb is float or tb is int)) or (
            ta is int and (tb is float or (tb is int and LOW < a < SMALL and LOW < b < SMALL))
        ):
            try:
                return plain(a, b)
            except ArithmeticError:
                pass
        return slow(a, b)

    return run


def _fields(
    plain: Calculate, names: tuple[str, str], reads: tuple[Evaluate, Evaluate], slow: Calculate
) -> Evaluate:
    """``price * qty``."""
    first, second = names
    left, right = reads

    def run(context: Context, frame: Frame) -> Any:
        try:
            a = context[first]
            b = context[second]
        except KeyError:
            return slow(left(context, frame), right(context, frame))
        ta = class_of(a)
        tb = class_of(b)
        if (ta is float and (tb is float or tb is int)) or (
            ta is int and (tb is float or (tb is int and LOW < a < SMALL and LOW < b < SMALL))
        ):
            try:
                return plain(a, b)
            except ArithmeticError:
                pass
        return slow(a, b)

    return run


def _with_constant(plain: Calculate, left: Evaluate, constant: float, slow: Calculate) -> Evaluate:
    """``... * 1.2``."""

    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        ta = class_of(a)
        if ta is float or (ta is int and LOW < a < SMALL):
            try:
                return plain(a, constant)
            except ArithmeticError:
                pass
        return slow(a, constant)

    return run


def signed(operand: Evaluate, place: Place, *, negate: bool) -> Evaluate:
    """The closure of unary ``-``, or ``+`` when ``negate`` is false: of a number or a duration."""

    def run(context: Context, frame: Frame) -> Any:
        value = operand(context, frame)
        if isinstance(value, Decimal):
            return value.copy_negate() if negate else value
        if isinstance(value, int | float | timedelta):
            if isinstance(value, int) and is_big(value):
                raise _too_big(place)
            return -value if negate else +value
        if value is None:
            raise _null(place, place.node.operand if isinstance(place.node, ast.UnaryOp) else None)
        raise place.error(f"{kind(value)} has no sign")

    return run


def exact_of(text: str, value: float) -> Decimal:
    """A fractional literal as the Decimal that is written."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return as_decimal(value)
