"""Fields: exact dictionary and list lookup, by a path of names and positions, and writing there.

Reading, a step that leads nowhere gives `MISSING`: no such key, a position outside the list, a key
of something that is no object. No attribute of a Python object is ever looked up, and no method of
the data is called. Writing copies each object on the way and leaves the ones that were there alone.
"""

from collections.abc import Iterable
from typing import Any, Final

from pystator.engine.frame import Evaluate, Frame
from pystator.engine.values import class_of, is_list, is_object, kind, lookup
from pystator.errors import EvaluationError
from pystator.records import Context

__all__ = ["MISSING", "Step", "follow", "null", "put", "reader", "remove", "step_into"]

Step = str | int
"""A key of an object or a position in a list, where digits are one, too: ``items.0.price``."""

MISSING: Final = object()


def step_into(value: object, step: object) -> Any:
    """One step; `MISSING` when it leads nowhere."""
    if is_object(value):
        if isinstance(step, str):
            return lookup(value, step, MISSING)
    elif is_list(value):
        place = _position(step)
        if place is not None and -len(value) <= place < len(value):
            return value[place]
    return MISSING


def _position(step: object) -> int | None:
    """The step as a position in a list."""
    if isinstance(step, str):
        return int(step) if step.isascii() and step.isdigit() and len(step) < 10 else None
    return step if isinstance(step, int) and not isinstance(step, bool) else None


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


# Writing ----------------------------------------------------------------------------------------


def put(draft: Context, path: tuple[str, ...], value: Any) -> None:
    """Write at a path into a draft that is ours: objects on the way are copied, missing ones made.

    Raises:
        EvaluationError: There is something on the way that is no object, or a list is too short.
    """
    if len(path) == 2:  # as nearly all nested paths are
        inner: Any = draft.get(path[0])
        if class_of(inner) is dict:
            draft[path[0]] = {**inner, path[1]: value}
            return
    holder: Any = draft
    for depth, step in enumerate(path[:-1]):
        inner = holder.get(step) if class_of(holder) is dict else step_into(holder, step)
        if inner is None or inner is MISSING:
            inner = {}
        elif is_object(inner):
            inner = {**inner}
        elif is_list(inner):
            inner = [*inner]
        else:
            where = ".".join(path[: depth + 1])
            raise _refused(path, f"{where} is {kind(inner)}, not an object")
        _assign(holder, step, inner, path)
        holder = inner
    _assign(holder, path[-1], value, path)


def _assign(holder: Any, step: str, value: Any, path: tuple[str, ...]) -> None:
    """Write one key of an object or one position of a list that is ours."""
    if is_object(holder):
        holder[step] = value
        return
    place = _position(step)
    if place is None or place >= len(holder):
        raise _refused(path, f"a list has no position {step}; `append` adds an item")
    holder[place] = value


def _refused(path: tuple[str, ...], why: str) -> EvaluationError:
    whole = ".".join(path)
    return EvaluationError(f"cannot write {whole}: {why}", context={"field": whole})


def remove(draft: Context, path: tuple[str, ...]) -> bool:
    """Remove what is at a path of a draft that is ours, if it is there; say whether it was.

    Raises:
        EvaluationError: It is an item of a list.
    """
    *way, last = path
    holder = follow(draft, way)
    if step_into(holder, last) is MISSING:
        return False
    if not is_object(holder):
        raise _refused(path, "only fields of objects can be cleared")
    if way:
        put(draft, tuple(way), {key: value for key, value in holder.items() if key != last})
    else:
        del draft[last]
    return True
