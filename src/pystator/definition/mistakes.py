"""What Pydantic found wrong with the shape of a machine, said to a person; and what is still sound.

A file with a mistake in one place is still checked everywhere else: `sound` takes out what has the
wrong shape, so that lowering can judge the rest, and remembers what it took, so that nothing is
reported twice.
"""

import json
from collections.abc import Iterable
from typing import Any

from pystator.definition.data import is_list, is_map
from pystator.definition.format import (
    ACTION,
    DOCUMENT,
    GUARD,
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
from pystator.definition.issues import Path, Report, closest, show

__all__ = ["explain", "sound"]

Details = dict[str, Any]

_OWNERS = {"states": "a state", "transitions": "a transition", "events": "an event"}
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
        return "wrong_type", _wrong_kind(_WRONG_KIND[kind], key, path, value), None
    if kind == "string_pattern_mismatch" and isinstance(shape, Text):
        message = f"{show(value)!r} is no valid {path[-1]}: use {shape.pattern_says}"
        return "bad_name", message, _slug(value) if "lower-case" in shape.pattern_says else None
    if kind == "too_short":
        return "empty", f"{key} is empty: give it at least one entry, or remove it", None
    bounds: dict[str, Any] = details.get("ctx") or {}
    if kind in {"greater_than", "greater_than_equal", "less_than_equal"}:
        words = {"gt": "more than", "ge": "at least", "le": "at most"}
        said = " and ".join(f"{words[name]} {bounds[name]}" for name in bounds if name in words)
        return "out_of_range", f"{key} must be {said}, not {show(value)}", None
    return "invalid", f"{key}: {details['msg']}", None


def _wrong_choice(key: str, shape: Choice, value: Any) -> tuple[str, str, str | None]:
    near = closest(value, shape.words) if isinstance(value, str) else None
    return (
        "unknown_value",
        f"{show(value)!r} is not possible for {key}: use one of {', '.join(shape.words)}",
        near,
    )


def _wrong_kind(expected: str, key: str, path: Path, value: Any) -> str:
    if expected == "flag":
        return f"{key} must be true or false{_or_word(value)}"
    if expected == "list":
        return f"{key} must be a list{_as_list(value)}"
    if expected == "mapping" and not path:
        return f"a machine is a mapping with 'states' and 'transitions', not {_kind(value)}"
    if expected != "text":
        return f"{key} must be a {expected}, not {_kind(value)}"
    if isinstance(value, bool | int | float):
        return f'{key} must be text: write "{json.dumps(value)}" in quotes'
    return f"{key} must be text, not {_kind(value)}"


def _or_word(value: Any) -> str:
    """YAML 1.1 knew more words for true and false than 1.2 does."""
    word = str(value).lower()
    if word in _TRUE_WORDS or word in _FALSE_WORDS:
        return f": write {'true' if word in _TRUE_WORDS else 'false'}"
    return f", not {_kind(value)}"


def _as_list(value: Any) -> str:
    if isinstance(value, str):
        return f": write [{show(value)}]"
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
    return f"an entry of {names[-1]!r}"


def _owner(path: Path) -> str:
    return "a machine" if not path else _key_name(path)


def _slug(value: Any) -> str | None:
    """The nearest valid name."""
    letters = [char if char.isalnum() and char.isascii() else "_" for char in str(value).strip()]
    slug = "".join(letters).lower().strip("_")
    return slug or None


# The table along a path -------------------------------------------------------------------------


def _resolve(shape: Shape) -> Shape:
    if isinstance(shape, Ref):
        return {"guard": GUARD, "action": ACTION}[shape.name]
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
    return path, closest(str(path[-1]), keys)


# What is still sound ----------------------------------------------------------------------------

_NEEDED = {"states": "name", "transitions": "source"}


def sound(data: Any, paths: Iterable[Path]) -> tuple[dict[str, Any], frozenset[Path]]:
    """The data without what is wrong at these paths.

    Returns:
        A copy that shares what it did not change, with ``None`` for a state or transition that
        cannot be used; and the paths of the items, keys and sections that are not whole.
    """
    machine: dict[str, Any] = dict(data) if is_map(data) else {}
    damaged: set[Path] = set()
    for path in paths:
        damaged.add(path[:2] if path and path[0] in _NEEDED else path[:1])
        _take_out(machine, path)
    for section in _NEEDED:
        if not is_list(machine.get(section)):
            machine[section] = []
    return machine, frozenset(damaged)


def _take_out(machine: dict[str, Any], path: Path) -> None:
    section = str(path[0]) if path else ""
    value = machine.get(section)
    if section == "meta" and len(path) > 1 and is_map(value):
        machine[section] = {key: inner for key, inner in value.items() if key != path[1]}
    elif section in _NEEDED and len(path) > 1 and is_list(value):
        index: Any = path[1]
        items = machine[section] = list(value)
        items[index] = _without(items[index], path, _NEEDED[section])
    else:
        machine.pop(section, None)


def _without(item: Any, path: Path, needed: str) -> dict[str, Any] | None:
    """A state or transition without what a path names; None when it is nothing without that."""
    if not is_map(item) or len(path) == 2 or path[2] == needed:
        return None
    key: Any = path[2]
    entries = item.get(key)
    if len(path) > 3 and is_list(entries) and isinstance(path[3], int):
        return {**item, key: [None if n == path[3] else entry for n, entry in enumerate(entries)]}
    return {name: value for name, value in item.items() if name != key}
