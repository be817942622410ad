"""Events over HTTP, beside a bare FastAPI route that parses the same body and answers a constant.

::

    this process: 64 connections, raw sockets  --->  pystator api           --->  PostgreSQL
                                               --->  uvicorn: a bare route

Ours is the command as it is run, with all its layers and its log; the floor writes no log. Both are
one process with one event loop. Rounds of both alternate. A rate is answers in a second of
wall-clock time; p99 is what a client waits for one.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import events
from floors import Row, table
from pystator import StateMachine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

CONNECTIONS = 64
SECONDS = 2.0
ROUNDS = 5

OURS = ("-m", "pystator", "api", "--app", "bench_api:door")
BARE = ("-m", "uvicorn", "--factory", "bench_api:bare", "--log-level", "warning")

BODY = {"trigger": "turn", "context": {"by": "ada", "force": 3}}


# Servers ------------------------------------------------------------------------------------------


def door() -> StateMachine:
    """What our server is given with ``--app``."""
    return StateMachine.from_dict(events.MACHINE)


def bare():
    """The floor."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Event(BaseModel):
        trigger: str
        context: dict[str, object] | None = None
        machine_name: str | None = None

    app = FastAPI()

    @app.post("/api/v1/entities/{entity_id}/events")
    async def send_event(entity_id: str, event: Event) -> dict[str, bool]:  # noqa: ARG001 - as ours
        return {"success": True}

    return app


@contextmanager
def server(*command: str) -> Iterator[int]:
    """A server in a process of its own; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen) -> None:
    """Until it answers."""
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not start")


# Clients ------------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, number: int, waits: list[float], end: float) -> None:
        body = json.dumps(BODY).encode()
        head = (
            f"POST /api/v1/entities/door-{number}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.request = head.encode() + body
        self.waits = waits
        self.end = end
        self.got = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.got = got = self.got + data if self.got else data
        head = got.find(b"\r\n\r\n")
        if head < 0:
            return
        at = got.find(b"content-length: ") + 16
        if len(got) < head + 4 + int(got[at : got.index(b"\r", at)]):
            return
        now = time.perf_counter()
        if not got.startswith(b"HTTP/1.1 200 "):
            self.over.set_exception(RuntimeError(got.decode()))
            self.transport.close()
            return
        self.got = b""
        self.waits.append(now - self.began)
        if now < self.end:
            self.send()
        else:
            self.transport.close()
            self.over.set_result(None)

    def connection_lost(self, error) -> None:
        if not self.over.done():
            self.over.set_exception(error or RuntimeError("the server closed the connection"))


async def load(port: int, seconds: float) -> tuple[float, float]:
    """Answers in a second, and the wait that 99 of 100 are below."""
    waits: list[float] = []
    began = time.perf_counter()
    clients = [Client(number, waits, began + seconds) for number in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()
    for client in clients:
        await loop.create_connection(lambda made=client: made, "127.0.0.1", port)
    await asyncio.gather(*[client.over for client in clients])
    rate = len(waits) / (time.perf_counter() - began)
    waits.sort()
    return rate, waits[len(waits) * 99 // 100]


def run() -> list[Row]:
    """The rows of this benchmark."""
    from servers.postgres import Databases, Server  # the server that the tests start

    with (
        Server(os.getpid()) as postgres,
        server(*OURS, "--store", Databases(postgres.url).database()) as service,
        server(*BARE) as floor,
    ):
        for port in (service, floor):
            asyncio.run(load(port, 0.5))
        rounds = [
            [asyncio.run(load(port, SECONDS)) for port in (service, floor)] for _ in range(ROUNDS)
        ]
    cases, floors = zip(*rounds, strict=True)
    case, case_wait = max(cases)
    bare_rate, bare_wait = max(floors)
    name = f"http: event, postgres, {CONNECTIONS} connections"
    says = f"a bare FastAPI route ({bare_rate:,.0f}/s; events {case:,.0f}/s)"
    return [
        Row(name, 1e9 / case, 1e9 / bare_rate, 0.5, says),
        Row(f"{name}, p99", case_wait * 1e9, bare_wait * 1e9, None, "the same route's p99"),
    ]


if __name__ == "__main__":
    print(table(run()))
