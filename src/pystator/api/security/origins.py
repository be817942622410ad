"""Where nobody is asked for a key, a browser must not be the key.

A page of any site can send requests to a service on the reader's own machine, and, with a name that
changes its address, even read the answers. So without authentication a request that a browser sends
for another site is refused, and on loopback so is one to a host that is not this machine.
"""

import re
from collections.abc import Iterable
from typing import Final

from pystator.api.asgi import Scope, header_of
from pystator.errors import ConfigurationError

__all__ = ["LOOPBACK", "Origins"]

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


_ORIGIN: Final = re.compile(r"\*|https?://[a-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-f:]+\](:[0-9]+)?")


class Origins:
    """Which sites' pages and which hosts' names may call without a key.

    Args:
        allowed: Origins that CORS allows, e.g. ``https://shop.example``; ``*`` for all.
        hosts: Names of this service without ports; None for any.

    Raises:
        ConfigurationError: An origin is none, and would never be met.
    """

    def __init__(self, allowed: Iterable[str] = (), hosts: Iterable[str] | None = None) -> None:
        self._allowed = frozenset(allowed)
        for origin in self._allowed:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"{origin[:80]!r} is no origin that browsers send: write https://shop.example,"
                    " in small letters and without a path",
                    context={"origin": origin[:80]},
                )
        self._hosts = None if hosts is None else frozenset(hosts)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request without a key is not answered; None when it is."""
        hosts = [value.decode("latin-1").lower() for value in header_of(scope, b"host")]
        host = hosts[0] if len(hosts) == 1 else ""
        if self._hosts is not None and _without_port(host) not in self._hosts:
            return (
                "without authentication this service is for this machine only, under localhost or"
                " 127.0.0.1; `pystator keys create` makes a key, which works from everywhere"
            )
        for value in header_of(scope, b"origin"):
            origin = value.decode("latin-1").lower()
            own = origin.partition("://")[2] == host and host
            if not (own or origin in self._allowed or "*" in self._allowed):
                return (
                    "a page of another site sent this, and no key: allow the origin with --cors, or"
                    " use a key"
                )
        return None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
