"""The store in MongoDB, held to the whole contract."""

import pytest

from pystator.stores.mongodb import MongoDBStateStore
from pystator.testing import StoreContract


class TestMongoDBStateStore(StoreContract):
    @pytest.fixture
    def tmp_path(self, tmp_path, mongodb_url):
        """Whoever makes a store asks for this first."""
        self.url = mongodb_url
        return tmp_path

    def make_store(self, path):
        return MongoDBStateStore(self.url)
