"""What a store over a server has: a link, rows that may wait, and their end.

Laws:

- A store that nobody disconnects is closed when it is collected, at the latest when the program
  ends; what waits is then written.
- In a forked child the connections and what waits are the parent's; the child makes its own.
"""

import math
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar

from pystator.errors import ConfigurationError, FSMError
from pystator.stores.facade import StoreFacade
from pystator.stores.later import Later

__all__ = ["LinkedStore", "check_options"]


class Linked(Protocol):
    """The connections of a store."""

    @property
    def is_open(self) -> bool:
        """They can be used."""
        ...

    def close(self) -> None:
        """Close every connection; a second call does nothing."""

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; it makes its own."""


L = TypeVar("L", bound=Linked)
"""The store's kind of link."""

W = TypeVar("W")
"""A commit, ready to be written."""


class LinkedStore(StoreFacade, Generic[L, W]):
    """A store that writes over a link, some rows a moment later."""

    _link: L
    _later: Later[W]

    def _begin(self, link: L, write: Callable[[list[W]], object]) -> None:
        """Take its parts, and care for their end.

        Args:
            link: Its connections.
            write: Writes what waited, blocking. It must not hold the store: that would never be
                collected.
        """
        self._link = link
        self._later = Later(write, lambda: link.is_open)
        _stores.add(self)
        self._finalizer = weakref.finalize(self, _close_quietly, link, self._later)

    @property
    def parts(self) -> tuple[L, Later[W]]:
        """Its connections and its rows that may wait."""
        return self._link, self._later

    def disconnect(self) -> None:
        """Write what waits and close every connection; a second call does nothing."""
        try:
            self._later.close()
        finally:
            self._link.close()

    def flush(self) -> None:
        """Wait until what `append_later` took is written."""
        self._later.flush()

    async def aflush(self) -> None:
        """`flush` for asyncio: in a thread, as it waits for the one that writes."""
        import asyncio  # blocking programs never pay for it

        await asyncio.to_thread(self.flush)


def check_options(pool_size: object, timeout: object) -> None:
    """See that they are what they can be; settings often come as texts.

    Raises:
        ConfigurationError: One is not.
    """
    if not isinstance(pool_size, int) or pool_size < 1:
        raise ConfigurationError(f"pool_size={pool_size!r}: a number of connections, 1 or more")
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r}: a number of seconds, more than 0")


def _close_quietly(link: Linked, later: Later[Any]) -> None:
    """For a store that nobody closed: there is no caller to tell."""
    if link.is_open:
        with suppress(FSMError):
            later.close()
    link.close()


# Forks --------------------------------------------------------------------------------------------

_stores: Final[weakref.WeakSet[LinkedStore[Any, Any]]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        link, later = store.parts
        later.forget()
        link.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
