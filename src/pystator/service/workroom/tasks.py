"""What a worker can be asked for: functions of bytes and plain data, to plain data."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pystator.service.checking import as_yaml, check, prepare
from pystator.service.drawing import draw
from pystator.service.trial import attempt

__all__ = ["TASKS"]

TASKS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "check": check,
    "prepare": prepare,
    "as_yaml": as_yaml,
    "draw": draw,
    "attempt": attempt,
}
"""By name."""
