"""One line of the log a request, and the last word on errors that nobody foresaw.

Laws:

- A line has the method, the route's template, the status, the milliseconds, the caller's name, the
  bytes of the answer and the request's id. It has no value of a path, a query, a header or a body.
- An error that reaches this place is logged once, whole, and answered in one sentence.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits
from time import perf_counter, time
from typing import Any, Final

from pystator.api.asgi import App, Header, Message, Receive, Scope, Send, header_of, refuse
from pystator.api.security.callers import CALLER, Caller

__all__ = ["AccessLog", "JsonFormat", "TextFormat", "configure_logging"]

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""Ids of requests that are taken from the outside: nothing that could forge a line."""

_access = logging.getLogger("pystator.access")
_log = logging.getLogger("pystator.api")


class AccessLog:
    """ASGI middleware around all that decides: takes the time, writes the line, answers errors."""

    def __init__(self, app: App, *, clock: Callable[[], float] = perf_counter) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on, then write the line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        request_id = _request_id(scope)
        answer = _Answer(send, (b"x-request-id", request_id.encode()))
        try:
            await self._app(scope, receive, answer)
        except Exception:
            _log.exception("request %s failed", request_id)
            if answer.status:
                raise  # half an answer cannot be mended: the server cuts the connection
            detail = f"something failed here; the log says what, under {request_id}"
            await refuse(scope, answer, "internal_error", detail)
        finally:
            _write(scope, answer, request_id, self._clock() - began)


class _Answer:
    """Watches an answer go by."""

    __slots__ = ("_header", "_send", "size", "status")

    def __init__(self, send: Send, header: Header) -> None:
        self._send = send
        self._header = header
        self.status = 0
        self.size = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The id that a proxy gave, if it is one; otherwise a new one."""
    given = header_of(scope, b"x-request-id")
    if len(given) == 1 and _ID.fullmatch(given[0]):
        return given[0].decode()
    return f"{getrandbits(64):016x}"


def _write(scope: Scope, answer: _Answer, request_id: str, seconds: float) -> None:
    if not _access.isEnabledFor(logging.INFO):
        return
    caller: Caller | None = scope.get(CALLER)
    facts = {
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path_format", "-").removeprefix("/api/v1"),
        "status": answer.status,
        "ms": round(seconds * 1_000, 1),
        "bytes": answer.size,
        "caller": caller.name if caller else "-",
        "request_id": request_id,
    }
    _access.handle(_Line(facts))


_COMMON: Final[Mapping[str, Any]] = {
    **vars(logging.LogRecord(_access.name, logging.INFO, __file__, 0, "", None, None, "_write")),
    "msg": "%(method)s %(route)s %(status)s",
    "taskName": None,
}
"""What all lines have in common. Formatters of others look for it on the record itself."""


class _Line(logging.LogRecord):
    """A record that is made without asking who made it, which would cost more than the rest."""

    def __init__(self, facts: Mapping[str, object]) -> None:  # the base's would ask
        self.__dict__ = {**_COMMON, "args": facts, "facts": facts}
        now = self.created = time()
        self.msecs = now % 1 * 1_000
        self.process = os.getpid()


# Formats ------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _second(since: int) -> str:
    return f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%S}"


def _moment(record: logging.LogRecord) -> str:
    since = int(record.created)
    return f"{_second(since)}.{int((record.created - since) * 1_000):03}+00:00"


class JsonFormat(logging.Formatter):
    """A line of JSON a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
        }
        facts: dict[str, Any] | None = getattr(record, "facts", None)
        said |= {"message": record.getMessage()} if facts is None else facts
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


class TextFormat(logging.Formatter):
    """A line of text a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts: dict[str, Any] | None = getattr(record, "facts", None)
        if facts is None:
            line = record.getMessage().replace("\n", "\\n")
        else:
            line = (
                f"{facts['method']} {facts['route']} {facts['status']} {facts['ms']} ms"
                f" {facts['bytes']} B {facts['caller']} {facts['request_id']}"
            )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return f"{_moment(record)} {record.levelname.lower():7} {line}"


def configure_logging(form: str, level: int = logging.INFO) -> None:
    """Our loggers and the server's write to standard error, in this form (``text``, ``json``)."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormat() if form == "json" else TextFormat())
    for name in ("pystator", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.WARNING))  # not its small talk
    logging.getLogger("uvicorn.access").disabled = True  # ours says less, and enough
