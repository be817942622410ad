"""``pystator db``: as typed, with exit codes, and no traceback whatever happens."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import alembic.command
import pytest
from typer.testing import CliRunner

from pystator import StateMachine
from pystator.cli.app import app
from pystator.db import commands
from pystator.db.schema import HEAD, REVISIONS, TABLES, VERSION_TABLE
from pystator.errors import ConfigurationError, SchemaError
from pystator.stores.sqlite import SQLiteStateStore


@pytest.fixture
def pystator(tmp_path, monkeypatch):
    """The command as a user types it, in an empty folder, run in this process."""
    for name in [name for name in os.environ if name.startswith("PYSTATOR")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin="", **variables):
        return CliRunner().invoke(app, arguments, input=stdin, env=variables)

    return run


def succeeds(done) -> str:
    assert done.exit_code == 0, done.stderr
    return done.stdout


def fails(done, code: int = 1) -> str:
    assert done.exit_code == code, done.stdout
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.stderr


def test_the_specifications_commands_work_on_the_default(pystator, tmp_path) -> None:
    assert f"nothing -> {HEAD}" in succeeds(pystator("db", "init"))
    assert (tmp_path / "pystator.db").is_file()
    assert "up to date" in succeeds(pystator("db", "upgrade"))
    assert "order 1.0" in succeeds(pystator("db", "seed"))
    with SQLiteStateStore(f"sqlite:///{tmp_path}/pystator.db") as store:
        store.connect(validate_schema=True, auto_initialize=False)


def test_the_command_runs_as_a_process_and_ends_with_its_code(tmp_path) -> None:
    """What the other tests run in this process is what a shell runs."""
    environ = {**os.environ, "PYSTATOR_DATABASE_URL": "sqlite:///shop.db"}
    for command, code in [("init", 0), ("truncate", 1), ("current", 0)]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "pystator", "db", command],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert (tmp_path / "shop.db").is_file()


def test_init_takes_a_url_and_may_be_repeated(pystator, tmp_path) -> None:
    first = json.loads(succeeds(pystator("db", "init", "sqlite:///shop.db", "--json")))
    assert first == {"database": f"sqlite:///{tmp_path}/shop.db", "before": None, "after": HEAD}
    again = json.loads(succeeds(pystator("db", "init", "sqlite:///shop.db", "--json")))
    assert (again["before"], again["after"]) == (HEAD, HEAD)


def test_the_environment_names_the_database(pystator, tmp_path) -> None:
    url = "sqlite:///named.db"
    succeeds(pystator("db", "init", PYSTATOR_DATABASE_URL=url))
    assert (tmp_path / "named.db").is_file()
    shown = json.loads(succeeds(pystator("db", "current", "--json", PYSTATOR_DATABASE_URL=url)))
    assert shown["revision"] == HEAD


def test_down_stamp_and_up_take_revision_and_url_in_any_order(pystator) -> None:
    url = "sqlite:///shop.db"
    succeeds(pystator("db", "init", url))
    assert f"{HEAD} -> {REVISIONS[-2]}" in succeeds(pystator("db", "downgrade", "-1", url))
    assert "nothing" in succeeds(pystator("db", "downgrade", "base", url))
    assert HEAD in succeeds(pystator("db", "stamp", url, HEAD))
    assert "base" in fails(pystator("db", "stamp", "nonsense", url))
    assert f"was at {HEAD} already" in succeeds(pystator("db", "stamp", url))
    succeeds(pystator("db", "stamp", "base", url))
    succeeds(pystator("db", "upgrade", url, "head"))
    fails(pystator("db", "upgrade", "head", "base"), code=2)


def test_truncate_asks_and_a_refusal_changes_nothing(pystator, tmp_path) -> None:
    """The most dangerous command is the one that must not run by accident."""
    succeeds(pystator("db", "init"))
    succeeds(pystator("db", "seed"))
    for answer in ("", "n\n"):
        assert "every entity" in fails(pystator("db", "truncate", stdin=answer))
    assert rows(tmp_path / "pystator.db", "machines") == 3
    assert "3 deleted" in succeeds(pystator("db", "truncate", stdin="y\n"))
    assert rows(tmp_path / "pystator.db", "machines") == 0
    deleted = json.loads(succeeds(pystator("db", "truncate", "--force", "--json")))["deleted"]
    assert list(deleted) == list(TABLES)


def test_mistakes_are_answered_by_sentences(pystator, tmp_path) -> None:
    (tmp_path / "bad.db").write_text("not a database at all" * 100)
    for arguments, sentence in [
        (("current",), "pystator db init"),
        (("seed", "sqlite:///none.db"), "does not exist"),
        (("init", "redis://me:secret@host/0"), "Redis has no tables and no migrations, its keys"),
        (("upgrade", "mongodb://me:secret@host"), "indexes are made when the store connects"),
        (("truncate", "unix:///run/redis.sock?password=secret"), "is for SQLite and PostgreSQL"),
        (("history", "replicated://?hot=redis://me:secret@host"), "the URL of the durable one"),
        (("init", "sqlite:///bad.db"), "not a SQLite database"),
        (("init", "sqlite:///no/folder.db"), "does not exist; make it first"),
        (("truncate", "--force", "sqlite://"), "name a file"),
    ]:
        error = fails(pystator("db", *arguments))
        assert sentence in error
        assert "secret" not in error


def rows(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return count


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_no_migrations_is_a_clear_failure(url, tmp_path, monkeypatch) -> None:
    """There is no other way to make the tables, so a broken installation has to say so."""
    (tmp_path / "empty" / "versions").mkdir(parents=True)
    monkeypatch.setattr(commands, "MIGRATIONS", tmp_path / "empty")
    for call in (commands.init, commands.upgrade, commands.history):
        with pytest.raises(SchemaError, match="no migrations found"):
            call(url)
    with pytest.raises(SchemaError, match="no migrations found"):
        SQLiteStateStore(url).connect()


def test_the_next_file_of_a_process_is_what_migrations_made_of_the_first(tmp_path, monkeypatch):
    """Byte for byte, in less time, and it can be migrated as the first one can."""
    monkeypatch.setattr("pystator.db.databases._head", [])
    migrated = []
    upgrade = alembic.command.upgrade
    monkeypatch.setattr(
        "alembic.command.upgrade", lambda *given: (migrated.append(given), upgrade(*given))
    )
    with sqlite3.connect(tmp_path / "second.db") as connection:
        connection.execute("CREATE TABLE mine (x)")  # somebody's own, which stays out of it
    connection.close()
    found = []
    for name in ("first", "second", "third"):
        commands.init(f"sqlite:///{tmp_path / name}.db")
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            parts = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name != 'mine'"
            revision = connection.execute(f"SELECT * FROM {VERSION_TABLE}").fetchall()
            found.append((revision, connection.execute(parts).fetchall()))
        connection.close()
    assert found[0][0] == [(HEAD,)]
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert len(migrated) == 1
    for url in (f"sqlite:///{tmp_path / 'second'}.db", f"sqlite:///{tmp_path / 'third'}.db"):
        assert commands.downgrade(url, "base").after is None
        assert commands.upgrade(url).after == HEAD


def test_a_migration_that_fails_leaves_nothing_behind(url, tmp_path) -> None:
    """Half a schema could be neither used nor migrated."""
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("CREATE INDEX uq_worker_events_event ON mine (x)")  # the last name it needs
    connection.close()
    with pytest.raises(Exception, match="uq_worker_events_event"):
        commands.init(url)
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert names == {"mine", "uq_worker_events_event"}


def test_init_of_an_older_database_names_upgrade(url, monkeypatch, tmp_path) -> None:
    commands.init(url)
    monkeypatch.setattr("pystator.db.schema.REVISIONS", ("0000", HEAD))
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("UPDATE pystator_revision SET version_num = '0000'")
    connection.close()
    with pytest.raises(SchemaError, match="pystator db upgrade"):
        commands.init(url)


def test_seed_stores_machines_that_run_and_is_idempotent(url, tmp_path) -> None:
    """Rows of machines never change; a second seed leaves them alone."""
    commands.init(url)
    assert [(each.name, each.added) for each in commands.seed(url)] == [
        ("order", True),
        ("payment", True),
        ("subscription", True),
    ]
    assert not any(each.added for each in commands.seed(url))
    connection = sqlite3.connect(tmp_path / "shop.db")
    stored = connection.execute("SELECT name, version, fingerprint, definition FROM machines")
    for name, version, fingerprint, definition in stored.fetchall():
        machine = StateMachine.from_dict(json.loads(definition))
        assert (machine.name, machine.version) == (name, version)
        assert machine.fingerprint == fingerprint
        assert machine.start({}).success
    connection.close()


def test_commands_wait_for_a_busy_database(url, tmp_path) -> None:
    commands.init(url)
    connection = sqlite3.connect(tmp_path / "shop.db", check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.2, connection.rollback).start()
    assert commands.truncate(url)["machines"] == 0
    connection.close()


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="name a file"):
        commands.init("sqlite://")
