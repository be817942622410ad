"""Connections that are cut, and a server that is killed, in the middle of every use."""

import pytest
import redis

from pystator import RedisStateStore
from pystator.testing.reconnect import ReconnectContract


class TestCutConnections(ReconnectContract):
    """What a firewall, a failover or an administrator does."""

    @pytest.fixture
    def tmp_path(self, tmp_path, redis_url):
        self.url = redis_url
        return tmp_path

    def make_store(self, path):
        return RedisStateStore(self.url)

    def restart(self, store):
        with redis.Redis.from_url(self.url.partition("?")[0]) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


class TestKilledServer(ReconnectContract):
    @pytest.fixture
    def tmp_path(self, tmp_path, own_redis):
        self.server = own_redis()
        return tmp_path

    def make_store(self, path):
        return RedisStateStore(self.server.url)

    def restart(self, store):
        self.server.kill()
        self.server.start()
