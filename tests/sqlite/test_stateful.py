"""The store in SQLite against the one in memory, over random histories."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import settings

from pystator.stores.sqlite import SQLiteStateStore
from pystator.testing.stateful import StoreComparison


@cache
def tables() -> bytes:
    """A database with our tables: migrating a new one takes longer than most runs."""
    folder = Path(tempfile.mkdtemp(prefix="pystator-tables-"))
    SQLiteStateStore(f"sqlite:///{folder / 'store.db'}").connect().disconnect()
    made = (folder / "store.db").read_bytes()
    shutil.rmtree(folder)
    return made


class SQLiteAgainstMemory(StoreComparison):
    def make_store(self, path):
        file = path / "store.db"
        if not file.exists():
            file.write_bytes(tables())
        return SQLiteStateStore(f"sqlite:///{file}", synchronous="OFF")


class SQLiteAgainstMemoryAsync(SQLiteAgainstMemory):
    face = "async"


TestSQLiteAgainstMemory = SQLiteAgainstMemory.TestCase
TestSQLiteAgainstMemory.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)

TestSQLiteAgainstMemoryAsync = SQLiteAgainstMemoryAsync.TestCase
TestSQLiteAgainstMemoryAsync.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None
)
