"""Copies of plain data, quick for what contexts are made of."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pystator.errors import InvalidValueError

__all__ = ["copy_mapping", "copy_value", "detach"]

_SCALARS = frozenset({str, int, float, bool, type(None), bytes, date, datetime, timedelta, Decimal})


def copy_mapping(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing mutable with the original.

    Raises:
        InvalidValueError: It goes too deep, or a value contains itself.
    """
    own = dict(mapping)
    for value in own.values():
        if value.__class__ not in _SCALARS:
            break
    else:
        return own
    try:
        return {key: copy_value(inner) for key, inner in own.items()}
    except RecursionError:
        raise InvalidValueError(
            "a value of the context contains itself, or too many containers within each other:"
            " keep plain, flat data in it",
            context={"keys": [str(key) for key in own][:100]},
        ) from None


def detach(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """`copy_mapping` as far as it goes: a value that cannot be copied is shared."""
    try:
        return copy_mapping(mapping)
    except Exception:  # noqa: BLE001 # of the value's own type; a store says what it cannot keep
        return dict(mapping)


def copy_value(value: Any) -> Any:
    """A copy of any value; a user's own types are copied by `copy.deepcopy`."""
    kind = value.__class__
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {key: copy_value(inner) for key, inner in value.items()}
    if kind is list:
        return [copy_value(inner) for inner in value]
    from copy import deepcopy  # rare, and the module is not free

    return deepcopy(value)
