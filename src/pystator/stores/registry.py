"""Stores by URL: one line a scheme."""

import importlib
from difflib import get_close_matches
from typing import Any, Final, cast

from pystator.errors import ConfigurationError
from pystator.stores.prunable import CompleteStore

__all__ = ["create_state_store"]

_STORES: Final = {
    "memory": ("pystator.stores.memory", "InMemoryStateStore"),
    "sqlite": ("pystator.stores.sqlite", "SQLiteStateStore"),
    "postgresql": ("pystator.stores.postgres", "PostgresStateStore"),
    "postgres": ("pystator.stores.postgres", "PostgresStateStore"),
}
"""Scheme -> module and class; the module is imported when a URL asks for it."""

_KNOWN: Final = "memory://, sqlite:///path/to/file.db and postgresql://user@host/database"


def create_state_store(url: str, **options: Any) -> CompleteStore:
    """The store a URL names, not yet connected.

    Args:
        url: ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` or
            ``postgresql://user:password@host/database``.
        options: Passed to the store's constructor, e.g. ``machine_name=``.

    Raises:
        ConfigurationError: There is no such store in this release.
    """
    _check_url(url)
    scheme, colon, rest = url.partition(":")
    name = scheme.partition("+")[0].lower()
    if not colon or name not in _STORES:
        raise _unknown(name if colon else url)
    module, kind = _STORES[name]
    make = getattr(importlib.import_module(module), kind)
    if name == "memory":
        if rest.strip("/"):
            raise ConfigurationError(
                "memory:// names no place: every store in memory is its own",
                context={"scheme": name},
            )
        return cast("CompleteStore", make(**options))
    return cast("CompleteStore", make(url, **options))


def _check_url(url: object) -> None:
    if not isinstance(url, str):
        raise ConfigurationError(
            f"a store's URL is a string, {_KNOWN}, not {type(url).__name__}",
            context={"type": type(url).__name__},
        )


def _unknown(scheme: str) -> ConfigurationError:
    """The URL itself is not shown: it may hold a password."""
    close = get_close_matches(scheme.lower(), _STORES, n=1)
    guess = f" Did you mean {close[0]}://?" if close else ""
    shown = scheme if scheme.replace("-", "").isalnum() and len(scheme) <= 20 else "?"
    return ConfigurationError(
        f"this release has no store for URLs of the scheme {shown!r}; it has {_KNOWN}.{guess}",
        context={"scheme": shown, "known": sorted(_STORES)},
    )
