"""Which database: argument, then environment, then ``pystator.cfg``, then ``./pystator.db``.

Laws:

- The first place that says something wins, and the rest is not read. A variable that is set to
  nothing is a mistake, never the default: events must not quietly go to a file in some working
  folder.
- A URL is SQLAlchemy's: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` in
  memory; ``postgresql://user:password@host/database`` is `pystator.db.postgres_url`'s.
- Passwords never appear in a message: `redact` everything that is shown.
"""

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = [
    "CONFIG_FILE",
    "DATABASE_URL",
    "Found",
    "SQLiteURL",
    "find",
    "parse_sqlite",
    "redact",
    "resolve",
    "scheme_of",
]

DATABASE_URL: Final = "PYSTATOR_DATABASE_URL"
"""The environment variable, and the key in the file."""

CONFIG_FILE: Final = "pystator.cfg"
SECTION: Final = "database"

_KEYS: Final = frozenset({DATABASE_URL.lower(), "pystator_redis_url", "pystator_mongodb_url"})
"""What the section may say: keys are named like the variables, in any case."""

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*):(?P<slashes>/{0,2})")
_LOST_COLON: Final = re.compile(r"(?P<scheme>(?:sqlite|postgres(?:ql)?)(?:\+\w+)?)//")
_SQLITE: Final = frozenset({"sqlite", "sqlite+pysqlite"})
_LATER: Final = {
    "mongodb": "MongoDB",
    "mongodb+srv": "MongoDB",
    "redis": "Redis",
    "rediss": "Redis",
}

_USE: Final = "use a sqlite:///... or postgresql://... URL"


@record
class Found:
    """A URL and where it was found (for messages)."""

    url: str
    origin: str


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
    value = (os.environ if environ is None else environ).get(DATABASE_URL)
    if value is not None:
        return Found(_said(value, DATABASE_URL), DATABASE_URL)
    folder = Path.cwd() if folder is None else folder
    for place in (folder / CONFIG_FILE, _home(home) / ".pystator" / CONFIG_FILE):
        value = _read(place)
        if value is not None:
            return Found(_said(value, f"{DATABASE_URL} in {place}"), str(place))
    return Found(f"sqlite:///{folder / 'pystator.db'}", "the default")


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
        raise _wrong(url, "options after '?' are not supported; give them to SQLiteStateStore(...)")
    if rest in {"//", "///:memory:"}:
        return SQLiteURL(None)
    if not rest.startswith("///"):
        raise _wrong(
            url,
            "a file needs three slashes and a path, four when it is absolute: sqlite:///shop.db",
        )
    name = rest[3:]
    if not name or name.endswith(("/", os.sep)):
        raise _wrong(url, "it names no file: sqlite:///shop.db")
    if "\x00" in name or name.startswith("file:"):
        raise _wrong(url, "the path is not a plain path")
    return SQLiteURL(Path(os.path.abspath((Path.cwd() if folder is None else folder) / name)))  # noqa: PTH100 - keeps symbolic links


def _text(url: object) -> str:
    """A URL that somebody gave.

    Raises:
        ConfigurationError: It is no string.
    """
    if not isinstance(url, str):
        hint = f"sqlite:///{url}" if isinstance(url, Path) else "sqlite:///pystator.db"
        raise ConfigurationError(
            f"the database URL is a string such as {hint}, not {type(url).__name__}",
            context={"type": type(url).__name__},
        )
    return url


def _said(value: str, where: str) -> str:
    """What a place says, if it says something that looks like a URL."""
    url = _text(value).strip()
    if not url:
        raise ConfigurationError(
            f"{where} is empty: give a URL such as sqlite:///pystator.db, or remove it",
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


def _read(place: Path) -> str | None:
    """The URL a file gives; None when there is no file, or nothing in it about the database."""
    # Only "=": a URL holds a colon, and a line that lost its "=" must not become another key.
    parser = configparser.RawConfigParser(delimiters=("=",))
    try:
        with place.open(encoding="utf-8") as text:
            parser.read_file(text, str(place))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} cannot be read: {error}") from error
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or getattr(error, "errors", [(None,)])[0][0]
        raise ConfigurationError(
            f"{place}{f':{line}' if line else ''}: not an INI file; write\n"
            f"[{SECTION}]\n{DATABASE_URL} = sqlite:///pystator.db",
            context={"file": str(place), "line": line},
        ) from None  # the parser's message quotes the line, which may hold a password
    said = parser.options(SECTION) if parser.has_section(SECTION) else []
    unknown = set(said) - _KEYS
    if unknown:
        raise ConfigurationError(
            f"{place}: [{SECTION}] has no key {min(unknown)!r}; there are "
            f"{', '.join(sorted(key.upper() for key in _KEYS))}",
            context={"file": str(place), "key": min(unknown)},
        )
    _check_sections(parser, place)
    return parser.get(SECTION, DATABASE_URL, fallback=None)


def _check_sections(parser: configparser.RawConfigParser, place: Path) -> None:
    """Refuse a file that names a database where nobody looks: it would be the default instead.

    Raises:
        ConfigurationError: It does.
    """
    said = {name: parser.options(name) for name in parser.sections() if name != SECTION}
    said[parser.default_section] = [] if parser.has_section(SECTION) else list(parser.defaults())
    for name, keys in said.items():
        if DATABASE_URL.lower() in keys:
            raise ConfigurationError(
                f"{place}: {DATABASE_URL} is under [{name}]; write it under [{SECTION}]",
                context={"file": str(place), "section": name},
            )


def _home(home: Path | None) -> Path:
    if home is not None:
        return home
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry and without HOME has no file there
        return Path("/nonexistent")


def _wrong(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{redact(url)!r}: {why}", context={"url": redact(url)})


def _other_scheme(url: str, scheme: str) -> ConfigurationError:
    if not scheme:
        return _wrong(url, "not a URL; a file is written sqlite:///shop.db")
    name = scheme.partition("+")[0]
    if name in {"postgresql", "postgres"}:
        return _wrong(url, "this is PostgreSQL's: use PostgresStateStore, or create_state_store")
    known = _LATER.get(name)
    if known:
        return _wrong(url, f"this release has no {known}: {_USE}")
    return _wrong(url, f"unknown database {scheme!r}: {_USE}")
