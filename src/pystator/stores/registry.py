"""Stores by URL: one line a scheme."""

import importlib
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, cast

from pystator.db.resolve import scheme_of
from pystator.errors import ConfigurationError
from pystator.stores.prunable import CompleteStore

__all__ = ["create_state_store"]

_MEMORY: Final = ("pystator.stores.memory", "InMemoryStateStore")
_SQLITE: Final = ("pystator.stores.sqlite", "SQLiteStateStore")
_POSTGRES: Final = ("pystator.stores.postgres", "PostgresStateStore")
_REDIS: Final = ("pystator.stores.redis", "RedisStateStore")
_MONGODB: Final = ("pystator.stores.mongodb", "MongoDBStateStore")
_REPLICATED: Final = ("pystator.stores.replicated", "ReplicatedStateStore")

_STORES: Final = {
    "memory": _MEMORY,
    "sqlite": _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "mongodb": _MONGODB,
    "mongodb+srv": _MONGODB,
    "replicated": _REPLICATED,
}
"""Scheme -> module and class; the module is imported when a URL asks for it."""

_DRIVERS: Final = frozenset({"sqlite", "postgresql", "postgres"})
"""Schemes that may name a driver, as SQLAlchemy's do: ``postgresql+psycopg``."""

_MEANT: Final = {"valkey": ["redis"], "valkeys": ["rediss"], "file": ["sqlite"]}

_KNOWN: Final = (
    "memory://, sqlite:///path/to/file.db, postgresql://user@host/database, redis://host:6379/0, "
    "mongodb://host:27017 and replicated://?hot=redis://...&durable=postgresql://..."
)


def create_state_store(url: str, **options: Any) -> CompleteStore:
    """The store a URL names, not yet connected.

    Args:
        url: ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://``,
            ``postgresql://user:password@host/database``, ``redis://host:6379/0`` (``rediss://``
            with TLS, ``unix:///path/to/socket``), ``mongodb://host:27017`` (``mongodb+srv://``) or
            ``replicated://?hot=redis://...&durable=postgresql://...``.
        options: Passed to the store's constructor, e.g. ``machine_name=``, ``key_prefix=`` of
            Redis, ``database_name=`` of MongoDB, ``pool_size=`` of PostgreSQL; of a replicated
            store, to that of its hot one.

    Raises:
        ConfigurationError: There is no such store, it has no such option, or its driver is missing.
    """
    scheme = _scheme(url)
    module, name = _STORES[scheme]
    kind = getattr(importlib.import_module(module), name)
    make = kind.from_url if scheme == "replicated" else kind
    _check_options(name, make, options)
    if scheme == "memory":
        if url.partition(":")[2].strip("/"):
            raise ConfigurationError(
                "memory:// names no place: every store in memory is its own",
                context={"scheme": scheme},
            )
        return cast("CompleteStore", make(**options))
    return cast("CompleteStore", make(url, **options))


def _scheme(url: object) -> str:
    """The scheme, if it is one of ours; the URL itself is never shown: it may hold a password.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(url, str):
        raise ConfigurationError(
            f"a store's URL is a string, {_KNOWN}, not {type(url).__name__}",
            context={"type": type(url).__name__},
        )
    whole = scheme_of(url)
    base = whole.partition("+")[0]
    scheme = base if base in _DRIVERS else whole
    if scheme in _STORES:
        return scheme
    if not whole:
        raise ConfigurationError(
            f"a store is named by a URL, {_KNOWN}", context={"known": sorted(_STORES)}
        )
    close = _MEANT.get(whole) or get_close_matches(whole, _STORES, n=1)
    guess = f" Did you mean {close[0]}://?" if close else ""
    shown = whole if len(whole) <= 20 else "?"
    raise ConfigurationError(
        f"there is no store for URLs of the scheme {shown!r}; there are {_KNOWN}.{guess}",
        context={"scheme": shown, "known": sorted(_STORES)},
    )


def _check_options(store: str, make: Callable[..., Any], options: dict[str, Any]) -> None:
    """Refuse an option of another store.

    Raises:
        ConfigurationError: There is one.
    """
    if not options:
        return
    parameters = inspect.signature(make).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return  # they are another store's, which checks them
    known = [name for name in parameters if name != "url"]
    for name in options.keys() - known:
        close = get_close_matches(name, known, n=1)
        guess = f"; did you mean {close[0]}=?" if close else f"; it has {', '.join(known)}"
        raise ConfigurationError(
            f"{store} has no option {name}={guess}", context={"option": name, "known": known}
        )
