"""PostgreSQL's URLs: whose they are, what libpq gets of them, and what may be shown.

``postgresql://``, ``postgres://`` and SQLAlchemy's forms with a driver's name all mean the same.
The URL goes to libpq as it stands, with every option that libpq knows; ``prepare`` is ours.

Law: no part of a URL is shown before it is certain which part is the password. A URL that libpq and
a reader could cut differently (``@`` or ``/`` in a password) is refused, without its text.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pystator.db.resolve import DATABASE_URL, find, redact, scheme_of
from pystator.errors import ConfigurationError

__all__ = ["EXAMPLE", "PostgresURL", "find_postgres", "is_postgres", "parse_postgres"]

EXAMPLE: Final = "postgresql://user:password@localhost:5432/pystator"

_NAMES: Final = frozenset({"postgresql", "postgres"})
_DRIVERS: Final = frozenset({"", "psycopg", "psycopg2", "psycopg_async", "asyncpg"})
"""What users of SQLAlchemy write; we connect with psycopg whichever it is."""

_SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret"})
_PREPARE: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_BROKEN_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?:[^:\[\]]*|\[[^\]]*\])(?::\d*)?")
_ENCODE: Final = (
    "in a user's name and in a password write %40 for @, %2F for /, %3A for :, %3F for ?, %25 for %"
)


@dataclass(frozen=True, slots=True, repr=False)
class PostgresURL:
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

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"PostgresURL({self.shown!r})"

    def scrub(self, text: str) -> str:
        """A text of libpq or of the server, without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


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
        raise _wrong(url, f"{ours}a PostgreSQL URL is written {EXAMPLE}")
    rest = url[len(scheme) + 1 :]
    if not rest.startswith("//"):
        raise _wrong(url, f"two slashes follow the colon: {EXAMPLE}")
    before, _, query = rest[2:].partition("?")
    authority, _, database = before.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    _check_parts(scheme, userinfo, hosts, database, query)
    prepare, options, secrets = _options(url, query)
    password = userinfo.partition(":")[2]
    known = {text for secret in (password, *secrets) for text in (secret, unquote(secret)) if text}
    return PostgresURL(
        conninfo=f"postgresql://{before}{'?' if options else ''}{'&'.join(options)}",
        shown=redact(f"postgresql://{before}"),
        database=unquote(database),
        prepare=prepare,
        secrets=tuple(sorted(known, key=len, reverse=True)),  # one may be a part of another
    )


def _check_parts(scheme: str, userinfo: str, hosts: str, database: str, query: str) -> None:
    """Refuse what can be cut in two ways.

    Raises:
        ConfigurationError: It can; nothing of the URL is in the message.
    """
    whole = (userinfo, hosts, database, query)
    if (
        any("@" in part for part in whole)
        or any(_BROKEN_PERCENT.search(part) for part in whole)
        or not all(_HOST.fullmatch(host) for host in hosts.split(","))
    ):
        raise ConfigurationError(
            f"the {scheme}:// URL cannot be read (it is not shown, for it may hold a password): "
            f"write {EXAMPLE}, and {_ENCODE}",
            context={"scheme": scheme},
        )


def _options(url: str, query: str) -> tuple[bool | None, list[str], list[str]]:
    """Our option, libpq's as they stand, and the values of libpq's that are secret."""
    prepare: bool | None = None
    options: list[str] = []
    secrets: list[str] = []
    for option in filter(None, query.split("&")):
        key, equals, value = option.partition("=")
        if not equals:
            raise _wrong(url, "an option after '?' is written name=value")
        if key == "prepare":
            prepare = _PREPARE.get(value.lower())
            if prepare is None:
                raise _wrong(url, "prepare is true or false")
            continue
        if unquote(key) in _SECRETS:
            secrets.append(value)
        options.append(option)
    return prepare, options, secrets


def _wrong(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{redact(url)!r}: {why}", context={"url": redact(url)})
