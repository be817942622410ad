"""A file that somebody else keeps locked: it is waited for, but not for ever."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from pystator.errors import StoreUnavailableError
from pystator.records import Lookup
from pystator.stores.sqlite import SQLiteStateStore

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("BEGIN EXCLUSIVE")
print("locked")
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def hold(store, start, tmp_path):
    """Another process that keeps the file locked until it is told to let go."""

    def run(first: str = "SELECT 1"):
        process = start(HOLD, str(tmp_path / "store.db"), first)
        assert process.stdout.readline() == "locked\n", process.stderr.read()
        return process

    return run


def let_go(process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_commit_waits_for_another_process(store, commit, hold) -> None:
    process = hold()
    threading.Timer(0.2, let_go, [process]).start()
    assert store.commit([commit("a", 0)])[0].kind == "applied"


def test_a_commit_that_waited_long_enough_says_that_nothing_was_written(url, commit, hold) -> None:
    """The caller may try again without asking what became of it."""
    process = hold()
    with SQLiteStateStore(url, busy_limit=0.1) as store:
        with pytest.raises(StoreUnavailableError, match=r"locked for 0\.1 s") as caught:
            store.commit([commit("a", 0)])
        assert caught.value.context["written"] is False
        with pytest.raises(StoreUnavailableError):
            store.commit([commit("a", 0), commit("b", 0)])
        with pytest.raises(StoreUnavailableError):
            asyncio.run(store.acommit([commit("a", 0)]))
        let_go(process)
        assert process.wait(30) == 0
        assert store.commit([commit("a", 0)])[0].kind == "applied"


def test_reads_go_on_while_another_process_writes(store, commit, hold) -> None:
    store.commit([commit("a", 0)])
    hold()
    assert store.load([Lookup("a", "order")])[0].entity.version == 1
    assert store.count_by_state() == {"open": 1}


def test_rows_that_may_wait_outlive_a_locked_file(url, commit, hold) -> None:
    with SQLiteStateStore(url, busy_limit=0.05) as store:
        store.commit([commit("a", 0)])
        process = hold()
        store.append_later([commit("a", 1, applies=False)])
        with pytest.raises(StoreUnavailableError):
            store.flush()
        let_go(process)
        assert process.wait(30) == 0
        store.flush()
        assert len(store.history("a").items) == 2


def test_a_file_that_is_wholly_locked_is_waited_for_at_connect(tmp_path, start) -> None:
    """Outside of write-ahead mode a lock keeps readers out as well."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    process = start(HOLD, str(path), "PRAGMA journal_mode = DELETE")
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(StoreUnavailableError, match="locked"):
        SQLiteStateStore(f"sqlite:///{path}", busy_limit=0.1).connect()
    threading.Timer(0.2, let_go, [process]).start()
    with SQLiteStateStore(f"sqlite:///{path}") as store:
        assert store.count_by_state() == {}
