"""Plain YAML scalars by the core schema of YAML 1.2.

``on``, ``no``, ``12:30`` and ``2024-01-31`` are text; only ``true``, ``false``, ``null``, integers
and floats are not.
"""

import math
import re

__all__ = ["Scalar", "ScalarError", "resolve"]

Scalar = str | int | float | bool | None

MAX_DIGITS = 1_000
"""Digits of an integer. Python itself refuses to convert more than 4,300."""

CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip

_MAYBE = frozenset("+-.0123456789~nNtTfF")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class ScalarError(ValueError):
    """A number that a machine cannot hold; the message is a sentence."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar.

    Raises:
        ScalarError: A number that is too large, infinite or not a number.
    """
    if text and text[0] not in _MAYBE:
        return text
    if text in CONSTANTS:
        return CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ScalarError("this number is too large: put it in quotes if it is text")
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError(
            "infinity and not-a-number cannot be stored: put it in quotes if it is text"
        )
    return text


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ScalarError(
            f"this integer has more than {MAX_DIGITS} digits: put it in quotes if it is text"
        )
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    return int(text)
