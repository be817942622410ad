"""Checks that a value is plain data, while copying it.

A machine given as Python data may hold anything; what is kept is what a YAML or JSON text could
have held.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

from pystator.definition.issues import Path, Report, show
from pystator.definition.text import MAX_DEPTH, MAX_VALUES

__all__ = ["copy_plain"]

_AS_IS = frozenset({int, bool, type(None)})


def copy_plain(value: Any, report: Report) -> Any:
    """A deep copy of dictionaries, lists and scalars; what is none of these is reported."""
    return _Copy(report).of(value, ())


class _Copy:
    """One copy: counts, so that data which contains itself ends."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.count = 0

    def of(self, value: object, path: Path) -> Any:
        if type(value) in _AS_IS:
            return value
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Mapping | list | tuple):
            return self._container(cast("Any", value), path)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, int):
            return int(value)
        message = f"a machine is plain data: {show(value)!r} ({type(value).__name__}) is not"
        if isinstance(value, float):
            message = f"{value!r} cannot be stored: use a finite number"
        self.report.add("not_plain", path, message, text=show(value))
        return None

    def _text(self, value: str, path: Path) -> str:
        text = str.__str__(value)
        if not text.isascii() and not _encodes(text):
            self.report.add("bad_character", path, "this text has half a surrogate pair in it")
        elif "\0" in text:
            self.report.add("bad_character", path, "text cannot hold the character U+0000")
        return text

    def _container(self, value: Any, path: Path) -> Any:
        self.count += len(value)
        if len(path) >= MAX_DEPTH or self.count > MAX_VALUES:
            code, message = "too_deep", f"nested deeper than {MAX_DEPTH} levels"
            if self.count > MAX_VALUES:
                code, message = "too_large", f"more than {MAX_VALUES:,} values"
            self.report.add(code, path[:3], message)
            return None
        if not hasattr(value, "items"):
            return [self.of(item, (*path, index)) for index, item in enumerate(value)]
        copied: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.report.add("key_type", path, f"a key must be text, not {show(key)!r}")
                continue
            name = self._text(key, path)
            copied[name] = self.of(item, (*path, name))
        return copied


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
