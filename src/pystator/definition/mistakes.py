"""What Pydantic found wrong with the shape of a machine, said to a person; and what is still sound.

A file with a mistake in one place is still checked everywhere else: `sound` takes out what has the
wrong shape, so that lowering can judge the rest, and remembers what it took, so that nothing is
reported twice.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pystator.definition.data import is_list, is_map
from pystator.definition.format import (
    ACTION,
    DOCUMENT,
    GUARD,
    NAME,
    STATE,
    TEXT,
    Choice,
    Forms,
    Kinds,
    ListOf,
    MapOf,
    Object,
    Ref,
    Shape,
    Text,
)
from pystator.definition.issues import Path, Report, closest, show, slug

__all__ = ["explain", "sound"]

Details = dict[str, Any]

_OWNERS = {"states": "a state", "transitions": "a transition", "events": "an event"}
_NESTED_OWNERS = {"states": "a state", "regions": "a region"}
_TRUE_WORDS = frozenset({"yes", "on", "y", "true"})
_FALSE_WORDS = frozenset({"no", "off", "n", "false"})
_WRONG_KIND = {
    "list_type": "list",
    "dict_type": "mapping",
    "string_type": "text",
    "bool_type": "flag",
    "int_type": "whole number",
    "int_from_float": "whole number",
    "float_type": "number",
}


_NUMBERS = {
    "whole number": re.compile(r"-?[0-9]+"),
    "number": re.compile(r"-?[0-9]+(\.[0-9]+)?"),
}
_WORD = re.compile(r"\w*")
_EXAMPLES: dict[str | int, str] = {
    "timeout": "{seconds: 30, destination: STATE}",
    "check": "{field: FIELD, op: gt, value: 0}",
    "retention": "{history: 90d}",
}


_NO_KEYS = dict.fromkeys(
    ("states", "children", "substates"), ": the states inside name this one as their 'parent'"
) | {"history": ": history is where a transition goes: write dest: H(STATE)"}
"""Keys that a state has in other formats: what does it here."""
_OF_MEMBERS = ": a region has none of its own, the parallel state or a state in the region has"
_NO_REGION_KEYS = dict.fromkeys(
    ("on_enter", "on_exit", "timeout", "on_done", "when"), _OF_MEMBERS
) | {"type": ": a region is no state; one that holds regions is written as a state in it"}
_NO_MACHINE_KEYS = dict.fromkeys(
    ("version", "description", "strict_mode", "machine_name"), ": it belongs under 'meta'"
) | {"name": ": write meta: {machine_name: ...}"}
_UNKNOWN = {"a state": _NO_KEYS, "a region": _NO_REGION_KEYS, "a machine": _NO_MACHINE_KEYS}
_COMPOUND = "remove it, a state that others name as their 'parent' is one"
_HISTORY = "history is no state, but where a transition goes: write dest: H(STATE)"
_NO_TYPES: Mapping[str, str] = {
    "compound": _COMPOUND,
    "composite": _COMPOUND,
    "nested": _COMPOUND,
    "hierarchical": _COMPOUND,
    "superstate": _COMPOUND,
    "history": _HISTORY,
    "shallow": _HISTORY,
    "deep": _HISTORY,
    "shallow_history": _HISTORY,
    "deep_history": _HISTORY,
}
"""Types that a state has in other formats: what does it here."""


def explain(mistakes: Iterable[Details], report: Report) -> list[Path]:
    """Report each mistake; return where they are."""
    found = list(mistakes)
    renamed = {(path[:-1], near) for path, near in map(_unknown_key, found) if near}
    paths: list[Path] = []
    for details in found:
        path, shape = _walk(details["loc"])
        paths.append(path)
        if details["type"] == "missing" and (path[:-1], path[-1]) in renamed:
            continue
        _report(details, path, shape, report)
    return paths


def _report(details: Details, path: Path, shape: Shape | None, report: Report) -> None:
    kind: str = details["type"]
    value = details["input"]
    if kind == "missing":
        report.add("missing_key", path[:-1], f"{_owner(path[:-1])} needs {path[-1]!r}")
    elif kind == "extra_forbidden":
        _, near = _unknown_key(details)
        message = f"unknown key {show(path[-1])!r} in {_owner(path[:-1])}"
        if not near:
            message += _UNKNOWN.get(_owner(path[:-1]), {}).get(str(path[-1]).lower(), "")
        report.add("unknown_key", path, message, text=show(path[-1]), suggestion=near, key=True)
    elif kind.startswith("entry_"):
        context = details["ctx"]
        if "key" in context:
            report.add(
                "entry",
                (*path, context["key"]),
                details["msg"],
                text=show(context["key"]),
                suggestion=context.get("near"),
                key=True,
            )
        else:
            report.add("entry", path, details["msg"], text=show(value))
    else:
        code, message, suggestion = _judge(kind, path, shape, value, details)
        report.add(code, path, message, text=show(value), suggestion=suggestion)


def _judge(
    kind: str, path: Path, shape: Shape | None, value: Any, details: Details
) -> tuple[str, str, str | None]:
    """Code, message and suggestion for a value that is there and wrong."""
    key = _key_name(path)
    if isinstance(shape, Choice):
        return _wrong_choice(key, shape, value)
    if kind in _WRONG_KIND:
        message = _wrong_kind(_WRONG_KIND[kind], key, path, value)
        if isinstance(shape, Text) and not _helps_to_quote(shape, value):
            message = f"{key} must be {shape.pattern_says}, not {show(value)}"
        return "wrong_type", message, None
    if kind == "string_pattern_mismatch" and isinstance(shape, Text):
        message = f"{show(value)!r} is no valid {path[-1]}: use {shape.pattern_says}"
        return "bad_name", message, (slug(value) or None) if shape is NAME else None
    if kind == "too_short":
        return "empty", f"{key} is empty: give it at least one entry, or remove it", None
    bounds: dict[str, Any] = details.get("ctx") or {}
    if kind in {"greater_than", "greater_than_equal", "less_than_equal"}:
        words = {"gt": "more than", "ge": "at least", "le": "at most"}
        said = " and ".join(f"{words[name]} {bounds[name]:g}" for name in bounds if name in words)
        return "out_of_range", f"{key} must be {said}, not {show(value)}", None
    return "invalid", f"{key}: {details['msg']}", None


def _helps_to_quote(shape: Text, value: Any) -> bool:
    """A number would be right as text, or is no matter of a pattern."""
    if shape.pattern is None or isinstance(value, str | bool) or not isinstance(value, int | float):
        return True
    return re.fullmatch(shape.pattern, json.dumps(value)) is not None


def _wrong_choice(key: str, shape: Choice, value: Any) -> tuple[str, str, str | None]:
    near = closest(value, shape.words) if isinstance(value, str) else None
    instead = f"use one of {', '.join(shape.words)}"
    if "parallel" in shape.words and near is None:
        instead = _NO_TYPES.get(str(value).lower(), instead)
    return "unknown_value", f"{show(value)!r} is not possible for {key}: {instead}", near


def _wrong_kind(expected: str, key: str, path: Path, value: Any) -> str:
    if expected == "flag":
        return f"{key} must be true or false{_or_word(value)}"
    if expected == "list":
        return f"{key} must be a list{_as_list(value, path)}"
    if expected == "mapping" and not path:
        return f"a machine is a mapping with 'states' and 'transitions', not {_kind(value)}"
    if expected != "text":
        return f"{key} must be a {expected}, not {_kind(value)}{_instead(expected, path, value)}"
    if isinstance(value, bool | int | float):
        return f'{key} must be text: write "{json.dumps(value)}" in quotes'
    several = ": write anyOf, and an entry for each" if path[-1] == "in_state" else ""
    return f"{key} must be text, not {_kind(value)}{several}"


def _or_word(value: Any) -> str:
    """YAML 1.1 knew more words for true and false than 1.2 does."""
    word = str(value).lower()
    if word in _TRUE_WORDS or word in _FALSE_WORDS:
        return f": write {'true' if word in _TRUE_WORDS else 'false'}"
    return f", not {_kind(value)}"


def _instead(expected: str, path: Path, value: Any) -> str:
    """What to write, where that is known."""
    if expected == "mapping":
        example = _EXAMPLES.get(path[-1])
        if isinstance(value, str) and _key_name(path) in {"a state", "a region"}:
            more = ", states: [...]" if _key_name(path) == "a region" else ""
            example = f"{{name: {slug(value)}{more}}}"
        return f": write {example}" if example else ""
    if isinstance(value, str) and _NUMBERS[expected].fullmatch(value):
        return f": write {value} without quotes"
    amount = len(path) > 1 and path[-2] in {"increment", "decrement"}
    return "; an expression is written {expr: ...}" if amount else ""


def _as_list(value: Any, path: Path) -> str:
    if isinstance(value, str) and path[-1] == "guards" and not _WORD.fullmatch(value):
        return f': write [{{expr: "{show(value)}"}}]'
    if isinstance(value, str):
        return f": write [{show(value)}]"
    if path[-1] == "regions" and is_map(value) and value:
        return f", not a mapping: write [{{name: {show(next(iter(value)))}, states: [...]}}, ...]"
    return f", not {_kind(value)}: start each entry with '- '"


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {show(value)!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"the number {show(value)}"


def _key_name(path: Path) -> str:
    if not path:
        return "the machine"
    if isinstance(path[-1], str):
        return repr(path[-1])
    if len(path) == 2 and path[0] in _OWNERS:
        return _OWNERS[str(path[0])]
    names = [step for step in path if isinstance(step, str)]
    if names[-1] in _NESTED_OWNERS and isinstance(path[-2], str):
        return _NESTED_OWNERS[names[-1]]
    return f"an entry of {names[-1]!r}"


def _owner(path: Path) -> str:
    return "a machine" if not path else _key_name(path)


# The table along a path -------------------------------------------------------------------------


_REFERRED: dict[str, Shape] = {"guard": GUARD, "action": ACTION, "state": STATE}


def _resolve(shape: Shape) -> Shape:
    if isinstance(shape, Ref):
        return _REFERRED[shape.name]
    return shape


def _walk(location: Iterable[str | int]) -> tuple[Path, Shape | None]:
    """Pydantic's location, which contains tags -> the path in the data and the shape there."""
    path: Path = ()
    shape: Shape | None = DOCUMENT
    for step in location:
        if isinstance(shape, Kinds | Forms) and isinstance(step, str) and step.startswith("<"):
            by: Any = shape.by
            shape = by.get(step[1:-1], TEXT)
        else:
            path = (*path, step)
            shape = _inside(shape, step)
        shape = _resolve(shape) if shape is not None else None
    return path, shape


