"""A pooler in between: each transaction gets another connection to the server.

What pgbouncer does with ``pool_mode = transaction``, small and merciless: connections are handed out
in turn, so that two transactions of a client hardly ever meet the same server process. Whatever a
client leaves in a session - a prepared statement, a setting, a lock - is not there the next time, or
is somebody else's.

::

    client --.                   .-- server process
    client ---+-- transaction --+--- server process
    client --'                   '-- server process
"""

import asyncio
import os
import struct
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree, which
from typing import Any, Final, Self
from urllib.parse import quote

import psycopg

from servers.program import NOBODY
from servers.shared import free_port

SIZE: Final = 3
"""Connections to the server."""

ENDS: Final = {b"Q", b"S", b"F"}
"""What a client says when it wants an answer that ends with "ready"."""

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Line:
    """A connection, read message by message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._next: asyncio.Task[bytes] | None = None

    def next(self) -> asyncio.Task[bytes]:
        """The next message; the same one until it is taken."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        return self._next

    def take(self) -> bytes:
        """The next message, which is there."""
        assert self._next is not None
        message, self._next = self._next.result(), None
        return message

    async def _read(self) -> bytes:
        head = await self.reader.readexactly(5)
        (length,) = struct.unpack("!I", head[1:])
        return head + await self.reader.readexactly(length - 4)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self.writer.close()


class Pooler:
    """The pooler, in a thread of its own.

    Attributes:
        transactions: How many there were, so that a test knows that it went this way.
        cancels: How often a client asked for a statement to be cancelled.
    """

    def __init__(self, target: str) -> None:
        fields = psycopg.conninfo.conninfo_to_dict(target)
        self.database = str(fields["dbname"])
        self.user = str(fields.get("user", "postgres"))
        self.host = str(fields["host"])
        self.server_port = int(str(fields.get("port", 5432)))
        self.port = free_port()
        self.transactions = 0
        self.cancels = 0
        self._greeting = b""
        self._free: deque[Line] = deque()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{quote(self.database)}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the pooler did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._turn = asyncio.Condition()
        self._clients: set[asyncio.Task[Any]] = set()
        for _ in range(SIZE):
            self._free.append(await self._connect())
        server = await asyncio.start_server(self._greet, "127.0.0.1", self.port)
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for up in self._free:
            up.close()
            with suppress(OSError):
                await up.writer.wait_closed()

    async def _connect(self) -> Line:
        """A connection to the server."""
        if self.host.startswith("/"):
            path = f"{self.host}/.s.PGSQL.{self.server_port}"
            up = Line(*await asyncio.open_unix_connection(path))
        else:
            up = Line(*await asyncio.open_connection(self.host, self.server_port))
        start = f"user\0{self.user}\0database\0{self.database}\0client_encoding\0UTF8\0\0".encode()
        up.writer.write(struct.pack("!II", len(start) + 8, 196608) + start)
        greeting = b""
        while True:
            await up.next()
            message = up.take()
            if message[:1] == b"E":
                raise RuntimeError(message.decode(errors="replace"))
            if message[:1] == b"S":
                greeting += message
            if message[:1] == b"Z":
                self._greeting = greeting
                return up

    # A client -------------------------------------------------------------------------------------

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        client = Line(reader, writer)
        try:
            if await self._start(client):
                await self._serve(client)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went, or the test ended
        finally:
            self._clients.discard(task)
            client.close()

    async def _start(self, client: Line) -> bool:
        """The greeting; False for who only came to cancel a statement."""
        while True:
            (length,) = struct.unpack("!I", await client.reader.readexactly(4))
            message = await client.reader.readexactly(length - 4)
            (code,) = struct.unpack("!I", message[:4])
            if code == _CANCEL:
                self.cancels += 1
                return False
            if code not in {_SSL, _GSS}:
                break
            client.writer.write(b"N")
        key = struct.pack("!cIII", b"K", 12, 1, 0)  # process 1 is nobody's: as pgbouncer, it lies
        ready = struct.pack("!cIc", b"Z", 5, b"I")
        client.writer.write(struct.pack("!cII", b"R", 8, 0) + self._greeting + key + ready)
        return True

    async def _serve(self, client: Line) -> None:
        """One transaction after the other, each over the next connection."""
        while (await client.next())[:1] != b"X":
            async with self._turn:
                await self._turn.wait_for(lambda: self._free)
                up = self._free.popleft()
            self.transactions += 1
            over = False
            try:
                over = await transact(client, up)
            finally:
                if not over:  # the client went in the middle: so does what it began
                    up.close()
                    up = await asyncio.shield(self._connect())
                async with self._turn:
                    self._free.append(up)
                    self._turn.notify()
            if not over:
                return


async def transact(client: Line, up: Line) -> bool:
    """Pass messages on until the server is idle and nothing more was asked; False if it broke off."""
    asked = 0  # for answers that end with "ready"
    open_ended = False  # something was said, and no answer asked for
    status = b"I"
    while True:
        await asyncio.wait({client.next(), up.next()}, return_when="FIRST_COMPLETED")
        if up.next().done():
            message = up.take()
            if message[:1] == b"Z":
                asked -= 1
                status = message[5:6]
            client.writer.write(message)
        if client.next().done():
            message = client.take()
            if message[:1] == b"X":
                return False
            open_ended = message[:1] not in ENDS
            asked += not open_ended
            up.writer.write(message)
        elif not asked and not open_ended and status == b"I":
            return True


@contextmanager
def pgbouncer(target: str) -> Iterator[str | None]:
    """The real one before a database; its URL, and None where there is none on this machine."""
    program = which("pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if program is None:
        yield None
        return
    fields = psycopg.conninfo.conninfo_to_dict(target)
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pystator-bouncer-"))
    folder.chmod(0o755)
    (folder / "users").write_text(f'"{fields.get("user", "postgres")}" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host={fields['host']} port={fields.get('port', 5432)}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users\n"
        f"pool_mode = transaction\ndefault_pool_size = {SIZE}\nserver_round_robin = 1\n"
    )
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    process = subprocess.Popen(
        [program, "-q", str(folder / "ini")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **user,
    )
    url = f"postgresql://{fields.get('user', 'postgres')}@127.0.0.1:{port}/{fields['dbname']}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()
        rmtree(folder, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


__all__ = ["Pooler", "pgbouncer"]
