"""Is the schema of a PostgreSQL database the one this release needs? No library but psycopg.

Making it is `pystator.db.postgres_database`'s, and is imported only where there is none.
"""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg.rows import TupleRow

from pystator.db.postgres import translate
from pystator.db.postgres_url import PostgresURL
from pystator.db.schema import VERSION_TABLE, check

__all__ = ["ensure", "revision_of", "telling"]


def revision_of(connection: psycopg.Connection[TupleRow]) -> str | None:
    """The revision a database is at; None when it was never initialised."""
    # Asking for a table that is not there would end the transaction that asks; and to_regclass()
    # answers from memory: after a wait for the lock it still has not heard of the new table.
    found = connection.execute(
        "SELECT FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", (VERSION_TABLE,)
    ).fetchone()
    if found is None:
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
            from pystator.db.postgres_database import PostgresDatabase

            revision = initialize(PostgresDatabase(connection, str(url)))
        if validate_schema:
            check(revision, str(url))


@contextmanager
def telling(url: PostgresURL) -> Generator[None]:
    """Inside, the errors of psycopg become ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, url) from error
