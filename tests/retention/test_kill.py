"""kill -9 of a prune between and within its batches: what is there can be replayed, and the next prune finishes."""

import random
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from pystator import Pruned, create_state_store
from pystator.orchestrator.replay import replay
from pystator.testing.building import change, note

ENTITIES = 24
VERSIONS = 30

PRUNE = """
import os, sys
from datetime import timedelta
from pystator import create_state_store

with create_state_store(sys.argv[1]) as store:
    os.write(1, b"ready\\n")
    def told(so_far):
        os.write(1, b"batch\\n")
    store.prune_history(timedelta(days=1), dedup_window=timedelta(days=9_999), batch=20, progress=told)
    os.write(1, b"end\\n")
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return request.getfixturevalue("postgres_url")


def fill(url) -> None:
    """Entities of thirty changes, of which every third has an event id, and rejections between."""
    names = [f"e-{number:02}" for number in range(ENTITIES)]
    with create_state_store(url, clock=lambda: 1_700_000_000_000_000) as store:
        for version in range(1, VERSIONS + 1):
            context = {"n": version}
            made = [
                change(
                    name,
                    after=version - 1,
                    state=f"s{version}",
                    context=context,
                    patch=(context, ()),
                    event_id=f"i{version}" if version % 3 == 0 else None,
                )
                for name in names
            ]
            assert {outcome.kind for outcome in store.commit(made)} == {"applied"}
            store.commit([note(name, version=version) for name in names])


def look(store) -> int:
    """Every entity is what its rows say, and every event id is known; how many rows there are."""
    entities = store.entities(limit=1_000).items
    assert len(entities) == ENTITIES
    count = 0
    for entity in entities:
        assert entity.version == VERSIONS
        rows = store.history(entity.entity_id, limit=1_000).items
        count += len(rows)
        assert replay(rows) == (entity.state, entity.context) == (f"s{VERSIONS}", {"n": VERSIONS})
        ids = {row.event_id for row in rows if row.event_id is not None}
        assert ids == {f"i{version}" for version in range(3, VERSIONS + 1, 3)}
        assert sum(row.kind == "snapshot" for row in rows) <= 1
    return count


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.soak)])
def test_a_killed_prune_leaves_a_history(url, rounds) -> None:
    luck = random.Random()
    fill(url)
    left = ENTITIES * VERSIONS * 2
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", PRUNE, url], stdout=subprocess.PIPE, text=True
        )
        try:
            for _ in range(1 + luck.randrange(200 // rounds if rounds > 4 else 12)):
                process.stdout.readline()
            try:
                process.wait(luck.random() * 0.01)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
        with create_state_store(url) as store:
            count = look(store)
        assert count <= left
        left = count
    with create_state_store(url) as store:
        order = {"older_than": timedelta(days=1), "dedup_window": timedelta(days=9_999)}
        store.prune_history(**order)
        # The ids' rows, and one snapshot each: version 30 has an id, so that 29 is the last to go.
        assert look(store) == ENTITIES * (VERSIONS // 3 + 1)
        assert store.prune_history(**order) == Pruned(kept=ENTITIES * VERSIONS // 3)
