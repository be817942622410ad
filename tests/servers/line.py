"""A line to a MongoDB server that can be cut: before a command arrives, or before its answer does."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import bson

__all__ = ["Line"]

Fate = Callable[[dict[str, Any]], str]
"""What becomes of a command: ``"well"``, ``"lost"`` (it never arrives), ``"mute"`` (its answer does
not), or ``"late"`` (it arrives, and the answer waits until the line is closed)."""

OP_MSG = 2013


class Line:
    """Stands between a client and a server; of a replica set, it leads to the first of its members.

    Args:
        host: The server's.
        port: The server's.

    Attributes:
        port: The line's own, on loopback.
        fate: Decides on each command; all is well by default.
        commands: Names of those that came.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.fate: Fate = lambda _: "well"
        self.commands: list[str] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._shut(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def fates(self, name: str, *fates: str) -> None:
        """What becomes of the next commands of this name; then all is well."""
        left = list(fates)

        def fate(command: dict[str, Any]) -> str:
            return left.pop(0) if left and next(iter(command)) == name else "well"

        self.fate = fate

    def cut(self) -> None:
        """Cut every connection."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            self._shut(each)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._begin(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket()
        self._sockets += [client, server]
        try:
            with suppress(OSError, EOFError):
                server.connect(self._server)
                while True:
                    message = _read(client)
                    fate = self._decide(message)
                    if fate == "lost":
                        return
                    server.sendall(message)
                    answer = _read(server)
                    while _goes_on(answer):  # the server tells of itself, again and again
                        client.sendall(answer)
                        answer = _read(server)
                    if fate == "late":
                        self._closed.wait(60)
                    if fate != "well":
                        return
                    client.sendall(answer)
        finally:
            self._shut(client)
            self._shut(server)

    def _decide(self, message: bytes) -> str:
        if struct.unpack_from("<i", message, 12)[0] != OP_MSG:
            return "well"
        size = struct.unpack_from("<i", message, 21)[0]
        command = bson.decode(message[21 : 21 + size])
        self.commands.append(next(iter(command)))
        return self.fate(command)

    @staticmethod
    def _shut(each: socket.socket) -> None:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def _goes_on(answer: bytes) -> bool:
    """More answers follow this one, unasked (``moreToCome``)."""
    operation = struct.unpack_from("<i", answer, 12)[0]
    return operation == OP_MSG and bool(struct.unpack_from("<I", answer, 16)[0] & 2)


def _read(source: socket.socket) -> bytes:
    head = _exactly(source, 16)
    return head + _exactly(source, struct.unpack("<i", head[:4])[0] - 16)


def _exactly(source: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = source.recv(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
