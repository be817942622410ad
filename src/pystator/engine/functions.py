"""The functions of expressions, by name.

Those of `PLAIN` are called as ``function(place, *arguments)``, those of `FRAMED`, whose work grows
with a list or that need the time, as ``function(frame, place, *arguments)``. Which there are, and
how many arguments each takes, is decided where the text is checked:
`pystator.definition.expressions.FUNCTIONS`.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from pystator.engine.comparisons import PER_CALL, order
from pystator.engine.frame import Frame, spend
from pystator.engine.values import (
    DECIMALS,
    MAX_SIZE,
    Place,
    as_decimal,
    is_big,
    is_list,
    is_object,
    kind,
)
from pystator.errors import EvaluationError
from pystator.records import to_datetime

__all__ = ["FRAMED", "PLAIN", "FunctionBody"]

FunctionBody = Callable[..., Any]

_MAX_ROUND = 30
"""Digits of round(), either way."""

_MAX_DIGITS = 1_300
"""Digits of a number that int(), floor() and ceil() take: a little more than `MAX_BITS` bits."""


def _wrong(place: Place, wanted: str, value: object) -> EvaluationError:
    hint = "; give it a default with coalesce()" if value is None else ""
    return place.error(f"this function takes {wanted}, not {kind(value)}{hint}")


def _text(place: Place, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(place, "a text", value)
    if len(value) > MAX_SIZE:
        raise place.error(f"a text has at most {MAX_SIZE:,} characters")
    return value


def _list(frame: Frame, place: Place, value: object, each: int = 1) -> Sequence[Any]:
    if not is_list(value):
        raise _wrong(place, "a list", value)
    spend(frame, each * len(value))
    return value


def _number(place: Place, value: object) -> int | float | Decimal:
    if not isinstance(value, int | float | Decimal):
        raise _wrong(place, "a number", value)
    return value


# Sizes and lists --------------------------------------------------------------------------------


def _len(place: Place, value: object) -> int:
    if isinstance(value, str) or is_list(value) or is_object(value):
        return len(value)
    raise _wrong(place, "a text, a list or an object", value)


def _extreme(frame: Frame, place: Place, symbol: str, values: Sequence[Any]) -> Any:
    items = values if len(values) > 1 else _list(frame, place, values[0], PER_CALL)
    if not items:
        raise place.error("an empty list has no least or greatest item")
    best = items[0]
    for item in items:
        if item is None:
            raise place.error("null cannot be ordered; give it a default with coalesce()")
        if order(symbol, item, best, place):
            best = item
    return best


def _min(frame: Frame, place: Place, *values: Any) -> Any:
    return _extreme(frame, place, "<", values)


def _max(frame: Frame, place: Place, *values: Any) -> Any:
    return _extreme(frame, place, ">", values)


def _sum(frame: Frame, place: Place, value: object) -> Any:
    items = _list(frame, place, value)
    for item in items:
        if isinstance(_number(place, item), int) and is_big(item):
            raise place.error("an integer in the list is too big")
    try:
        if not any(isinstance(item, Decimal) for item in items):
            return sum(items)
        spend(frame, PER_CALL * len(items))
        total = Decimal(0)
        for item in items:
            exact = as_decimal(item) if isinstance(item, float) else Decimal(item)
            total = DECIMALS.add(total, exact)
    except ArithmeticError:
        raise place.error("the sum is not a number that can be kept") from None
    return total


def _any(frame: Frame, place: Place, value: object) -> bool:
    return any(_list(frame, place, value))


def _all(frame: Frame, place: Place, value: object) -> bool:
    return all(_list(frame, place, value))


# Numbers ----------------------------------------------------------------------------------------


def _abs(place: Place, value: object) -> Any:
    if isinstance(value, dt.timedelta):
        return abs(value)
    number = _number(place, value)
    return number.copy_abs() if isinstance(number, Decimal) else abs(number)


def _finite(place: Place, value: object) -> int | float | Decimal:
    """A number that has an integer beside it of reasonable size."""
    number = _number(place, value)
    if isinstance(number, int):
        return number
    if isinstance(number, float):
        if math.isfinite(number):
            return number
    elif number.is_finite() and number.adjusted() < _MAX_DIGITS:
        return number
    raise place.error("this number has no integer beside it that can be kept")


def _round(place: Place, value: object, digits: object = None) -> Any:
    if digits is not None and (
        not isinstance(digits, int) or not -_MAX_ROUND <= digits <= _MAX_ROUND
    ):
        raise place.error(f"round() takes from -{_MAX_ROUND} to {_MAX_ROUND} digits")
    number = _finite(place, value)
    if isinstance(number, int) and is_big(number):
        raise place.error("this integer is too big")
    if isinstance(number, Decimal):
        if digits is None:
            return int(number.to_integral_value(ROUND_HALF_EVEN))
        try:
            return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, DECIMALS)
        except ArithmeticError:
            raise place.error("the result has more than 28 digits") from None
    try:
        return round(number, digits)
    except OverflowError:
        raise place.error("the result is too large") from None


def _floor(place: Place, value: object) -> int:
    return math.floor(_finite(place, value))


def _ceil(place: Place, value: object) -> int:
    return math.ceil(_finite(place, value))


def _int(place: Place, value: object) -> int:
    if isinstance(value, str):
        return int(_finite(place, _read(place, int, value)))
    return int(_finite(place, value))


def _float(place: Place, value: object) -> float:
    if isinstance(value, str):
        return float(_read(place, float, value))
    try:
        return float(_number(place, value))
    except (OverflowError, ValueError):
        raise place.error("this number is too large for a float") from None


def _decimal(place: Place, value: object) -> Decimal:
    if isinstance(value, str):
        return Decimal(_read(place, Decimal, value))
    number = _number(place, value)
    if isinstance(number, int) and is_big(number):
        raise place.error("this integer is too big")
    return as_decimal(number) if isinstance(number, float) else Decimal(number)


def _read(place: Place, to: Callable[[str], Any], text: str) -> Any:
    """A number from a text."""
    shown = text if len(text) < 40 else f"{text[:40]}..."
    if len(text) <= _MAX_DIGITS:
        try:
            number = to(text)
            if math.isfinite(number):
                return number
        except (ValueError, ArithmeticError):
            pass
    raise place.error(f"{shown!r} is not a number")


# Texts ------------------------------------------------------------------------------------------


def _lower(place: Place, value: object) -> str:
    return _text(place, _text(place, value).lower())


def _upper(place: Place, value: object) -> str:
    return _text(place, _text(place, value).upper())


def _strip(place: Place, value: object) -> str:
    return _text(place, value).strip()


def _startswith(place: Place, value: object, prefix: object) -> bool:
    return _text(place, value).startswith(_text(place, prefix))


def _endswith(place: Place, value: object, suffix: object) -> bool:
    return _text(place, value).endswith(_text(place, suffix))


def _str(place: Place, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and is_big(value):
        raise place.error("this integer is too big")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, str | int | float | Decimal | dt.timedelta):
        return _text(place, str(value))
    raise _wrong(place, "a text, a number or a time", value)


# Times ------------------------------------------------------------------------------------------


def _now(frame: Frame, _place: Place) -> dt.datetime:
    return to_datetime(frame.time)


def _datetime(place: Place, value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        moment = value
    else:
        text = _text(place, value)
        try:
            moment = dt.datetime.fromisoformat(text[:64])
        except ValueError:
            raise place.error(f"{text[:40]!r} is not an ISO 8601 time") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _duration(unit: str) -> FunctionBody:
    def make(place: Place, value: object) -> dt.timedelta:
        number = _number(place, value)
        try:
            return dt.timedelta(**{unit: number if isinstance(number, int) else float(number)})
        except (OverflowError, ValueError):
            raise place.error("this duration is too long") from None

    return make


FRAMED: Mapping[str, FunctionBody] = {
    "min": _min,
    "max": _max,
    "sum": _sum,
    "any": _any,
    "all": _all,
    "now": _now,
}
PLAIN: Mapping[str, FunctionBody] = {
    "len": _len,
    "abs": _abs,
    "round": _round,
    "floor": _floor,
    "ceil": _ceil,
    "lower": _lower,
    "upper": _upper,
    "strip": _strip,
    "startswith": _startswith,
    "endswith": _endswith,
    "int": _int,
    "float": _float,
    "decimal": _decimal,
    "str": _str,
    "datetime": _datetime,
    "seconds": _duration("seconds"),
    "minutes": _duration("minutes"),
    "hours": _duration("hours"),
    "days": _duration("days"),
}
