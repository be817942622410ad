"""Connections of the threads of this process to one server.

An idle connection is looked at before it is used: one that the server has closed costs nobody an
error, a new one takes its place. One that an interrupt lost is not counted any more.
"""

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from pystator.stores.redis.errors import LOST
from pystator.stores.redis.wire import Address, Wire, connect

if TYPE_CHECKING:
    from pystator.stores.redis.link import Link

__all__ = ["MAX_IDLE", "MAX_LIFETIME", "Pool"]

MAX_IDLE: Final = 600.0
MAX_LIFETIME: Final = 3_600.0
"""Seconds after which a connection is closed: names of hosts change."""

_SLICE: Final = 0.25
"""Seconds after which who waits for a connection looks again."""


class Pool:
    """The connections to one server.

    Args:
        link: Whose they are.
        address: Of the server.
    """

    def __init__(self, link: "Link", address: Address) -> None:
        self._link = link
        self.address = address
        self._idle: list[Wire] = []
        self._all: WeakSet[Wire] = WeakSet()
        self._coming = 0
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self) -> Wire:
        """A connection that nobody else uses meanwhile, and that works as far as one can know.

        Raises:
            OSError: None can be made; or an error of the driver.
            StoreUnavailableError: There is none in time.
        """
        idle = self._idle
        while idle:
            try:
                wire = idle.pop()
            except IndexError:  # another thread was first
                break
            if wire.is_alive():
                return wire
            self._drop(wire)
        return self._make() or self._wait()

    def give_back(self, wire: Wire) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        now = time.monotonic()
        if not wire.is_clean or wire.expires < now or wire.pool is not self:
            self._drop(wire)
        else:
            wire.used = now
            self._idle.append(wire)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def retire(self) -> None:
        """Close what nobody uses; the others are closed when they come back."""
        with self._changed:
            for wire in self._all:
                wire.expires = 0.0
            self._changed.notify_all()
        with suppress(IndexError):  # another thread took the last one
            while self._idle:
                self._drop(self._idle.pop())

    def _make(self) -> Wire | None:
        """A new connection; None when there are enough."""
        link = self._link
        with self._changed:
            if len(self._all) + self._coming >= link.pool_size:
                return None
            self._coming += 1
        try:
            wire = connect(link.url, self.address, link.timeout)
            wire.pool = self
            wire.expires = time.monotonic() + MAX_LIFETIME if link.is_open else 0.0
            with self._changed:
                self._all.add(wire)
            link.changes += 1
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify()
        return wire

    def _wait(self) -> Wire:
        link = self._link
        deadline = time.monotonic() + link.timeout
        while True:
            link.check_open()
            with self._changed:
                self._waiting += 1
                try:
                    if not self._idle:
                        self._changed.wait(_SLICE)
                finally:
                    self._waiting -= 1
            try:
                wire = self._idle.pop()
            except IndexError:
                made = self._make()
                if made is not None:
                    return made
                if time.monotonic() > deadline:
                    raise link.exhausted() from None
                continue
            if wire.is_alive():
                return wire
            self._drop(wire)

    def _drop(self, wire: Wire) -> None:
        with self._changed:
            self._all.discard(wire)
        with suppress(*LOST):
            wire.close()
