"""A machine that shows a difference, made small: what is not needed for the difference is left out."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from w3c_reference.comparison import Difference, Trace, replay

__all__ = ["reduced"]

Path = tuple[Any, ...]


def reduced(difference: Difference) -> Difference:
    """The same difference on a machine and with events that are as few as taking away finds."""
    found = again(difference.machine, difference.lives, difference.what)
    if found is None:
        return difference
    while True:
        smaller = smaller_lives(found) or smaller_machine(found)
        if smaller is None:
            return found
        found = smaller


def again(machine: dict[str, Any], lives: list[Trace], what: str) -> Difference | None:
    """The difference, if this machine and these events still show it."""
    try:
        found = replay(machine, lives)
    except Exception:
        return None  # it loads and means nothing to the interpreter, or it should not load
    return found if found is not None and found.what == what else None


def smaller_lives(found: Difference) -> Difference | None:
    """Without an entity, or without one thing that happened to it."""
    for place, life in enumerate(found.lives):
        others = [*found.lives[:place], *found.lives[place + 1 :]]
        if others and (smaller := again(found.machine, others, found.what)):
            return smaller
        for step in life[1:]:
            lives = [[each for each in one if each is not step] for one in found.lives]
            if smaller := again(found.machine, lives, found.what):
                return smaller
    return None


def smaller_machine(found: Difference) -> Difference | None:
    """Without one part of the machine; as much as can be taken in one go."""
    result = None
    for path in sorted(paths(found.machine), key=len):
        machine = without(found.machine, path)
        if machine is not None and (smaller := again(machine, found.lives, found.what)):
            result = found = smaller
    return result


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where something can be taken away; the last items first, so that places stay what they are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for place in reversed(range(len(value))):
            yield (*path, place)
            yield from paths(value[place], (*path, place))


def without(machine: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """The machine without what is at a path; None when nothing is there any more."""
    machine = deepcopy(machine)
    holder: Any = machine
    try:
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
    except (KeyError, IndexError, TypeError):
        return None
    return machine
