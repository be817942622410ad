"""HTTP/1.1 on a connection: uvicorn's protocol over h11, with our answers and timeouts.

h11 refuses what two readers could understand in two ways (a length said twice, a length beside
chunks, spaces in names, bare line feeds in a head): there is nothing to smuggle.
"""

import asyncio
import json
import logging
import sys
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from pystator.api.problems import MEDIA_TYPE, RETRY_SECONDS, document
from pystator.api.server.cork import Cork

__all__ = ["HEAD_LIMIT", "HEAD_SECONDS", "Protocol"]

HEAD_LIMIT: Final = 65_536
"""Bytes of a request's head that are kept while it is not complete."""

HEAD_SECONDS: Final = 10.0
"""In which the head of a request has come."""

STUCK_SECONDS: Final = 60.0
"""After which a reader is left that takes nothing of what waits for it."""

MOST_CONNECTIONS: Final = 10_000
"""Of a process. Who comes when there are so many is sent away."""

_CODES: Final = {
    400: "invalid_http",
    408: "request_timeout",
    431: "headers_too_large",
    503: "too_many_connections",
}

_log = logging.getLogger("pystator.api")


class Protocol(H11Protocol):
    """A connection."""

    head_seconds = HEAD_SECONDS
    stuck_seconds = STUCK_SECONDS
    most_connections = MOST_CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as above it
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", Cork(transport, self.loop))
        if len(self.connections) > self.most_connections:
            self._refuse(503, f"there are {self.most_connections} connections already")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._stop_waiting()
        self._stop_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; while it is not a whole head, the time is running."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait()
        else:
            self._stop_waiting()

    def pause_writing(self) -> None:
        """Much waits for the reader: look from time to time whether it takes some of it.

        Also after the answer has ended and the connection is closed: what waits is kept until then.
        """
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """Little is left."""
        self._stop_reading()
        super().resume_writing()

    def _look_again(self) -> None:
        self._stop_reading()
        self._unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.stuck_seconds, self._look)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._look_again()
        else:
            _log.info("a reader took nothing for %g s: the connection is cut", self.stuck_seconds)
            self.transport.abort()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self.conn.trailing_data[0]:
            self._refuse(408, f"the head did not come within {self.head_seconds:g} s")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called while the parser's error is handled."""
        del msg
        error = sys.exc_info()[1]
        status = 400
        if isinstance(error, h11.RemoteProtocolError):
            status = error.error_status_hint
        status = status if status in _CODES else 400
        detail = (
            "headers are too large" if status == 431 else "this is not HTTP/1.1 as RFC 9112 has it"
        )
        self._refuse(status, detail)

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, if an answer can still be begun, and close the connection."""
        _log.info("%s %s", status, detail)
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # who waits for the rest of a body learns that none comes
            cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._answer(status, detail)
        self.transport.close()

    def _answer(self, status: int, detail: str) -> None:
        body = json.dumps(document(_CODES[status], detail, "", {})).encode() + b"\n"
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        if status == 503:
            headers.append((b"retry-after", RETRY_SECONDS.encode()))
        reason = HTTPStatus(status).phrase.encode()
        for event in (
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
