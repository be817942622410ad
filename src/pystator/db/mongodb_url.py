"""MongoDB's URLs: whose they are, what the driver gets of them, and what may be shown.

The URL goes to PyMongo as it stands, with every option that PyMongo knows.

Law: no part of a URL is shown before it is certain which part is the password. A URL that the
driver and a reader could cut differently (``@`` or ``/`` in a password) is refused, without its
text.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pystator.db.resolve import MONGODB, find_server, redact, scheme_of
from pystator.errors import ConfigurationError

__all__ = ["DATABASE", "EXAMPLE", "MongoURL", "check_database", "find_mongodb", "parse_mongodb"]

EXAMPLE: Final = "mongodb://user:password@localhost:27017/pystator"

DATABASE: Final = "pystator"
"""The database of a URL that names none."""

_SCHEMES: Final = frozenset({"mongodb", "mongodb+srv"})
_SECRETS: Final = frozenset({"tlscertificatekeyfilepassword", "authmechanismproperties"})
_BROKEN_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?:[^:\[\]/]+|\[[^\]/]*\])(?::\d+)?")
_ENCODE: Final = (
    "in a user's name and in a password write %40 for @, %2F for /, %3A for :, %3F for ?, %25 for %"
)
_LONGEST_NAME: Final = 63
_NOT_IN_NAMES: Final = frozenset('/\\. "$*<>:|?\x00')


@dataclass(frozen=True, slots=True, repr=False)
class MongoURL:
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

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"MongoURL({self.shown!r})"

    def scrub(self, text: str) -> str:
        """A text of the driver or of the server, without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


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
        raise _wrong(url, f"a MongoDB URL is written {EXAMPLE}")
    rest = url[len(scheme) + 1 :]
    if not rest.startswith("//"):
        raise _wrong(url, f"two slashes follow the colon: {EXAMPLE}")
    before, _, query = rest[2:].partition("?")
    authority, _, database = before.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    _check_parts(scheme, userinfo, hosts, database, query)
    name = unquote(database)
    if name:
        check_database(name)
    options, secrets = _options(url, query)
    password = userinfo.partition(":")[2]
    known = {text for secret in (password, *secrets) for text in (secret, unquote(secret)) if text}
    return MongoURL(
        text=url,
        shown=redact(f"{scheme}://{before}"),
        database=name or None,
        options=options,
        secrets=tuple(sorted(known, key=len, reverse=True)),  # one may be a part of another
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


def _check_parts(scheme: str, userinfo: str, hosts: str, database: str, query: str) -> None:
    """Refuse what can be cut in two ways.

    Raises:
        ConfigurationError: It can; nothing of the URL is in the message.
    """
    whole = (userinfo, hosts, database, query)
    if (
        any("@" in part for part in whole)
        or any(_BROKEN_PERCENT.search(part) for part in whole)
        or "/" in database
        or ":" in userinfo.partition(":")[2]
        or not all(_HOST.fullmatch(unquote(host)) or _is_socket(host) for host in hosts.split(","))
    ):
        raise ConfigurationError(
            f"the {scheme}:// URL cannot be read (it is not shown, for it may hold a password): "
            f"write {EXAMPLE}, and {_ENCODE}",
            context={"scheme": scheme},
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
            raise _wrong(url, "an option after '?' is written name=value")
        name = unquote(key).lower()
        names.add(name)
        if name in _SECRETS:
            secrets.append(value)
    return frozenset(names), secrets


def _wrong(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{redact(url)!r}: {why}", context={"url": redact(url)})
