"""What ``pystator db`` does, as functions.

Alembic's migrations are the only source of the schema; there is no second way to make the tables
(what they made of one SQLite file, the next ones of the process get). A migration runs in one
exclusive transaction: killed in the middle, it was never there; started eight times at once, it
happens once. Which database it is, `pystator.db.databases` knows.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import alembic.command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import bindparam, text

from pystator.db.column_types import Time
from pystator.db.databases import Database, is_there, opened
from pystator.db.schema import REVISIONS, TABLES, check
from pystator.errors import SchemaError
from pystator.records import StoredMachine, record

__all__ = [
    "Move",
    "Revision",
    "Seeded",
    "current",
    "downgrade",
    "examples",
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


def initialize(database: Database) -> str | None:
    """Make the tables of an open database unless somebody did; the revision it is at then.

    Raises:
        SchemaError: There are no migrations, or tables of ours without a revision.
    """

    def first(config: Config, before: str | None) -> None:
        if before is None:  # else another process was quicker
            _upgrade(database, config, before, "head")

    return _migrate(database, first).after


def init(url: str | None = None) -> Move:
    """Make the tables, and a SQLite file; does nothing to a database that has them.

    Args:
        url: The database; by default the one `pystator.db.resolve` finds.

    Raises:
        SchemaError: The database is of an older release: `upgrade` it.
    """
    with opened(url, create=True) as database:
        before = database.revision()
        after = initialize(database)
        check(after, database.shown)
        return Move(database.shown, before, after)


def upgrade(url: str | None = None, revision: str = "head") -> Move:
    """Apply newer migrations, up to ``revision``."""
    with opened(url, create=True) as database:
        return _migrate(
            database, lambda config, before: _upgrade(database, config, before, revision)
        )


def downgrade(url: str | None = None, revision: str = "-1") -> Move:
    """Undo migrations down to ``revision`` (``-1``: one; ``base``: all, with all data)."""
    with opened(url) as database:
        return _migrate(database, lambda config, _: alembic.command.downgrade(config, revision))


def stamp(url: str | None = None, revision: str = "head") -> Move:
    """Write down that the database is at ``revision``, and change nothing else."""
    with opened(url) as database:
        return _migrate(database, lambda config, _: alembic.command.stamp(config, revision))


def current(url: str | None = None) -> Move:
    """The revision the database is at, as ``before`` and ``after``."""
    with opened(url) as database:
        revision = database.revision()
        return Move(database.shown, revision, revision)


def history(url: str | None = None) -> list[Revision]:
    """All migrations, newest first; marks the one the database is at, if there is a database."""
    at = current(url).after if is_there(url) else None
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


def examples() -> list[StoredMachine]:
    """The example machines of the package."""
    from pystator.definition.load import load_file  # a store's first connect needs no YAML

    definitions = [load_file(path) for path in sorted(MACHINES.glob("*.yaml"))]
    now = time.time_ns() // 1_000
    return [
        StoredMachine(
            machine.name,
            machine.version,
            machine.fingerprint,
            machine.description,
            json.dumps(machine.config, ensure_ascii=False),
            now,
        )
        for machine in definitions
    ]


def seed(url: str | None = None) -> list[Seeded]:
    """Store the example machines; those that are there are left alone."""
    machines = examples()
    with opened(url) as database:
        check(database.revision(), database.shown)
        with database.exclusive() as connection:
            return [
                Seeded(
                    machine.name,
                    machine.version,
                    connection.execute(
                        _ADD_MACHINE,
                        {
                            "name": machine.name,
                            "version": machine.version,
                            "fingerprint": machine.fingerprint,
                            "description": machine.description,
                            "definition": machine.definition,
                            "created_at": machine.created_at,
                        },
                    ).rowcount
                    == 1,
                )
                for machine in machines
            ]


_ADD_MACHINE: Final = text(
    "INSERT INTO machines (name, version, fingerprint, description, definition, created_at)"
    " VALUES (:name, :version, :fingerprint, :description, :definition, :created_at)"
    " ON CONFLICT (name, version) DO NOTHING"
).bindparams(bindparam("created_at", type_=Time()))


def truncate(url: str | None = None) -> dict[str, int]:
    """Delete every row of every table; table, in dependency order -> rows that were there."""
    with opened(url) as database:
        check(database.revision(), database.shown)
        with database.exclusive() as connection:
            return database.empty(connection)


def rows(url: str | None = None) -> int:
    """Rows in all our tables, which a migration can lose; 0 for a revision that is none of ours."""
    with opened(url) as database:
        if database.revision() not in REVISIONS:
            return 0
        there = database.tables()
        with database.connected() as connection:
            return sum(
                int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608 - our own names
                for table in TABLES
                if table in there
            )


# Parts --------------------------------------------------------------------------------------------


_one_at_a_time: Final = threading.Lock()
"""Alembic keeps the migration that runs in a global: two threads must not migrate at once."""


def _migrate(database: Database, run: Callable[[Config, str | None], Any]) -> Move:
    """Run an Alembic command in one exclusive transaction of the database."""
    config = _config()
    with _one_at_a_time, database.exclusive() as connection:
        before = database.revision()
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
                f"{database.shown}: {error} ({known})",
                context={"url": database.shown, "revision": before},
            ) from error
        after = database.revision()
    return Move(database.shown, before, after)


def _upgrade(database: Database, config: Config, before: str | None, revision: str) -> None:
    """Apply migrations, but never over tables of our names that no migration made."""
    found = database.tables() if before is None else set[str]()
    if found:
        raise CommandError(
            f"the tables {', '.join(sorted(found))} were made by no migration: use another "
            "database, or, if they are this release's, run `pystator db stamp`"
        )

    def migrate() -> None:
        alembic.command.upgrade(config, revision)

    if before is None and revision == "head":
        database.make(migrate)
    else:
        migrate()


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
