"""Connections to PostgreSQL: opening them, who stands in between, and what its errors mean.

libpq tells why a connection failed in words only, without a code; the words of the client are
English, those of the server may not be. What is not recognised is shown as it is, without secrets.
"""

import os
import re
import warnings
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from pystator.db.postgres_url import PostgresURL
from pystator.errors import ConfigurationError, FSMError, SchemaError, StoreUnavailableError

__all__ = [
    "CONNECT_TIMEOUT",
    "OPTIONS",
    "Connection",
    "check_server",
    "conninfo",
    "is_pooled",
    "open_connection",
    "translate",
    "warn_of_pooler",
]

Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT: Final = 10
"""Seconds to wait for a server's answer, unless the URL or ``PGCONNECT_TIMEOUT`` says otherwise."""

OPTIONS: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None}
"""Of every connection of ours: each statement is its own transaction, and psycopg prepares none."""

_OLDEST: Final = 130_000
"""PostgreSQL 13 is the first with transaction ids of 64 bits."""


def conninfo(url: PostgresURL) -> str:
    """What libpq is given: the URL, and our wishes where it has none.

    Raises:
        ConfigurationError: libpq does not know an option.
    """
    try:
        said = conninfo_to_dict(url.conninfo)
    except psycopg.Error as error:
        # The only words of libpq that quote no value name an option.
        known = re.search(r'invalid URI query parameter: "\w+"', str(error))
        raise ConfigurationError(
            f"{url}: {known.group() if known else 'libpq cannot read this URL'}",
            context={"url": str(url)},
        ) from None
    wishes: dict[str, str | int] = {"client_encoding": "UTF8"}
    if "connect_timeout" not in said and "PGCONNECT_TIMEOUT" not in os.environ:
        wishes["connect_timeout"] = CONNECT_TIMEOUT
    if "application_name" not in said:
        wishes["fallback_application_name"] = "pystator"
    return make_conninfo(url.conninfo, **wishes)


def open_connection(url: PostgresURL) -> Connection:
    """A connection in autocommit mode to a server and a database that we can work with.

    Nothing is prepared on it: it is for commands, not for events.

    Raises:
        StoreUnavailableError: There is no connection to be had; the message says why.
    """
    try:
        connection = psycopg.connect(conninfo(url), **OPTIONS)
    except psycopg.Error as error:
        raise translate(error, url, written=False) from error
    try:
        check_server(connection, url)
    except BaseException:
        connection.close()
        raise
    return connection


def check_server(connection: psycopg.Connection[TupleRow], url: PostgresURL) -> None:
    """Refuse a server that is too old, and a database that cannot hold every text.

    Raises:
        StoreUnavailableError: It is one.
    """
    info = connection.info
    if info.server_version < _OLDEST:
        raise StoreUnavailableError(
            f"{url}: PostgreSQL {info.server_version // 10_000} is too old; use 13 or newer",
            context={"database": str(url), "written": False},
        )
    encoding = info.parameter_status("server_encoding")
    if encoding not in {None, "UTF8"}:
        name = info.dbname
        raise StoreUnavailableError(
            f"{url}: the database's encoding is {encoding}, which cannot hold every text; make one "
            f"with `createdb --encoding UTF8 --template template0 {name}`",
            context={"database": str(url), "encoding": encoding, "written": False},
        )


# Poolers ------------------------------------------------------------------------------------------


