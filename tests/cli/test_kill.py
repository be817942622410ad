"""A run that is killed, interrupted or terminated is run again, and nothing tells that it ever was.

These are real processes and real signals: what a buffer or a thread still holds is lost with them.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystator.db.commands import init

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

EVENTS = 3_000

TIMELESS = """
    entity_id, machine_name, version, kind, trigger, payload, now, context_patch, source_state, target_state, actions,
    success, error_code, error_message, event_id, request_hash, actor, machine_version, fingerprint, occurred_at, ref
"""
"""Everything of a history row but its id, its commit and when and how fast it was written."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of orders."""
    path = tmp_path_factory.mktemp("events") / "orders.jsonl"
    script = [sys.executable, str(EXAMPLES / "generate_orders.py"), "--output", str(path)]
    subprocess.run([*script, "--orders", "500", "--events", str(EVENTS)], check=True)
    return path


class Run:
    """`pystator process` of the orders, into a folder of its own."""

    def __init__(self, folder: Path, events: Path | str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.database = folder / "orders.db"
        init(f"sqlite:///{self.database}")  # at once here; a process loads Alembic first
        self.rejects = folder / "rejects.jsonl"
        self.words = [
            *(sys.executable, "-m", "pystator", "process"),
            *("--machine", str(EXAMPLES / "order.yaml"), "--events", str(events)),
            *("--db", f"sqlite:///{self.database}", "--rejects", str(self.rejects)),
            *("--event-time", "--batch", "40", "--json"),
        ]

    def start(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start it."""
        return subprocess.Popen(
            self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def finish(self) -> None:
        """Run it to its end."""
        with self.start() as process:
            _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err

    def rows(self) -> int:
        """History rows that are committed."""
        if not self.database.exists():
            return 0
        with sqlite3.connect(self.database, timeout=10) as connection:
            try:
                return connection.execute("SELECT count(*) FROM transition_history").fetchone()[0]
            except sqlite3.OperationalError:
                return 0
            finally:
                connection.interrupt()

    def wait_for(self, rows: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until so many rows are there, or the process is through."""
        deadline = time.monotonic() + 60
        while self.rows() < rows and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def content(self) -> tuple[list[Any], list[Any], str]:
        """States, contexts, timers; history; rejects."""
        with sqlite3.connect(self.database) as connection:
            states = connection.execute(
                "SELECT entity_id, machine_name, version, state, context, timers, next_due,"
                " created_at, updated_at FROM entity_states ORDER BY 1, 2"
            ).fetchall()
            history = connection.execute(
                f"SELECT {TIMELESS} FROM transition_history ORDER BY entity_id, machine_name, version, id"
            ).fetchall()
        connection.close()
        return states, history, self.rejects.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, events: Path) -> Any:
    """What a run gives that nobody disturbs."""
    run = Run(tmp_path_factory.mktemp("undisturbed"), events)
    run.finish()
    states, history, rejects = run.content()
    assert len(states) == 500
    assert len(history) > 0.9 * EVENTS
    return states, history, rejects


def test_killed_and_run_again_gives_the_same(
    tmp_path: Path, events: Path, undisturbed: Any
) -> None:
    """Again and again, at moments that nobody chose."""
    dice = random.Random(os.environ.get("PYSTATOR_SEED", "4"))
    run = Run(tmp_path / "killed", events)
    for moment in sorted(dice.sample(range(1, EVENTS - 500), 3)):
        with run.start() as process:
            run.wait_for(moment, process)
            time.sleep(dice.random() * 0.01)
            process.kill()
        assert process.returncode in {-signal.SIGKILL, 0}
    run.finish()
    assert undisturbed == run.content()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_far_it_came_and_goes_on_later(
    tmp_path: Path, events: Path, undisturbed: Any, number: signal.Signals
) -> None:
    run = Run(tmp_path / "interrupted", events)
    with run.start() as process:
        run.wait_for(200, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b'"interrupted": true' in out
    assert b"run the same command again" in err
    assert b"Traceback" not in err
    assert run.rows() < EVENTS
    run.finish()
    assert undisturbed == run.content()


def test_an_idle_pipe_is_interrupted_at_once(tmp_path: Path) -> None:
    """Waiting for a producer, there is no batch to finish first; what has arrived is stored."""
    run = Run(tmp_path / "idle", "-")
    line = (
        b'{"entity_id": "o-1", "trigger": "place", "event_id": "1", '
        b'"at": "2026-01-01T00:00:00Z", "context": {"total": 5}}\n'
    )
    with run.start(stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
        run.wait_for(1, process)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        assert process.stdout is not None
        assert b'"applied": 1' in process.stdout.read()
    assert process.returncode == 130


def test_two_runs_of_one_file_at_once_apply_it_once(
    tmp_path: Path, events: Path, undisturbed: Any, command: Callable[..., Any]
) -> None:
    """Somebody starts it again while it still runs."""
    first, second = Run(tmp_path / "twice", events), Run(tmp_path / "twice", events)
    second.words[second.words.index("--rejects") + 1] = str(tmp_path / "other.jsonl")
    with first.start() as one, second.start() as two:
        for process in (one, two):
            _, err = process.communicate(timeout=100)
            assert process.returncode == 0, err
    states, history, _ = first.content()
    assert undisturbed[0] == states
    assert undisturbed[1] == history
