"""The replicated store, held to the whole contract."""

import pytest

from pystator import SQLiteStateStore
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import ReplicatedStateStore
from pystator.testing import StoreContract


class TestReplicatedStateStore(StoreContract):
    daily = "sync"

    @pytest.fixture
    def tmp_path(self, tmp_path, redis_url, durable_url):
        """Whoever makes a store asks for this first."""
        self.urls = (redis_url, durable_url)
        return tmp_path

    def make_store(self, path):
        hot, durable = self.urls
        kept = SQLiteStateStore(durable, synchronous="OFF")
        return ReplicatedStateStore(hot=RedisStateStore(hot), durable=kept)
