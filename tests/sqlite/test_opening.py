"""Opening a store: whatever lies at the path, the answer is a working store or a sentence."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pystator.errors import ConfigurationError, SchemaError, StoreUnavailableError
from pystator.stores.registry import create_state_store
from pystator.stores.sqlite import SQLiteStateStore


def query(path: Path, statement: str) -> list[tuple]:
    """One statement over a connection of its own."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_connect_makes_the_file_and_its_tables(tmp_path: Path) -> None:
    """A beginner needs one line."""
    with SQLiteStateStore(f"sqlite:///{tmp_path}/new.db") as store:
        store.set_state("order-1", "open")
        assert store.get_state("order-1") == "open"
    assert (tmp_path / "new.db").is_file()


def test_eight_processes_that_connect_at_once_to_an_empty_path_all_succeed(url, start) -> None:
    """A fleet that is deployed together meets a database nobody has made."""
    script = (
        "import sys; from pystator import SQLiteStateStore; sys.stdin.readline()\n"
        "store = SQLiteStateStore(sys.argv[1]).connect()\n"
        "store.set_state(sys.argv[2], 'open'); print(store.get_state(sys.argv[2]))"
    )
    processes = [start(script, url, f"order-{n}") for n in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, "open"), err
    with SQLiteStateStore(url) as store:
        assert store.count_by_state() == {"open": 8}


