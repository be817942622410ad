"""Machines kept in the database: definitions by name and version."""

import json
import sqlite3
from contextlib import closing
from typing import Any, Final, cast

from pystator.db.resolve import parse_sqlite, redact, resolve
from pystator.db.schema import check, revision_of
from pystator.db.sqlite import BUSY_LIMIT, open_connection, patiently, translate
from pystator.errors import ConfigurationError, FSMError

__all__ = ["stored_machine"]

_NEWEST: Final = """
SELECT definition
FROM machines
WHERE name = ? AND (? = '' OR version = ?)
ORDER BY created_at DESC, rowid DESC
LIMIT 1
"""


def stored_machine(name: str, url: str | None = None) -> dict[str, Any]:
    """The configuration of a stored machine: ``name`` is the newest version, ``name@1.0`` that one.

    Raises:
        ConfigurationError: Nothing of this name is stored; the message lists what is.
    """
    parsed = parse_sqlite(resolve(url))
    wanted, _, version = name.partition("@")
    if parsed.path is None or not parsed.path.exists():
        raise _unknown(name, str(parsed), [])
    try:
        with closing(open_connection(parsed, create=False)) as connection:
            check(patiently(lambda: revision_of(connection), BUSY_LIMIT), redact(str(parsed)))
            row = connection.execute(_NEWEST, (wanted, version, version)).fetchone()
            if row is not None:
                return cast("dict[str, Any]", json.loads(row[0]))
            rows = connection.execute("SELECT name, version FROM machines ORDER BY 1, 2").fetchall()
    except sqlite3.Error as error:
        raise translate(error, parsed) from error
    raise _unknown(name, str(parsed), [f"{found}@{number}" for found, number in rows])


def _unknown(name: str, database: str, known: list[str]) -> FSMError:
    stored = f"stored are {', '.join(known)}" if known else "no machine is stored there"
    return ConfigurationError(
        f"no machine {name!r} in {database}: {stored}; or name a file: --machine {name}.yaml",
        context={"machine": name, "stored": known},
    )
