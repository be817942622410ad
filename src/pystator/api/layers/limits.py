"""What a request may be before anybody looks into it: sizes, times, depth, encoding.

Laws:

- A body is read whole before the application is called, within a time and a size; so nothing waits
  for a slow sender but the connection itself.
- What is refused early is not read further: the connection is closed.
- JSON that passes is UTF-8, and not so deep that a parser could trip.
"""

import asyncio
import contextlib
import re
from array import array
from collections.abc import Coroutine, Generator
from itertools import accumulate
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import unquote_to_bytes

from pystator.api.asgi import (
    CLOSE,
    App,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    header_of,
    refuse,
)
from pystator.records import record

__all__ = ["BodyLimits", "HeadLimits", "Limits", "is_too_deep"]


T = TypeVar("T")


@record
class Limits:
    """The most that a request may be.

    Attributes:
        body: Bytes of a body.
        body_seconds: In which all of it has come.
        depth: Levels of arrays and objects within each other in JSON.
        path: Bytes of a path.
        query: Bytes of a query.
        headers: Number of header lines.
        header_bytes: Bytes of all of them.
    """

    body: int = 1_048_576
    body_seconds: float = 10.0
    depth: int = 64
    path: int = 4_096
    query: int = 8_192
    headers: int = 100
    header_bytes: int = 16_384


class HeadLimits:
    """ASGI middleware: path, query and headers are of a reasonable size, and mean one thing."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the head, then go on."""
        if scope["type"] == "http" and (found := self._problem(scope)) is not None:
            await refuse(scope, send, *found, (CLOSE,))
            return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> tuple[str, str] | None:
        limits = self._limits
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        query: bytes = scope.get("query_string", b"")
        headers: list[Header] = scope["headers"]
        if len(raw_path) > limits.path:
            return "uri_too_long", f"a path has at most {limits.path} bytes"
        if len(query) > limits.query:
            return "uri_too_long", f"a query has at most {limits.query} bytes"
        if len(headers) > limits.headers:
            return "headers_too_large", f"a request has at most {limits.headers} headers"
        if sum(len(name) + len(value) for name, value in headers) > limits.header_bytes:
            return "headers_too_large", f"headers have at most {limits.header_bytes} bytes"
        return _doubt(scope, query)


def _doubt(scope: Scope, query: bytes) -> tuple[str, str] | None:
    """What a reader in front of this one may have read in another way."""
    if not _is_text(query):
        return "invalid_encoding", "the query is not UTF-8"
    if scope.get("http_version", "1.1") not in _VERSIONS:
        return "invalid_http", "this service speaks HTTP/1.1"
    if _is_ambiguous(scope):
        return "invalid_http", "a body has a length or comes in chunks, not both"
    return None


def _is_ambiguous(scope: Scope) -> bool:
    """The end of the body could be seen in two places."""
    if not header_of(scope, b"transfer-encoding"):
        return False
    return bool(header_of(scope, b"content-length")) or scope.get("http_version") == "1.0"


_VERSIONS: Final = frozenset({"1.0", "1.1"})


def _is_text(quoted: bytes) -> bool:
    if b"%" not in quoted and quoted.isascii():
        return True
    try:
        unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        return False
    return True


_FACTOR: Final = 8
"""A body that is so many times too big is not read to its end."""

_PATIENCE: Final = 2.0
"""Seconds in which such a body may still come."""


class BodyLimits:
    """ASGI middleware: the body has come, in time, is not too big, and can be parsed."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a body, if there is one that may be read, then go on."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        if (coding := _coding(scope)) is not None:
            detail = f"the body is encoded ({coding}), and only plain bodies are taken"
            plain = (b"accept-encoding", b"identity")
            await refuse(scope, send, "unsupported_media_type", detail, (plain, CLOSE))
        else:
            await self._hear(scope, receive, send)

    async def _hear(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then go on with it in one piece."""
        limit = self._limits.body
        if _declared(scope) > limit:
            await self._hear_out(receive, _declared(scope))
            await self._too_big(scope, send)
            return
        try:
            body = await _in_time(_read(receive, limit), self._limits.body_seconds)
        except TimeoutError:
            detail = f"the body did not come within {self._limits.body_seconds:g} s"
            await refuse(scope, send, "request_timeout", detail, (CLOSE,))
            return
        if body is None:
            return  # the sender is gone: nobody reads an answer, and nothing happens
        if len(body) > limit:
            await self._too_big(scope, send)
            return
        if (why := self._problem(scope, body)) is not None:
            await refuse(scope, send, "invalid_json", why)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _hear_out(self, receive: Receive, length: int) -> None:
        """Let pass what is under way: who still writes does not read an answer."""
        if length <= _FACTOR * self._limits.body:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_PATIENCE, self._limits.body_seconds)):
                    await _pass(receive)

    async def _too_big(self, scope: Scope, send: Send) -> None:
        detail = f"a body has at most {self._limits.body} bytes; send bulk events in several"
        await refuse(scope, send, "too_large", detail, (CLOSE,))

    def _problem(self, scope: Scope, body: bytes) -> str | None:
        """What is wrong with JSON; other kinds have readers with limits of their own."""
        if not _is_json(scope):
            return None
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                return f"the body is not UTF-8: byte {error.start}"
        if is_too_deep(body, self._limits.depth):
            return f"arrays and objects are at most {self._limits.depth} levels deep"
        return None


def _has_body(scope: Scope) -> bool:
    if header_of(scope, b"transfer-encoding"):
        return True
    return header_of(scope, b"content-length") not in ((), [b"0"])


def _declared(scope: Scope) -> int:
    """The length that the head says; the server has checked that it is one number."""
    return sum(map(int, header_of(scope, b"content-length")))


def _coding(scope: Scope) -> str | None:
    """How the body is packed: what it is unpacked has no size that anybody could have looked at."""
    said = ascii(b", ".join(header_of(scope, b"content-encoding")).decode("latin-1").strip())[1:-1]
    return said[:40] if said.lower() not in {"", "identity"} else None


def _is_json(scope: Scope) -> bool:
    kinds = header_of(scope, b"content-type")
    return not kinds or b"json" in b",".join(kinds).lower()


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body, or a little more than the limit; None when the sender is gone."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return first
    body = bytearray(first)
    while len(body) <= limit:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


async def _in_time(reading: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of it; most often it is there at once, and no clock has to be set.

    Raises:
        TimeoutError: It took longer.
    """
    steps = reading.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as done:
        return cast("T", done.value)
    async with asyncio.timeout(seconds):
        return await _Rest(steps, waits_for)


class _Rest(Generic[T]):
    """What is left of a coroutine that has begun to wait."""

    def __init__(self, steps: Generator[Any, Any, T], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            yield self._waits_for
        except BaseException:
            self._steps.close()
            raise
        return (yield from self._steps)


async def _pass(receive: Receive) -> None:
    """Read and forget."""
    while (await receive()).get("more_body", False):
        pass


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once, then what comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


# Depth --------------------------------------------------------------------------------------------

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, also one that does not end: each byte is looked at once."""

_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One level more, and, as a signed byte, one less."""

_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))


def is_too_deep(text: bytes, depth: int) -> bool:
    """More than so many arrays and objects are within each other.

    A text of a megabyte costs some milliseconds, whatever it is. Text that is no JSON may pass; a
    parser says what it is.
    """
    if text.count(b"[") + text.count(b"{") <= depth:
        return False
    steps = array("b", _STRING.sub(b"", text).translate(_STEPS, _OTHERS))
    return max(accumulate(steps), default=0) > depth
