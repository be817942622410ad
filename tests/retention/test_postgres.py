"""Pruning a PostgreSQL database: by the command, and beside transactions that stay open."""

import json
import subprocess
import sys
from datetime import timedelta

import psycopg
import pytest

from pystator import PostgresStateStore
from pystator.definition.load import load_text
from pystator.orchestrator.replay import replay
from pystator.testing.building import change, lookup

MACHINE = """
meta: {machine_name: m, version: "3", retention: {history: 7d}}
states: [{name: new, type: initial}]
transitions: []
"""
OLD = 1_700_000_000_000_000


@pytest.fixture
def store(postgres_url):
    """Old rows of two entities, and a young one; a statement that waits for more than 3 s is an error."""
    with PostgresStateStore(postgres_url, clock=lambda: OLD) as old:
        old.commit([change("a", steps=5), change("b", steps=5, event_id="i")])
    with PostgresStateStore(postgres_url, timeout=3) as store:
        store.commit([change("a", after=5, context={"n": 6}, patch=({"n": 6}, ()))])
        yield store


def shape(store, entity_id):
    rows = store.history(entity_id).items
    entity = store.load([lookup(entity_id)])[0].entity
    assert replay(rows) == (entity.state, entity.context)
    return [(row.version, str(row.kind)) for row in rows]


def test_the_command_goes_by_stored_machines(store, postgres_url, tmp_path) -> None:
    definition = load_text(MACHINE)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO machines (name, version, fingerprint, definition, created_at)"
            " VALUES ('m', '3', '', %s, now())",
            [json.dumps(definition.config)],
        )
    words = [sys.executable, "-m", "pystator", "db", "prune", postgres_url, "--force"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (
        0,
        "10 rows of 2 entities deleted, 2 snapshots in their place\n",
    ), done.stderr
    assert "m: rows of 7d and older, event ids known for 30d (stored version 3)" in done.stderr
    assert shape(store, "a") == [(5, "snapshot"), (6, "event")]
    assert shape(store, "b") == [(5, "snapshot")]


def test_a_prune_waits_for_nobody_who_writes(store, postgres_url) -> None:
    """Not even for a transaction that has changed the entity, and stays open."""
    with psycopg.connect(postgres_url) as connection:
        store.within(connection).commit([change("a", after=6)])
        store.within(connection).commit([change("b", after=5)])
        assert store.prune_history(timedelta(days=1)).rows == 10
        connection.commit()
    assert shape(store, "a") == [(5, "snapshot"), (6, "event"), (7, "event")]
    assert shape(store, "b") == [(5, "snapshot"), (6, "event")]


def test_nobody_who_writes_waits_for_a_prune(store, postgres_url) -> None:
    """Changes, rejections and event ids of an entity whose rows are being deleted go on."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM transition_history WHERE version < 6")
        for after in (6, 7):
            [outcome] = store.commit([change("a", after=after, event_id=f"new-{after}")])
            assert outcome.kind == "applied"
        assert store.load([lookup("b", "i")])[0].known.keys() == {"i"}
        connection.rollback()


def test_two_prunes_take_turns(store, postgres_url) -> None:
    """One that finds its rows gone looks again, and finds nothing to do."""
    with PostgresStateStore(postgres_url) as other:
        found = other.prune_keys(None, 10)
        cuts = []
        rows = other.prune_rows
        other.prune_rows = lambda given: cuts.extend(given) or rows(given)
        assert other.prune_history(timedelta(days=1)).rows == 10
        assert store.prune_rows(cuts) == [None, None]
        assert [key for key, _ in found] == [("a", "m"), ("b", "m")]
    assert shape(store, "b") == [(5, "snapshot")]
    assert store.prune_history(timedelta(days=1)).rows == 0


def test_a_prune_has_no_place_in_a_transaction_of_the_callers(store, postgres_url) -> None:
    with (
        psycopg.connect(postgres_url) as connection,
        pytest.raises(Exception, match="cannot be part of yours"),
    ):
        store.within(connection).prune_history(timedelta(days=1))
    assert shape(store, "b")[0] == (1, "event")
