"""The store in PostgreSQL, held to the whole contract."""

import pytest

from pystator.stores.postgres import PostgresStateStore
from pystator.testing import StoreContract


class TestPostgresStateStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _url(self, postgres_url):
        self.url = postgres_url

    def make_store(self, path):
        return PostgresStateStore(self.url)
