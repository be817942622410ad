"""An address in front of a server: another one can be put behind it, and it may speak TLS."""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

__all__ = ["Relay"]


class Relay:
    """Passes on what clients and a server say.

    Args:
        port: Of the server. When it is set to another one, those who are connected are cut off.
        tls: Clients speak TLS; the server does not.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self._open: list[socket.socket] = []
        self._port = port

    @property
    def url(self) -> str:
        """As Redis' clients write it."""
        scheme = "redis" if self._tls is None else "rediss"
        return f"{scheme}://localhost:{self._listener.getsockname()[1]}/0"

    @property
    def port(self) -> int:
        """Of the server behind."""
        return self._port

    @port.setter
    def port(self, port: int) -> None:
        self._port = port
        self._cut()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        for each in self._open:
            _end(each)
        self._open = []

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)
            server.close()
        client.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    _end(one)
    _end(other)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
