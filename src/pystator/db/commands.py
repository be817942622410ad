"""What ``pystator db`` does, as functions.

Alembic's migrations are the only source of the schema; there is no second way to make the tables. A
migration runs in one exclusive transaction: killed in the middle, it was never there; started eight
times at once, it happens once.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import alembic.command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from pystator.db.resolve import SQLiteURL, parse_sqlite, resolve
from pystator.db.schema import REVISIONS, TABLES, check, revision_of
from pystator.db.sqlite import BUSY_LIMIT, begin_exclusive, open_connection, patiently, translate
from pystator.errors import ConfigurationError, SchemaError
from pystator.records import record

__all__ = [
    "Move",
    "Revision",
    "Seeded",
    "current",
    "downgrade",
    "history",
    "init",
    "initialize",
    "seed",
    "stamp",
    "truncate",
    "upgrade",
]

MIGRATIONS: Path = Path(__file__).with_name("migrations")
MACHINES: Final = Path(__file__).with_name("machines")


@record
class Move:
    """What a command did to a database's revision; None is a database without our tables."""

    database: str
    before: str | None
    after: str | None


@record
class Revision:
    """One migration."""

    revision: str
    follows: str | None
    message: str
    is_head: bool
    is_current: bool


@record
class Seeded:
    """One example machine; ``added`` is False when it was there already."""

    name: str
    version: str
    added: bool


def initialize(
    connection: sqlite3.Connection,
    url: str,
    *,
    begin: Callable[[sqlite3.Connection], None] = begin_exclusive,
) -> str | None:
    """Make the tables over an open connection unless somebody did; the revision it is at then.

    Raises:
        SchemaError: There are no migrations, or tables of ours without a revision.
    """

    def first(config: Config, before: str | None) -> None:
        if before is None:  # else another process was quicker
            _upgrade(connection, config, before, "head")

    return _migrate(connection, url, begin, first).after


def init(url: str | None = None) -> Move:
    """Make the file and its tables; does nothing to a database that has them.

    Args:
        url: The database; by default the one `pystator.db.resolve` finds.

    Raises:
        SchemaError: The database is of an older release: `upgrade` it.
    """
    with _opened(url, create=True) as (connection, shown):
        before = revision_of(connection)
        after = initialize(connection, shown)
        check(after, shown)
        return Move(shown, before, after)


def upgrade(url: str | None = None, revision: str = "head") -> Move:
    """Apply newer migrations, up to ``revision``."""
    with _opened(url, create=True) as (connection, shown):
        return _migrate(
            connection,
            shown,
            begin_exclusive,
            lambda config, before: _upgrade(connection, config, before, revision),
        )


def downgrade(url: str | None = None, revision: str = "-1") -> Move:
    """Undo migrations down to ``revision`` (``-1``: one; ``base``: all, with all data)."""
    with _opened(url) as (connection, shown):
        return _migrate(
            connection,
            shown,
            begin_exclusive,
            lambda config, _: alembic.command.downgrade(config, revision),
        )


def stamp(url: str | None = None, revision: str = "head") -> Move:
    """Write down that the database is at ``revision``, and change nothing else."""
    with _opened(url) as (connection, shown):
        return _migrate(
            connection,
            shown,
            begin_exclusive,
            lambda config, _: alembic.command.stamp(config, revision),
        )


def current(url: str | None = None) -> Move:
    """The revision the database is at, as ``before`` and ``after``."""
    with _opened(url) as (connection, shown):
        revision = revision_of(connection)
        return Move(shown, revision, revision)


def history(url: str | None = None) -> list[Revision]:
    """All migrations, newest first; marks the one the database is at, if there is a database."""
    parsed = parse_sqlite(resolve(url))
    at: str | None = None
    if parsed.path is not None and parsed.path.exists():
        at = current(str(parsed)).after
    scripts = ScriptDirectory.from_config(_config())
    heads = scripts.get_heads()
    return [
        Revision(
            revision=script.revision,
            follows=str(script.down_revision) if script.down_revision else None,
            message=(script.doc or "").strip().rstrip("."),
            is_head=script.revision in heads,
            is_current=script.revision == at,
        )
        for script in scripts.walk_revisions()
    ]


