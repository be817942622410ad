"""Comparisons of expressions: what they mean, and closures for the shapes that occur.

- Missing is null. ``==`` and ``!=`` compare null with anything; ordering against null is false.
- Numbers compare with numbers. Next to a Decimal, a literal is a Decimal of its own text and a float one of its
  ``repr``: ``amount >= 1.10`` is right about money.
- Texts compare with texts, times with times. Anything else cannot be ordered: an error.

A closure's quick path takes the types that are common and cannot go wrong; all else goes to `order` and `equal`,
which decide. An operator is written out in each closure because calling ``operator.ge`` costs as much again.
"""

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pystator.engine.frame import Evaluate, Frame, spend
from pystator.engine.values import TIMES, Place, as_decimal, kind, size
from pystator.records import Context

__all__ = ["MIRRORED", "contains", "equal", "equality", "order", "ordering"]

Slow = Callable[[Any, Any], bool]

MIRRORED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""``a < b`` is ``b > a``."""

_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FAILURES = (TypeError, ValueError, ArithmeticError, RecursionError)


def paired(a: Any, b: Any, exact: Decimal | None = None) -> tuple[Any, Any]:
    """Both, with a float next to a Decimal made one; ``exact`` is the second's own text when it is a literal."""
    if isinstance(a, Decimal) and isinstance(b, float):
        return a, as_decimal(b) if exact is None else exact
    if isinstance(b, Decimal) and isinstance(a, float):
        return as_decimal(a), b
    return a, b


# Ordering ---------------------------------------------------------------------------------------


def order(symbol: str, a: Any, b: Any, place: Place, exact: Decimal | None = None) -> bool:
    """``a < b`` and its like.

    Raises:
        EvaluationError: They cannot be ordered.
    """
    if a is None or b is None:
        return False
    if isinstance(a, list | tuple | dict) or isinstance(b, list | tuple | dict):
        raise place.error(f"cannot order {kind(a)} and {kind(b)}")
    a, b = paired(a, b, exact)
    try:
        return bool(_TESTS[symbol](a, b))
    except _FAILURES:
        hint = ""
        if isinstance(a, TIMES) or isinstance(b, TIMES):
            hint = "; make a time of a text with datetime(), compare durations with days(), hours()"
            if isinstance(a, TIMES) and isinstance(b, TIMES):
                hint = "; both need a time zone, or neither"
        raise place.error(f"cannot order {kind(a)} and {kind(b)}{hint}") from None


def ordering(
    symbol: str,
    left: Evaluate,
    right: Evaluate,
    place: Place,
    *,
    name: str | None = None,
    constant: Any = None,
    exact: Decimal | None = None,
) -> Evaluate:
    """The closure of an ordering.

    Args:
        name: The left side when it is a field of the context by its name.
        constant: The right side when it is a number or a text that is written there.
        exact: The constant's own text, when it is fractional.
    """

    def slow(a: Any, b: Any) -> bool:
        return order(symbol, a, b, place, exact)

    if constant is None:
        return _ORDER[symbol](left, right, slow)
    if exact is not None:
        return _ORDER_FRACTION[symbol](left, constant, slow)
    if name is None:
        return _ORDER_CONSTANT[symbol](left, constant, slow)

    def again(context: Context, frame: Frame) -> bool:
        return slow(left(context, frame), constant)

    return _ORDER_NAME[symbol](name, constant, again)


