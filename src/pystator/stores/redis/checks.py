"""What a server is looked at for when it is connected.

Entities must not vanish: a server that evicts keys when its memory is full is refused. One that
writes nothing to a disk is warned of, once: that may be meant.
"""

import re
import warnings
from typing import Any, Final

from pystator.db.redis_url import RedisURL
from pystator.errors import ConfigurationError, StoreUnavailableError
from pystator.stores.redis.errors import Complaint, translate
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.ops import pack
from pystator.stores.redis.scripts import Script, loads
from pystator.stores.redis.wire import Wire

__all__ = ["check_rights", "check_server", "warn_unless_persistent"]

RIGHTS: Final = Script("rights")

_OLDEST: Final = (6, 2)
"""The first with ZRANGE ... BYLEX LIMIT and scripts whose effects are replicated."""


class Facts:
    """What ``INFO`` says."""

    def __init__(self, text: str) -> None:
        pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
        self._facts = {name: value for name, _, value in pairs}

    def __getitem__(self, name: str) -> str:
        return self._facts.get(name, "")

    @property
    def version(self) -> tuple[int, ...]:
        """Of the Redis that it is, or is compatible with."""
        return tuple(map(int, re.findall(r"\d+", self["redis_version"])[:2]))

    @property
    def is_cluster(self) -> bool:
        """It is a node of a cluster."""
        return self["redis_mode"] == "cluster" or self["cluster_enabled"] == "1"


def ask(wire: Wire, url: RedisURL, *command: str) -> Any:
    """The reply to a command.

    Raises:
        FSMError: It is an error.
    """
    reply = wire.ask(pack(command))
    if isinstance(reply, Complaint):
        raise translate(reply, url, written=False)
    return reply


def check_server(wire: Wire, url: RedisURL) -> Facts:
    """What the server says of itself.

    Raises:
        ConfigurationError: It would evict entities, or has not the database of the URL.
        StoreUnavailableError: It is too old, or cannot be asked.
    """
    facts = Facts(ask(wire, url, "INFO"))
    if facts.version < _OLDEST:
        raise StoreUnavailableError(
            f"{url}: Redis {facts['redis_version']} is too old; use 6.2 or newer, or Valkey",
            context={"server": str(url), "written": False},
        )
    policy = facts["maxmemory_policy"]
    if policy not in {"", "noeviction"}:
        raise ConfigurationError(
            f"{url}: the server evicts keys when its memory is full (maxmemory-policy {policy}),"
            " and entities would vanish: set `maxmemory-policy noeviction`, or use a server that"
            " is no cache",
            context={"server": str(url), "maxmemory_policy": policy},
        )
    if facts.is_cluster and url.db:
        raise ConfigurationError(
            f"{url}: a cluster has database 0 only; give the store a key_prefix= instead",
            context={"server": str(url)},
        )
    return facts


def check_rights(wire: Wire, url: RedisURL, layout: Layout) -> None:
    """Teach the server our scripts, and see that each of their commands is allowed.

    Raises:
        StoreUnavailableError: One is not.
    """
    for command in loads():
        reply = wire.ask(command)
        if isinstance(reply, Complaint):
            raise translate(reply, url, written=False)
    part = layout.partition("e")
    keys = layout.whole(
        part, layout.entity("e"), layout.other("e", "m"), layout.history("e", "m"),
        layout.ids("e", "m"),
    )  # fmt: skip
    missing = wire.ask(RIGHTS.call(keys, (layout.pres[part],)))
    if isinstance(missing, str) and missing:
        missing = Complaint(f"NOPERM {missing}")
    if isinstance(missing, Complaint) and missing.code not in REDIRECTIONS:
        raise translate(missing, url, written=False)


REDIRECTIONS: Final = frozenset({"MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN"})


def warn_unless_persistent(wire: Wire, url: RedisURL, facts: Facts) -> None:
    """Say that a server writes nothing to a disk."""
    if facts["aof_enabled"] != "0":
        return
    reply = wire.ask(pack(("CONFIG", "GET", "save")))
    if isinstance(reply, Complaint) or reply[1:] != [""]:
        return  # it saves now and then, or does not say: managed servers know no CONFIG
    warnings.warn(
        f"{url} writes nothing to a disk: its entities are gone when it ends; set `appendonly yes`",
        stacklevel=5,  # who calls store.connect()
    )
