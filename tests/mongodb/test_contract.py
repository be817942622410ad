"""The store in MongoDB, held to the whole contract."""

import pytest

from pystator.stores.mongodb import MongoDBStateStore
from pystator.testing import StoreContract
from pystator.testing.basic import BasicContract
from pystator.testing.commits import CommitsContract
from pystator.testing.concurrency import ConcurrencyContract
from pystator.testing.idempotency import IdempotencyContract
from pystator.testing.lost_answers import LostAnswersContract
from pystator.testing.reconnect import ReconnectContract


class OverMongoDB:
    """What every class here shares; it comes first."""

    @pytest.fixture
    def tmp_path(self, tmp_path, mongodb_url):
        """Whoever makes a store asks for this first."""
        self.url = mongodb_url
        return tmp_path

    def make_store(self, path):
        return MongoDBStateStore(self.url)


class TestMongoDBStateStore(OverMongoDB, StoreContract):
    """Counts are such that a server which is no mongod takes no minutes; `make soak` has the rest."""

    daily = "sync"
    large_batch = 120
    many_parcels = 80
    pruned_rows = 150
    feed_events = 20
    calls = 20
    clients = 4


class OfReplicaSet(OverMongoDB):
    @pytest.fixture
    def tmp_path(self, tmp_path, mongodb_replica_url):
        self.url = mongodb_replica_url
        return tmp_path


class TestReplicaSet(
    OfReplicaSet, BasicContract, CommitsContract, IdempotencyContract, ConcurrencyContract
):
    """What reads and writes of a replica set have to do with."""

    daily = "async"
    large_batch = 50


@pytest.mark.soak
class TestEverythingInFull(OverMongoDB, StoreContract):
    pass


@pytest.mark.soak
class TestReplicaSetInFull(OfReplicaSet, StoreContract):
    pass


@pytest.mark.soak
class TestRestartedServer(LostAnswersContract, ReconnectContract):
    @pytest.fixture
    def tmp_path(self, tmp_path, own_mongodb):
        self.server = own_mongodb(replica=True)
        return tmp_path

    def make_store(self, path):
        return MongoDBStateStore(self.server.replica_url)

    def restart(self, store):
        self.server.stop()
        self.server.start()


class TestKilledServer(TestRestartedServer):
    """Waits for nothing: what was acknowledged is there."""

    def restart(self, store):
        self.server.kill()
        self.server.start()