def seed(url: str | None = None) -> list[Seeded]:
    """Store the example machines of the package; those that are there are left alone."""
    from pystator.definition.load import load_file  # a store's first connect needs no YAML

    definitions = [load_file(path) for path in sorted(MACHINES.glob("*.yaml"))]
    now = time.time_ns() // 1_000
    with _opened(url) as (connection, shown):
        check(revision_of(connection), shown)
        with _exclusive(connection):
            return [
                Seeded(
                    machine.name,
                    machine.version,
                    connection.execute(
                        "INSERT INTO machines"
                        " (name, version, fingerprint, description, definition, created_at)"
                        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name, version) DO NOTHING",
                        (
                            machine.name,
                            machine.version,
                            machine.fingerprint,
                            machine.description,
                            json.dumps(machine.config, ensure_ascii=False),
                            now,
                        ),
                    ).rowcount
                    == 1,
                )
                for machine in definitions
            ]


def truncate(url: str | None = None) -> dict[str, int]:
    """Delete every row of every table, in dependency order; table -> rows that were there."""
    with _opened(url) as (connection, shown):
        check(revision_of(connection), shown)
        with _exclusive(connection):
            return {
                table: connection.execute(f"DELETE FROM {table}").rowcount  # noqa: S608 - our own names
                for table in TABLES
            }


def rows(url: str | None = None) -> int:
    """Rows in all our tables, which a migration can lose; 0 for a revision that is none of ours."""
    with _opened(url) as (connection, _):
        if revision_of(connection) not in REVISIONS:
            return 0
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
            for table in TABLES
            if table in names
        ]
        return sum(counts)


# Parts --------------------------------------------------------------------------------------------


@contextmanager
def _opened(
    url: str | None, *, create: bool = False
) -> Generator[tuple[sqlite3.Connection, str], None, None]:
    """A connection and the URL as it is shown; SQLite's errors become ours."""
    parsed: SQLiteURL = parse_sqlite(resolve(url))
    if parsed.path is None:
        raise ConfigurationError(
            "a database in memory ends with this command: name a file, sqlite:///pystator.db"
        )
    if not create and not parsed.path.exists():
        raise SchemaError(
            f"{parsed.path} does not exist: run `pystator db init {parsed}`",
            context={"url": str(parsed)},
        )
    try:
        with closing(open_connection(parsed, create=create)) as connection:
            patiently(lambda: revision_of(connection), BUSY_LIMIT)
            yield connection, str(parsed)
    except sqlite3.Error as error:
        raise translate(error, parsed) from error


@contextmanager
def _exclusive(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """All of the block, or nothing of it."""
    begin_exclusive(connection)
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _migrate(
    raw: sqlite3.Connection,
    url: str,
    begin: Callable[[sqlite3.Connection], None],
    run: Callable[[Config, str | None], Any],
) -> Move:
    """Run an Alembic command in one exclusive transaction of this connection."""
    config = _config()
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    # SQLAlchemy looks at a new connection and rolls back: so it connects before the transaction.
    with engine.connect() as connection, connection.begin():
        begin(raw)
        before = revision_of(raw)
        config.attributes["connection"] = connection
        try:
            run(config, before)
        except CommandError as error:
            known = f"revisions: base, {', '.join(REVISIONS)}; head is the newest"
            if before is not None and before not in REVISIONS:
                known = (
                    f"it is at {before}, which a newer release made: use that release's pystator"
                )
            raise SchemaError(
                f"{url}: {error} ({known})",
                context={"url": url, "revision": before},
            ) from error
        after = revision_of(raw)
    return Move(url, before, after)


def _upgrade(raw: sqlite3.Connection, config: Config, before: str | None, revision: str) -> None:
    """Apply migrations, but never over tables of our names that no migration made."""
    if before is None:
        rows = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = sorted({str(name) for (name,) in rows} & set(TABLES))
        if found:
            raise CommandError(
                f"the tables {', '.join(found)} were made by no migration: use another database, "
                "or, if they are this release's, run `pystator db stamp`"
            )
    alembic.command.upgrade(config, revision)


def _config() -> Config:
    """Alembic's configuration; there is no file.

    Raises:
        SchemaError: The migrations are not there.
    """
    versions = MIGRATIONS / "versions"
    if not any(versions.glob("[!_]*.py")):
        raise SchemaError(
            f"no migrations found in {versions}: reinstall pystator",
            context={"folder": str(versions)},
        )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
