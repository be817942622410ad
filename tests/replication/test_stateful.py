"""The replicated store against the one in memory, over random histories; and its durable store after each of them."""

import shutil

import pytest
import redis
from hypothesis import settings

from pystator import SQLiteStateStore
from pystator.records import EntryKind, Lookup
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import ReplicatedStateStore
from pystator.testing.stateful import StoreComparison
from replication.shapes import all_keys, key_rows

places: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _place(redis_url, tables):
    places.append((redis_url, str(tables)))
    yield
    places.pop()


class ReplicatedAgainstMemory(StoreComparison):
    def make_store(self, path):
        hot, tables = places[-1]
        durable = path / "durable.db"
        if not durable.exists():  # the first of a run
            shutil.copy(tables, durable)
            with redis.Redis.from_url(hot) as client:
                client.flushall()
        kept = SQLiteStateStore(f"sqlite:///{durable}", synchronous="OFF")
        return ReplicatedStateStore(hot=RedisStateStore(hot, pool_size=2), durable=kept)

    def teardown(self):
        """The durable store has every entity, and every row that Redis has; and those that were pruned there."""
        try:
            if hasattr(self, "store"):
                self.check(self.store.connect())
        finally:
            super().teardown()

    def check(self, store):
        store.replicate(once=True)
        for key in all_keys(store.hot_store):
            lookup = [Lookup(*key)]
            assert store.durable_store.load(lookup) == store.hot_store.load(lookup)
            kept = texts(key_rows(store.durable_store, key))
            assert [
                each for each in texts(key_rows(store.hot_store, key)) if each not in kept
            ] == []


def texts(rows) -> list[str]:
    """Rows but for their ids; snapshots stand for rows that the durable store has."""
    for row in rows:
        row.id = 0
    return [repr(row) for row in rows if row.kind is not EntryKind.SNAPSHOT]


class ReplicatedAgainstMemoryAsync(ReplicatedAgainstMemory):
    face = "async"


TestReplicatedAgainstMemory = ReplicatedAgainstMemory.TestCase
TestReplicatedAgainstMemory.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None
)

TestReplicatedAgainstMemoryAsync = ReplicatedAgainstMemoryAsync.TestCase
TestReplicatedAgainstMemoryAsync.settings = settings(
    max_examples=4, stateful_step_count=12, deadline=None
)


@pytest.mark.soak
class TestReplicatedAgainstMemoryForLong(ReplicatedAgainstMemory.TestCase):
    settings = settings(max_examples=300, stateful_step_count=25, deadline=None)
