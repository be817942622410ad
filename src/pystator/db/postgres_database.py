"""PostgreSQL's tables: making, changing and emptying them, and nobody does so twice.

Laws:

- Everything a command changes happens in one transaction, under one advisory lock *of the
  transaction*: behind a pooler a lock of the session would stay with somebody else's session.
- Whoever waited for the lock looks again. The isolation level is therefore READ COMMITTED, whatever
  the server's default is: a snapshot from before the wait would not see what the other one made.
- Locks are waited for, but not for ever: a statement that waits for a table makes everybody who
  comes after it wait too.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import TupleRow
from sqlalchemy import Connection, text

from pystator.db.alchemy import over
from pystator.db.postgres_schema import revision_of
from pystator.db.schema import TABLES

__all__ = ["PostgresDatabase"]

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
        # use_native_hstore: else it would look for the type at every start
        with over(self._raw, "postgresql+psycopg://", use_native_hstore=False) as connection:
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
                raw.execute("SET LOCAL statement_timeout = 0")  # a large table takes its time
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

    def make(self, migrate: Callable[[], None]) -> None:
        """Make the tables where there are none, inside of `exclusive`."""
        migrate()
