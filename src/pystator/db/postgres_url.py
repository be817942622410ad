"""PostgreSQL's URLs: whose they are, what libpq gets of them, and what may be shown.

``postgresql://``, ``postgres://`` and SQLAlchemy's forms with a driver's name all mean the same.
The URL goes to libpq as it stands, with every option that libpq knows; ``prepare`` is ours.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pystator.db.resolve import DATABASE_URL, find, redact, scheme_of, wrong
from pystator.db.url_parts import FLAGS, Secretive, both_forms, cut, is_certain, unreadable
from pystator.errors import ConfigurationError

__all__ = ["EXAMPLE", "PostgresURL", "find_postgres", "is_postgres", "parse_postgres"]

EXAMPLE: Final = "postgresql://user:password@localhost:5432/pystator"

_NAMES: Final = frozenset({"postgresql", "postgres"})
_DRIVERS: Final = frozenset({"", "psycopg", "psycopg2", "psycopg_async", "asyncpg"})
"""What users of SQLAlchemy write; we connect with psycopg whichever it is."""

_SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret"})
_HOST: Final = re.compile(r"(?:[^:\[\]]*|\[[^\]]*\])(?::\d*)?")


@dataclass(frozen=True, slots=True, repr=False)
class PostgresURL(Secretive):
    """A parsed PostgreSQL URL.

    Attributes:
        conninfo: What libpq gets; holds the password.
        shown: The URL as it may be shown.
        database: The database's name; ``""`` when the URL leaves it to libpq.
        prepare: Whether statements may be prepared; None when the URL does not say.
        secrets: Texts that must not be shown, wherever they come from.
    """

    conninfo: str
    shown: str
    database: str
    prepare: bool | None
    secrets: tuple[str, ...]


def is_postgres(url: str) -> bool:
    """The URL is one of PostgreSQL, whatever the driver."""
    return scheme_of(url).partition("+")[0] in _NAMES


def find_postgres(argument: str | None = None) -> PostgresURL:
    """The URL of a store in PostgreSQL: the argument, or what environment or file say.

    There is no default: no event goes to a server that nobody named.

    Raises:
        ConfigurationError: None is given, or it is wrong.
    """
    found = find(argument)
    if argument is None and not is_postgres(found.url):
        said = "" if found.origin == "the default" else f" ({found.origin}: {redact(found.url)})"
        raise ConfigurationError(
            f'PostgresStateStore needs a connection string: PostgresStateStore("{EXAMPLE}"), '
            f"or the same in {DATABASE_URL} or pystator.cfg{said}",
            context={"origin": found.origin},
        )
    return parse_postgres(found.url)


def parse_postgres(url: str) -> PostgresURL:
    """Check a PostgreSQL URL.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value``; every part may be left
            to libpq and its variables (``PGHOST``, ``PGPASSWORD``, ...).

    Raises:
        ConfigurationError: It is not such a URL.
    """
    scheme = scheme_of(url)
    name, _, driver = scheme.partition("+")
    if name not in _NAMES or driver not in _DRIVERS:
        ours = f"the driver is psycopg, not {driver}: " if name in _NAMES else ""
        raise wrong(url, f"{ours}a PostgreSQL URL is written {EXAMPLE}")
    parts = cut(url, scheme, EXAMPLE)
    if not is_certain(parts.userinfo, parts.hosts, parts.path, parts.query) or not all(
        _HOST.fullmatch(host) for host in parts.hosts.split(",")
    ):
        raise unreadable(scheme, EXAMPLE)
    prepare, options, secrets = _options(url, parts.query)
    password = parts.userinfo.partition(":")[2]
    return PostgresURL(
        conninfo=f"postgresql://{parts.before}{'?' if options else ''}{'&'.join(options)}",
        shown=redact(f"postgresql://{parts.before}"),
        database=unquote(parts.path),
        prepare=prepare,
        secrets=both_forms((password, *secrets)),
    )


def _options(url: str, query: str) -> tuple[bool | None, list[str], list[str]]:
    """Our option, libpq's as they stand, and the values of libpq's that are secret."""
    prepare: bool | None = None
    options: list[str] = []
    secrets: list[str] = []
    for option in filter(None, query.split("&")):
        key, equals, value = option.partition("=")
        if not equals:
            raise wrong(url, "an option after '?' is written name=value")
        if key == "prepare":
            prepare = FLAGS.get(value.lower())
            if prepare is None:
                raise wrong(url, "prepare is true or false")
            continue
        if unquote(key) in _SECRETS:
            secrets.append(value)
        options.append(option)
    return prepare, options, secrets
