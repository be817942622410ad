"""The same worlds with a real database behind them: what holds in memory holds there."""

import pytest

from pystator import PostgresStateStore, SQLiteStateStore
from pystator.db.commands import truncate
from simulation.luck import Drawn
from simulation.plan import plan_of
from simulation.runs import run

WORLDS = 30


def live_through(url, store, seeds):
    """One world after the other, each in an empty store."""
    for seed in seeds:
        truncate(url)
        plan = plan_of(seed)
        try:
            run(plan, Drawn(plan), store=store)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.fixture
def sqlite(tmp_path):
    url = f"sqlite:///{tmp_path}/world.db"
    with SQLiteStateStore(url, synchronous="OFF") as store:
        yield url, store


@pytest.fixture
def postgresql(postgres_url):
    with PostgresStateStore(postgres_url) as store:
        yield postgres_url, store


def test_no_promise_is_broken_in_sqlite(sqlite):
    live_through(*sqlite, range(WORLDS))


def test_no_promise_is_broken_in_postgresql(postgresql):
    live_through(*postgresql, range(WORLDS))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(10_000, 20_000, 200))
def test_no_promise_is_broken_in_many_worlds_in_sqlite(sqlite, first):
    live_through(*sqlite, range(first, first + 200))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(20_000, 30_000, 200))
def test_no_promise_is_broken_in_many_worlds_in_postgresql(postgresql, first):
    live_through(*postgresql, range(first, first + 200))
