"""`pystator api` as a process of its own, over any store, which may be killed and come back at its address."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

__all__ = ["Service", "environment", "free_port", "start", "until"]

APPLICATION = """
import time

from pystator import StateMachine
from pystator.api import Application

def machine(name):
    return StateMachine.from_dict({
        "meta": {"machine_name": name},
        "states": [
            {"name": "new", "type": "initial", "on_enter": ["rest"]},
            {"name": "going"},
            {"name": "done", "type": "terminal"},
        ],
        "transitions": [
            {"trigger": "go", "source": ["new", "going"], "dest": "going"},
            {"trigger": "end", "source": "going", "dest": "done"},
        ],
    })

def rest(context):
    time.sleep(context.get("seconds", 0))

def application():
    return Application([machine("job")], actions={"rest": rest})
"""
"""Machine ``job``; to begin takes as many ``seconds`` as its context says."""


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would choose a store, a key or a colour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYSTATOR_")}
    return {**kept, **more}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.01)


class Service:
    """A service: a context manager that starts it on a free port, waits for it, and ends it.

    Args:
        folder: It runs there, and its log is there.
        store: The store's URL; by default a SQLite file in the folder.
        options: Further words of the command.
        app: An application, ``module:factory``.
        variables: Of its environment.
    """

    process: subprocess.Popen[str]

    def __init__(
        self, folder: Path, store: str = "", *options: str, app: str = "", **variables: str
    ) -> None:
        self.folder = folder
        self._words = [
            *(["--store", store] if store else []),
            *(["--app", app] if app else []),
            *options,
        ]
        self._environment = environment(**variables)
        self.url = ""

    @property
    def host(self) -> str:
        """Where it listens."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """On which port; once it is chosen, it stays."""
        return urlsplit(self.url).port or 0

    def __enter__(self) -> Self:
        self.begin()
        try:
            self.wait()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.client.close()

    def begin(self) -> None:
        """Start the process; it listens a moment later."""
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pystator", "api", "--json"),
                    *("--port", str(self.port), *self._words),
                ],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # a group of its own, for Ctrl-C
            )

    def wait(self) -> None:
        """Wait until it listens: then it says where."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith('{"url"'), line + self.log
        self.url = json.loads(line)["url"]

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self.process.kill()
        self._gone(10)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self._gone(seconds)

    def end(self) -> None:
        """It has ended afterwards, asked or killed."""
        try:
            self.stop(seconds=10)
        except subprocess.TimeoutExpired:
            self.kill()

    def _gone(self, seconds: float) -> int:
        code = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "service.log").read_text()

    # Asking it ----------------------------------------------------------------------------------

    @cached_property
    def client(self) -> httpx.Client:
        """A client that makes a connection for each request."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(limits=limits, timeout=20, verify=False)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """An answer, on a connection of its own."""
        return self.client.get(f"{self.url}{path}", **options)

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:
        """The same, with a body."""
        return self.client.post(f"{self.url}{path}", json=body, **options)

    def is_well(self) -> bool:
        """It answers."""
        return self.get("/health").status_code == 200


def start(folder: Path, *options: str, **variables: str) -> Service:
    """A service of machine ``job`` in this folder; a context manager, see `Service`."""
    (folder / "jobs.py").write_text(APPLICATION)
    return Service(folder, "", *options, app="jobs:application", **variables)
