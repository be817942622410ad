"""What the tests of the Redis store share."""

from collections.abc import Iterator

import pytest
import redis

from pystator.stores.redis import RedisStateStore


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStateStore]:
    """A connected store."""
    with RedisStateStore(redis_url) as connected:
        yield connected


@pytest.fixture
def admin(redis_url: str) -> Iterator[redis.Redis]:
    """A client of somebody else of the same server."""
    with redis.Redis.from_url(redis_url.partition("?")[0], decode_responses=True) as client:
        yield client
