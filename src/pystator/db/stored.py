"""Machines kept in the database: definitions by name and version."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final, cast

from pystator.db.extras import from_extra
from pystator.db.postgres_url import is_postgres, parse_postgres
from pystator.db.resolve import parse_sqlite, resolve
from pystator.db.schema import check, revision_of
from pystator.db.sqlite import BUSY_LIMIT, open_connection, patiently, translate
from pystator.errors import ConfigurationError, FSMError
from pystator.records import record

__all__ = ["stored_machine"]

_NEWEST: Final = """
SELECT definition
FROM machines
WHERE name = ? AND (? = '' OR version = ?)
ORDER BY created_at DESC, version DESC
LIMIT 1
"""
_KNOWN: Final = "SELECT name, version FROM machines ORDER BY 1, 2"


@record
class _Found:
    """What a database says about a machine: its definition, or which ones there are."""

    database: str
    definition: str | None
    known: Iterable[tuple[str, str]]


def stored_machine(name: str, url: str | None = None) -> dict[str, Any]:
    """The configuration of a stored machine: ``name`` is the newest version, ``name@1.0`` that one.

    Raises:
        ConfigurationError: Nothing of this name is stored; the message lists what is.
    """
    source = resolve(url)
    wanted, _, version = name.partition("@")
    look = _in_postgres if is_postgres(source) else _in_sqlite
    found = look(source, (wanted, version, version))
    if found.definition is None:
        raise _unknown(name, found.database, [f"{each}@{number}" for each, number in found.known])
    return cast("dict[str, Any]", json.loads(found.definition))


def _in_sqlite(url: str, wanted: tuple[str, str, str]) -> _Found:
    parsed = parse_sqlite(url)
    shown = str(parsed)
    if parsed.path is None or not parsed.path.exists():
        return _Found(shown, None, ())
    try:
        with closing(open_connection(parsed, create=False)) as connection:
            check(patiently(lambda: revision_of(connection), BUSY_LIMIT), shown)
            row = connection.execute(_NEWEST, wanted).fetchone()
            if row is not None:
                return _Found(shown, str(row[0]), ())
            return _Found(shown, None, connection.execute(_KNOWN).fetchall())
    except sqlite3.Error as error:
        raise translate(error, parsed) from error


def _in_postgres(url: str, wanted: tuple[str, str, str]) -> _Found:
    with from_extra("postgres", "psycopg"):
        from pystator.db.postgres import open_connection as open_postgres
        from pystator.db.postgres_schema import revision_of as postgres_revision
        from pystator.db.postgres_schema import telling
    parsed = parse_postgres(url)
    shown = str(parsed)
    with closing(open_postgres(parsed)) as connection, telling(parsed):
        check(postgres_revision(connection), shown)
        row = connection.execute(_NEWEST.replace("?", "%s").encode(), wanted).fetchone()
        if row is not None:
            return _Found(shown, str(row[0]), ())
        return _Found(shown, None, connection.execute(_KNOWN).fetchall())


def _unknown(name: str, database: str, known: list[str]) -> FSMError:
    stored = f"stored are {', '.join(known)}" if known else "no machine is stored there"
    return ConfigurationError(
        f"no machine {name!r} in {database}: {stored}; or name a file: --machine {name}.yaml",
        context={"machine": name, "stored": known},
    )
