"""Which database: argument, then environment, then ``pystator.cfg``, then ``./pystator.db``.

Laws:

- The first place that says something wins, and the rest is not read. A variable that is set to
  nothing is a mistake, never the default: events must not quietly go to a file in some working
  folder.
- A URL is SQLAlchemy's: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` in
  memory; ``postgresql://user:password@host/database`` is `pystator.db.postgres_url`'s.
- Passwords never appear in a message: `redact` everything that is shown.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pystator.db.places import CONFIG_FILE, DATABASE_URL, MONGODB_URL, REDIS_URL, places
from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = [
    "CONFIG_FILE",
    "DATABASE_URL",
    "MONGODB",
    "REDIS",
    "Found",
    "SQLiteURL",
    "Server",
    "find",
    "find_server",
    "find_store",
    "one_url",
    "parse_sqlite",
    "redact",
    "resolve",
    "scheme_of",
    "server_of",
    "wrong",
]

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*):(?P<slashes>/{0,2})")
_LOST_COLON: Final = re.compile(
    r"(?P<scheme>(?:sqlite|postgres(?:ql)?|rediss?|mongodb)(?:\+\w+)?)//"
)
_SQLITE: Final = frozenset({"sqlite", "sqlite+pysqlite"})

_USE: Final = "use a sqlite:///... or postgresql://... URL"


@record
class Found:
    """A URL and where it was found (for messages)."""

    url: str
    origin: str


@record
class Server:
    """A database that is no SQL database: what it is called, and how it is named.

    Attributes:
        store: The class of its store.
        variable: Its own environment variable, and key in the file.
        schemes: What its URLs begin with, without what may follow a ``+``.
        instead: What there is of it in the place of tables and migrations.
    """

    name: str
    store: str
    variable: str
    schemes: frozenset[str]
    example: str
    instead: str

    def owns(self, url: str) -> bool:
        """The URL is one of this database."""
        return scheme_of(url).partition("+")[0] in self.schemes


REDIS: Final = Server(
    "Redis",
    "RedisStateStore",
    REDIS_URL,
    frozenset({"redis", "rediss", "unix"}),
    "redis://localhost:6379/0",
    "its keys are made as they are needed",
)
MONGODB: Final = Server(
    "MongoDB",
    "MongoDBStateStore",
    MONGODB_URL,
    frozenset({"mongodb"}),
    "mongodb://localhost:27017",
    "its collections and indexes are made when the store connects",
)
_SERVERS: Final = (REDIS, MONGODB)


@record
class SQLiteURL:
    """A parsed SQLite URL.

    Attributes:
        path: The file, absolute; None for a database in memory.
    """

    path: Path | None

    def __str__(self) -> str:
        return "sqlite://" if self.path is None else f"sqlite:///{self.path}"


def resolve(argument: str | None = None) -> str:
    """The URL to use: ``argument``, or the one of environment, file or default.

    Raises:
        ConfigurationError: The first place that says something says it wrongly.
    """
    return find(argument).url


def find(
    argument: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    home: Path | None = None,
) -> Found:
    """`resolve`, and where the URL was found.

    Args:
        argument: A URL; None when the caller was given none.
        environ: The environment; the process's own by default.
        folder: The working folder; the process's own by default.
        home: The user's folder; the user's own by default.

    Raises:
        ConfigurationError: The first place that says something says it wrongly.
    """
    if argument is not None:
        return Found(_said(argument, "the database URL"), "the argument")
    folder = Path.cwd() if folder is None else folder
    for place, said in places(environ, folder, home):
        if DATABASE_URL in said:
            return _found(said, DATABASE_URL, place)
    return _default(folder)


def _default(folder: Path) -> Found:
    return Found(f"sqlite:///{folder / 'pystator.db'}", "the default")


def one_url(url: str | None, connection_string: str | None) -> str | None:
    """What a store's constructor was given, under either name.

    Raises:
        ConfigurationError: Under both.
    """
    if url is not None and connection_string is not None:
        raise ConfigurationError(
            "connection_string= is another name of url=, the first argument: give one of them",
            context={"option": "connection_string"},
        )
    return connection_string if url is None else url


def find_server(
    server: Server,
    argument: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    home: Path | None = None,
) -> Found:
    """The URL of a store that is given one, or finds it in its variable or in the common one.

    In each place its own variable comes first, and the common one counts if it names such a server.
    There is no default: no event goes to a server that nobody named.

    Args:
        server: Which database.
        argument: A URL; None when the caller was given none.
        environ: As in `find`, like those that follow.
        folder: The working folder.
        home: The user's folder.

    Raises:
        ConfigurationError: Nobody names one, or the first place that does says it wrongly.
    """
    if argument is not None:
        return Found(_said(argument, f"the {server.name} URL", server.example), "the argument")
    for place, said in places(environ, Path.cwd() if folder is None else folder, home):
        if server.variable in said:
            return _found(said, server.variable, place)
        if DATABASE_URL in said and server.owns(said[DATABASE_URL].strip()):
            return _found(said, DATABASE_URL, place)
    raise ConfigurationError(
        f'{server.store} needs a connection string: {server.store}("{server.example}"), '
        f"or the same in {server.variable} or pystator.cfg",
        context={"variable": server.variable},
    )


def find_store(
    argument: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    home: Path | None = None,
) -> Found:
    """`find` for a command that works with any store.

    Where nobody says ``PYSTATOR_DATABASE_URL``, a Redis or MongoDB that is configured is meant
    before the default is.

    Raises:
        ConfigurationError: The first place that says something says it wrongly, or both a Redis and
            a MongoDB are configured.
    """
    if argument is not None:
        return find(argument)
    folder = Path.cwd() if folder is None else folder
    rest: list[tuple[dict[str, str], str]] = []
    for place, said in places(environ, folder, home):
        if DATABASE_URL in said:
            return _found(said, DATABASE_URL, place)
        rest.append((said, place))
    others: dict[str, Found] = {}
    for said, place in rest:
        for name in said:
            others.setdefault(name, _found(said, name, place))
    if len(others) > 1:
        raise ConfigurationError(
            f"{' and '.join(sorted(others))} are both configured: say which is meant with "
            f"--store URL, or in {DATABASE_URL}",
            context={"variables": sorted(others)},
        )
    return next(iter(others.values()), _default(folder))


def _found(said: Mapping[str, str], name: str, place: str) -> Found:
    """What a place says under a name; ``""`` is the environment."""
    example = next((each.example for each in _SERVERS if each.variable == name), _EXAMPLE)
    url = _said(said[name], f"{name} in {place}" if place else name, example)
    return Found(url, place or name)


def server_of(url: str) -> Server | None:
    """The database that a URL names, if it is none with tables."""
    return next((server for server in _SERVERS if server.owns(url)), None)


def scheme_of(url: str) -> str:
    """The URL's scheme in lower case; ``""`` when it has none."""
    matched = _SCHEME.match(url)
    return matched["scheme"].lower() if matched else ""


