"""The two drivers: they send over httpx what a program asks for, blocking and async.

They decide one thing: whether a request that failed may have reached the service.
"""

import ssl
import time
from typing import Any, Final, TypeVar

import anyio
import httpx

from pystator.client.calls import Answer, Call, Lost, TooLongError
from pystator.client.exchange import Patience, Send, perform
from pystator.client.places import Place
from pystator.errors import ConfigurationError

__all__ = ["AsyncWire", "Wire", "options"]

T = TypeVar("T")

_CONNECT: Final = 5.0
"""Seconds to wait for a connection at most."""

_IDLE: Final = 3.0
"""Seconds for which an idle connection is kept: shorter than servers keep theirs, so that a request
seldom meets one that is about to be closed."""

_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Errors before a byte of the request was sent."""


def options(place: Place, verify: ssl.SSLContext | bool) -> dict[str, Any]:
    """What both of httpx's clients are made with."""
    try:
        httpx.URL(place.url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{place.url!r} is no URL of a service: {error}") from error
    return {
        "headers": place.headers(),
        "verify": verify,
        "follow_redirects": False,
        "limits": httpx.Limits(
            max_connections=100, max_keepalive_connections=20, keepalive_expiry=_IDLE
        ),
    }


class Body:
    """An answer's bytes, as many as are taken, for as long as they are waited for."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._end = time.monotonic() + seconds
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take a part of it.

        Raises:
            TooLongError: There are too many.
            TimeoutError: They take too long.
        """
        self._size += len(part)
        if self._size > self._most:
            raise TooLongError(self._most)
        if time.monotonic() > self._end:
            raise TimeoutError
        self._parts.append(part)

    def of(self, response: httpx.Response) -> Answer:
        """The answer."""
        return Answer(response.status_code, dict(response.headers), b"".join(self._parts))


def lost(error: Exception) -> Lost:
    """What an error of the network says."""
    if isinstance(error, TooLongError):
        return Lost(sure=False, why=str(error), final=True)
    untrusted = _untrusted(error)
    if untrusted is not None:
        why = f"its certificate is not trusted ({untrusted.verify_message})"
        return Lost(sure=True, why=why, cause=error, final=True)
    if isinstance(error, httpx.LocalProtocolError):
        return Lost(sure=True, why=f"this cannot be sent: {error}", cause=error, final=True)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Lost(isinstance(error, _UNSENT), "it took too long", error)
    why = " ".join(str(error).split()) or type(error).__name__
    return Lost(isinstance(error, _UNSENT), why, error)


def _untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


class Wire:
    """Sends calls, blocking; threads may share it.

    Args:
        http: Sends the requests.
        place: Where to.
        patience: How long and how often a call is tried.
        most: Bytes of an answer that are taken.
    """

    def __init__(self, http: httpx.Client, place: Place, patience: Patience, most: int) -> None:
        self.http = http
        self.place = place
        self.patience = patience
        self.most = most

    def run(self, call: Call[T]) -> T:
        """Run a call to its end."""
        program = perform(call, self.patience, self.place.url, time.monotonic())
        reply: Any = None
        try:
            while True:
                request = program.send(reply)
                if isinstance(request, Send):
                    reply = (self._send(request.call, request.seconds), time.monotonic())
                else:
                    time.sleep(request.seconds)
                    reply = time.monotonic()
        except StopIteration as done:
            value: T = done.value
            return value

    def _send(self, call: Call[Any], seconds: float) -> Answer | Lost:
        try:
            response = self.open(call, seconds)
            try:
                return self.read(response, seconds)
            finally:
                response.close()
        except (httpx.TransportError, TimeoutError, TooLongError) as error:
            return lost(error)

    def open(self, call: Call[Any], seconds: float) -> httpx.Response:
        """Send a call; the body of its answer is not read yet."""
        return self.http.send(_request(self.http, self.place, call, seconds), stream=True)

    def read(self, response: httpx.Response, seconds: float) -> Answer:
        """Read the whole answer."""
        body = Body(self.most, seconds)
        for part in response.iter_raw():
            body.add(part)
        return body.of(response)


class AsyncWire:
    """`Wire` for asyncio."""

    def __init__(
        self, http: httpx.AsyncClient, place: Place, patience: Patience, most: int
    ) -> None:
        self.http = http
        self.place = place
        self.patience = patience
        self.most = most

    async def run(self, call: Call[T]) -> T:
        """Run a call to its end."""
        program = perform(call, self.patience, self.place.url, time.monotonic())
        reply: Any = None
        try:
            while True:
                request = program.send(reply)
                if isinstance(request, Send):
                    reply = (await self._send(request.call, request.seconds), time.monotonic())
                else:
                    await anyio.sleep(request.seconds)
                    reply = time.monotonic()
        except StopIteration as done:
            value: T = done.value
            return value

    async def _send(self, call: Call[Any], seconds: float) -> Answer | Lost:
        try:
            with anyio.fail_after(seconds):
                response = await self.open(call, seconds)
                try:
                    return await self.read(response, seconds)
                finally:
                    await response.aclose()
        except (httpx.TransportError, TimeoutError, TooLongError) as error:
            return lost(error)

    async def open(self, call: Call[Any], seconds: float) -> httpx.Response:
        """Send a call; the body of its answer is not read yet."""
        request = _request(self.http, self.place, call, seconds)
        return await self.http.send(request, stream=True)

    async def read(self, response: httpx.Response, seconds: float) -> Answer:
        """Read the whole answer."""
        body = Body(self.most, seconds)
        async for part in response.aiter_raw():
            body.add(part)
        return body.of(response)


def _request(
    http: httpx.Client | httpx.AsyncClient, place: Place, call: Call[Any], seconds: float
) -> httpx.Request:
    return http.build_request(
        call.method,
        place.url + call.path,
        params=call.params or None,
        content=call.body,
        headers={name.encode(): text.encode() for name, text in call.headers.items()},
        timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT)),
    )
