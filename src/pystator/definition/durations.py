"""Durations: integer milliseconds, or ``"500ms"``, ``"5s"``, ``"10m"``, ``"1h"``, ``"2d"``."""

import re
from typing import Any, Final

__all__ = ["DurationError", "microseconds"]

_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_TEXT = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
LONGEST: Final = 36_525 * 86_400_000_000
"""A hundred years: more is a slip, and would not fit a datetime."""


class DurationError(ValueError):
    """Not a duration; the message is a sentence."""


def microseconds(value: Any) -> int:
    """A duration as written -> microseconds.

    Raises:
        DurationError: It is none, not positive, or longer than a hundred years.
    """
    if isinstance(value, int):
        found = value * 1_000
    else:
        match = _TEXT.fullmatch(str(value))
        if match is None:
            raise DurationError(
                f"{value!r} is no duration: use milliseconds,"
                " or a whole number with ms, s, m, h or d, e.g. 90s"
            )
        found = int(match[1]) * _UNITS[match[2]]
    if found <= 0:
        raise DurationError("a duration must be more than 0; 'auto: true' goes on at once")
    if found > LONGEST:
        raise DurationError("a duration is at most a hundred years")
    return found
