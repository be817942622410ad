"""Comparisons of expressions: what they mean, and closures for the shapes that occur.

- Missing is null. ``==`` and ``!=`` compare null with anything; ordering against null is false.
- Numbers compare with numbers. Next to a Decimal, a literal is a Decimal of its own text and a
  float one of its ``repr``: ``amount >= 1.10`` is right about money.
- Texts compare with texts, times with times. Anything else cannot be ordered: an error.

A closure's quick path takes the types that are common and cannot go wrong; all else goes to `order`
and `equal`, which decide.
"""

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pystator.engine.frame import Evaluate, Frame, spend
from pystator.engine.operands import Operand
from pystator.engine.values import (
    TIMES,
    Place,
    as_decimal,
    class_of,
    is_list,
    is_object,
    kind,
    lookup,
    size,
)
from pystator.records import Context

__all__ = [
    "MIRRORED",
    "PER_CALL",
    "contains",
    "equal",
    "equality",
    "membership",
    "order",
    "ordering",
    "paired",
]

MIRRORED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""``a < b`` is ``b > a``."""

_Test = Callable[[Any, Any], bool]
_TESTS: Mapping[str, _Test] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
PER_CALL = 4
"""Units of fuel for an item that takes a call of its own."""

_FAILURES = (TypeError, ValueError, ArithmeticError, RecursionError)


def paired(a: Any, b: Any, exact: Decimal | None = None) -> tuple[Any, Any]:
    """Both, where a float next to a Decimal becomes one.

    Args:
        a: One.
        b: The other.
        exact: The text of ``b``, when it is a fraction that is written there.
    """
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
    a, b = paired(a, b, exact)
    if not (is_list(a) or is_object(a) or is_list(b) or is_object(b)):
        try:
            return bool(_TESTS[symbol](a, b))
        except _FAILURES:
            pass
    hint = ""
    if isinstance(a, TIMES) and isinstance(b, TIMES):
        hint = "; both need a time zone, or neither"
    elif isinstance(a, TIMES) or isinstance(b, TIMES):
        hint = (
            "; make a time of a text with datetime(), a duration of a number with days(), hours()"
        )
    raise place.error(f"cannot order {kind(a)} and {kind(b)}{hint}")


def ordering(symbol: str, left: Operand, right: Operand, place: Place) -> Evaluate:
    """The closure of an ordering; a constant stands on the right."""
    test, exact = _TESTS[symbol], right.exact

    def slow(a: Any, b: Any) -> bool:
        return order(symbol, a, b, place, exact)

    if right.is_constant and isinstance(right.value, int | float | str):
        if exact is not None:
            return _order_fraction(test, left.run, right.value, slow)
        if left.name is None:
            return _with_constant(test, left.run, right.value, slow)
        return _field_with_constant(test, left.name, left.run, right.value, slow)
    if left.name is not None and right.name is not None:
        return _order_fields(test, (left.name, right.name), (left.run, right.run), slow)
    return _order(test, left.run, right.run, slow)


def _order(test: _Test, left: Evaluate, right: Evaluate, slow: _Test) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = class_of(a)
        tb = class_of(b)
        if (ta is int or ta is float) and (tb is int or tb is float):
            return test(a, b)
        return slow(a, b)

    return run


def _order_fields(
    test: _Test, names: tuple[str, str], reads: tuple[Evaluate, Evaluate], slow: _Test
) -> Evaluate:
    """``qty <= limit``."""
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
        if (ta is int or ta is float) and (tb is int or tb is float):
            return test(a, b)
        return slow(a, b)

    return run


def _field_with_constant(
    test: _Test, name: str, left: Evaluate, constant: Any, slow: _Test
) -> Evaluate:
    """``qty >= 1``: an integer or a text compares with nothing it should not."""

    def run(context: Context, frame: Frame) -> Any:
        try:
            return test(context[name], constant)
        except (KeyError, TypeError, ArithmeticError):
            return slow(left(context, frame), constant)

    return run


def _with_constant(test: _Test, left: Evaluate, constant: Any, slow: _Test) -> Evaluate:
    """``order.qty >= 1``."""

    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        try:
            return test(a, constant)
        except (TypeError, ArithmeticError):
            return slow(a, constant)

    return run


def _order_fraction(test: _Test, left: Evaluate, constant: Any, slow: _Test) -> Evaluate:
    """``amount >= 1.10``: a Decimal would compare, and with the wrong number."""

    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        ta = class_of(a)
        return test(a, constant) if ta is float or ta is int else slow(a, constant)

    return run


# Equality ---------------------------------------------------------------------------------------


def equal(a: Any, b: Any, frame: Frame, place: Place, exact: Decimal | None = None) -> bool:
    """``a == b``; comparing lists or objects takes fuel for their size.

    Raises:
        EvaluationError: Out of fuel, or a value's own comparison failed.
    """
    if a is None or b is None:
        return a is b
    if (is_list(a) or is_object(a)) and (is_list(b) or is_object(b)):
        spend(frame, size(a, frame.fuel))
    a, b = paired(a, b, exact)
    try:
        return bool(a == b)
    except _FAILURES:
        raise place.error(f"cannot compare {kind(a)} and {kind(b)}") from None


def equality(left: Operand, right: Operand, place: Place, *, negated: bool) -> Evaluate:
    """The closure of ``==`` or, negated, ``!=``; a constant stands on the right."""
    if right.is_constant and right.exact is None:
        if right.value is None:
            return _null(left.run, negated=negated)
        test = operator.ne if negated else operator.eq

        def slow(a: Any, b: Any) -> bool:
            if isinstance(a, Decimal) and a.is_snan():
                raise place.error("a signaling NaN compares with nothing")
            return bool(test(a, b))

        if left.name is None:
            return _with_constant(test, left.run, right.value, slow)
        return _field_with_constant(test, left.name, left.run, right.value, slow)
    return _equal(left.run, right.run, place, right.exact, negated=negated)


def _equal(
    left: Evaluate, right: Evaluate, place: Place, exact: Decimal | None, *, negated: bool
) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        a = left(context, frame)
        b = right(context, frame)
        ta = class_of(a)
        if ta is type(b) and (ta is str or ta is int or ta is float):
            return (a == b) is not negated
        return equal(a, b, frame, place, exact) is not negated

    return run


def _null(left: Evaluate, *, negated: bool) -> Evaluate:
    if negated:
        return lambda context, frame: left(context, frame) is not None
    return lambda context, frame: left(context, frame) is None


# Membership -------------------------------------------------------------------------------------


def contains(container: Any, item: Any, frame: Frame, place: Place) -> bool:
    """``item in container``: of a list, a key of an object, a part of a text; nothing is in null.

    Raises:
        EvaluationError: The container is something else, or what is looked for in a text is no
            text.
    """
    if container is None:
        return False
    if is_object(container):
        return isinstance(item, str) and lookup(container, item, container) is not container
    if is_list(container):
        if item is None or isinstance(item, str | int):
            spend(frame, len(container))
            try:
                return item in container
            except _FAILURES:
                raise place.error("the list holds what compares with nothing") from None
        spend(frame, PER_CALL * len(container))
        return any(equal(item, other, frame, place) for other in container)
    if isinstance(container, str):
        if item is None:
            return False
        if isinstance(item, str):
            return item in container
        raise place.error(f"{kind(item)} cannot be in a text: make it one with str()")
    raise place.error(f"nothing can be in {kind(container)}")


def membership(left: Operand, right: Operand, place: Place, *, negated: bool) -> Evaluate:
    """The closure of ``in`` or, negated, ``not in``."""
    item, container = left.run, right.run
    if right.items is not None and all(part.is_constant for part in right.items):
        return _one_of(left.run, right.items, negated=negated)

    def run(context: Context, frame: Frame) -> Any:
        held = contains(container(context, frame), item(context, frame), frame, place)
        return held is not negated

    return run


def _one_of(left: Evaluate, items: list[Operand], *, negated: bool) -> Evaluate:
    """``status in ['open', 'held']``."""
    plain = frozenset([item.value for item in items])
    exact: frozenset[Any] = frozenset(
        [item.value if item.exact is None else item.exact for item in items]
    )

    def run(context: Context, frame: Frame) -> Any:
        item = left(context, frame)
        try:
            return (item in (exact if class_of(item) is Decimal else plain)) is not negated
        except TypeError:  # a list or an object is none of the constants
            return negated

    return run
