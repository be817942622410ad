"""The store in Redis against the one in memory, over random histories; also in a cluster."""

import pytest
from hypothesis import settings

from pystator.db.redis_url import parse_redis
from pystator.stores.redis import RedisStateStore
from pystator.testing.stateful import StoreComparison

urls: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _urls(redis_url, redis_cluster_url):
    urls.update(server=redis_url, cluster=redis_cluster_url)
    yield
    urls.clear()


class RedisAgainstMemory(StoreComparison):
    kind = "server"

    def make_store(self, path):
        """Each run has a prefix of its own: nothing has to be emptied in between."""
        url = urls[self.kind]
        prefix = f"{parse_redis(url).key_prefix or 'pystator'}:{path.name}"
        return RedisStateStore(url, key_prefix=prefix, pool_size=2)


class RedisAgainstMemoryAsync(RedisAgainstMemory):
    face = "async"


class RedisClusterAgainstMemory(RedisAgainstMemory):
    kind = "cluster"


class RedisClusterAgainstMemoryAsync(RedisAgainstMemory):
    kind = "cluster"
    face = "async"


TestRedisAgainstMemory = RedisAgainstMemory.TestCase
TestRedisAgainstMemory.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)

TestRedisAgainstMemoryAsync = RedisAgainstMemoryAsync.TestCase
TestRedisAgainstMemoryAsync.settings = settings(
    max_examples=4, stateful_step_count=12, deadline=None
)

TestRedisClusterAgainstMemory = RedisClusterAgainstMemory.TestCase
TestRedisClusterAgainstMemory.settings = settings(
    max_examples=5, stateful_step_count=15, deadline=None
)


@pytest.mark.soak
class TestRedisAgainstMemoryForLong(RedisAgainstMemory.TestCase):
    settings = settings(max_examples=300, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestRedisAgainstMemoryAsyncForLong(RedisAgainstMemoryAsync.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestRedisClusterAgainstMemoryForLong(RedisClusterAgainstMemory.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestRedisClusterAgainstMemoryAsyncForLong(RedisClusterAgainstMemoryAsync.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
