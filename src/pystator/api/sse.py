"""Server-sent events: a follower of the feed as an answer that goes on.

::

    retry: 1000
    id: WyJmZWVkIiwxN10          at once: who is cut before the first row goes on from here

    id: WyJmZWVkIiwxOF0          a row, and the cursor behind it
    event: transition
    data: {"entity_id":"order-123",...}

    : heartbeat                  every 15 seconds
    id: WyJmZWVkIiw0Ml0          how far rows that nobody asked for were passed over

Laws:

- Nothing is made before it can be sent: a reader that is slow is read to slowly, and one that does
  not read for a minute is left.
- It ends when the reader leaves, when the server is asked to stop, and at the first heartbeat after
  the caller's key has been revoked.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pystator.service.following import Follower, Told

__all__ = ["HEARTBEAT", "MEDIA_TYPE", "EventStream"]

MEDIA_TYPE: Final = "text/event-stream"

HEARTBEAT: Final = 15.0
"""Seconds between two signs of life, and between two looks at the caller's key."""

STUCK: Final = 60.0
"""Seconds after which a reader that takes nothing is left."""

FAREWELL: Final = 1.0
"""Seconds for the end of an answer to leave."""


class EventStream(Response):
    """The rows that a follower takes, for as long as its reader stays.

    Args:
        follower: Is closed in the end.
        stopping: Ends it.
        is_valid: The caller may still read.
        seconds: Ends it after so long.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        follower: Follower,
        stopping: asyncio.Event,
        *,
        is_valid: Callable[[], bool],
        seconds: float | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(
            {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
        )
        self._follower = follower
        self._stopping = stopping
        self._is_valid = is_valid
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, until one of the ends comes."""
        del scope
        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        with self._follower:
            await send(head)
            following = asyncio.create_task(self._follow(send))
            left = asyncio.create_task(_left(receive))
            stopped = asyncio.create_task(self._stopping.wait())
            ends = (following, left, stopped)
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in ends:
                    task.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
        if left.cancelled() and (following.cancelled() or following.result()):
            await _end(send)

    async def _follow(self, send: Send) -> bool:
        """Send rows until the end; whether the reader is still there."""
        try:
            await self._write(send)
        except (TimeoutError, OSError):
            return False
        return True

    async def _write(self, send: Send) -> None:
        follower = self._follower
        clock = asyncio.get_running_loop().time
        end = None if self._seconds is None else clock() + self._seconds
        beat = clock() + HEARTBEAT
        told = follower.cursor
        await _send(send, f"retry: 1000\nid: {told}\n\n")
        while True:
            until = beat if end is None else min(beat, end)
            rows = await follower.take(max(until - clock(), 0.0))
            text = "".join(map(_frame, rows))
            if rows:
                told = rows[-1].cursor
            now = clock()
            if now >= beat:
                if not self._is_valid():
                    return
                beat = now + HEARTBEAT
                text += ": heartbeat\n"
                text += "\n" if follower.cursor == told else f"id: {follower.cursor}\n\n"
                told = follower.cursor
            if text:
                await _send(send, text)
            if end is not None and now >= end:
                return


def _frame(row: Told) -> str:
    return f"id: {row.cursor}\nevent: transition\ndata: {row.text}\n\n"


async def _send(send: Send, text: str) -> None:
    """Send it, when the reader has taken what was before."""
    message: MutableMapping[str, Any] = {
        "type": "http.response.body",
        "body": text.encode("utf-8", "replace"),
        "more_body": True,
    }
    async with asyncio.timeout(STUCK):
        await send(message)


async def _end(send: Send) -> None:
    try:
        async with asyncio.timeout(FAREWELL):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        pass  # it does not read: the connection is closed under it


async def _left(receive: Receive) -> None:
    """Wait until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
