"""Connections that are cut, and a server that is restarted, in the middle of every use."""

import asyncio

import psycopg
import pytest

from pystator import StoreUnavailableError
from pystator.stores.postgres import PostgresStateStore
from pystator.testing.ordering import LinearizabilityContract
from pystator.testing.reconnect import ReconnectContract
from servers.sessions import until


class TestCutConnections(ReconnectContract):
    """What a firewall, a failover or an administrator does."""

    @pytest.fixture
    def tmp_path(self, tmp_path, postgres_url):
        self.url = postgres_url
        return tmp_path

    def make_store(self, path):
        return PostgresStateStore(self.url)

    def restart(self, store):
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


class TestRestartedServer(ReconnectContract):
    pytestmark = pytest.mark.soak

    @pytest.fixture
    def tmp_path(self, tmp_path, own_postgres):
        self.server = own_postgres()
        return tmp_path

    def make_store(self, path):
        return PostgresStateStore(self.server.url)

    def restart(self, store):
        self.server.restart()


class TestKilledServer(TestRestartedServer):
    def restart(self, store):
        self.server.kill()
        self.server.start()


class TestLongHistories(LinearizabilityContract):
    pytestmark = pytest.mark.soak
    calls = 1_000
    clients = 8

    @pytest.fixture
    def tmp_path(self, tmp_path, postgres_url):
        self.url = postgres_url
        return tmp_path

    def make_store(self, path):
        return PostgresStateStore(self.url)


def test_an_outage_is_one_line_of_the_log_and_names_nobody(own_postgres, caplog) -> None:
    """The pool warns of every try, several a second, and quotes what the server says of the user."""
    server = own_postgres()
    with PostgresStateStore(server.url, timeout=1.0) as store:
        assert store.get_state("nobody") is None
        server.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="no server answers there"):
                store.get_state("nobody")
        server.start()
        assert store.get_state("nobody") is None
    lines = [f"{line.name}: {line.message}" for line in caplog.records]
    assert len(lines) == 1, lines
    assert lines[0].startswith("pystator.postgres: no connection now, calls try for 1 s: ")
    assert "postgres@" not in lines[0]


@pytest.mark.timeout(60)
def test_a_server_that_hangs_altogether_hangs_no_caller(own_postgres, monkeypatch) -> None:
    """Not even the wish to cancel is heard; other threads and loops of the process go on."""
    monkeypatch.setattr("pystator.stores.postgres.waiting.GRACE", 0.2)
    server = own_postgres(listen=True)
    with PostgresStateStore(f"{server.url}?connect_timeout=1", timeout=0.2) as store:
        assert store.get_state("nobody") is None
        assert asyncio.run(store.aget_state("nobody")) is None
        with server.hung():
            with pytest.raises(StoreUnavailableError, match="did not answer in time"):
                store.set_state("order-1", "open")
            with pytest.raises(StoreUnavailableError, match="did not answer to a new connection"):
                store.set_state("order-1", "open")
            with pytest.raises(StoreUnavailableError):
                asyncio.run(store.aget_state("nobody"))
        until(lambda: store.get_state("order-2") is None)
