"""The store in Redis, in Valkey and in a cluster of three nodes, held to the whole contract."""

import pytest

from pystator import RedisStateStore
from pystator.testing import StoreContract


class RedisContract(StoreContract):
    """Over one of both faces in every run; ``make soak`` has them all."""

    def make_store(self, path):
        return RedisStateStore(self.url)


class TestRedisStateStore(RedisContract):
    daily = "either"

    @pytest.fixture
    def tmp_path(self, tmp_path, redis_url):
        """Whoever makes a store asks for this first."""
        self.url = redis_url
        return tmp_path


class TestRedisStateStoreInValkey(RedisContract):
    daily = "sync"

    @pytest.fixture
    def tmp_path(self, tmp_path, valkey_url):
        self.url = valkey_url
        return tmp_path


class TestRedisStateStoreInACluster(RedisContract):
    daily = "async"

    @pytest.fixture
    def tmp_path(self, tmp_path, redis_cluster_url):
        self.url = redis_cluster_url
        return tmp_path