def _lt(left: Evaluate, right: Evaluate, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        tb = type(b)
        if (ta is int or ta is float) and (tb is int or tb is float):
            return a < b
        return slow(a, b)

    return run


def _le(left: Evaluate, right: Evaluate, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        tb = type(b)
        if (ta is int or ta is float) and (tb is int or tb is float):
            return a <= b
        return slow(a, b)

    return run


def _gt(left: Evaluate, right: Evaluate, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        tb = type(b)
        if (ta is int or ta is float) and (tb is int or tb is float):
            return a > b
        return slow(a, b)

    return run


def _ge(left: Evaluate, right: Evaluate, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        tb = type(b)
        if (ta is int or ta is float) and (tb is int or tb is float):
            return a >= b
        return slow(a, b)

    return run


_ORDER: Mapping[str, Callable[[Evaluate, Evaluate, Slow], Evaluate]] = {
    "<": _lt,
    "<=": _le,
    ">": _gt,
    ">=": _ge,
}


def _lt_name(name: str, constant: Any, again: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] < constant
        except (KeyError, TypeError, ArithmeticError):
            return again(context, frame)

    return run


def _le_name(name: str, constant: Any, again: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] <= constant
        except (KeyError, TypeError, ArithmeticError):
            return again(context, frame)

    return run


def _gt_name(name: str, constant: Any, again: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] > constant
        except (KeyError, TypeError, ArithmeticError):
            return again(context, frame)

    return run


def _ge_name(name: str, constant: Any, again: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] >= constant
        except (KeyError, TypeError, ArithmeticError):
            return again(context, frame)

    return run


_ORDER_NAME: Mapping[str, Callable[[str, Any, Evaluate], Evaluate]] = {
    "<": _lt_name,
    "<=": _le_name,
    ">": _gt_name,
    ">=": _ge_name,
}


def _lt_constant(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        try:
            return a < constant
        except (TypeError, ArithmeticError):
            return slow(a, constant)

    return run


def _le_constant(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        try:
            return a <= constant
        except (TypeError, ArithmeticError):
            return slow(a, constant)

    return run


def _gt_constant(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        try:
            return a > constant
        except (TypeError, ArithmeticError):
            return slow(a, constant)

    return run


def _ge_constant(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        try:
            return a >= constant
        except (TypeError, ArithmeticError):
            return slow(a, constant)

    return run


_ORDER_CONSTANT: Mapping[str, Callable[[Evaluate, Any, Slow], Evaluate]] = {
    "<": _lt_constant,
    "<=": _le_constant,
    ">": _gt_constant,
    ">=": _ge_constant,
}


def _lt_fraction(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        ta = type(a)
        return a < constant if ta is float or ta is int else slow(a, constant)

    return run


def _le_fraction(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        ta = type(a)
        return a <= constant if ta is float or ta is int else slow(a, constant)

    return run


def _gt_fraction(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        ta = type(a)
        return a > constant if ta is float or ta is int else slow(a, constant)

    return run


def _ge_fraction(left: Evaluate, constant: Any, slow: Slow) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        ta = type(a)
        return a >= constant if ta is float or ta is int else slow(a, constant)

    return run


_ORDER_FRACTION: Mapping[str, Callable[[Evaluate, Any, Slow], Evaluate]] = {
    "<": _lt_fraction,
    "<=": _le_fraction,
    ">": _gt_fraction,
    ">=": _ge_fraction,
}

# Equality ---------------------------------------------------------------------------------------


def equal(a: Any, b: Any, frame: Frame, place: Place, exact: Decimal | None = None) -> bool:
    """``a == b``; comparing lists or objects takes fuel for their size.

    Raises:
        EvaluationError: Out of fuel, or a value's own comparison failed.
    """
    if a is None or b is None:
        return a is b
    if isinstance(a, dict | list | tuple) and isinstance(b, dict | list | tuple):
        spend(frame, size(a, frame.fuel))
    a, b = paired(a, b, exact)
    try:
        return bool(a == b)
    except _FAILURES:
        raise place.error(f"cannot compare {kind(a)} and {kind(b)}") from None


def equality(
    left: Evaluate,
    right: Evaluate,
    place: Place,
    *,
    negated: bool,
    name: str | None = None,
    constant: Any = None,
    is_constant: bool = False,
    exact: Decimal | None = None,
) -> Evaluate:
    """The closure of ``==`` or, negated, ``!=``; for the other arguments see `ordering`."""
    if is_constant and constant is None:
        return _is_not_null(left) if negated else _is_null(left)
    if is_constant and exact is None:
        if name is not None:
            return _ne_name(name, constant, left) if negated else _eq_name(name, constant, left)
        return _ne_constant(left, constant) if negated else _eq_constant(left, constant)
    same = _same(left, right, place, exact)
    return _not(same) if negated else same


def _same(left: Evaluate, right: Evaluate, place: Place, exact: Decimal | None) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        a = left(context, frame)
        b = right(context, frame)
        ta = type(a)
        if ta is type(b) and (ta is str or ta is int or ta is float):
            return a == b
        return equal(a, b, frame, place, exact)

    return run


def _not(test: Evaluate) -> Evaluate:
    return lambda context, frame: not test(context, frame)


def _is_null(left: Evaluate) -> Evaluate:
    return lambda context, frame: left(context, frame) is None


def _is_not_null(left: Evaluate) -> Evaluate:
    return lambda context, frame: left(context, frame) is not None


def _eq_name(name: str, constant: Any, left: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] == constant
        except KeyError:
            return (
                left(context, frame) == constant
            )  # null, or the error that there is no such field

    return run


def _ne_name(name: str, constant: Any, left: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> bool:
        try:
            return context[name] != constant
        except KeyError:
            return left(context, frame) != constant

    return run


def _eq_constant(left: Evaluate, constant: Any) -> Evaluate:
    return lambda context, frame: left(context, frame) == constant


def _ne_constant(left: Evaluate, constant: Any) -> Evaluate:
    return lambda context, frame: left(context, frame) != constant


# Membership -------------------------------------------------------------------------------------


def contains(container: Any, item: Any, frame: Frame, place: Place) -> bool:
    """``item in container``: an item of a list, a key of an object, a part of a text; nothing is in null.

    Raises:
        EvaluationError: The container is something else, or the item of a text is no text.
    """
    if container is None:
        return False
    if isinstance(container, dict):
        return isinstance(item, str | int) and dict.__contains__(container, item)
    if isinstance(container, list | tuple):
        spend(frame, len(container))
        if item is None or isinstance(item, str | int):
            return item in container
        return any(equal(item, other, frame, place) for other in container)
    if isinstance(container, str):
        if item is None:
            return False
        if isinstance(item, str):
            return item in container
        raise place.error(f"{kind(item)} cannot be in a text: make it one with str()")
    raise place.error(f"nothing can be in {kind(container)}")


def one_of(left: Evaluate, values: list[Any], exact: list[Any], *, negated: bool) -> Evaluate:
    """``left in [constants]``.

    Args:
        exact: The same values for a Decimal on the left: fractions by their own text.
    """
    plain, decimals = frozenset(values), frozenset(exact)

    def run(context: Context, frame: Frame) -> bool:
        item = left(context, frame)
        try:
            return (item in (decimals if type(item) is Decimal else plain)) is not negated
        except TypeError:  # a list or an object is none of the constants
            return negated

    return run
