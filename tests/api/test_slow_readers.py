"""Who asks for much and takes nothing does not keep it in the server's memory for ever."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from pystator.api.server.protocol import Protocol

LARGE = b"x" * 16_000_000


class Quick(Protocol):
    stuck_seconds = 0.3


async def app(scope: Any, receive: Any, send: Any) -> None:
    del receive
    length = [(b"content-length", b"%d" % len(LARGE))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    half = len(LARGE) // 2
    await send({"type": "http.response.body", "body": LARGE[:half], "more_body": True})
    if scope["path"] == "/fails":
        raise RuntimeError("after half of it")
    await send({"type": "http.response.body", "body": LARGE[half:]})


@asynccontextmanager
async def asking(path: str, state: ServerState) -> AsyncIterator[socket.socket]:
    """A connection on which this was asked for, with little room for the answer."""
    config = uvicorn.Config(app, http=Quick, lifespan="off", log_config=None, timeout_keep_alive=1)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Quick(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            line.setblocking(False)
            await loop.sock_connect(line, server.sockets[0].getsockname())
            await loop.sock_sendall(line, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            yield line
        async with asyncio.timeout(5):
            while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["/", "/fails"])
async def test_a_reader_that_takes_nothing_is_cut(path) -> None:
    state = ServerState()
    async with asking(path, state), asyncio.timeout(5):
        for is_there in (True, False):
            while bool(state.connections) is not is_there:  # noqa: ASYNC110 - below, too
                await asyncio.sleep(0.02)


async def test_a_reader_that_takes_little_at_a_time_gets_everything() -> None:
    loop = asyncio.get_running_loop()
    came = rests = 0
    async with asking("/", ServerState()) as line:
        while came < len(LARGE):
            part = await loop.sock_recv(line, 400_000)
            assert part
            came += len(part)
            if came // 1_000_000 > rests:
                rests += 1
                await asyncio.sleep(0.04)  # twice as long in all as one may take nothing
