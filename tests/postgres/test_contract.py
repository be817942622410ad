"""The store in PostgreSQL, held to the whole contract."""

import pytest

from pystator.testing import StoreContract
from servers.sessions import Settled


class TestPostgresStateStore(StoreContract):
    daily = "either"

    @pytest.fixture
    def tmp_path(self, tmp_path, postgres_url):
        """Whoever makes a store asks for this first."""
        self.url = postgres_url
        return tmp_path

    def make_store(self, path):
        return Settled(self.url)
