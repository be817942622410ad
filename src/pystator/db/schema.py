"""Is the schema of a database the one this release needs? One query, no library.

A database of an older revision is refused with the command to run. A newer one is used with a
warning: during a rolling upgrade, processes of two releases share a database.
"""

import sqlite3
import warnings
from collections.abc import Callable
from typing import Final

from pystator.db.resolve import redact
from pystator.errors import SchemaError

__all__ = ["HEAD", "REVISIONS", "TABLES", "VERSION_TABLE", "check", "ensure", "revision_of"]

REVISIONS: Final = ("0001", "0002", "0003")
"""Every revision this release knows, oldest first; a test compares them with the migrations."""

HEAD: Final = REVISIONS[-1]
"""The revision this release needs."""

VERSION_TABLE: Final = "pystator_revision"
"""Ours alone, so that a database that is shared with another Alembic project keeps both."""

TABLES: Final = (
    "worker_events",
    "transition_history",
    "entity_states",
    "machines",
    "pystator_meta",
)
"""Our tables in the order in which they are emptied."""


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The revision a database is at; None when it was never initialised."""
    try:
        row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return None if row is None else str(row[0])


def check(revision: str | None, url: str) -> None:
    """Refuse a schema that does not fit, and warn of a newer one.

    Raises:
        SchemaError: The database is not initialised, or is older than this release.
    """
    if revision == HEAD:
        return
    shown = redact(url)
    if revision is None:
        raise SchemaError(
            f"{shown} has no PyStator tables: run `pystator db init {shown}`, "
            "or connect with auto_initialize=True",
            context={"url": shown, "revision": None, "needed": HEAD},
        )
    if revision in REVISIONS:
        raise SchemaError(
            f"{shown} is at revision {revision}, this release needs {HEAD}: "
            f"run `pystator db upgrade {shown}`",
            context={"url": shown, "revision": revision, "needed": HEAD},
        )
    warnings.warn(
        f"{shown} is at revision {revision}, which is newer than this release ({HEAD}): "
        "upgrade this process soon",
        stacklevel=3,
    )


def ensure(
    connection: sqlite3.Connection,
    url: str,
    *,
    auto_initialize: bool,
    validate_schema: bool,
    begin: Callable[[sqlite3.Connection], None],
) -> None:
    """Make the schema fit, or say why it does not.

    Args:
        connection: In autocommit mode.
        url: For messages.
        auto_initialize: Create the tables where there are none. An older schema is not upgraded:
            that is a decision.
        validate_schema: Refuse one that does not fit.
        begin: Starts the exclusive transaction in which the tables are made, waiting for other
            processes that do the same; whoever comes second finds them.
    """
    revision = revision_of(connection)
    if revision is None and auto_initialize:
        from pystator.db.commands import initialize  # Alembic takes 0.3 s
        from pystator.db.databases import SQLiteDatabase

        revision = initialize(SQLiteDatabase(connection, url, begin))
    if validate_schema:
        check(revision, url)
