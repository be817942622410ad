"""What an error of PyMongo means for the command that met it: try again, or tell whom what.

Laws:

- A command that found no server was not sent. One that a server refused because it is not the
  primary was not executed.
- A command whose connection broke, or that a server which is leaving its office gave up, may have
  been executed: of a write, nobody knows. It is never guessed; `Unanswered` says so, and whoever
  made the write knows how to find out, or to send it again without writing twice.
- The driver itself sends no write twice: all are plain commands, which it does not retry.
"""

import random
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from bson.errors import InvalidDocument
from pymongo import errors as driver
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from pystator.db.mongodb_url import MongoURL
from pystator.errors import (
    ConfigurationError,
    FSMError,
    InvalidValueError,
    SchemaError,
    StoreUnavailableError,
)

__all__ = [
    "LEAVING",
    "UNSENDABLE",
    "ClosedError",
    "Trouble",
    "Unanswered",
    "check_reply",
    "refused",
    "translate",
]

UNSENDABLE: Final = (OverflowError, UnicodeEncodeError, InvalidDocument)
"""What encoding a command raises: nothing of it was sent."""

_NOT_PRIMARY: Final = frozenset({10107, 13435, 13436, 10058})
"""Not executed: ask who is the primary."""

LEAVING: Final = frozenset({6, 7, 89, 91, 189, 234, 262, 9001, 11600, 11602}) | _NOT_PRIMARY
"""The server is leaving its office, or lost another one: what it did is not known."""

_AGAIN: Final = frozenset({43, 112, 134, 175, 237})
"""A cursor was lost, documents were busy, a new primary does not know yet what a majority has: a
read may be sent again."""

_VALUES: Final = frozenset({2, 9, 14, 17, 22, 121, 10334, 11000, 17280, 17419, 17420})
"""The server does not take a value: it will not take it later either."""

_SOON: Final = 0.002
_LONGEST: Final = 0.25


class ClosedError(Exception):
    """The client was closed by somebody else before the command was sent."""


class Unanswered(Exception):  # noqa: N818 - it is no error of ours: nobody sees it but operations
    """A write of which nobody knows whether it was written.

    Attributes:
        told: The error for who cannot find out.
        is_lost: The connection broke or the server left: another try may succeed soon.
    """

    def __init__(self, told: FSMError, *, is_lost: bool) -> None:
        super().__init__(told.message)
        self.told = told
        self.is_lost = is_lost


class Trouble:
    """What one command has met so far, and how long it goes on trying.

    Args:
        url: The server, for messages.
        reads: The command writes nothing: it may be sent as often as one likes.
        patience: Seconds to go on.
    """

    __slots__ = ("_deadline", "_pause", "_reads", "_url")

    def __init__(self, url: MongoURL, *, reads: bool, patience: float) -> None:
        self._url = url
        self._reads = reads
        self._deadline = time.monotonic() + patience
        self._pause = 0.0

    def pause_after(self, error: PyMongoError) -> float:
        """Seconds after which the command may be sent again.

        Raises:
            ClosedError: The client is closed.
            FSMError: It may not, or has been tried for long enough.
            Unanswered: It is not known whether it was written.
        """
        if isinstance(error, InvalidOperation):
            raise ClosedError from error
        again = code_of(error) in _NOT_PRIMARY or (self._reads and is_passing(error))
        if again and not _waited(error) and time.monotonic() < self._deadline:
            pause = self._pause
            self._pause = min(pause * 2 or _SOON, _LONGEST)
            return pause * (0.5 + random.random())  # noqa: S311 - spreads those who met once
        if self._reads or is_unsent(error):
            raise translate(error, self._url, written=False) from error
        told = translate(error, self._url)
        is_lost = is_passing(error) and not isinstance(error, NetworkTimeout)
        raise Unanswered(told, is_lost=is_lost) from error


def is_unsent(error: PyMongoError) -> bool:
    """The command was certainly not executed."""
    if _waited(error):
        return True
    if isinstance(error, OperationFailure | NotPrimaryError):
        return code_of(error) in _NOT_PRIMARY or code_of(error) in _REFUSED
    return False


def is_passing(error: PyMongoError) -> bool:
    """It may go by: a connection that broke, a server that left its office."""
    return isinstance(error, ConnectionFailure) or code_of(error) in LEAVING | _AGAIN


def code_of(error: PyMongoError) -> int | None:
    """The server's code."""
    if isinstance(error, OperationFailure):
        return error.code
    if isinstance(error, NotPrimaryError):
        code = error.details.get("code") if isinstance(error.details, Mapping) else None
        return code if isinstance(code, int) else None
    return None


def _waited(error: PyMongoError) -> bool:
    """It was waited for a server, or for a connection, for as long as is allowed."""
    return isinstance(error, ServerSelectionTimeoutError | WaitQueueTimeoutError)


# Replies ------------------------------------------------------------------------------------------


