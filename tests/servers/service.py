"""`pystator api` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

__all__ = ["APPLICATION", "Served", "environment", "start"]

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


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.host = urlsplit(url).hostname or ""
        self.port = urlsplit(url).port or 0
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=url, limits=limits, timeout=20, verify=False)

    def get(self, path: str, **options) -> httpx.Response:
        """An answer, on a connection of its own."""
        return self._client.get(path, **options)

    def post(self, path: str, body: object, **options) -> httpx.Response:
        """The same, with a body."""
        return self._client.post(path, json=body, **options)

    def is_well(self) -> bool:
        """It answers."""
        return self.get("/health").status_code == 200

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def start(folder: Path, *words: str, **variables: str) -> Iterator[Served]:
    """Run it in this folder on a free port, over a SQLite file; it has ended afterwards."""
    (folder / "jobs.py").write_text(APPLICATION)
    log = folder / "log.txt"
    given = ["--port", "0", "--json", "--app", "jobs:application", *words]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pystator", "api", *given],
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # a group of its own, for Ctrl-C
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith('{"url"'), line + log.read_text()
        yield Served(process, json.loads(line)["url"], log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait(10)
        process.stdout.close() if process.stdout else None


def until(found, seconds: float = 10.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.02)
