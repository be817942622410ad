"""What an error of PostgreSQL means for the statement that met it: try again, or tell whom what.

Laws:

- Every statement is a transaction of its own. So an error that the server tells over a connection
  that lives on means that nothing was written; and so does any error before the statement was sent.
  Not so errors of connections and of the system: a pooler tells them of a server that it lost.
- A connection that is lost after that leaves a write unknown. It is never guessed, and never sent
  again from here: whoever has the commit's id can find out.
"""

import random
import time
from typing import Final

import psycopg

from pystator.db.postgres import translate
from pystator.db.postgres_url import PostgresURL
from pystator.errors import FSMError, StoreUnavailableError
from pystator.stores.postgres.waiting import LateError
from pystator.stores.postgres.wire import UNKNOWN_STATEMENT, Statement, Wire

__all__ = ["Trouble", "blames_a_row", "is_unique"]

_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, lock not available: the same statement may succeed now."""

_READ_ONLY: Final = "25006"

_BLAME: Final = frozenset({"22", "23", "54"})
"""Classes of errors that a value is to blame for: data, constraint, program limit."""

_UNSURE: Final = frozenset({"08", "58"})
"""Classes of errors that a pooler, too, tells of a server that it lost: connection, system."""

_COMPLETION_UNKNOWN: Final = "40003"
_PROTOCOL_VIOLATION: Final = "08P01"

_SOON: Final = 0.002
_LONGEST: Final = 0.5


def blames_a_row(error: psycopg.Error) -> bool:
    """A value of the statement is to blame, and not the server or the way to it."""
    return (error.sqlstate or "")[:2] in _BLAME


def is_unique(error: psycopg.Error) -> bool:
    """Something is there already."""
    return error.sqlstate == "23505"


class Trouble:
    """What one statement has met so far, and how long it goes on trying.

    Args:
        url: The database, for messages.
        reads: The statement writes nothing: it may be sent as often as one likes.
        patience: Seconds to go on.
        connections: That may have to be tried one after the other.
    """

    __slots__ = ("_connections", "_deadline", "_pause", "_reads", "_reprepared", "_url")

    def __init__(self, url: PostgresURL, *, reads: bool, patience: float, connections: int) -> None:
        self._url = url
        self._reads = reads
        self._connections = connections
        self._deadline = time.monotonic() + patience
        self._pause = 0.0
        self._reprepared = 0

    def pause_after(self, error: psycopg.Error, wire: Wire, statement: Statement | None) -> float:
        """Seconds after which the statement may be sent again.

        Raises:
            psycopg.Error: A value is to blame: whoever made the statement knows which.
            FSMError: It may not, or has been tried for long enough.

        Args:
            error: What it met.
            wire: The connection it was sent over.
            statement: None for several.
        """
        if blames_a_row(error):
            raise error
        if self._may_resend(error, wire, statement) and time.monotonic() < self._deadline:
            pause = self._pause
            self._pause = min(pause * 2 or _SOON, _LONGEST)
            return pause * (0.5 + random.random())  # noqa: S311 - spreads those who met once
        certain = self._reads or error.sqlstate == _READ_ONLY or is_certain(error, wire)
        raise self.told(error, written=False if certain else None) from error

    def _may_resend(self, error: psycopg.Error, wire: Wire, statement: Statement | None) -> bool:
        if statement and error.sqlstate in UNKNOWN_STATEMENT and not wire.is_lost():
            again = self._prepares_again(error, wire, statement)
            # Poolers say so of a statement that they do not know, but also of much else.
            unsure = error.sqlstate == _PROTOCOL_VIOLATION and wire.sent and not self._reads
            return again and not unsure
        if error.sqlstate in _AGAIN:
            return True
        if error.sqlstate == _READ_ONLY:
            # A server that lost its office: a new connection may find the one that has it now.
            wire.pgconn.finish()
            self._connections -= 1
            return self._connections >= 0
        if isinstance(error, LateError):
            return False
        return wire.is_lost() and (self._reads or not wire.sent)

    def _prepares_again(self, error: psycopg.Error, wire: Wire, statement: Statement) -> bool:
        self._reprepared += 1
        if error.sqlstate == "42P05":
            wire.prepared[statement.name] = wire.name_of(statement)
        else:
            wire.forget()
        return wire.prepares and self._reprepared < 4

    def told(self, error: psycopg.Error, *, written: bool | None) -> FSMError:
        """Our error."""
        if isinstance(error, LateError):
            context: dict[str, object] = {"database": str(self._url)}
            if written is not None:
                context["written"] = written
            return StoreUnavailableError(
                f"{self._url}: the server did not answer in time; see pg_stat_activity, or give "
                "the store a longer timeout",
                context=context,
            )
        return translate(error, self._url, written=written)


def is_certain(error: psycopg.Error, wire: Wire) -> bool:
    """Nothing was written: the server said no and lives on, or was not asked."""
    if not wire.sent:
        return True
    if wire.is_lost() or not wire.is_clean():
        return False
    state = error.sqlstate or ""
    if state[:2] in _UNSURE or state == _COMPLETION_UNKNOWN:
        return False
    return error.sqlstate is not None or isinstance(error, LateError)
