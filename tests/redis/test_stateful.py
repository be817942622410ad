"""The store in Redis against the one in memory, over random histories."""

import pytest
import redis
from hypothesis import settings

from pystator import RedisStateStore
from pystator.testing.stateful import StoreComparison

urls: list[str] = []


@pytest.fixture(autouse=True)
def _url(redis_url):
    urls.append(redis_url)
    yield
    urls.pop()


class RedisAgainstMemory(StoreComparison):
    def make_store(self, path):
        mark = path / "used"
        if not mark.exists():  # the first of a run
            mark.touch()
            with redis.Redis.from_url(urls[-1].partition("?")[0]) as client:
                keys = client.keys("*pystator*")
                if keys:
                    client.delete(*keys)
        return RedisStateStore(urls[-1], pool_size=2)


class RedisAgainstMemoryAsync(RedisAgainstMemory):
    face = "async"


TestRedisAgainstMemory = RedisAgainstMemory.TestCase
TestRedisAgainstMemory.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)

TestRedisAgainstMemoryAsync = RedisAgainstMemoryAsync.TestCase
TestRedisAgainstMemoryAsync.settings = settings(
    max_examples=4, stateful_step_count=12, deadline=None
)


@pytest.mark.soak
class TestRedisAgainstMemoryForLong(RedisAgainstMemory.TestCase):
    settings = settings(max_examples=300, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestRedisAgainstMemoryAsyncForLong(RedisAgainstMemoryAsync.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
