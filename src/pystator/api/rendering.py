"""Answers as JSON: compact, in UTF-8, with what JSON has no word for as text."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

from starlette.responses import Response

from pystator.service.jsons import as_plain

__all__ = ["Json", "render"]


_encode = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=as_plain
).encode


def render(value: Any) -> bytes:
    """The value as a JSON document with a line's end, as terminals like it."""
    try:
        text = _encode(value)
    except ValueError:  # no store keeps NaN, but a user's code may bring it into an error
        text = _encode(_finite(value))
    return (text + "\n").encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    """The value with null for each number that JSON does not have."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        return {str(key): _finite(each) for key, each in found.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in cast("list[Any]", value)]
    return value


class Json(Response):
    """An answer of plain data."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return render(content)
