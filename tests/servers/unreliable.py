"""A TCP proxy for HTTP that does to each request what it is told: forwards it, or cuts the connection before, in or after it."""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Self

__all__ = ["Unreliable"]

Fate = str | bytes | Callable[[], None]
"""What becomes of a request.

``pass``: forwarded. ``deaf``: the connection is cut before the request is read. ``before``: it is cut when the request
was read, and nothing is forwarded. ``after``: it is forwarded, and cut when its answer has come. ``half``: half of the
answer is passed on. Bytes are answered in its place. A function is called when it was forwarded, and it is cut.
"""


class Unreliable:
    """Listens on a port of its own; a request without a fate is forwarded."""

    def __init__(self, target: int, fates: Iterable[Fate] = (), *, port: int = 0) -> None:
        self.target = target
        self.fates: deque[Fate] = deque(fates)
        self.seen: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", port))
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Cut every connection there is."""
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                self._open.add(caller)
                self._start(self._serve, caller)

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            if self.fates and self.fates[0] == "deaf":
                self.fates.popleft()
                return
            while request := message(caller):
                self.seen.append(request)
                if not self._meet(caller, request):
                    return
        self._open.discard(caller)

    def _meet(self, caller: socket.socket, request: bytes) -> bool:
        """Let a request meet its fate; whether the connection goes on."""
        fate = self.fates.popleft() if self.fates else "pass"
        if fate == "before":
            return False
        if isinstance(fate, bytes):
            caller.sendall(fate)
            return True
        with socket.create_connection(("127.0.0.1", self.target), 30) as upstream:
            upstream.sendall(request)
            if not isinstance(fate, str):
                fate()
                return False
            if b"/stream" in request.partition(b"\r\n")[0]:
                self._pour(upstream, caller)
                return False
            answer = message(upstream)
        if fate == "after":
            return False
        caller.sendall(answer[: len(answer) // 2] if fate == "half" else answer)
        return fate == "pass"

    def _pour(self, upstream: socket.socket, caller: socket.socket) -> None:
        """Pass on what comes, until one of both is gone."""
        self._open.add(upstream)
        while part := upstream.recv(200):
            caller.sendall(part)
        self._open.discard(upstream)


def message(source: socket.socket) -> bytes:
    """One whole message of HTTP with a length; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = source.recv(65_536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, text = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(text)
    while len(body) < length:
        part = source.recv(65_536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body
