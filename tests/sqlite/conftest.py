"""What the tests of the SQLite store share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystator.records import Commit, Entry, EntryKind
from pystator.stores.keys import new_commit_id
from pystator.stores.sqlite import SQLiteStateStore

NOW = 1_700_000_000_000_000


def make_commit(
    entity_id: str,
    expected: int,
    *,
    state: str | None = "open",
    context: dict | None = None,
    machine: str = "order",
    event_id: str | None = None,
    applies: bool = True,
    **entry,
) -> Commit:
    """A commit of one row."""
    new = expected + 1 if applies else expected
    kind = entry.pop("kind", EntryKind.EVENT if applies else EntryKind.REJECTED)
    row = Entry(
        version=new,
        kind=kind,
        trigger="go",
        payload=None,
        now=NOW,
        patch=None,
        source_state=None,
        target_state=state,
        success=applies,
        event_id=event_id,
        **entry,
    )
    return Commit(
        entity_id=entity_id,
        machine_name=machine,
        expected_version=expected,
        new_version=new,
        state=state if applies else None,
        context=({"n": new} if context is None else context) if applies else None,
        history=None,
        timers=None,
        machine_version="1.0",
        fingerprint="f",
        now=NOW,
        entries=(row,),
        commit_id=new_commit_id(),
    )


@pytest.fixture
def commit() -> Callable[..., Commit]:
    """Makes commits."""
    return make_commit


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that is not there yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SQLiteStateStore]:
    """A connected store."""
    with SQLiteStateStore(url) as connected:
        yield connected


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts other processes: ``start(script, *arguments)``."""
    running: list[subprocess.Popen[str]] = []

    def run(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
