"""``pystator db`` over a real PostgreSQL: the same commands, the same answers as over a file."""

import json
import os
import subprocess
import sys
from contextlib import closing
from urllib.parse import quote

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from pystator.cli.app import app
from pystator.cli.machines import find_definition
from pystator.db import commands, schema
from pystator.db.models import EntityStateModel, MachineModel, Model
from pystator.db.postgres import open_connection
from pystator.db.postgres_schema import ensure
from pystator.db.postgres_url import parse_postgres
from pystator.db.schema import HEAD, TABLES
from pystator.errors import ConfigurationError, SchemaError, StoreUnavailableError


@pytest.fixture
def pystator(tmp_path, monkeypatch):
    """The command as a user types it, in an empty folder, run in this process."""
    for name in [name for name in os.environ if name.startswith("PYSTATOR")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin="", code=0, **variables):
        done = CliRunner().invoke(app, arguments, input=stdin, env=variables)
        assert done.exit_code == code, f"{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def engine(postgres_url):
    """A user's own SQLAlchemy engine."""
    name = "postgresql+psycopg://"
    engine = create_engine(name, creator=lambda: psycopg.connect(postgres_url))
    yield engine
    engine.dispose()


def query(url: str, text: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(text).fetchall()


# Commands -----------------------------------------------------------------------------------------


def test_every_command_works(pystator, empty_postgres_url) -> None:
    url = empty_postgres_url
    assert f"nothing -> {HEAD}" in pystator("db", "init", url)
    assert "was initialised before" in pystator("db", "init", url)
    assert "up to date" in pystator("db", "upgrade", url)
    assert pystator("db", "current", url).startswith(HEAD)
    assert f"{HEAD} " in pystator("db", "history", url)
    assert "(head, current)" in pystator("db", "history", url)
    assert "order 1.0  added" in pystator("db", "seed", url)
    assert "order 1.0  was there" in pystator("db", "seed", url)
    assert find_definition("order", url).name == "order"
    with pytest.raises(ConfigurationError, match=r"stored are order@1\.0"):
        find_definition("ordre", url)
    assert "every entity" in pystator("db", "truncate", url, stdin="n\n", code=1)
    deleted = json.loads(pystator("db", "truncate", "--force", "--json", url))["deleted"]
    assert list(deleted) == list(TABLES)
    assert deleted["machines"] == 3
    assert query(url, "SELECT count(*) FROM machines") == [(0,)]
    pystator("db", "stamp", "base", url)
    assert "were made by no migration" in pystator("db", "init", url, code=1)
    pystator("db", "stamp", url)
    assert f"{HEAD} -> nothing" in pystator("db", "downgrade", url, "base")
    assert query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [
        (schema.VERSION_TABLE,)
    ]


def test_the_environment_names_the_database(pystator, empty_postgres_url) -> None:
    shown = pystator("db", "init", "--json", PYSTATOR_DATABASE_URL=empty_postgres_url)
    assert json.loads(shown)["after"] == HEAD


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_migrations_make_the_models_and_what_only_postgresql_has(engine) -> None:
    """A column added to one and forgotten in the other would fail on somebody's database."""
    with engine.connect() as connection:
        options = {
            "version_table": schema.VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        found = [str(each) for each in compare_metadata(context, Model.metadata)]
    ours = (
        *("txid", "ix_entity_states_archived", "ix_entity_states_due", "ix_entity_states_since"),
        *("ix_entity_states_state", "ix_entity_states_long", "ix_transition_history_feed"),
        *("ix_transition_history_entity", "uq_transition_history_long_event"),
        "uq_worker_events_long_event",
    )
    strange = [
        each for each in found if not any(name in each for name in ours) and "Identity(" not in each
    ]
    assert strange == []
    assert [name for name in ours if any(name in each for each in found)] == list(ours)


def test_columns_are_what_the_store_needs(postgres_url) -> None:
    """Times that a person can read, names in code point order, rows that stay on their page."""
    columns = dict(
        query(
            postgres_url,
            "SELECT table_name || '.' || column_name, data_type || coalesce(' ' || collation_name, '')"
            " || CASE WHEN is_identity = 'YES' THEN ' identity' ELSE '' END"
            " FROM information_schema.columns WHERE table_schema = 'public'",
        )
    )
    assert columns["entity_states.entity_id"] == "text C"
    assert columns["entity_states.state"] == "text C"
    assert columns["entity_states.context"] == "text"
    assert columns["entity_states.updated_at"] == "timestamp with time zone"
    assert columns["transition_history.id"] == "bigint identity"
    assert columns["transition_history.txid"] == "xid8"
    assert columns["transition_history.duration_us"] == "bigint"
    assert columns["worker_events.seq"] == "bigint identity"
    assert query(
        postgres_url, "SELECT reloptions FROM pg_class WHERE relname = 'entity_states'"
    ) == [(["fillfactor=80"],)]


LONG = "".join(map(chr, range(0x10000, 0x10000 + 10_000)))
"""10,000 different characters of four bytes each: nothing compresses them."""


def test_the_longest_names_and_states_fit_into_the_indexes(postgres_url) -> None:
    """An index row holds 2,704 bytes; what passed our own checks must not fail in the server."""
    insert = (
        "INSERT INTO entity_states (entity_id, machine_name, version, state, context,"
        " machine_version, fingerprint, created_at, updated_at, commit_id, next_due)"
        " VALUES (%s, %s, 1, %s, '{}', '', '', now(), now(), '', now())"
    )
    with psycopg.connect(postgres_url) as connection:
        for length in (127, 128, 129, 10_000):
            connection.execute(insert, (LONG[length : length + 255], LONG[:255], LONG[-length:]))
        connection.execute(
            "INSERT INTO transition_history (entity_id, machine_name, version, kind, now, success,"
            " commit_id, machine_version, fingerprint, recorded_at, source_state, event_id)"
            " VALUES (%s, %s, 1, 'event', now(), true, '', '', '', now(), %s, %s)",
            (LONG[:255], LONG[:255], LONG, LONG[:255]),
        )
        connection.execute(
            "INSERT INTO worker_events (entity_id, machine_name, event_id, kind, status, fires_at,"
            " created_at) VALUES (%s, %s, %s, 'event', 'ready', now(), now())",
            (LONG[:255], LONG[:255], LONG[:255]),
        )


def test_users_query_by_the_models_and_times_are_microseconds(postgres_url, engine) -> None:
    commands.seed(postgres_url)
    moment = 1_764_000_000_123_457
    with Session(engine) as session:
        machines = session.scalars(select(MachineModel).order_by(MachineModel.name)).all()
        assert [machine.name for machine in machines] == ["order", "payment", "subscription"]
        session.add(
            MachineModel(name="x", version="1", fingerprint="", definition="{}", created_at=moment)
        )
        session.flush()
        session.expire_all()
        found = session.scalars(select(MachineModel).where(MachineModel.created_at == moment))
        assert [machine.created_at for machine in found] == [moment]
        assert session.scalar(select(func.min(MachineModel.created_at))) == moment
        assert session.scalars(select(EntityStateModel)).all() == []


# The first connection ------------------------------------------------------------------------------

EIGHT = """
import os, sys
from pystator.db import commands
from pystator.db.postgres import open_connection
from pystator.db.postgres_schema import ensure
from pystator.db.postgres_url import parse_postgres

url = parse_postgres(sys.argv[1])
reading, writing = os.pipe()
for _ in range(8):
    if not os.fork():
        os.close(writing)
        connection = open_connection(url)
        os.read(reading, 1)  # until the parent closes it, for all at once
        ensure(connection, url, auto_initialize=True, validate_schema=True)
        connection.close()
        sys.exit()
os.close(reading)
os.close(writing)
sys.exit(sum(os.wait()[1] != 0 for _ in range(8)))
"""


def test_eight_processes_that_connect_first_migrate_once(empty_postgres_url) -> None:
    """Whoever waits looks again, also where the server's default is a snapshot from before."""
    name = psycopg.conninfo.conninfo_to_dict(empty_postgres_url)["dbname"]
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
        )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EIGHT, empty_postgres_url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert query(empty_postgres_url, f"SELECT * FROM {schema.VERSION_TABLE}") == [(HEAD,)]


def test_a_check_refuses_an_empty_database_and_names_the_command(empty_postgres_url) -> None:
    url = parse_postgres(empty_postgres_url)
    with closing(open_connection(url)) as connection:
        with pytest.raises(SchemaError, match="pystator db init postgresql://"):
            ensure(connection, url, auto_initialize=False, validate_schema=True)
        ensure(connection, url, auto_initialize=False, validate_schema=False)
        ensure(connection, url, auto_initialize=True, validate_schema=True)
        ensure(connection, url, auto_initialize=False, validate_schema=True)


def test_a_schema_that_fits_is_checked_without_the_libraries_that_make_one(postgres_url) -> None:
    """Alembic and SQLAlchemy take half a second of a process's start."""
    code = (
        "import sys\n"
        "from pystator.db.postgres import open_connection\n"
        "from pystator.db.postgres_schema import ensure\n"
        "from pystator.db.postgres_url import parse_postgres\n"
        "url = parse_postgres(sys.argv[1])\n"
        "with open_connection(url) as connection:\n"
        "    ensure(connection, url, auto_initialize=True, validate_schema=True)\n"
        "print([name for name in ('alembic', 'sqlalchemy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, postgres_url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_migration_that_fails_leaves_nothing_behind(empty_postgres_url) -> None:
    """Half a schema could be neither used nor migrated."""
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("CREATE TABLE mine (x int)")
        connection.execute("CREATE INDEX ix_transition_history_feed ON mine (x)")
    with pytest.raises(StoreUnavailableError, match="ix_transition_history_feed"):
        commands.init(empty_postgres_url)
    assert query(
        empty_postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    ) == [("mine",)]


def test_a_schema_of_its_own_is_named_by_the_search_path(empty_postgres_url) -> None:
    """Tables of the same name that belong to somebody else are left alone."""
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("CREATE TABLE machines (mine int)")
        connection.execute("CREATE SCHEMA app")
    glue = "&" if "?" in empty_postgres_url else "?"
    url = f"{empty_postgres_url}{glue}options={quote('-csearch_path=app,public')}"
    commands.init(url)
    commands.seed(url)
    assert query(empty_postgres_url, "SELECT count(*) FROM app.machines") == [(3,)]
    assert query(empty_postgres_url, "SELECT count(*) FROM machines") == [(0,)]


def test_a_command_does_not_wait_for_ever(postgres_url, monkeypatch) -> None:
    """A TRUNCATE that waits for a long transaction makes everybody after it wait too."""
    monkeypatch.setattr("pystator.db.postgres_database.LOCK_TIMEOUT", "50ms")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE entity_states IN ROW EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailableError, match="held a lock for too long"):
            commands.truncate(postgres_url)


# Mistakes -----------------------------------------------------------------------------------------


def test_mistakes_of_a_connection_are_answered_by_sentences(pystator, manual_postgres) -> None:
    """As a newcomer makes them, one after the other; no message holds the password."""
    for url, *sentences in [
        ("postgresql://user:secret@localhost/pystator", "the password is wrong"),
        ("postgresql://user@localhost/pystator", "a password is needed", "PGPASSWORD"),
        ("postgresql://nobody:secret@localhost/pystator", "no such role"),
        ("postgresql://user:pass@localhost/pystatr", "createdb pystatr`"),
        ("postgresql://user:pass@localhost:1/pystator", "no server answers there"),
        ("postgresql://user:pass@nowhere.invalid/pystator", "nobody knows a host"),
        ("postgresql://user:pass@localhost/pystator?sslmod=on", "sslmod"),
        ("postgresql://user:pass@localhost/pystator?sslmode=require", "SSL"),
    ]:
        said = pystator("db", "init", url, code=1)
        for sentence in sentences:
            assert sentence in said
        assert "secret" not in said
        assert ":pass" not in said


def test_a_role_without_rights_is_told_which(pystator, manual_postgres) -> None:
    guest = "postgresql://guest:pass@localhost/pystator"
    with psycopg.connect(manual_postgres, dbname="pystator", autocommit=True) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    assert "GRANT USAGE, CREATE ON SCHEMA public" in pystator("db", "init", guest, code=1)
    pystator("db", "init", "postgresql://user:pass@localhost/pystator")
    assert "permission denied for table" in pystator("db", "current", guest, code=1)


def test_a_database_that_cannot_hold_every_text_is_refused(pystator, manual_postgres) -> None:
    with psycopg.connect(manual_postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE pystator")
        connection.execute(
            "CREATE DATABASE pystator OWNER \"user\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    said = pystator("db", "init", "postgresql://user:pass@localhost/pystator", code=1)
    assert "LATIN1" in said
    assert "createdb --encoding UTF8" in said


def test_a_server_that_only_reads_is_named(pystator, empty_postgres_url) -> None:
    glue = "&" if "?" in empty_postgres_url else "?"
    options = quote("-cdefault_transaction_read_only=on")
    said = pystator("db", "init", f"{empty_postgres_url}{glue}options={options}", code=1)
    assert "only reads" in said


def test_a_missing_driver_is_answered_by_the_extra(tmp_path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pystator.__main__ import main\n"
        "sys.argv = ['pystator', 'db', 'init', 'postgresql://user:pass@localhost/pystator']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install '.[postgres]'" in done.stderr
    assert "Traceback" not in done.stderr
