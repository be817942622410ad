"""The store in SQLite, held to the whole contract; in memory, to what differs there."""

import shutil

import pytest

from pystator.stores.sqlite import SQLiteStateStore
from pystator.testing import BasicContract, StoreContract
from pystator.testing.commits import CommitsContract
from pystator.testing.concurrency import ConcurrencyContract
from pystator.testing.idempotency import IdempotencyContract
from pystator.testing.limits import LimitsContract
from pystator.testing.lost_answers import LostAnswersContract
from pystator.testing.machines import MachinesContract
from pystator.testing.statecharts import StatechartsContract


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A database with our tables, made once: migrating a new one takes longer than most tests."""
    path = tmp_path_factory.mktemp("tables") / "store.db"
    SQLiteStateStore(f"sqlite:///{path}").connect().disconnect()
    return path


class TestSQLiteStateStore(StoreContract):
    daily = "either"

    @pytest.fixture(autouse=True)
    def _copy(self, tables, tmp_path):
        shutil.copy(tables, tmp_path / "store.db")

    def make_store(self, path):
        return SQLiteStateStore(f"sqlite:///{path / 'store.db'}", synchronous="OFF")


class InMemory(SQLiteStateStore):
    durable = False


class TestSQLiteStateStoreInMemory(
    BasicContract,
    CommitsContract,
    IdempotencyContract,
    ConcurrencyContract,
    StatechartsContract,
    LimitsContract,
    MachinesContract,
    LostAnswersContract,
):
    daily = "async"

    def make_store(self, path):
        return InMemory("sqlite://")
