"""Reads that are cut into parts as small as can be say what the store in memory says: no seam shows."""

import random
from datetime import timedelta
from functools import partial

import pytest

from pystator import InMemoryStateStore
from pystator.stores.redis import RedisStateStore, feed, listing, merging, pruning, reads
from pystator.testing.building import applied, change, note

HOUR = 3_600_000_000
NOW = 1_790_000_000_000_000


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request, monkeypatch):
    monkeypatch.setattr(merging, "MOST", 3)
    monkeypatch.setattr(pruning, "MOST", 3)
    monkeypatch.setattr(listing, "LOOKED", 1)
    monkeypatch.setattr(listing, "LOADED", 4)
    monkeypatch.setattr(reads, "_PAGE", 2)
    monkeypatch.setattr(feed, "BYTES", 700)
    monkeypatch.setattr(pruning, "BYTES", 700)
    url = request.getfixturevalue(request.param)
    with RedisStateStore(url, clock=lambda: NOW) as connected:
        yield connected


def pages(read, **options):
    found = []
    after = None
    while True:
        page = read(after=after, **options)
        assert len(page.items) <= options["limit"]
        found += page.items
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("seed", range(2))
def test_what_is_read_in_parts_is_what_there_is(store, seed) -> None:
    chance = random.Random(seed)
    model = InMemoryStateStore(clock=lambda: NOW)
    machines = ["", "m", "m:n"]
    states = ["a", "b", "a+b", "c+a", "d"][: chance.randint(1, 5)]
    names = [f"e{n}" for n in range(40)]
    ats = [5, 6, 7, 2**57, 2**57 + 1, 2**57 + 2, -5]
    for name in names:
        for machine in chance.sample(machines, chance.randint(1, 2)):
            made = change(
                name, machine=machine, state=chance.choice(states), steps=chance.randint(1, 3),
                now=NOW - chance.randint(0, 5) * HOUR, timers={"t": (chance.choice(ats), 1)},
            )  # fmt: skip
            for each in (store, model):
                applied(each, made)
    last = note("nobody", machine="m", version=0), change("z", timers={})
    for each in (store, model):
        applied(each, *last)
    for _ in range(12):
        options = {"limit": chance.choice([1, 2, 5, 17, 500])}
        if chance.random() < 0.6:
            options["state"] = chance.choice([*states, "a", "nowhere"])
        if chance.random() < 0.5:
            options["machine_name"] = chance.choice([*machines, "nobody"])
        if chance.random() < 0.6:
            options["in_state_longer_than"] = timedelta(hours=chance.randint(0, 5))
        assert pages(store.entities, **options) == pages(model.entities, **options), options
    for now in (4, 6, 2**57 + 1, 2**60):
        for limit in (1, 4, 30, 500):
            for machine in (None, *machines):
                found = store.due(now, limit, machine_name=machine)
                assert found == model.due(now, limit, machine_name=machine)
    for machine in (None, *machines):
        assert store.count_by_state(machine_name=machine) == model.count_by_state(
            machine_name=machine
        )
    for newest_first in (False, True):
        read, expected = (
            partial(each.history, "e7", machine_name="m", newest_first=newest_first)
            for each in (store, model)
        )
        assert [row.version for row in pages(read, limit=3)] == [
            row.version for row in expected().items
        ]
    every = [row.id for row in _followed(store, chance.choice([1, 5, 50]))]
    assert len(every) == len(set(every)) == len(model.feed(None, 1_000).items)


def _followed(store, limit):
    rows = []
    cursor = None
    while True:
        page = store.feed(cursor, limit)
        rows += page.items
        cursor = page.next
        if not page.items:
            return rows


def test_a_prune_in_parts_leaves_what_a_prune_leaves(store) -> None:
    model = InMemoryStateStore(clock=lambda: NOW)
    for each in (store, model):
        for name in ("a", "b", "c"):
            applied(each, change(name, steps=9, event_id="i" if name == "b" else None))
            applied(each, note(name, version=9), change(name, after=9, context={"name": name}))
    for each in (store, model):
        each.now = lambda: NOW + HOUR
    for window in (timedelta(days=30), timedelta(0)):
        report = store.prune_history(timedelta(0), dedup_window=window, batch=7)
        assert report == model.prune_history(timedelta(0), dedup_window=window, batch=7)
        for name in ("a", "b", "c"):
            rows = pages(partial(store.history, name), limit=4)
            expected = model.history(name).items
            assert [(r.version, r.kind, r.patch) for r in rows] == [
                (r.version, r.kind, r.patch) for r in expected
            ]