def test_a_second_process_connects_without_the_migration_libraries(store, url) -> None:
    """They take longer to import than everything else together."""
    code = (
        "import sys; from pystator.stores.sqlite import SQLiteStateStore\n"
        "SQLiteStateStore(sys.argv[1]).connect()\n"
        "print(sorted({'alembic', 'sqlalchemy', 'asyncio', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_default_is_a_file_in_the_working_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("PYSTATOR_DATABASE_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with SQLiteStateStore():
        assert (tmp_path / "pystator.db").is_file()


def test_the_environment_names_the_database(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", f"sqlite:///{tmp_path}/named.db")
    with SQLiteStateStore():
        assert (tmp_path / "named.db").is_file()


def test_a_relative_path_is_settled_when_the_store_is_made(tmp_path, monkeypatch) -> None:
    """A program that changes its folder later must not change its database with it."""
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SQLiteStateStore("sqlite:///here.db")
    monkeypatch.chdir(tmp_path / "later")
    with store:
        assert (tmp_path / "here.db").is_file()


def test_a_store_in_memory_works_and_is_nobody_elses() -> None:
    with SQLiteStateStore("sqlite://") as one, create_state_store("sqlite:///:memory:") as two:
        one.set_state("order-1", "open")
        assert one.get_state("order-1") == "open"
        assert two.get_state("order-1") is None
        assert one.count_by_state() == {"open": 1}
        assert [entity.entity_id for entity in one.entities(state="open").items] == ["order-1"]


def test_a_second_connect_does_nothing_and_a_closed_store_opens_again(store) -> None:
    store.set_state("order-1", "open")
    assert store.connect() is store
    store.disconnect()
    store.disconnect()
    assert store.connect().get_state("order-1") == "open"


def test_a_store_that_is_not_connected_says_what_to_call(url, commit) -> None:
    store = SQLiteStateStore(url)
    for call in (
        lambda: store.get_state("order-1", machine_name="order"),
        lambda: store.commit([commit("a", 0)]),
        lambda: store.commit([commit("a", 0), commit("b", 0)]),
        lambda: asyncio.run(store.acommit([commit("a", 0)])),
        store.count_by_state,
    ):
        with pytest.raises(StoreUnavailableError, match=r"store\.connect\(\)"):
            call()


def test_without_auto_initialize_nothing_is_made(tmp_path) -> None:
    """Where migrations are somebody's job, a typo in a path must not become a database."""
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/typo.db")
    with pytest.raises(StoreUnavailableError, match="pystator db init"):
        store.connect(auto_initialize=False)
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_our_tables_is_refused_with_the_command(tmp_path) -> None:
    path = tmp_path / "other.db"
    query(path, "CREATE TABLE mine (x)")
    with pytest.raises(SchemaError, match=rf"pystator db init sqlite:///{path}"):
        SQLiteStateStore(f"sqlite:///{path}").connect(validate_schema=True, auto_initialize=False)


def test_a_database_of_somebody_elses_tables_is_shared(tmp_path) -> None:
    path = tmp_path / "other.db"
    query(path, "CREATE TABLE mine (x)")
    with SQLiteStateStore(f"sqlite:///{path}") as store:
        store.set_state("order-1", "open")
    assert query(path, "SELECT count(*) FROM mine") == [(0,)]


def test_tables_of_our_names_that_no_migration_made_are_left_alone(tmp_path) -> None:
    """They are somebody's data."""
    path = tmp_path / "other.db"
    query(path, "CREATE TABLE machines (x)")
    with pytest.raises(SchemaError, match="machines"):
        SQLiteStateStore(f"sqlite:///{path}").connect()
    assert query(path, "SELECT name FROM sqlite_master") == [("machines",)]


def set_revision(path: Path, revision: str) -> None:
    query(path, f"UPDATE pystator_revision SET version_num = '{revision}'")


def test_an_older_schema_is_refused_with_the_command(store, url, tmp_path, monkeypatch) -> None:
    """Upgrading is a decision; a store that happens to start first must not take it."""
    monkeypatch.setattr("pystator.db.schema.REVISIONS", ("0000", "0001"))
    store.disconnect()
    set_revision(tmp_path / "store.db", "0000")
    with pytest.raises(SchemaError, match=rf"pystator db upgrade {url}"):
        store.connect()
    assert store.connect(validate_schema=False).get_state("order-1") is None


def test_a_newer_schema_is_used_with_a_warning(store, tmp_path) -> None:
    """During a rolling upgrade processes of two releases share a database."""
    store.set_state("order-1", "open")
    store.disconnect()
    set_revision(tmp_path / "store.db", "9999")
    with pytest.warns(UserWarning, match="newer than this release"):
        store.connect()
    assert store.get_state("order-1") == "open"


def test_a_file_that_is_no_database_is_named(tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and long enough to be taken for a header" * 20)
    with pytest.raises(StoreUnavailableError, match="not a SQLite database") as caught:
        SQLiteStateStore(f"sqlite:///{path}").connect()
    assert str(path) in caught.value.message
    assert path.read_text().startswith("these are notes")


def test_a_damaged_file_is_named(store, tmp_path) -> None:
    for n in range(200):
        store.set_state(f"order-{n}", "open", metadata={"context": {"text": "x" * 500}})
    store.disconnect()
    path = tmp_path / "store.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    with pytest.raises(StoreUnavailableError, match=r"damaged|not a SQLite"):
        store.connect().entities(limit=1000)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing/x.db", r"the folder .*missing does not exist"),
        ("", "a folder; name a file"),
        ("/proc/x.db", "there is no such file"),
    ],
)
def test_a_path_that_cannot_be_opened_says_why(tmp_path, path, sentence) -> None:
    with pytest.raises(StoreUnavailableError, match=sentence):
        SQLiteStateStore(f"sqlite:///{tmp_path / path}").connect()


def test_a_failed_connect_leaves_the_store_closed(tmp_path) -> None:
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/missing/x.db")
    with pytest.raises(StoreUnavailableError):
        store.connect()
    (tmp_path / "missing").mkdir()
    assert store.connect().get_state("order-1") is None
    store.disconnect()


def test_a_wrong_option_is_refused(url) -> None:
    with pytest.raises(ConfigurationError, match="FULL"):
        SQLiteStateStore(url, synchronous="full; DROP TABLE machines")
    for wrong in ("30", -1, float("nan")):
        with pytest.raises(ConfigurationError, match="busy_limit"):
            SQLiteStateStore(url, busy_limit=wrong)


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL", "EXTRA", "OFF"])
def test_synchronous_is_what_was_asked_for(url, synchronous) -> None:
    with SQLiteStateStore(url, synchronous=synchronous) as store:
        number = store.parts[0].writer().execute("PRAGMA synchronous").fetchone()[0]
    assert ["OFF", "NORMAL", "FULL", "EXTRA"][number] == synchronous


def test_a_store_that_nobody_closes_keeps_what_it_took(url, start) -> None:
    """Rows that may wait are written when the program ends."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from conftest import make_commit; from pystator import SQLiteStateStore\n"
        "store = SQLiteStateStore(sys.argv[1]).connect()\n"
        "store.commit([make_commit('a', 0)])\n"
        "store.append_later([make_commit('a', 1, applies=False)])"
    )
    process = start(script, url, str(Path(__file__).parent))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    with SQLiteStateStore(url) as store:
        assert len(store.history("a").items) == 2
