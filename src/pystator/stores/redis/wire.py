"""One connection: commands go out packed, replies come back through hiredis.

The driver makes the connection - sockets, TLS, passwords - and is then left alone: its own calls
cost more than a server on the same machine takes for the answer.

Law: a connection whose conversation was broken off is never used again.
"""

import select
import socket
import struct
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)

from pystator.db.redis_url import RedisURL
from pystator.stores.glance import Glance
from pystator.stores.redis.errors import Complaint

__all__ = ["Address", "Wire", "close_connection", "connect", "new_reader", "open_connection"]

Address = tuple[str, int] | None
"""A node of a cluster; None is the server that the URL names."""

CHUNK: Final = 65_536

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to wait for a new connection, at most."""

_MOMENT: Final = 0.001
"""Seconds after its use for which a connection is taken for one that works."""

_POSIX: Final = sys.platform != "win32"


def new_reader() -> hiredis.Reader:
    """For the replies of one connection: ``None``, ``int``, ``str``, lists of these."""
    return hiredis.Reader(
        protocolError=exceptions.InvalidResponse,
        replyError=Complaint,
        encoding="utf-8",
        errors="surrogateescape",
    )


def _options(url: RedisURL, address: Address, timeout: float) -> dict[str, Any]:
    """What both kinds of connections of the driver are made with."""
    options: dict[str, Any] = {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, CONNECT_TIMEOUT),
        "protocol": 2,
        "client_name": url.client_name,
    }
    if url.path:
        return options | {"path": url.path}
    host, port = (url.host, url.port) if address is None else address
    options |= {"host": host, "port": port, "socket_keepalive": True}
    options |= url.tls or {}
    return options


def connect(url: RedisURL, address: Address, timeout: float) -> "Wire":
    """A new connection of a thread.

    Raises:
        OSError: There is none to be had; or one of the driver's errors says why.
    """
    return Wire(open_connection(url, address, timeout), timeout)


def open_connection(url: RedisURL, address: Address, timeout: float) -> AbstractConnection:
    """A new connection of the driver.

    Raises:
        OSError: There is none to be had; or one of the driver's errors says why.
    """
    kind: Any = Connection
    if url.path:
        kind = UnixDomainSocketConnection
    elif url.tls is not None:
        kind = SSLConnection
    connection: AbstractConnection = kind(**_options(url, address, timeout))
    connect_now: Any = connection.connect  # it has no types
    connect_now()
    return connection


def close_connection(connection: AbstractConnection) -> None:
    """Close a connection of the driver."""
    driver: Any = connection  # it has no types
    driver.disconnect()


class Wire:
    """A connection of a thread.

    Args:
        connection: The driver's, connected.
        timeout: Seconds to wait for an answer.

    Attributes:
        sent: Something of what is under way may have reached the server.
        is_clean: Nothing is under way.
        expires: When it is not used any more (monotonic seconds).
        used: When it was given back.
    """

    __slots__ = (
        "__weakref__", "_connection", "_poll", "_reader", "_sock", "_timeout", "expires",
        "is_clean", "pool", "sent", "used",
    )  # fmt: skip

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self._connection = connection
        driver: Any = connection
        sock: socket.socket = driver._sock  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # its own calls are slow
        self._sock = sock
        self._timeout = timeout
        self._reader = new_reader()
        self._poll = _poller(sock)
        self.is_clean = True
        self.sent = False
        self.pool: Any = None
        self.expires = 0.0
        self.used = 0.0
        _let_the_system_wait(sock, timeout)

    def is_alive(self) -> bool:
        """The server has not closed it; there is nothing to read on one that nobody uses.

        One that was used in this moment is not looked at.
        """
        return time.monotonic() - self.used < _MOMENT or not self._poll(0)

    def ask(self, command: bytes, glance: Glance | None = None) -> Any:
        """The reply to one command.

        Args:
            command: On the wire.
            glance: Looks for the answer before this thread sleeps.

        Raises:
            OSError: The connection was lost, or the answer did not come in time.
        """
        self.is_clean = False
        self.sent = True  # also when only a part of it was
        self._sock.sendall(command)
        if glance is not None:
            glance.at(self._poll)
        reader = self._reader
        reader.feed(self._received())
        reply = reader.gets()
        while reply is False:
            reader.feed(self._received())
            reply = reader.gets()
        self.is_clean = True
        return reply

    def ask_few(self, commands: bytes, count: int, glance: Glance) -> list[Any]:
        """The replies to a few commands, see `ask`."""
        self.is_clean = False
        self.sent = True
        self._sock.sendall(commands)
        glance.at(self._poll)
        return self.receive(count)

    def send(self, chunks: Iterable[bytes]) -> None:
        """Send commands.

        Raises:
            OSError: The connection was lost.
        """
        self.is_clean = False
        for chunk in chunks:
            self.sent = True
            self._sock.sendall(chunk)

    def receive(self, count: int) -> list[Any]:
        """So many replies.

        Raises:
            OSError: The connection was lost, or they did not come in time.
        """
        replies: list[Any] = []
        gets, feed = self._reader.gets, self._reader.feed
        while len(replies) < count:
            reply = gets()
            if reply is False:
                feed(self._received())
            else:
                replies.append(reply)
        self.is_clean = True
        return replies

    def _received(self) -> bytes:
        data = self._sock.recv(CHUNK)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data

    def close(self) -> None:
        """Close it."""
        self.is_clean = False
        close_connection(self._connection)


def _let_the_system_wait(sock: socket.socket, timeout: float) -> None:
    """Without the two calls that Python makes in the place of one for a socket with a timeout."""
    if _POSIX and type(sock) is socket.socket:
        seconds = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)


def _poller(sock: socket.socket) -> Any:
    """Is there something to read, or has it ended, within so many milliseconds?"""
    if not hasattr(select, "poll"):  # Windows

        def choose(milliseconds: float) -> Any:
            return select.select([sock], [], [], milliseconds / 1_000)[0]

        return choose
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return poll.poll
