"""What a service and its worker processes say to each other: JSON, and the bytes it is about."""

import json
import struct
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Protocol

__all__ = ["Frame", "Reader", "Writer", "pack", "read", "write"]

Frame = tuple[dict[str, Any], bytes]
"""The facts, and the content they are about."""

_HEAD = struct.Struct(">II")


class Reader(Protocol):
    """Where frames come from."""

    def read(self, size: int, /) -> bytes | None:
        """As a buffered stream: all of them, or fewer at the end."""
        ...


class Writer(Protocol):
    """Where frames go."""

    def write(self, data: bytes, /) -> object:
        """All of it."""
        ...

    def flush(self) -> object:
        """Now."""
        ...


def pack(facts: Mapping[str, Any], content: bytes = b"") -> bytes:
    """A frame as bytes.

    Raises:
        ValueError: A number of the facts is none of JSON's.
    """
    text = json.dumps(facts, allow_nan=False, default=_plain).encode()
    return b"".join((_HEAD.pack(len(text), len(content)), text, content))


def write(stream: Writer, frame: bytes) -> None:
    """Send a packed frame."""
    stream.write(frame)
    stream.flush()


def read(stream: Reader) -> Frame | None:
    """The next frame; None where the other side is gone, in the midst of one as well."""
    head = stream.read(_HEAD.size) or b""
    if len(head) < _HEAD.size:
        return None
    size, more = _HEAD.unpack(head)
    body = stream.read(size + more) or b""
    if len(body) < size + more:
        return None
    return json.loads(body[:size]), body[size:]


def _plain(value: Any) -> str:
    """What effects write and JSON has no word for."""
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
