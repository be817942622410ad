"""MongoDB's URLs: whose they are, what the driver gets of them, and what may be shown.

The URL goes to PyMongo as it stands, with every option that PyMongo knows.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pystator.db.resolve import MONGODB, find_server, redact, scheme_of, wrong
from pystator.db.url_parts import Cut, Secretive, both_forms, cut, is_certain, unreadable
from pystator.errors import ConfigurationError

__all__ = ["DATABASE", "EXAMPLE", "MongoURL", "check_database", "find_mongodb", "parse_mongodb"]

EXAMPLE: Final = "mongodb://user:password@localhost:27017/pystator"

DATABASE: Final = "pystator"
"""The database of a URL that names none."""

_SCHEMES: Final = frozenset({"mongodb", "mongodb+srv"})
_SECRETS: Final = frozenset({"tlscertificatekeyfilepassword", "authmechanismproperties"})
_HOST: Final = re.compile(r"(?:[^:\[\]/]+|\[[^\]/]*\])(?::\d+)?")
_LONGEST_NAME: Final = 63
_NOT_IN_NAMES: Final = frozenset('/\\. "$*<>:|?\x00')


@dataclass(frozen=True, slots=True, repr=False)
class MongoURL(Secretive):
    """A parsed MongoDB URL.

    Attributes:
        text: What the driver gets; holds the password.
        shown: The URL as it may be shown.
        database: The database's name; None when the URL names none.
        options: Names of the options it has, in lower case.
        secrets: Texts that must not be shown, wherever they come from.
    """

    text: str
    shown: str
    database: str | None
    options: frozenset[str]
    secrets: tuple[str, ...]


def find_mongodb(argument: str | None = None) -> MongoURL:
    """The URL of a store in MongoDB: the argument, or what environment or file say.

    There is no default: no event goes to a server that nobody named.

    Raises:
        ConfigurationError: None is given, or it is wrong.
    """
    return parse_mongodb(find_server(MONGODB, argument).url)


def parse_mongodb(url: str) -> MongoURL:
    """Check a MongoDB URL.

    Args:
        url: ``mongodb://user:password@host:port,host:port/database?option=value``, or
            ``mongodb+srv://user:password@host/database``.

    Raises:
        ConfigurationError: It is not such a URL.
    """
    scheme = scheme_of(url)
    if scheme not in _SCHEMES:
        raise wrong(url, f"a MongoDB URL is written {EXAMPLE}")
    parts = cut(url, scheme, EXAMPLE)
    if not _is_certain(parts):
        raise unreadable(scheme, EXAMPLE)
    name = unquote(parts.path)
    if name:
        check_database(name)
    options, secrets = _options(url, parts.query)
    password = parts.userinfo.partition(":")[2]
    return MongoURL(
        text=url,
        shown=redact(f"{scheme}://{parts.before}"),
        database=name or None,
        options=options,
        secrets=both_forms((password, *secrets)),
    )


def check_database(name: str) -> str:
    """A database's name.

    Raises:
        ConfigurationError: MongoDB has no such names.
    """
    if not 0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME or _NOT_IN_NAMES & set(name):
        raise ConfigurationError(
            f"{ascii(name)[:80]} is no name of a MongoDB database: 1 to {_LONGEST_NAME} bytes,"
            ' without / \\ . " $ * < > : | ? and spaces',
            context={"database": ascii(name)[:80]},
        )
    return name


def _is_certain(parts: Cut) -> bool:
    return (
        is_certain(parts.userinfo, parts.hosts, parts.path, parts.query)
        and "/" not in parts.path
        and ":" not in parts.userinfo.partition(":")[2]
        and all(
            _HOST.fullmatch(unquote(host)) or _is_socket(host) for host in parts.hosts.split(",")
        )
    )


def _is_socket(host: str) -> bool:
    """The path of a unix socket, as URLs of MongoDB have it: percent-encoded."""
    return unquote(host).endswith(".sock")


def _options(url: str, query: str) -> tuple[frozenset[str], list[str]]:
    """Names of the options, and the values of those that are secret."""
    names: set[str] = set()
    secrets: list[str] = []
    for option in filter(None, re.split("[&;]", query)):
        key, equals, value = option.partition("=")
        if not equals:
            raise wrong(url, "an option after '?' is written name=value")
        name = unquote(key).lower()
        names.add(name)
        if name in _SECRETS:
            secrets.append(value)
    return frozenset(names), secrets
