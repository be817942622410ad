"""Real processes that send events to one database, and the audit of what they leave."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pystator import SQLiteStateStore, StateMachine
from pystator.orchestrator.replay import replay

MACHINE: dict[str, Any] = {
    "meta": {"machine_name": "tally", "version": "1.0"},
    "states": [{"name": "even", "type": "initial"}, {"name": "odd"}],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {"trigger": "add", "source": "odd", "dest": "even", "actions": [{"increment": "n"}]},
        {"trigger": "never", "source": "*", "dest": "even", "guards": [{"expr": "n < 0"}]},
    ],
}

PRELUDE = f"""
import os, sys
from pystator import EventRequest, Orchestrator, StateMachine, create_state_store
machine = StateMachine.from_dict({MACHINE!r})
url, name = sys.argv[1:3]
store = create_state_store(url).connect()
orchestrator = Orchestrator(machine, store)
"""


@pytest.fixture(scope="session")
def machine() -> StateMachine:
    return StateMachine.from_dict(MACHINE)


@pytest.fixture
def url(tmp_path: Path) -> str:
    with SQLiteStateStore(f"sqlite:///{tmp_path}/tally.db") as store:
        assert store.get_state("nobody") is None
    return f"sqlite:///{tmp_path}/tally.db"


@pytest.fixture
def start_at() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``start_at(url, code, name)``: a process that runs the code after the prelude."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(url: str, code: str, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PRELUDE + code, url, name]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def start(
    url: str, start_at: Callable[..., subprocess.Popen[bytes]]
) -> Callable[..., subprocess.Popen[bytes]]:
    """``start(code, name)``: `start_at` for the test's database."""
    return partial(start_at, url)


class Listener:
    """What a process says, as it says it: lines of words. Nobody else may read its pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[bytes] = []
        self.errors: list[bytes] = []
        self.threads = [
            threading.Thread(target=lines.extend, args=(pipe,), daemon=True)
            for lines, pipe in ((self.lines, process.stdout), (self.errors, process.stderr))
        ]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Wait until the process has ended and all is heard."""
        self.process.wait()
        for thread in self.threads:
            thread.join()

    def said(self) -> str:
        """Its last words, for people."""
        return b"".join(self.lines[-5:] + self.errors[-200:]).decode()

    def count(self, word: str = "") -> int:
        """Lines that begin with the word."""
        return sum(line.startswith(word.encode()) for line in self.lines.copy())

    def wait_for(self, number: int, word: str = "") -> None:
        """Wait until it has said so many lines that begin with the word."""
        deadline = time.monotonic() + 60
        while self.count(word) < number:
            assert self.process.poll() is None, self.said()
            if time.monotonic() > deadline:
                self.process.send_signal(signal.SIGUSR1)  # some tell where they stand
                time.sleep(1)
                raise AssertionError(f"the sender does not send:\n{self.said()}")
            time.sleep(0.001 if number < 100 else 0.01)

    def told(self, word: str) -> set[tuple[str, ...]]:
        """What followed the word, in whole lines."""
        whole = [line.decode().split() for line in self.lines.copy() if line.endswith(b"\n")]
        return {tuple(words[1:]) for words in whole if words[0] == word}


@pytest.fixture(scope="session")
def listen() -> Callable[[subprocess.Popen[bytes]], Listener]:
    """``listen(process)``: what the process says."""
    return Listener


@pytest.fixture(scope="session")
def audit() -> Callable[[Any], dict[str, list[Any]]]:
    """``audit(store)``: every entity agrees with its history; its rows, by entity."""
    return _audit


def _audit(store: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for entity in _all(store.entities):
        rows = _all(store.history, entity.entity_id, machine_name="tally")
        changes = [row.version for row in rows if row.kind not in {"rejected", "action"}]
        assert changes == list(range(1, entity.version + 1)), "versions are contiguous"
        assert replay(rows) == (entity.state, entity.context), "history replays to the entity"
        assert entity.context["n"] == entity.version, "every version is one increment"
        ids = Counter(row.event_id for row in rows if row.event_id is not None)
        assert max(ids.values(), default=1) == 1, "nothing is applied twice"
        found[entity.entity_id] = rows
    return found


def _all(read: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
    rows: list[Any] = []
    after = None
    while True:
        page = read(*arguments, after=after, limit=1_000, **options)
        rows += page.items
        after = page.next
        if after is None:
            return rows
