"""Where things stand in a text: a second reading, only for who has something to tell.

The first reading keeps no positions, since almost every machine is right. This one builds a tree of marks in the shape
of the data, and follows a path through it.
"""

from typing import Any

from yaml.cyaml import CParser
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from pystator.definition.issues import Path

__all__ = ["Positions"]

_ESCAPES = {"x": 2, "u": 4, "U": 8}


class _Mark:
    """One value: its event, and what is inside it."""

    __slots__ = ("event", "items", "keys")

    def __init__(self, event: Any) -> None:
        self.event = event
        self.keys: dict[str, tuple[Any, _Mark]] = {}
        self.items: list[_Mark] = []


class Positions:
    """Paths of a text that has been read without mistake -> line and column, from 1."""

    def __init__(self, text: str) -> None:
        self.text = text.removeprefix("\ufeff")
        self.root: _Mark | None = None

    def __call__(self, path: Path, key: bool, offset: int | None) -> tuple[int, int]:
        """Line and column of the value at a path, of its key, or of a place inside the value.

        What is not there is placed at the nearest thing around it.
        """
        if self.root is None:
            self.root = _read(self.text)
        mark = self.root
        event = mark.event
        for index, step in enumerate(path):
            last = index == len(path) - 1
            if isinstance(step, str) and step in mark.keys:
                key_event, mark = mark.keys[step]
                event = key_event if last and key else mark.event
            elif isinstance(step, int) and step < len(mark.items):
                mark = mark.items[step]
                event = mark.event
            else:
                break
        else:
            if offset is not None and isinstance(event, ScalarEvent):
                return _within(self.text, event, offset)
        return _start(self.text, event)

    def raw(self, path: Path) -> str:
        """The text of a scalar as it is written."""
        if self.root is None:
            self.root = _read(self.text)
        mark = self.root
        for step in path:
            mark = mark.keys[step][1] if isinstance(step, str) else mark.items[step]
        return str(mark.event.value)


def _start(text: str, event: Any) -> tuple[int, int]:
    """The start of an event; an empty value has none of its own, and libyaml puts it where the next token is."""
    mark = event.start_mark
    if isinstance(event, ScalarEvent) and mark.index == event.end_mark.index and mark.column == 0:
        before = text[: mark.index].rstrip()
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return mark.line + 1, mark.column + 1


def _read(text: str) -> _Mark:  # noqa: C901 - one loop over six kinds of events
    get_event = CParser(text).get_event
    anchors: dict[str, _Mark] = {}
    stack: list[tuple[_Mark, Any]] = []
    top: _Mark | None = None
    key: Any = None
    while True:
        event: Any = get_event()
        if event is None:
            break
        kind = type(event)
        if kind is MappingEndEvent or kind is SequenceEndEvent:
            mark, key = stack.pop()
            if "<<" in mark.keys:
                _merge(mark)
        elif kind is AliasEvent:
            mark = anchors.get(event.anchor) or _Mark(event)
        elif kind is ScalarEvent or kind is MappingStartEvent or kind is SequenceStartEvent:
            mark = _Mark(event)
            if event.anchor is not None:
                anchors[event.anchor] = mark
            if kind is not ScalarEvent:
                stack.append((mark, key))
                key = None
                continue
        else:
            continue
        if not stack:
            top = mark
            continue
        outer = stack[-1][0]
        if type(outer.event) is SequenceStartEvent:
            outer.items.append(mark)
        elif key is None:
            key = mark.event
        else:
            outer.keys[key.value] = (key, mark)
            key = None
    return top or _Mark(None)


def _merge(mark: _Mark) -> None:
    _, sources = mark.keys["<<"]
    for source in sources.items or [sources]:
        for name, entry in source.keys.items():
            mark.keys.setdefault(name, entry)


# Inside a scalar --------------------------------------------------------------------------------


def _within(text: str, event: Any, offset: int) -> tuple[int, int]:
    """Line and column of the ``offset``-th character of a scalar's value."""
    start: int = event.start_mark.index
    raw = text[start : event.end_mark.index]
    if event.style in {"|", ">"}:
        at = _in_block(raw, event.value, offset)
    else:
        at = _in_flow(raw, offset, event.style)
    before = text[: start + at]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


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
    character = raw[position]
    if style == '"' and character == "\\":
        return 2 + _ESCAPES.get(raw[position + 1 : position + 2], 0)
    if style == "'" and raw[position : position + 2] == "''":
        return 2
    rest = raw[position:]
    folded = len(rest) - len(rest.lstrip())
    return folded if "\n" in rest[:folded] else 1
