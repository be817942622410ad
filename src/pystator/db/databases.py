"""An open database as the commands need it, whichever it is; SQLAlchemy runs over its connection.

::

    commands ---> Database ---+--- SQLiteDatabase     BEGIN EXCLUSIVE
                              `--- PostgresDatabase   an advisory lock of the transaction
"""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Final, Protocol

from sqlalchemy import Connection, text

from pystator.db.alchemy import over
from pystator.db.extras import from_extra
from pystator.db.postgres_url import is_postgres, parse_postgres
from pystator.db.resolve import SQLiteURL, parse_sqlite, redact, resolve, scheme_of, server_of
from pystator.db.schema import TABLES, VERSION_TABLE, revision_of
from pystator.db.sqlite import BUSY_LIMIT, begin_exclusive, open_connection, patiently, translate
from pystator.errors import ConfigurationError, SchemaError

__all__ = ["Database", "SQLiteDatabase", "is_there", "opened", "shown_url"]


class Database(Protocol):
    """An open database.

    Attributes:
        shown: Its URL, for messages.
    """

    shown: str

    def revision(self) -> str | None:
        """The revision it is at; None when it was never initialised."""
        ...

    def tables(self) -> set[str]:
        """Those of our tables' names that it has."""
        ...

    def connected(self) -> AbstractContextManager[Connection]:
        """SQLAlchemy over its connection, outside of any transaction."""
        ...

    def exclusive(self) -> AbstractContextManager[Connection]:
        """The same in a transaction that no other command runs beside: all of it, or nothing."""
        ...

    def empty(self, connection: Connection) -> dict[str, int]:
        """Delete all rows, inside of `exclusive`; table -> rows that were there."""
        ...

    def make(self, migrate: Callable[[], None]) -> None:
        """Make the tables where there are none, inside of `exclusive`; ``migrate`` does so."""
        ...


class SQLiteDatabase:
    """A SQLite database over an open connection in autocommit mode.

    Args:
        raw: The connection.
        shown: Its URL.
        begin: Starts the exclusive transaction, waiting for other processes.
    """

    def __init__(
        self,
        raw: sqlite3.Connection,
        shown: str,
        begin: Callable[[sqlite3.Connection], None] = begin_exclusive,
    ) -> None:
        self.shown = shown
        self._raw = raw
        self._begin = begin

    def revision(self) -> str | None:
        """The revision it is at; None when it was never initialised."""
        return revision_of(self._raw)

    def tables(self) -> set[str]:
        """Those of our tables' names that it has."""
        rows = self._raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {str(name) for (name,) in rows.fetchall()} & set(TABLES)

    @contextmanager
    def connected(self) -> Generator[Connection]:
        """SQLAlchemy over its connection, outside of any transaction."""
        with over(self._raw, "sqlite://") as connection:
            yield connection

    @contextmanager
    def exclusive(self) -> Generator[Connection]:
        """The same in a transaction in which nobody else writes."""
        # SQLAlchemy looks at a new connection and rolls back: it connects before the transaction.
        with self.connected() as connection, connection.begin():
            self._begin(self._raw)
            yield connection

    def empty(self, connection: Connection) -> dict[str, int]:
        """Delete all rows, in dependency order; table -> rows that were there."""
        return {
            table: connection.execute(text(f"DELETE FROM {table}")).rowcount  # noqa: S608 - our own names
            for table in TABLES
        }

    def make(self, migrate: Callable[[], None]) -> None:
        """Make the tables where there are none, inside of `exclusive`.

        What ``migrate`` makes is the same in every file, and takes it 20 ms: the next file of this
        process gets it from the first one.
        """
        known = "SELECT 1 FROM sqlite_master WHERE name = ?"  # a downgrade to the base leaves it
        if not _head or self._raw.execute(known, (VERSION_TABLE,)).fetchone():
            migrate()
            _head[:] = self._made()
            return
        for statement in _head:
            self._raw.execute(statement)

    def _made(self) -> list[str]:
        """The statements that make our tables and indexes as they are, and name their revision."""
        ours = ", ".join(f"'{table}'" for table in (*TABLES, VERSION_TABLE))
        rows = self._raw.execute(
            f"SELECT sql FROM sqlite_master WHERE tbl_name IN ({ours}) AND sql IS NOT NULL"  # noqa: S608 - our own names
            " ORDER BY rowid"
        )
        revision = f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{self.revision()}')"  # noqa: S608 - ours, too
        return [*(str(statement) for (statement,) in rows.fetchall()), revision]


_head: Final[list[str]] = []
"""What the migrations made of an empty file in this process."""


@contextmanager
def opened(url: str | None, *, create: bool = False) -> Generator[Database]:
    """The database a URL names; its errors become ours.

    Args:
        url: As the commands take it; None is resolved.
        create: Make a SQLite file that is not there.

    Raises:
        ConfigurationError: The URL names no database that outlives the command.
        SchemaError: There is no such file.
        StoreUnavailableError: It cannot be opened.
    """
    found = _database(url)
    with _postgres(found) if is_postgres(found) else _sqlite(found, create=create) as database:
        yield database


def shown_url(url: str | None) -> str:
    """The URL the commands use, as it may be shown."""
    found = _database(url)
    return str(parse_postgres(found) if is_postgres(found) else parse_sqlite(found))


def is_there(url: str | None) -> bool:
    """Whether there is something to open: a SQLite file may not have been made yet."""
    found = _database(url)
    if is_postgres(found):
        return True
    path = parse_sqlite(found).path
    return path is not None and path.exists()


def _database(url: str | None) -> str:
    """The URL of a database with tables.

    Raises:
        ConfigurationError: It names a store of another kind.
    """
    found = resolve(url)
    server = server_of(found)
    if server is not None:
        raise ConfigurationError(
            f"{redact(found)}: {server.name} has no tables and no migrations, {server.instead};"
            " this command is for SQLite and PostgreSQL",
            context={"url": redact(found)},
        )
    if scheme_of(found) == "replicated":
        raise ConfigurationError(
            "replicated:// is two stores: give the URL of the durable one, which has the tables",
            context={"url": redact(found)},
        )
    return found


@contextmanager
def _sqlite(url: str, *, create: bool) -> Generator[Database]:
    parsed: SQLiteURL = parse_sqlite(url)
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
            yield SQLiteDatabase(connection, str(parsed))
    except sqlite3.Error as error:
        raise translate(error, parsed) from error


@contextmanager
def _postgres(url: str) -> Generator[Database]:
    with from_extra("postgres", "psycopg"):
        from pystator.db.postgres import open_connection as open_postgres
        from pystator.db.postgres_database import PostgresDatabase
        from pystator.db.postgres_schema import telling
    parsed = parse_postgres(url)
    with closing(open_postgres(parsed)) as connection, telling(parsed):
        yield PostgresDatabase(connection, str(parsed))
