"""The application behind a real uvicorn, in a thread of the test's process."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from pystator.api import create_app
from servers.service import until

CLIENT = httpx.Client(timeout=10)
"""One for all, from any thread: to make one takes as long as many requests."""


class Running:
    """``url`` of the API, and ``stop()`` as a signal would."""

    def __init__(self, app: Any) -> None:
        self.app = app
        config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5)
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        until(lambda: self.server.started or not self._thread.is_alive())
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def stop(self) -> None:
        loop = self.server.servers[0].get_loop()
        loop.call_soon_threadsafe(self.app.state.services.stop)
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def running(application: Any = None, **options: Any) -> Iterator[Running]:
    server = Running(create_app(application, **options))
    try:
        yield server
    finally:
        if not server.server.should_exit:
            server.stop()


def frames(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as a browser understands them; a comment is given under ``:``."""
    frame: dict[str, str] = {}
    for line in lines:
        if not line:
            yield frame
            frame = {}
            continue
        name, _, value = line.partition(":")
        frame[name or ":"] = value.removeprefix(" ")


def rows(found: Iterator[dict[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows among them, with their ids."""
    for frame in found:
        if "data" in frame:
            assert frame["event"] == "transition"
            yield frame["id"], json.loads(frame["data"])


@contextmanager
def stream(
    url: str, last: str | None = None, headers: Any = None, **params: Any
) -> Iterator[Iterator[dict[str, str]]]:
    """The events of a stream."""
    headers = {**(headers or {}), **({} if last is None else {"Last-Event-ID": last})}
    with CLIENT.stream(
        "GET", f"{url}/transitions/stream", params=params, headers=headers
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield frames(answer.iter_lines())


def together(*calls: Any) -> list[Any]:
    """Blocking calls, each in a thread."""

    async def go() -> list[Any]:
        return list(await asyncio.gather(*[asyncio.to_thread(call) for call in calls]))

    return asyncio.run(go())
