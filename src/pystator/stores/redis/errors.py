"""What an error of Redis means for the commands that met it: send them again, or tell whom what.

Laws:

- A command that is answered by an error has written nothing: our scripts read every key first. The
  one exception is an error that nobody foresaw: it leaves a write unknown.
- A connection that is lost after something was sent leaves a write unknown. It is never guessed,
  and never sent again from here: whoever has the commit's id can find out.
- Where a server only has to be waited for, it is, for as long as an answer.
"""

import random
import re
import time
from typing import Final

from redis import exceptions

from pystator.db.redis_url import RedisURL
from pystator.errors import FSMError, ReplicationError, SchemaError, StoreUnavailableError

__all__ = ["LOST", "Complaint", "Trouble", "translate"]


class Complaint(Exception):  # noqa: N818 - a reply, which is raised nowhere
    """A reply that is an error.

    Attributes:
        text: What the server says.
        code: Its first word, or that of the error which a script met.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        inner = _IN_SCRIPT.search(text)
        self.code = (inner[1] if inner else text).partition(" ")[0]


_IN_SCRIPT: Final = re.compile(
    r"^ERR Error running script.*?@user_script: ?\d+: -?([A-Z]+ .*)", re.DOTALL
)
"""Servers before 7 put what a command said behind where the script said it."""

LOST: Final = (OSError, EOFError, exceptions.RedisError)
"""What a connection can meet; the driver's errors come when it is made."""

WAIT: Final = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "READONLY", "MOVING"}
)
"""The same command may succeed in a moment, perhaps elsewhere."""

_MOVING: Final = "attempted to access a non local key"
"""A cluster is just moving the slot."""

_UNTOUCHED: Final = frozenset({"ERR", "UNKILLABLE", "EXECABORT"})
"""Codes that say nothing about what was written."""

_FINAL: Final = (TimeoutError, BlockingIOError, exceptions.AuthenticationError, FSMError)
"""The time is up already, or waiting does not help."""

_SOON: Final = 0.002
_LONGEST: Final = 0.25


def may_wait(complaint: Complaint) -> bool:
    """It may succeed in a moment."""
    return complaint.code in WAIT or _MOVING in complaint.text


class Trouble:
    """What a request has met so far, and how long it goes on trying.

    Args:
        url: The server, for messages.
        reads: The request writes nothing.
        patience: Seconds to go on.
    """

    __slots__ = ("_deadline", "_pause", "_url", "reads")

    def __init__(self, url: RedisURL, *, reads: bool, patience: float) -> None:
        self._url = url
        self._deadline = time.monotonic() + patience
        self._pause = 0.0
        self.reads = reads

    def pause_after(self, error: Exception, *, wrote: bool) -> float:
        """Seconds after which to try again.

        Args:
            error: Why.
            wrote: A part of the request was written.

        Raises:
            FSMError: It was tried for long enough.
        """
        if isinstance(error, _FINAL) or time.monotonic() > self._deadline:
            raise self.told(error, written=None if wrote else False) from error
        pause = self._pause
        self._pause = min(pause * 2 or _SOON, _LONGEST)
        return pause * (0.5 + random.random())  # noqa: S311 - spreads those who met once

    def told(self, error: Exception, *, written: bool | None) -> FSMError:
        """Our error; ``written`` is of the whole request, whatever the command that failed says."""
        ours = translate(error, self._url, written=False if self.reads else written)
        if written is None and not self.reads:
            ours.context.pop("written", None)
        return ours


# Words --------------------------------------------------------------------------------------------