def is_pooled(connection: psycopg.Connection[TupleRow]) -> bool:
    """Somebody stands in between who may give each transaction another server process (pgbouncer).

    The process that the greeting named is then not the one that answers.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def warn_of_pooler(url: PostgresURL) -> None:
    """Say that statements are not prepared, and how to say so oneself."""
    warnings.warn(
        f"{url} is behind a connection pooler such as pgbouncer: statements are not prepared; "
        "add ?prepare=false to the URL, and this warning is not needed",
        stacklevel=5,  # who calls store.connect()
    )


# Errors -------------------------------------------------------------------------------------------


def translate(error: psycopg.Error, url: PostgresURL, *, written: bool | None = None) -> FSMError:
    """Our error for one of psycopg's.

    Args:
        error: psycopg's.
        url: The database, for the message; what it keeps secret is in no message.
        written: False when it is certain that nothing was written; None when that is not known.
    """
    text = url.scrub(str(error).strip())
    first = text.partition("\n")[0] or type(error).__name__
    context: dict[str, object] = {"database": str(url), "sqlstate": error.sqlstate}
    if written is not None:
        context["written"] = written
    if error.sqlstate in _SCHEMA:
        return SchemaError(
            f"{url}: {first}; the tables are not those of this release: run `pystator db upgrade "
            f"{url}`, or `pystator db init {url}` where there are none",
            context=context,
        )
    why = _by_code(error.sqlstate, first) if error.sqlstate else _by_words(text, first)
    return StoreUnavailableError(f"{url}: {why}", context=context)


_SCHEMA: Final = frozenset({"42P01", "42703", "42883", "42804"})
"""No such table, column or function, or a column of another type."""

_CREATE: Final = "create it with `createdb {0}`"

_CODES: Final = {
    "25006": "the server only reads (is it a standby?); name the one that writes, or add "
    "target_session_attrs=read-write to a URL of several hosts",
    "28000": "{first}; see the server's pg_hba.conf",
    "28P01": "the password is wrong, or there is no such role",
    "3D000": "{first}: create it with `createdb`",
    "3F000": "there is no schema to make tables in: see search_path, and CREATE SCHEMA",
    "42501": "{first}: the role needs more rights. To use tables that are there: GRANT SELECT, "
    "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO it (TRUNCATE for `pystator db "
    "truncate`). To make or migrate them, let it own the database (`createdb --owner ROLE NAME`), "
    "or GRANT USAGE, CREATE ON SCHEMA public TO it",
    "53100": "the server's disk is full",
    "53300": "the server has no connection left: use fewer (pool_size), raise its max_connections, "
    "or put pgbouncer in front",
    "55P03": "somebody else held a lock for too long; see pg_locks, or try again",
    "57014": "the server cancelled the statement ({first}); see statement_timeout",
    "57P01": "the server is shutting down, or somebody ended this connection",
    "57P02": "the server crashed and starts again",
    "57P03": "the server is starting or stopping; try again",
}

_WORDS: Final = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (r'database "(.*?)" does not exist', f"the database {{0}} does not exist: {_CREATE}"),
        (r"password authentication failed", _CODES["28P01"]),
        (
            r"no password supplied",
            "a password is needed: in the URL, in PGPASSWORD, or in ~/.pgpass",
        ),
        (
            r'role "(.*?)" does not exist',
            "there is no role {0}: create it with `createuser --pwprompt {0}`",
        ),
        (
            r"no pg_hba.conf entry|[Pp]eer authentication failed|pg_hba.conf rejects",
            "the server does not let this role in from here: see its pg_hba.conf ({first})",
        ),
        (r"permission denied for database \"(.*?)\"", "the role may not connect to {0}"),
        (r"too many (?:clients|connections)|connection slots", _CODES["53300"]),
        (r"starting up|shutting down|not yet accepting|in recovery mode", _CODES["57P03"]),
        (
            r"could not translate host name|failed to resolve|name or service not known",
            "nobody knows a host of this name ({first})",
        ),
        (
            r"timeout expired|timed out",
            "it did not answer in time: are host and port right, does a firewall stand between?",
        ),
        (
            r"Connection refused|No such file or directory|Is the server running",
            "no server answers there: is PostgreSQL running, are host and port right? ({first})",
        ),
    )
)


def _by_code(code: str, first: str) -> str:
    sentence = _CODES.get(code)
    return first if sentence is None else sentence.format(first=first)


def _by_words(text: str, first: str) -> str:
    for pattern, sentence in _WORDS:
        found = pattern.search(text)
        if found is not None:
            return sentence.format(*found.groups(), first=first)
    return first
