"""How often a key may call: a token bucket a caller, in each process.

A bucket holds as many calls as may come at once and fills steadily. Buckets are few: one that is
full again says nothing that a new one would not, and is forgotten.
"""

import re
from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import Final

from pystator.api.asgi import App, Header, Message, Receive, Scope, Send, refuse
from pystator.api.security.callers import CALLER, Caller
from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = ["Rate", "RateLimit", "parse_rate"]

_RATE: Final = re.compile(r"([0-9]{1,9})/(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600}
_MOST: Final = 10_000
"""Buckets before full ones are looked for."""


@record
class Rate:
    """So many calls in so many seconds; as many may come at once."""

    calls: int
    seconds: int


def parse_rate(text: str) -> Rate:
    """``100/s``, ``600/m``, ``5000/h``.

    Raises:
        ConfigurationError: It is none.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigurationError(
            f"{text[:40]!r} is no rate: write calls a second, minute or hour, e.g. 100/s or 600/m"
        )
    return Rate(int(found[1]), _SECONDS[found[2]])


class _Bucket:
    __slots__ = ("at", "left")

    def __init__(self, left: float, at: float) -> None:
        self.left = left
        self.at = at


class RateLimit:
    """ASGI middleware after `Authentication`: 429 for who calls too often."""

    def __init__(self, app: App, rate: Rate, *, clock: Callable[[], float] = monotonic) -> None:
        self._app = app
        self._rate = rate
        self._speed = rate.calls / rate.seconds
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._policy: Header = (
            b"ratelimit-policy",
            f'"default";q={rate.calls};w={rate.seconds}'.encode(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a call from the bucket, or refuse."""
        caller: Caller | None = scope.get(CALLER)
        if scope["type"] != "http" or caller is None or not caller.scopes:
            await self._app(scope, receive, send)
            return
        left = self._take(caller.key)
        if left < 0:
            wait = ceil(-left / self._speed)
            said = [*self._headers(0, wait), (b"retry-after", str(wait).encode())]
            detail = f"{self._rate.calls} calls in {self._rate.seconds} s are the limit of a key"
            await refuse(scope, send, "too_many_requests", f"{detail}: come back in {wait} s", said)
            return
        headers = self._headers(int(left), ceil((self._rate.calls - left) / self._speed))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _take(self, key: str) -> float:
        """What is left after this call; below zero it was not taken: so much is missing."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[key] = _Bucket(self._rate.calls, now)
        bucket.left = min(self._rate.calls, bucket.left + (now - bucket.at) * self._speed)
        bucket.at = now
        if bucket.left < 1:
            return bucket.left - 1
        bucket.left -= 1
        return bucket.left

    def _make_room(self, now: float) -> None:
        if len(self._buckets) >= _MOST:
            full = self._rate.seconds
            self._buckets = {
                key: bucket for key, bucket in self._buckets.items() if now - bucket.at < full
            }

    def _headers(self, left: int, reset: int) -> list[Header]:
        return [self._policy, (b"ratelimit", f'"default";r={left};t={reset}'.encode())]