def _inside(shape: Shape | None, step: str | int) -> Shape | None:
    if isinstance(shape, Object):
        key = shape.keys.get(str(step))
        return key.shape if key else None
    if isinstance(shape, ListOf):
        return shape.item
    if isinstance(shape, MapOf):
        return shape.value
    return None


def _unknown_key(details: Details) -> tuple[Path, str | None]:
    """Where an unknown key stands and the known key it is near to."""
    if details["type"] != "extra_forbidden":
        return (), None
    path, _ = _walk(details["loc"])
    _, shape = _walk(details["loc"][:-1])
    keys: Iterable[str] = shape.keys if isinstance(shape, Object) else ()
    if path[-1] == "region" and shape is STATE and isinstance(details["input"], str):
        return path, "parent"
    return path, closest(str(path[-1]), keys)


# What is still sound ----------------------------------------------------------------------------

_NEEDED = {"states": "name", "transitions": "source"}
_NESTED = frozenset({"regions", "states"})
_ENTRIES = frozenset(
    {"guards", "actions", "on_enter", "on_exit", "when", "allOf", "anyOf", "then", "else"}
)


def sound(data: Any, paths: Iterable[Path]) -> tuple[dict[str, Any], frozenset[Path]]:
    """The data without what is wrong at these paths.

    Returns:
        A copy that shares what it did not change, with ``None`` for a state, a transition, a guard
        or an action that cannot be used; and the paths of the items and sections not whole.
    """
    pruning = _Pruning(data if is_map(data) else {})
    damaged: set[Path] = set()
    for path in paths:
        damaged.add(path[:2] if path and path[0] in _NEEDED else path[:1])
        pruning.take_out(path)
    for section in _NEEDED:
        if not is_list(pruning.machine.get(section)):
            pruning.machine[section] = []
    return pruning.machine, frozenset(damaged)