def check_reply(reply: Mapping[str, Any], url: MongoURL) -> None:
    """See that what was written is as safe as was asked for.

    Raises:
        Unanswered: It is not, or not yet.
    """
    found = reply.get("writeConcernError")
    if found is None:
        return
    code = found.get("code")
    text = url.scrub(str(found.get("errmsg", "")))
    why = _CONCERNS.get(code, "the server does not know that it is safe ({0}); try again")
    told = StoreUnavailableError(
        f"{url}: {why.format(text)}", context={"database": str(url), "code": code}
    )
    raise Unanswered(told, is_lost=code in LEAVING)


_CONCERNS: Final = {
    64: (
        "written, but not confirmed by enough members of the replica set in time ({0}): are they"
        " up, and do they keep up?"
    ),
    79: "the URL asks for a write concern that the replica set does not know ({0})",
    100: "the URL asks for more members to confirm a write (w=) than the replica set has ({0})",
}


def refused(error: Mapping[str, Any]) -> FSMError:
    """Why one statement of a write was refused, while others may have been executed.

    Of a disk that is full, a lock, or whatever else goes by, a value is not to blame: who is told
    tries again.

    Args:
        error: One of the reply's ``writeErrors``.
    """
    code, text = error.get("code"), str(error.get("errmsg", ""))[:200]
    if code in _VALUES:
        return InvalidValueError(f"the server does not store it: {text}", context={"code": code})
    return StoreUnavailableError(
        f"the server could not write it ({text}); try again, or see its log",
        context={"code": code, "written": False},
    )


# Errors -------------------------------------------------------------------------------------------


def translate(error: PyMongoError, url: MongoURL, *, written: bool | None = None) -> FSMError:
    """Our error for one of PyMongo's.

    Args:
        error: PyMongo's.
        url: The server, for the message; what it keeps secret is in no message.
        written: False when it is certain that nothing was written; None when that is not known.
    """
    text = url.scrub(str(error)).strip()
    first = _first(text) or type(error).__name__
    code = code_of(error)
    context: dict[str, object] = {"database": str(url), "code": code}
    if isinstance(error, driver.ConfigurationError):
        return ConfigurationError(f"{url}: {first}", context=context)
    if written is not None:
        context["written"] = written
    if code in _SCHEMA:
        return SchemaError(
            f"{url}: an index is not what this release needs ({first}): drop it, and connect again",
            context=context,
        )
    why = _CODES.get(code or 0, "").format(first) or _by_kind(error, text, first)
    return StoreUnavailableError(f"{url}: {why}", context=context)


def _first(text: str) -> str:
    """What people need of a message: PyMongo adds its settings, the topology, the reply."""
    for end in (", full error:", " (configured timeouts:", ", Timeout:", ", Topology Description:"):
        text = text.partition(end)[0]
    return text.partition("\n")[0]


_REFUSED: Final = frozenset({13, 18, 59, 8000})
"""Not authorized, authentication failed, no such command, Atlas says no: not executed."""

_SCHEMA: Final = frozenset({67, 85, 86})
"""An index of this name is another one, or cannot be made."""

_CODES: Final = {
    13: "the user may not do that ({0}): it needs the role readWrite on the database",
    18: (
        "the user or the password is wrong, or the user is of another database: add"
        " ?authSource=admin to the URL where users are kept there"
    ),
    50: "the server gave up after maxTimeMS ({0})",
    8000: "the server refuses: {0}",
    10107: "the replica set has no primary at the moment ({0}); try again",
    11600: "the server is shutting down",
}

_WORDS: Final = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (
            r"Connection refused|No such file or directory|\[Errno 111\]",
            "no server answers there: is MongoDB running, are host and port right? ({0})",
        ),
        (
            r"[Nn]ame or service not known|nodename nor servname|Temporary failure in name",
            "nobody knows a host of this name ({0})",
        ),
        (
            r"DNS|does not exist|resolution lifetime",
            "the name could not be looked up ({0})",
        ),
        (
            r"SSL|TLS|certificate",
            "there is no secure connection: see the options tls, tlsCAFile ({0})",
        ),
        (
            r"[Nn]o primary|ReplicaSetNoPrimary|[Nn]o replica set members",
            (
                "no primary was found: is the replica set's name in the URL right, and is a"
                " majority of its members up? ({0})"
            ),
        ),
        (
            r"timed out|timeout|No servers found yet",
            (
                "it did not answer in time: are host and port right, does a firewall stand"
                " between, is TLS on at one end only? ({0})"
            ),
        ),
    )
)


def _by_kind(error: PyMongoError, text: str, first: str) -> str:
    if isinstance(error, WaitQueueTimeoutError):
        return "all connections were in use for too long: give the store more (pool_size)"
    if isinstance(error, NetworkTimeout):
        return (
            "the server did not answer in time; see db.currentOp(), or give the store a longer"
            " timeout"
        )
    for pattern, sentence in _WORDS:
        if pattern.search(text):
            return sentence.format(first)
    if isinstance(error, AutoReconnect):
        return f"the connection was lost ({first})"
    return first
