"""What the tests of replication share: a Redis, a database, and both as one store."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystator import PostgresStateStore, SQLiteStateStore
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import ReplicatedStateStore


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables: copying it takes less than making them."""
    path = tmp_path_factory.mktemp("tables") / "tables.db"
    SQLiteStateStore(f"sqlite:///{path}").connect().disconnect()
    return path


@pytest.fixture
def durable_url(tables: Path, tmp_path: Path) -> str:
    """A SQLite database without rows."""
    return f"sqlite:///{shutil.copy(tables, tmp_path / 'durable.db')}"


@pytest.fixture
def made(redis_url: str, durable_url: str) -> Iterator[Callable[..., ReplicatedStateStore]]:
    """``made(**options)``: a store over the test's Redis and a SQLite file, not yet connected."""
    stores: list[ReplicatedStateStore] = []

    def make(*, durable: Any = None, **options: Any) -> ReplicatedStateStore:
        kept = durable or SQLiteStateStore(durable_url, synchronous="OFF")
        store = ReplicatedStateStore(hot=RedisStateStore(redis_url), durable=kept, **options)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.disconnect()


@pytest.fixture
def store(made: Callable[..., ReplicatedStateStore]) -> ReplicatedStateStore:
    """A connected store."""
    return made().connect()


@pytest.fixture(params=["sqlite", "postgres"])
def on_both(
    request: pytest.FixtureRequest, made: Callable[..., ReplicatedStateStore]
) -> ReplicatedStateStore:
    """A connected store, over each kind of durable store."""
    if request.param == "sqlite":
        return made().connect()
    return made(durable=PostgresStateStore(request.getfixturevalue("postgres_url"))).connect()
