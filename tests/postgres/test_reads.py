"""Paged reads of PostgreSQL: whatever is asked together, the answer is that of a plain scan."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from pystator.stores.keys import new_commit_id
from pystator.stores.postgres import PostgresStateStore, listing
from pystator.testing.building import applied, change, note
from pystator.testing.feed import FeedContract
from pystator.testing.history import HistoryContract
from pystator.testing.queries import QueriesContract

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
MACHINES = ["order", "payment", "", "é"]
STATES = [
    "open",
    "paid",
    "a+b",
    "b+c",
    "open+b",
    "b" * 512,  # the longest that the index of states has
    "b" * 510 + "+b",
    "b" * 511 + "+b",  # and longer ones
    "open+" + "long" * 300,
    "é" * 257,
]


@pytest.fixture
def store(postgres_url):
    with PostgresStateStore(postgres_url, clock=lambda: NOW) as connected:
        yield connected


@pytest.fixture
def filled(store):
    """Some hundred entities of four machines, each in its state since some second before now."""
    chance = random.Random(11)
    made = {}
    for number in range(250):
        for machine in chance.sample(MACHINES, chance.randrange(1, 5)):
            key = (f"e-{number:03}", machine)
            made[key] = change(
                key[0],
                machine=machine,
                state=chance.choice(STATES),
                now=NOW - chance.randrange(100) * SECOND,
                timers={"t": (chance.randrange(100), 1)} if chance.random() < 0.3 else None,
            )
    commits = list(made.values())
    chance.shuffle(commits)
    applied(store, *commits)
    moved = []
    for key in chance.sample(sorted(made), 150):
        before = made[key]
        made[key] = change(
            key[0],
            machine=key[1],
            after=1,
            state=chance.choice(STATES),
            now=NOW - chance.randrange(10) * SECOND,
        )
        if made[key].state == before.state:
            made[key] = replace(made[key], state=None, commit_id=new_commit_id())
        moved.append(made[key])
        if made[key].state is None:
            made[key] = before
    applied(store, *moved)
    return store, made


def pages(read, limit, **options):
    after = None
    found = []
    while True:
        page = read(after=after, limit=limit, **options)
        assert len(page.items) <= limit
        found += page.items
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("few", [15, 10_000])
def test_pages_of_entities_are_the_plain_scan(filled, monkeypatch, few) -> None:
    """Few that are long in their state are sorted, many are walked: nobody can tell."""
    monkeypatch.setattr(listing, "FEW", few)
    listing.statement.cache_clear()
    store, made = filled
    states = [None, "b", "open", "a+b", "b" * 511, "b" * 512, "long" * 300, "never"]
    asked = product(states, [None, "order", "", "nobody"], [None, 0, 50, 1_000], [7, 1_000])
    for state, machine, seconds, limit in asked:
        longer = None if seconds is None else timedelta(seconds=seconds)
        expected = sorted(
            key
            for key, commit in made.items()
            if machine in (None, key[1])
            and (state is None or state == commit.state or state in commit.state.split("+"))
            and (seconds is None or commit.now < NOW - seconds * SECOND)
        )
        if limit == 7 and len(expected) > 80:
            continue
        found = pages(
            store.entities,
            limit,
            state=state,
            machine_name=machine,
            in_state_longer_than=longer,
        )
        assert [entity.key for entity in found] == expected, (state, machine, seconds)
    listing.statement.cache_clear()


def test_counts_and_deadlines_are_the_plain_ones(filled) -> None:
    store, made = filled
    for machine in (None, *MACHINES, "nobody"):
        mine = [key for key in made if machine in (None, key[1])]
        assert store.count_by_state(machine_name=machine) == Counter(made[k].state for k in mine)
        timers = {e.key: e.timers for e in store.list_entities(limit=10_000) if e.timers}
        due = sorted((timers[key]["t"][0], key) for key in mine if key in timers)
        for limit in (3, 1_000):
            found = store.due(60, limit, machine_name=machine)
            assert found == [key for at, key in due if at <= 60][:limit]


def test_history_is_paged_both_ways_through_many_rows_of_one_version(store) -> None:
    """Whatever an entity was refused while it stood still has one version."""
    applied(store, change("a"))
    applied(store, *[note("a", version=1) for _ in range(40)])
    applied(store, change("a", after=1), change("b"))
    up = pages(lambda **options: store.history("a", **options), 7)
    down = pages(lambda **options: store.history("a", newest_first=True, **options), 7)
    assert len(up) == 42
    assert [row.id for row in down] == [row.id for row in reversed(up)]
    assert [(row.version, row.id) for row in up] == sorted((row.version, row.id) for row in up)


@pytest.mark.parametrize("limit", [2**31, 2**62, 2**63])
def test_a_limit_may_be_larger_than_any_table(store, limit) -> None:
    applied(store, change("a"))
    assert len(store.entities(limit=limit).items) == 1
    assert len(store.entities(state="open", limit=limit).items) == 1
    assert len(store.history("a", limit=limit).items) == 1
    assert len(store.feed(None, limit).items) == 1
    assert store.due(2**70, limit) == []


class TestReadsOfStatementsThatAreNotPrepared(QueriesContract, HistoryContract, FeedContract):
    """Behind a pooler each statement goes with its text, and is planned for its values."""

    @pytest.fixture
    def tmp_path(self, tmp_path, postgres_url):
        """Whoever makes a store asks for this first."""
        self.url = postgres_url
        return tmp_path

    def make_store(self, path):
        return PostgresStateStore(self.url, prepare=False)
