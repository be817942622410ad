"""Reading fields: exact dictionary and list lookup, by a path of names and positions.

A step that leads nowhere gives `MISSING`: no such key, a position outside the list, a field of
something that is no object. No attribute of a Python object is ever looked up, and no method of the
data is called.
"""

from collections.abc import Iterable
from typing import Any, Final

from pystator.engine.frame import Evaluate, Frame
from pystator.engine.values import class_of, is_list, is_object, lookup
from pystator.records import Context

__all__ = ["MISSING", "Step", "follow", "null", "reader", "step_into"]

Step = str | int
"""A key of an object or a position in a list, where digits are one, too: ``items.0.price``."""

MISSING: Final = object()


def step_into(value: object, step: object) -> Any:
    """One step; `MISSING` when it leads nowhere."""
    if is_object(value):
        if isinstance(step, str):
            return lookup(value, step, MISSING)
    elif is_list(value):
        if isinstance(step, str) and step.isascii() and step.isdigit() and len(step) < 10:
            step = int(step)
        if isinstance(step, int) and not isinstance(step, bool):
            length = len(value)
            if -length <= step < length:
                return value[step]
    return MISSING


def follow(value: object, steps: Iterable[object]) -> Any:
    """All steps, one after the other; `MISSING` when one leads nowhere."""
    for step in steps:
        value = step_into(value, step)
        if value is MISSING:
            break
    return value


def null(_context: Context, _frame: Frame) -> None:
    """What a missing field is."""


def reader(steps: tuple[Step, ...], missing: Evaluate = null) -> Evaluate:
    """The closure that reads a path of the context.

    Args:
        steps: The first is a name.
        missing: Called for a path that leads nowhere: gives its value, or raises.
    """

    def slow(context: Context, frame: Frame) -> Any:
        value = follow(context, steps)
        return missing(context, frame) if value is MISSING else value

    names = [step for step in steps if isinstance(step, str)]
    if len(names) < len(steps):
        return slow
    match names:
        case [first]:
            return _one(first, missing)
        case [first, second]:
            return _two(first, second, slow)
        case [first, second, third]:
            return _three(first, second, third, slow)
        case _:
            return slow


def _one(first: str, missing: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        try:
            return context[first]
        except KeyError:
            return missing(context, frame)

    return run


def _two(first: str, second: str, slow: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        try:
            value: Any = context[first]
            if class_of(value) is dict:
                return value[second]
        except KeyError:
            pass
        return slow(context, frame)

    return run


def _three(first: str, second: str, third: str, slow: Evaluate) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        try:
            value: Any = context[first]
            if class_of(value) is dict:
                value = value[second]
                if class_of(value) is dict:
                    return value[third]
        except KeyError:
            pass
        return slow(context, frame)

    return run