class _Pruning:
    """Takes things out of a copy; each container on the way is copied once."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.machine = dict(data)
        self._copies: dict[int, Any] = {id(self.machine): self.machine}

    def take_out(self, path: Path) -> None:
        section = str(path[0]) if path else ""
        if len(path) < 2 or section not in {"meta", *_NEEDED}:
            self.machine.pop(section, None)
            return
        inner = self._own(self.machine, section)
        if section == "meta" and is_map(inner):
            inner.pop(str(path[1]), None)
        elif is_list(inner):
            self._from_list(inner, path[1:], _NEEDED[section])

    def _own(self, container: Any, key: Any) -> Any:
        """The value of a key, copied unless it is a copy already."""
        value = container.get(key) if is_map(container) else container[key]
        if id(value) not in self._copies and (is_map(value) or is_list(value)):
            value = container[key] = value.copy()
            self._copies[id(value)] = value
        return value

    def _from_list(self, items: list[Any], path: Path, needed: str = "") -> None:
        """An item is made smaller if it is something without the wrong part, else taken out."""
        index: Any = path[0]
        gone = len(path) == 1 or path[1] == needed or not is_map(items[index])
        if gone or not self._from_map(self._own(items, index), path[1:], whole=not needed):
            items[index] = None

    def _from_map(self, item: dict[str, Any], path: Path, *, whole: bool) -> bool:
        """Whether the item can stay. ``whole``: it is nothing without one of its keys."""
        key: Any = path[0]
        inner = self._own(item, key)
        if key in _ENTRIES and len(path) > 1 and is_list(inner) and isinstance(path[1], int):
            self._from_list(inner, path[1:])
            return True
        if key in _NESTED and len(path) > 1 and is_list(inner):
            self._from_list(inner, path[1:], "name")
            return True
        if key == "branch" and len(path) > 1 and is_map(inner):
            return self._from_map(inner, path[1:], whole=True)
        if not whole:
            item.pop(key, None)
        return not whole
