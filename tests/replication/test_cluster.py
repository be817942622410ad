"""Replication from a Redis Cluster: each partition has a stream and a place of its own."""

import threading
import time

import pytest
import redis

from pystator import RedisStateStore, ReplicatedStateStore, SQLiteStateStore
from pystator.errors import ReplicationError
from pystator.testing.building import applied, change, note
from replication.shapes import all_keys, contents, rich


@pytest.fixture
def made(redis_cluster_url, durable_url):
    stores = []

    def make(hot=redis_cluster_url):
        kept = SQLiteStateStore(durable_url, synchronous="OFF")
        store = ReplicatedStateStore(hot=RedisStateStore(hot), durable=kept)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.disconnect()


def same(store) -> bool:
    keys = all_keys(store.hot_store)
    assert sorted(all_keys(store.durable_store)) == sorted(keys)
    assert contents(store.durable_store, keys) == contents(store.hot_store, keys)
    return True


def test_every_partition_is_followed(made) -> None:
    store = made().connect()
    rich(store)
    applied(store, *[change(f"e{number}", steps=2) for number in range(200)])
    assert store.lag().entries == 207
    assert store.replicate(once=True).entries == 207
    assert same(store)
    applied(
        store,
        *[change(f"e{number}", after=2) for number in range(0, 200, 2)],
        note("e1", version=2),
    )
    assert store.replicate(once=True).entries == 101
    assert same(store)
    assert len(store.durable_store.marks("replication.place.")) == 64


def test_while_commits_go_on(made) -> None:
    store = made().connect()
    stop = threading.Event()
    thread = threading.Thread(target=store.replicate, kwargs={"stop": stop})
    thread.start()
    for round_ in range(10):
        applied(store, *[change(f"e{number}", after=round_) for number in range(40)])
    deadline = time.monotonic() + 30
    while store.lag().entries:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert same(store)


def test_a_partition_that_lost_its_data_is_found(made, redis_cluster_url) -> None:
    with made() as store:
        applied(store, *[change(f"e{number}") for number in range(100)])
        store.replicate(once=True)
    layout = store.hot_store.layout
    with redis.RedisCluster.from_url(redis_cluster_url) as client:
        client.delete(layout.shared("epoch", layout.partition("e7")))
    with pytest.raises(ReplicationError, match="--rebuild"):
        made().connect()


def test_from_one_server_into_a_cluster_and_back(made, redis_url) -> None:
    """A rebuild into the other one; what the old one has must not be used any more."""
    with made(redis_url) as store:
        rich(store)
        applied(store, *[change(f"e{number}") for number in range(100)])
        store.replicate(once=True)
    assert made().rebuild().entities == 103
    with made() as store:
        assert same(store)
        applied(store, change("e7", after=1))
        assert store.replicate(once=True).entries == 1
    with pytest.raises(ReplicationError):
        made(redis_url).connect()
    assert made(redis_url).rebuild(discard=True).finished
    with made(redis_url) as store:
        assert same(store)
        assert store.get_state_versioned("e7") == ("open", 2)
