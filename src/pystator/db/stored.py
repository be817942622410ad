"""Machines kept in the database: definitions by name and version."""

import json
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final, cast

from pystator.db.extras import from_extra
from pystator.db.postgres_url import is_postgres, parse_postgres
from pystator.db.resolve import parse_sqlite, resolve
from pystator.db.schema import check, revision_of
from pystator.db.sqlite import BUSY_LIMIT, open_connection, patiently, translate
from pystator.errors import ConfigurationError, FSMError

__all__ = ["newest_machines", "stored_machine"]

_NEWEST: Final = """
SELECT definition
FROM machines
WHERE name = ? AND (? = '' OR version = ?)
ORDER BY created_at DESC, version DESC
LIMIT 1
"""
_KNOWN: Final = "SELECT name, version FROM machines ORDER BY 1, 2"
_ALL: Final = """
SELECT name, version, definition
FROM machines
ORDER BY name, created_at DESC, version DESC
"""

_Ask = Callable[[str, Sequence[str]], list[tuple[str, ...]]]
"""A query with question marks and their values -> its rows."""


def stored_machine(name: str, url: str | None = None) -> dict[str, Any]:
    """The configuration of a stored machine: ``name`` is the newest version, ``name@1.0`` that one.

    Raises:
        ConfigurationError: Nothing of this name is stored; the message lists what is.
    """
    wanted, _, version = name.partition("@")
    with _reading(url) as (ask, shown):
        for (definition,) in ask(_NEWEST, (wanted, version, version)):
            return cast("dict[str, Any]", json.loads(definition))
        known = ask(_KNOWN, ())
    raise _unknown(name, shown, [f"{each}@{number}" for each, number in known])


def newest_machines(url: str | None = None) -> dict[str, tuple[str, dict[str, Any]]]:
    """The newest version of every stored machine, and its configuration, by name."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    with _reading(url) as (ask, _):
        for name, version, definition in ask(_ALL, ()):
            if name not in found:
                found[name] = (version, json.loads(definition))
    return found


def _reading(url: str | None) -> AbstractContextManager[tuple[_Ask, str]]:
    """How to ask the database, and its URL as it is shown."""
    source = resolve(url)
    return _in_postgres(source) if is_postgres(source) else _in_sqlite(source)


@contextmanager
def _in_sqlite(url: str) -> Generator[tuple[_Ask, str], None, None]:
    parsed = parse_sqlite(url)
    shown = str(parsed)
    if parsed.path is None or not parsed.path.exists():
        yield (lambda _query, _values: []), shown
        return
    try:
        with closing(open_connection(parsed, create=False)) as connection:
            check(patiently(lambda: revision_of(connection), BUSY_LIMIT), shown)
            yield (lambda query, values: connection.execute(query, values).fetchall()), shown
    except sqlite3.Error as error:
        raise translate(error, parsed) from error


@contextmanager
def _in_postgres(url: str) -> Generator[tuple[_Ask, str], None, None]:
    with from_extra("postgres", "psycopg"):
        from pystator.db.postgres import open_connection as open_postgres
        from pystator.db.postgres_schema import revision_of as postgres_revision
        from pystator.db.postgres_schema import telling
    parsed = parse_postgres(url)
    shown = str(parsed)
    with closing(open_postgres(parsed)) as connection, telling(parsed):
        check(postgres_revision(connection), shown)

        def ask(query: str, values: Sequence[str]) -> list[tuple[str, ...]]:
            return connection.execute(query.replace("?", "%s").encode(), values).fetchall()

        yield ask, shown


def _unknown(name: str, database: str, known: list[str]) -> FSMError:
    stored = f"stored are {', '.join(known)}" if known else "no machine is stored there"
    return ConfigurationError(
        f"no machine {name!r} in {database}: {stored}; or name a file: --machine {name}.yaml",
        context={"machine": name, "stored": known},
    )
