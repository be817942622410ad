"""A writer that is killed at any moment leaves whole commits and nothing else."""

import random
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pystator.stores.sqlite import SQLiteStateStore

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from conftest import make_commit
from pystator import SQLiteStateStore
from pystator.records import EntryKind

store = SQLiteStateStore(sys.argv[1]).connect()
names = [f"e-{n}" for n in range(20)]
versions = {name: store.get_state_versioned(name, machine_name="order")[1] for name in names}
print("ready", flush=True)
while True:
    batch = [make_commit(name, versions[name], context={"n": versions[name] + 1, "x": "y" * 500})
             for name in names]
    assert {outcome.kind for outcome in store.commit(batch)} == {"applied"}
    for name in names:
        versions[name] += 1
    print(versions["e-0"], flush=True)
    name = names[versions["e-0"] % 20]
    assert store.commit([make_commit(name, versions[name])])[0].kind == "applied"
    versions[name] += 1
    store.append_later([make_commit(name, versions[name], applies=False, kind=EntryKind.ACTION)])
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_writer_leaves_no_torn_commit(url, start, seed, tmp_path) -> None:
    """State, context, version and history of every entity agree, and what was answered is there."""
    chance = random.Random(seed)
    process = start(WRITER, url, str(Path(__file__).parent))
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    answered = 0
    for _ in range(chance.randrange(1, 40)):
        answered = int(process.stdout.readline())
    with suppress(subprocess.TimeoutExpired):  # it is still running, as it should
        process.wait(chance.random() * 0.01)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    answered = max([answered, *map(int, rest.split()[:-1])])
    with SQLiteStateStore(url) as store:
        entities = store.entities(limit=100).items
        assert len(entities) == 20
        for entity in entities:
            applied = [
                row
                for row in store.history(entity.entity_id, limit=10_000).items
                if row.kind == "event"
            ]
            assert [row.version for row in applied] == list(range(1, entity.version + 1))
            assert applied[-1].commit_id == entity.commit_id
            assert entity.context["n"] == entity.version
        first = next(entity for entity in entities if entity.entity_id == "e-0")
        assert first.version >= answered
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