def translate(error: Exception, url: RedisURL, *, written: bool | None = None) -> FSMError:
    """Our error for one of the server's, of the driver's or of the system's.

    Args:
        error: What was met.
        url: The server, for the message; what it keeps secret is in no message.
        written: False when it is certain that nothing was written; None when that is not known.
    """
    if isinstance(error, FSMError):
        if written is None:
            error.context.pop("written", None)
        return error
    text = error.text if isinstance(error, Complaint) else str(error)
    first = url.scrub(text.strip()).partition("\n")[0] or type(error).__name__
    code = error.code if isinstance(error, Complaint) else ""
    context: dict[str, object] = {"server": str(url)}
    if code:
        context["code"] = code
        if code not in _UNTOUCHED:
            written = False
    if written is not None:
        context["written"] = written
    if code == "EPOCH":
        return ReplicationError(
            f"{url}: the data belongs to another epoch ({first}), nothing was written: connect the"
            " store again, which says what happened and what to do",
            context=context,
        )
    if code in {"WRONGTYPE", "FOREIGN"}:
        return SchemaError(
            f"{url}: {first}: something else uses keys of ours; give the store another key_prefix=,"
            " or move that key away",
            context=context,
        )
    why = _by_code(code, first) if code else _by_words(error, first)
    return StoreUnavailableError(f"{url}: {why}", context=context)


_RIGHTS: Final = (
    "give them +@read +@write +@scripting +@connection +info +config|get +cluster and"
    " ~pystator:* ~{pystator:*"
)

_CODES: Final = {
    "OOM": "the server has no memory left (see maxmemory): give it more, or prune history; nothing"
    " was written",
    "MISCONF": "the server cannot save to its disk and takes no writes ({first})",
    "READONLY": "the server is a replica and takes no writes: name the primary, or wait until the"
    " failover is over",
    "MASTERDOWN": "the server is a replica that has lost its primary",
    "NOREPLICAS": "too few replicas follow the server for it to take writes"
    " (see min-replicas-to-write)",
    "LOADING": "the server is loading its data; try again",
    "BUSY": "the server has been busy with somebody's script all the time; see SCRIPT KILL",
    "CLUSTERDOWN": "the cluster is down: some of its slots have no node ({first})",
    **dict.fromkeys(
        ("TRYAGAIN", "ASK", "MOVED"),
        "the cluster is moving the slot of this entity to another node; try again when it is done",
    ),
    "NOAUTH": "the server wants a password: write it into the URL,"
    " redis://user:password@host:6379/0",
    "WRONGPASS": "the user's name or the password is wrong",
    "NOPERM": "the user has too few rights ({first}): " + _RIGHTS,
}

_WORDS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        (r"NOAUTH|authentication required", _CODES["NOAUTH"]),
        (r"invalid username-password|WRONGPASS|invalid password", _CODES["WRONGPASS"]),
        (
            r"without any password configured",
            "the server has no password, and the URL gives one: leave it out",
        ),
        (r"NOPERM|no permissions", _CODES["NOPERM"]),
        (r"DB index is out of range|invalid DB index", "the server has no database of this number"),
        (r"max number of clients", "the server has no connection left: see its maxclients"),
        (r"loading the dataset", _CODES["LOADING"]),
        (
            r"name or service not known|nodename nor servname|name resolution|no address",
            "nobody knows a host of this name ({first})",
        ),
        (
            r"timed? ?out|timeout",
            "it did not answer in time: is it overloaded or out of reach? A longer timeout= waits",
        ),
        (
            r"refused|No such file or directory",
            "no server answers there: is Redis running, are host and port right? ({first})",
        ),
        (r"wrong version number|SSL|certificate", "TLS failed ({first})"),
        (
            r"protocol error|invalid response",
            "what answers there is no Redis ({first})",
        ),
    )
)


def _by_code(code: str, first: str) -> str:
    sentence = _CODES.get(code)
    return first if sentence is None else sentence.replace("{first}", first)


def _by_words(error: Exception, first: str) -> str:
    if isinstance(error, TimeoutError | BlockingIOError):
        first = f"timeout: {first}"
    for pattern, sentence in _WORDS:
        if pattern.search(first):
            return sentence.replace("{first}", first)
    return f"the connection was lost ({first})"