def redact(url: str) -> str:
    """The URL without user, password and options, for messages."""
    matched = _SCHEME.match(url)
    scheme = matched.group() if matched else ""
    if not scheme and "password" in url.lower():
        return "***"  # libpq's other form: host=... password=...
    base, _, options = url.partition("?")
    if "@" in options:
        return f"{scheme}***"  # is it a password with "?", or an option with "@"?
    _, at, after = base.rpartition("@")
    if at:
        return f"{scheme}***@{after}"
    authority = base.removeprefix(scheme).partition("/")[0]
    _, colon, port = authority.rpartition(":")
    is_port = not colon or not port or port.isdigit() or authority.endswith("]")
    return base if is_port or not scheme.endswith("//") else f"{scheme}***"


def parse_sqlite(url: str, *, folder: Path | None = None) -> SQLiteURL:
    """Check a SQLite URL and find its file.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` or
            ``sqlite:///:memory:``.
        folder: What a relative path is relative to; the working folder by default.

    Raises:
        ConfigurationError: It is not such a URL.
    """
    scheme = scheme_of(url)
    if scheme not in _SQLITE:
        raise _other_scheme(url, scheme)
    rest = url[len(scheme) + 1 :]
    if "?" in rest:
        raise wrong(url, "options after '?' are not supported; give them to SQLiteStateStore(...)")
    if rest in {"//", "///:memory:"}:
        return SQLiteURL(None)
    if not rest.startswith("///"):
        raise wrong(
            url,
            "a file needs three slashes and a path, four when it is absolute: sqlite:///shop.db",
        )
    name = rest[3:]
    if not name or name.endswith(("/", os.sep)):
        raise wrong(url, "it names no file: sqlite:///shop.db")
    if "\x00" in name or name.startswith("file:"):
        raise wrong(url, "the path is not a plain path")
    return SQLiteURL(Path(os.path.abspath((Path.cwd() if folder is None else folder) / name)))  # noqa: PTH100 - keeps symbolic links


def _text(url: object, example: str) -> str:
    """A URL that somebody gave.

    Raises:
        ConfigurationError: It is no string.
    """
    if not isinstance(url, str):
        hint = f"sqlite:///{url}" if isinstance(url, Path) else example
        raise ConfigurationError(
            f"the database URL is a string such as {hint}, not {type(url).__name__}",
            context={"type": type(url).__name__},
        )
    return url


_EXAMPLE: Final = "sqlite:///pystator.db"


def _said(value: str, where: str, example: str = _EXAMPLE) -> str:
    """What a place says, if it says something that looks like a URL."""
    url = _text(value, example).strip()
    if not url:
        raise ConfigurationError(
            f"{where} is empty: give a URL such as {example}, or remove it",
            context={"where": where},
        )
    if url[0] in "\"'":
        raise ConfigurationError(
            f"{where} is in quotes: write the URL without them", context={"where": where}
        )
    if not _SCHEME.match(url) and "=" in url:
        raise ConfigurationError(
            f"{where} is not a URL: a server is written postgresql://user:password@host/database",
            context={"where": where},
        )
    if lost := _LOST_COLON.match(url):
        raise ConfigurationError(
            f"{where} is not a URL: a colon follows {lost['scheme']}, as in {lost['scheme']}://...",
            context={"where": where},
        )
    if not _SCHEME.match(url):
        raise ConfigurationError(
            f"{where} is not a URL: {redact(url)!r}; a file is written sqlite:///{Path(redact(url)).name}",
            context={"where": where, "url": redact(url)},
        )
    return url


def wrong(url: str, why: str) -> ConfigurationError:
    """The error of a URL that is not right, in front of it what of it may be shown."""
    return ConfigurationError(f"{redact(url)!r}: {why}", context={"url": redact(url)})


def _other_scheme(url: str, scheme: str) -> ConfigurationError:
    if not scheme:
        return wrong(url, "not a URL; a file is written sqlite:///shop.db")
    name = scheme.partition("+")[0]
    server = server_of(url)
    store = "PostgresStateStore" if name in {"postgresql", "postgres"} else server and server.store
    if store:
        return wrong(url, f"this is no SQLite URL: use {store}, or create_state_store")
    return wrong(url, f"unknown database {scheme!r}: {_USE}")
