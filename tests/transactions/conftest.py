"""A shop whose own table and whose entities change in one transaction, on each database."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from pystator import Orchestrator, PostgresStateStore, SQLiteStateStore, StateMachine

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "1.0"},
    "states": [
        {"name": "new", "type": "initial"},
        {"name": "placed", "timeout": {"seconds": 60, "destination": "lost"}},
        {"name": "paid"},
        {"name": "lost"},
    ],
    "transitions": [
        {"trigger": "place", "source": "new", "dest": "placed", "actions": ["mail"]},
        {
            "trigger": "pay",
            "source": "placed",
            "dest": "paid",
            "guards": [{"expr": "amount >= 10"}],
            "actions": ["receipt", "mail"],
        },
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
    ],
}


class SQLiteShop:
    """A SQLite file with the user's table and ours."""

    mark = "?"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.db"
        self.url = f"sqlite:///{self.path}"
        self.store = SQLiteStateStore(self.url, busy_limit=5.0).connect()
        self._open: list[sqlite3.Connection] = []
        with self.connect() as connection:
            connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER)")

    def connect(self) -> sqlite3.Connection:
        """A connection as the driver makes it: it begins by itself, and the user commits."""
        connection = sqlite3.connect(self.path, check_same_thread=False)
        self._open.append(connection)
        return connection

    def orders(self) -> list[str]:
        """The user's committed rows."""
        connection = self.connect()
        return [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]

    def wait_for_the_end_of(self, name: str) -> None:
        """A killed process has ended."""

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self.store.disconnect()


class PostgresShop:
    """A PostgreSQL database with the user's table and ours."""

    mark = "%s"

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = PostgresStateStore(url, timeout=10.0, pool_size=4).connect()
        self._open: list[psycopg.Connection] = []
        with self.connect() as connection:
            connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER)")

    def connect(self, **options: Any) -> psycopg.Connection:
        """A connection as the driver makes it: it begins by itself, and the user commits."""
        connection = psycopg.connect(self.url, **options)
        self._open.append(connection)
        return connection

    def orders(self) -> list[str]:
        """The user's committed rows."""
        with self.connect() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]

    def wait_for_the_end_of(self, name: str) -> None:
        """The server's side of a killed process has ended, too: it may just have been committing."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(query, (name,)).fetchone():
                time.sleep(0.01)

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        with psycopg.connect(self.url) as connection:
            connection.execute("DROP TABLE orders")
        self.store.disconnect()


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Iterator[SQLiteShop]:
    made = SQLiteShop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def postgres_shop(postgres_url: str) -> Iterator[PostgresShop]:
    made = PostgresShop(postgres_url)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest) -> Any:
    """A shop on each database."""
    return request.getfixturevalue(f"{request.param}_shop")


@pytest.fixture(scope="session")
def machine() -> StateMachine:
    return StateMachine.from_dict(ORDER)


@pytest.fixture
def done() -> list[str]:
    """Names of the actions that ran."""
    return []


@pytest.fixture
def orders(machine, shop, done) -> Orchestrator:
    actions = {name: lambda ctx, name=name: done.append(name) for name in ("mail", "receipt")}
    return Orchestrator(machine, shop.store, actions=actions)


@pytest.fixture
def buy(shop):
    """``buy(connection, id)`` writes a row of the user's."""
    return lambda connection, order: connection.execute(
        f"INSERT INTO orders VALUES ({shop.mark}, 1)", (order,)
    )


@pytest.fixture(scope="session")
def rows():
    """``rows(store, entity_id)``: history as ``(kind, version)``."""
    return lambda store, entity_id: [
        (str(row.kind), row.version)
        for row in store.history(entity_id, machine_name="order", limit=1_000).items
    ]


@pytest.fixture
def engine(shop) -> Iterator[Engine]:
    """SQLAlchemy's engine of the shop's database."""
    made = create_engine(shop.url.replace("postgresql:", "postgresql+psycopg:"))
    yield made
    made.dispose()
