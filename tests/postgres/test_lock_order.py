"""Batches that share entities wait for each other in one direction only."""

import threading

import psycopg
import pytest

from pystator.records import Lookup, OutcomeKind
from pystator.stores.postgres import PostgresStateStore
from pystator.testing.building import change


def deadlocks(url):
    """Those that the database has met since it is there; it may be one that other tests had before."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return connection.execute(query).fetchone()


@pytest.mark.parametrize("rounds", [100, pytest.param(3_000, marks=pytest.mark.soak)])
def test_creations_and_changes_in_one_batch_deadlock_with_nobody(postgres_url, rounds):
    """One creates b and changes c; the other changes a, creates b and changes c."""
    before = deadlocks(postgres_url)
    with PostgresStateStore(postgres_url) as store:
        store.commit([change("a"), change("c")])
        turn = threading.Barrier(2)
        created = [0, 0]

        def work(number, more):
            for each in range(rounds):
                a, c = store.load([Lookup("a", "m"), Lookup("c", "m")])
                batch = [change(f"b{each}"), change("c", after=c.entity.version)]
                batch += [change("a", after=a.entity.version)] * more
                turn.wait()
                created[number] += store.commit(batch)[0].kind is OutcomeKind.APPLIED

        threads = [threading.Thread(target=work, args=(number, number)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(created) == rounds, "each was created once"
    assert deadlocks(postgres_url) == before
