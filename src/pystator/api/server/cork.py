"""The head and the body of an answer in one packet.

The protocol writes them one after the other, and each write is a call to the system that wakes the
client: for the answer to an event the second costs more than the answer. A head is held back until
its body comes, which is at once, or until the loop has time, where it begins a stream.
"""

import asyncio
from typing import Any, Final

__all__ = ["Cork"]

_HEAD: Final = b"HTTP/1."


class Cork:
    """A transport that holds back the head of an answer for a moment.

    Args:
        transport: Where everything goes.
        loop: The running loop.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, or hold back."""
        if self._head:
            self._transport.write(self._head + data)
            self._head = b""
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._let_go)
        elif data:
            self._transport.write(data)

    def _let_go(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Send what is held back, and close."""
        self._let_go()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's."""
        return getattr(self._transport, name)
