"""Where things stand in a text: a second reading, only for who has something to tell.

The first reading keeps no positions, since almost every machine is right. This one follows the
paths it is asked for through the events and keeps nothing else, so that a huge text full of
mistakes costs no memory.
"""

from collections.abc import Callable, Iterable
from typing import Any

from yaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from pystator.definition.issues import Finding, Path

__all__ = ["locate", "written"]

_ESCAPES = {"x": 2, "u": 4, "U": 8}
_STARTS = frozenset({MappingStartEvent, SequenceStartEvent})
_ENDS = frozenset({MappingEndEvent, SequenceEndEvent})
_VALUES = frozenset({ScalarEvent, AliasEvent}) | _STARTS


def locate(text: str, findings: Iterable[Finding]) -> list[tuple[int, int]]:
    """Line and column of each finding, from 1.

    What is not there - a missing key, or one that an alias or ``<<`` brought - is placed at the
    nearest thing around it.

    Args:
        text: Prepared, and read without a mistake.
        findings: What to place.
    """
    wanted = list(findings)
    root = _read(text, [finding.path for finding in wanted])
    return [_place(text, root, finding) for finding in wanted]


def written(text: str, path: Path) -> str | None:
    """A scalar of a prepared text as it is written; None when there is none at this path."""
    found: _Wanted | None = _read(text, [path])
    for step in path:
        found = found.inside.get(step) if found else None
    return found.event.value if found and isinstance(found.event, ScalarEvent) else None


class _Wanted:
    """A place on the way to a finding: the events of its value and key, and the places inside."""

    __slots__ = ("event", "inside", "key")

    def __init__(self) -> None:
        self.event: Any = None
        self.key: Any = None
        self.inside: dict[str | int, _Wanted] = {}


class _Open:
    """An open container of the reading; ``wanted`` is None in one that nobody asks for."""

    __slots__ = ("is_map", "step", "wanted")

    def __init__(self, wanted: _Wanted | None, is_map: bool) -> None:
        self.wanted = wanted
        self.is_map = is_map
        self.step: Any = None if is_map else 0
        """The key event of the value that comes next, or its index."""


def _read(text: str, paths: Iterable[Path]) -> _Wanted:
    """Read until the end, keeping the events on the paths."""
    root = _Wanted()
    for path in paths:
        place = root
        for step in path:
            place = place.inside.setdefault(step, _Wanted())
    get_event: Callable[[], Any] = CSafeLoader(text).get_event
    stack: list[_Open] = []
    while (event := get_event()) is not None:
        kind = event.__class__
        if kind in _ENDS:
            stack.pop()
        elif kind in _VALUES:
            found = _arrive(stack[-1], event) if stack else root
            if found is not None:
                found.event = event
            if kind in _STARTS:
                stack.append(_Open(found, kind is MappingStartEvent))
    return root


def _arrive(container: _Open, event: Any) -> _Wanted | None:
    """The place of the value that begins with this event, if it is wanted."""
    step = container.step
    if not container.is_map:
        container.step += 1
        return container.wanted.inside.get(step) if container.wanted else None
    if step is None:
        container.step = event
        return None
    container.step = None
    if container.wanted is None or not isinstance(step, ScalarEvent):
        return None
    found = container.wanted.inside.get(step.value)
    if found is not None:
        found.key = step
    return found


def _place(text: str, root: _Wanted, finding: Finding) -> tuple[int, int]:
    around = root
    for step in finding.path:
        place = around.inside[step]
        if place.event is None:
            return _start(text, around.event)
        around = place
    if finding.key and around.key is not None:
        return _start(text, around.key)
    if finding.offset is not None and isinstance(around.event, ScalarEvent):
        return _within(text, around.event, finding.offset)
    return _start(text, around.event)


def _start(text: str, event: Any) -> tuple[int, int]:
    """The start of an event.

    libyaml puts an empty value where the next token is; people put it after its key.
    """
    mark = event.start_mark
    if mark.index == event.end_mark.index and isinstance(event, ScalarEvent):
        return _line_and_column(text, len(text[: mark.index].rstrip()))
    return mark.line + 1, mark.column + 1


def _line_and_column(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


# Inside a scalar --------------------------------------------------------------------------------


def _within(text: str, event: Any, offset: int) -> tuple[int, int]:
    """Line and column of the ``offset``-th character of a scalar's value."""
    start: int = event.start_mark.index
    raw = text[start : event.end_mark.index]
    if event.style in {"|", ">"}:
        return _line_and_column(text, start + _in_block(raw, event.value, offset))
    return _line_and_column(text, start + _in_flow(raw, offset, event.style))


def _in_block(raw: str, value: str, offset: int) -> int:
    """Block scalars keep the words in order: count what is no white space."""
    wanted = len("".join(value[:offset].split()))
    position = raw.find("\n") + 1
    while position < len(raw):
        if not raw[position].isspace():
            if wanted == 0:
                break
            wanted -= 1
        position += 1
    return position


def _in_flow(raw: str, offset: int, style: str) -> int:
    """Walk the written text, a decoded character at a time."""
    position = 1 if style in {"'", '"'} else 0
    for _ in range(offset):
        if position >= len(raw):
            break
        position += _width(raw, position, style)
    return min(position, len(raw))


def _width(raw: str, position: int, style: str) -> int:
    """How many written characters make the next character of the value."""
    if style == '"' and raw[position] == "\\":
        return 2 + _ESCAPES.get(raw[position + 1 : position + 2], 0)
    if style == "'" and raw[position : position + 2] == "''":
        return 2
    end = position
    while end < len(raw) and raw[end].isspace():
        end += 1
    return end - position if "\n" in raw[position:end] else 1
