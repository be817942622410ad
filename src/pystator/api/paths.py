"""Paths as they were sent: an id may hold a slash, and a literal of a path is no id.

A server hands the path over decoded, and then ``a%2Fb`` is two segments and the entity ``bulk``
cannot be told from the route ``bulk``. So routes are matched against the path as it was sent, and
each segment is decoded by itself: ``/entities/%62ulk/events`` is the entity ``bulk``.
"""

from typing import Final
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["ENDLESS", "MACHINE", "SEGMENT", "RawPaths"]

ENDLESS: Final = "/transitions/stream"
"""How the path ends of what is answered without an end: it has no HEAD."""

SEGMENT: Final = "segment"
"""The convertor's name, for ``{entity_id:segment}``."""

MACHINE: Final = "machine"
"""The same for ``{name:machine}``, which leaves ``/machines/validate`` alone."""


class _Segment(Convertor[str]):
    """One segment of a path, decoded; what is no UTF-8 is left for the check of names to refuse."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """From the path."""
        return unquote(value, errors="surrogateescape") if "%" in value else value

    def to_string(self, value: str) -> str:
        """Into a path."""
        return value


class _MachineName(_Segment):
    """A segment that names a machine; one of the name ``validate`` is sent as ``%76alidate``."""

    regex = "(?!validate$)[^/]+"


register_url_convertor(SEGMENT, _Segment())
register_url_convertor(MACHINE, _MachineName())


class RawPaths:
    """A middleware: the path of a scope becomes what was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        raw = scope.get("raw_path")
        if raw is not None and b"%" in raw:
            scope["path"] = raw.decode("ascii", "replace").partition("?")[0]
        await self.app(scope, receive, send)
