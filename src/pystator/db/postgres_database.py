"""PostgreSQL's tables: are they there, are they right, and nobody makes them twice.

Laws:

- Everything a command changes happens in one transaction, under one advisory lock *of the
  transaction*: behind a pooler a lock of the session would stay with somebody else's session.
- Whoever waited for the lock looks again. The isolation level is therefore READ COMMITTED, whatever
  the server's default is: a snapshot from before the wait would not see what the other one made.
- Locks are waited for, but not for ever: a statement that waits for a table makes everybody who
  comes after it wait too.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import TupleRow
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from pystator.db.postgres import translate
from pystator.db.postgres_url import PostgresURL
from pystator.db.schema import TABLES, VERSION_TABLE, check

__all__ = ["PostgresDatabase", "ensure", "revision_of", "telling"]

LOCK: Final = int.from_bytes(b"pystator", "big")
"""The key of our advisory lock in a database."""

LOCK_TIMEOUT: Final = "30s"

_LOCKED_FIRST: Final = ("entity_states", "transition_history", "worker_events")
"""The order in which a commit takes its locks; who takes them otherwise can deadlock with one."""


class PostgresDatabase:
    """A PostgreSQL database over an open connection in autocommit mode.

    Args:
        raw: The connection.
        shown: Its URL, for messages.
    """

    def __init__(self, raw: psycopg.Connection[TupleRow], shown: str) -> None:
        self.shown = shown
        self._raw = raw

    def revision(self) -> str | None:
        """The revision it is at; None when it was never initialised."""
        return revision_of(self._raw)

    def tables(self) -> set[str]:
        """Those of our tables' names that are in the schema where ours would be made."""
        rows = self._raw.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        )
        return {str(name) for (name,) in rows.fetchall()} & set(TABLES)

    @contextmanager
    def connected(self) -> Generator[Connection]:
        """SQLAlchemy over its connection, outside of any transaction."""
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self._raw,
            poolclass=StaticPool,
            use_native_hstore=False,  # else it would look for the type at every start
        )
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def exclusive(self) -> Generator[Connection]:
        """The same in a transaction that no other command runs beside."""
        raw = self._raw
        raw.isolation_level = IsolationLevel.READ_COMMITTED
        raw.autocommit = False
        try:
            with self.connected() as connection, connection.begin():
                raw.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                raw.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                yield connection
        finally:
            if not raw.closed:
                raw.autocommit = True
                raw.isolation_level = None

    def empty(self, connection: Connection) -> dict[str, int]:
        """Delete all rows at once; table -> rows that were there."""
        for table in _LOCKED_FIRST:
            connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        counts = {
            table: int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608 - our own names
            for table in TABLES
        }
        connection.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
        return counts


def revision_of(connection: psycopg.Connection[TupleRow]) -> str | None:
    """The revision a database is at; None when it was never initialised."""
    # Asking for a table that is not there would end the transaction that asks.
    found = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return None if row is None else str(row[0])


def ensure(
    connection: psycopg.Connection[TupleRow],
    url: PostgresURL,
    *,
    auto_initialize: bool,
    validate_schema: bool,
) -> None:
    """Make the schema fit, or say why it does not.

    Args:
        connection: In autocommit mode; nobody else uses it meanwhile.
        url: For messages.
        auto_initialize: Make the tables where there are none. Any number of processes may do so at
            once. An older schema is not upgraded: that is a decision.
        validate_schema: Refuse one that does not fit.

    Raises:
        SchemaError: It does not fit; the message names the command.
        StoreUnavailableError: The server did not answer, or the role may not make tables.
    """
    with telling(url):
        revision = revision_of(connection)
        if revision is None and auto_initialize:
            from pystator.db.commands import initialize  # Alembic takes 0.3 s

            revision = initialize(PostgresDatabase(connection, str(url)))
        if validate_schema:
            check(revision, str(url))


@contextmanager
def telling(url: PostgresURL) -> Generator[None]:
    """Inside, the errors of psycopg become ours, also those that SQLAlchemy wrapped."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, url) from error
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig, url) from error
        raise
