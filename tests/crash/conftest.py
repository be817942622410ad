"""Real processes that send events to one SQLite file, and the audit of what they leave."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
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
from pystator import EventRequest, Orchestrator, SQLiteStateStore, StateMachine
machine = StateMachine.from_dict({MACHINE!r})
url, name = sys.argv[1:3]
store = SQLiteStateStore(url).connect()
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
def start(url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``start(code, name)``: a process that runs the code after the prelude; killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str, name: str) -> subprocess.Popen[bytes]:
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


@pytest.fixture(scope="session")
def audit() -> Callable[[SQLiteStateStore], dict[str, list[Any]]]:
    """``audit(store)``: every entity agrees with its history; its rows, by entity."""
    return _audit


def _audit(store: SQLiteStateStore) -> dict[str, list[Any]]:
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
