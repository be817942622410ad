"""Redis' URLs: where the server is, who asks, and what may be shown.

::

    redis://user:password@host:6379/0        rediss:// over TLS
    unix://user:password@/path/to/socket?db=0, or ...?db=0&password=password
    redis://node-1:7000                      a cluster: any of its nodes
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from pystator.db.resolve import REDIS, find_server, scheme_of, wrong
from pystator.db.url_parts import FLAGS, Secretive, cut, is_certain, longest_first, unreadable

__all__ = ["EXAMPLE", "SCHEMES", "RedisURL", "find_redis", "parse_redis"]

EXAMPLE: Final = "redis://user:password@localhost:6379/0"
SCHEMES: Final = REDIS.schemes

PORT: Final = 6379

_HOST: Final = re.compile(r"(?P<host>[^:\[\]]*|\[[^\]]*\])(?::(?P<port>\d+))?")
_TLS: Final = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
"""Options that go to the driver as they stand."""

_OPTIONS: Final = frozenset({"db", "key_prefix", "client_name", "username", "password"}) | _TLS
_CERT_REQS: Final = frozenset({"none", "optional", "required"})


@dataclass(frozen=True, slots=True, repr=False)
class RedisURL(Secretive):
    """A parsed Redis URL.

    Attributes:
        shown: The URL as it may be shown.
        host, port: Of the server; ``""`` and 0 when it is behind a socket.
        path: The socket; ``""`` when there is none.
        tls: The driver's options for TLS; None without.
        key_prefix: What keys begin with; None when the URL does not say.
        secrets: Texts that must not be shown, wherever they come from.
    """

    shown: str
    host: str
    port: int
    path: str
    db: int
    username: str | None
    password: str | None
    tls: Mapping[str, str | bool] | None
    key_prefix: str | None = None
    client_name: str | None = None
    secrets: tuple[str, ...] = field(default=())


def find_redis(argument: str | None = None) -> RedisURL:
    """The URL of a store in Redis: the argument, or what environment or file say.

    There is no default: no event goes to a server that nobody named.

    Raises:
        ConfigurationError: None is given, or it is wrong.
    """
    return parse_redis(find_server(REDIS, argument).url)


def parse_redis(url: str) -> RedisURL:
    """Check a Redis URL.

    Raises:
        ConfigurationError: It is not such a URL.
    """
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        raise wrong(url, f"a Redis URL is written {EXAMPLE}, rediss://... or unix:///path?db=0")
    parts = cut(url, scheme, EXAMPLE)
    place, path = parts.hosts, parts.path
    host = _HOST.fullmatch(place)
    if host is None or not is_certain(parts.userinfo, path, parts.query):
        raise unreadable(scheme, EXAMPLE)
    options = _options(url, parts.query)
    user, _, password = parts.userinfo.partition(":")
    secret = unquote(password) or options.get("password")
    is_socket = scheme == "unix"
    if is_socket and (place or not path):
        raise wrong(url, "a socket is a path, after three slashes: unix:///run/redis.sock?db=0")
    db = _database(url, "" if is_socket else path, options.get("db"))
    return RedisURL(
        shown=_shown(scheme, place, unquote(path) if is_socket else "", db),
        host="" if is_socket else host["host"].strip("[]") or "localhost",
        port=0 if is_socket else int(host["port"] or PORT),
        path=unquote(parts.slash + path) if is_socket else "",
        db=db,
        username=unquote(user) or options.get("username"),
        password=secret,
        tls=_tls(url, options, is_tls=scheme == "rediss"),
        key_prefix=options.get("key_prefix"),
        client_name=options.get("client_name"),
        secrets=_secrets(password, secret),
    )


def _secrets(*texts: str | None) -> tuple[str, ...]:
    """Each as it stands in a URL, too."""
    return longest_first(form for text in texts if text for form in (text, quote(text, safe="")))


def _shown(scheme: str, place: str, path: str, db: int) -> str:
    return f"unix:///{path}?db={db}" if scheme == "unix" else f"{scheme}://{place}/{db}"


def _options(url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, equals, value = option.partition("=")
        if not equals:
            raise wrong(url, "an option after '?' is written name=value")
        if name not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise wrong(url, f"there is no option {name!r}; there are {known}")
        options[name] = unquote(value)
    return options


def _database(url: str, path: str, option: str | None) -> int:
    said = path.strip("/") if option is None else option
    if not said:
        return 0
    if not (said.isascii() and said.isdigit()):
        raise wrong(url, f"a database of Redis is a number, as in {EXAMPLE}")
    return int(said)


def _tls(url: str, options: Mapping[str, str], *, is_tls: bool) -> dict[str, str | bool] | None:
    given = {name: value for name, value in options.items() if name in _TLS}
    if not is_tls:
        if given:
            raise wrong(url, f"{min(given)} is an option of rediss:// URLs")
        return None
    checked: dict[str, str | bool] = {**given}
    if given.get("ssl_cert_reqs", "none") not in _CERT_REQS:
        raise wrong(url, "ssl_cert_reqs is none, optional or required")
    if "ssl_check_hostname" in given:
        flag = FLAGS.get(given["ssl_check_hostname"].lower())
        if flag is None:
            raise wrong(url, "ssl_check_hostname is true or false")
        checked["ssl_check_hostname"] = flag
    return checked
