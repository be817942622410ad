"""Names that stores write: what is checked before a write, commit ids, cursors and request hashes.

Laws:

- Every text of ours that reaches a column has passed a check here, so that no driver is the first
  to say no. The same checks guard the memory store.
- Commit ids of one process only ever grow, also when the clock goes back.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from time import time_ns
from typing import Any, Final, TypeVar
from unicodedata import category

from pystator.errors import InvalidValueError
from pystator.records import UNARCHIVE, Commit, Page
from pystator.stores.codec import encode, is_flat
from pystator.stores.refusals import kind_of

__all__ = [
    "NAME_LENGTH",
    "STATE_LENGTH",
    "check_commit",
    "check_entity_id",
    "check_event_id",
    "check_machine_name",
    "check_state",
    "check_text",
    "is_storable",
    "names_asked",
    "new_commit_id",
    "page_of",
    "read_cursor",
    "request_hash",
    "rows_asked",
    "write_cursor",
]

T = TypeVar("T")

NAME_LENGTH: Final = 255
"""Characters of an entity id, a machine's name, an event id, a trigger or an actor."""

STATE_LENGTH: Final = 10_000
"""Characters of a configuration."""

_LARGEST: Final = 2**63 - 1
"""The largest number that a row's place can have."""

_MOST: Final = 2**31
"""Rows of one page: more than anybody has room for, and a number to every database."""

_checked: set[str] = set()
"""States, triggers and machines' names that passed: there are few of them, and they come back."""


# Checks -------------------------------------------------------------------------------------------


def check_entity_id(entity_id: Any) -> str:
    """An entity id: 1 to 255 characters, none of them a control character or a surrogate.

    Raises:
        InvalidValueError: It is none.
    """
    return _check(entity_id, "entity id", 1, NAME_LENGTH)


def check_event_id(event_id: Any) -> str:
    """An event id: as an entity id.

    Raises:
        InvalidValueError: It is none.
    """
    return _check(event_id, "event id", 1, NAME_LENGTH)


def check_machine_name(machine_name: Any) -> str:
    """A machine's name: at most 255 characters, empty for entities of no machine.

    Raises:
        InvalidValueError: It is none.
    """
    return _check_known(machine_name, "machine name", 0, NAME_LENGTH)


def check_state(state: Any) -> str:
    """A configuration: 1 to 10,000 characters.

    Raises:
        InvalidValueError: It is none.
    """
    return _check_known(state, "state", 1, STATE_LENGTH)


def check_text(text: Any, what: str) -> str:
    """A text of at most 255 characters, for people.

    Raises:
        InvalidValueError: It is none.
    """
    return _check(text, what, 0, NAME_LENGTH)


def is_storable(*texts: str | None) -> bool:
    """None of the texts has what no stored one has, and what no driver takes."""
    return all(
        text is None
        or text.isprintable()
        or not any(category(character) in {"Cc", "Cs"} for character in text)
        for text in texts
    )


def check_commit(commit: Commit, *, known: bool = False) -> None:  # noqa: C901, PLR0912 - hot
    """What can be said about a commit without looking at the store; contexts are the codec's.

    Args:
        commit: The commit.
        known: Its key is one the store has: it passed before.

    Raises:
        InvalidValueError: It cannot be stored.
    """
    if not known:
        check_entity_id(commit.entity_id)
        check_machine_name(commit.machine_name)
    checked = _checked
    if commit.new_version != commit.expected_version:
        if commit.state is not None and commit.state not in checked:
            check_state(commit.state)
        if not 0 < commit.expected_version < commit.new_version or not commit.entries:
            _check_change(commit)
        if commit.archived_at is not None:
            _check_archived(commit.archived_at)
    for entry in commit.entries:
        if entry.trigger is not None and entry.trigger not in checked:
            _check_known(entry.trigger, "trigger", 0, NAME_LENGTH)
        if entry.source_state is not None and entry.source_state not in checked:
            check_state(entry.source_state)
        if entry.target_state is not None and entry.target_state not in checked:
            check_state(entry.target_state)
        if entry.event_id is not None:
            check_event_id(entry.event_id)
        if entry.actor is not None:
            _check(entry.actor, "actor", 0, NAME_LENGTH)
        if entry.error_message is not None and not entry.error_message.isascii():
            _check_unicode(entry.error_message, "error message")
        if entry.trace is not None:
            check_text(entry.trace, "trace")


def _check_archived(at: Any) -> None:
    if kind_of(at) is not int or not UNARCHIVE <= at <= _LARGEST:
        raise _refused(
            "commit", at, "archived_at is a time in microseconds since 1970, or UNARCHIVE"
        )


def _check_change(commit: Commit) -> None:
    if not 0 <= commit.expected_version < commit.new_version:
        raise _refused(
            "commit",
            commit.new_version,
            f"its new version must be more than {commit.expected_version}, the one it expects",
        )
    if commit.expected_version == 0 and (commit.state is None or commit.context is None):
        raise _refused("commit", commit.entity_id, "a new entity brings its state and its context")
    if not commit.entries:
        raise _refused("commit", commit.entity_id, "every change of an entity writes a history row")


def _check_known(text: Any, what: str, least: int, most: int) -> str:
    checked = _check(text, what, least, most)
    if 0 < len(checked) <= NAME_LENGTH:  # so that what is known fits everywhere
        if len(_checked) >= 4_096:
            _checked.clear()
        _checked.add(checked)
    return checked


def _check(text: Any, what: str, least: int, most: int) -> str:
    if type(text) is str and least <= len(text) <= most and text.isprintable():
        return text
    if not isinstance(text, str):
        raise _refused(what, text, f"it is of type {type(text).__name__}, not a string")
    if not least <= len(text) <= most:
        raise _refused(what, text, f"it has {len(text)} characters; {least} to {most} are allowed")
    for position, character in enumerate(text):
        if category(character) in {"Cc", "Cs"}:
            kind = "a control character" if category(character) == "Cc" else "a lone surrogate"
            raise _refused(what, text, f"character {position} is {kind}, {character!a}")
    return str.__str__(text)


def _check_unicode(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused(what, text, f"character {error.start} is a lone surrogate") from None


def _refused(what: str, value: Any, why: str) -> InvalidValueError:
    shown = ascii(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return InvalidValueError(
        f"the {what} {shown} cannot be stored: {why}",
        context={"what": what, "value": shown},
    )


# Commit ids ---------------------------------------------------------------------------------------


class _CommitIds:
    """UUIDs of version 7: milliseconds, then 26 bits of this process, then a counter.

    The counter has twelve digits, decimal ones, which cost a third of hexadecimal ones, and never
    starts again, so that ids of one millisecond grow as well; where it starts and the process bits
    are random, so that processes that start together do not meet.
    """

    __slots__ = ("millisecond", "numbers", "process", "start")

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        seed = int.from_bytes(os.urandom(10))
        self.process = f"7{seed & 0xFFF:03x}-{0x8000 | (seed >> 12) & 0x3FFF:04x}"
        self.numbers = map(str, count(10**11 + (seed >> 26) % (8 * 10**11)))
        self.millisecond = 0
        self.start = ""


_ids: Final = _CommitIds()
if hasattr(os, "register_at_fork"):  # a forked child would repeat its parent's ids
    os.register_at_fork(after_in_child=_ids.reseed)


def new_commit_id(now: int | None = None) -> str:
    """A UUIDv7 as text, greater than every earlier one of this process.

    Args:
        now: The wall clock in microseconds, where the caller has just read it.
    """
    ids = _ids
    millisecond = (time_ns() // 1_000 if now is None else now) // 1_000
    if millisecond > ids.millisecond:
        clock = f"{millisecond:012x}"
        ids.start = f"{clock[:8]}-{clock[8:]}-{ids.process}-"
        ids.millisecond = millisecond
    return ids.start + next(ids.numbers)


# Cursors and hashes -------------------------------------------------------------------------------


def rows_asked(limit: object) -> int:
    """The rows of a page at most: none when a number below zero is asked for.

    Raises:
        InvalidValueError: It is no number of rows.
    """
    if not isinstance(limit, int):
        raise InvalidValueError(
            f"limit= is a whole number of rows, not {limit!r}", context={"limit": repr(limit)}
        )
    return min(max(limit, 0), _MOST)


def names_asked(names: Iterable[Any] | None) -> tuple[str, ...] | None:
    """The machines' names of a query, each once and in order; those that nothing has are left out.

    Raises:
        InvalidValueError: That is no sequence of texts, or one text: a name that lost its brackets.
    """
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidValueError(
            f"machine_names is a sequence of names, e.g. ['order'], not {names!r:.80}",
            context={"machine_names": repr(names)[:80]},
        )
    return tuple(sorted({name for name in names if is_storable(name)}))


def write_cursor(kind: str, *parts: str | int) -> str:
    """A cursor: where a keyset-paged read of this kind goes on. Opaque to callers."""
    text = json.dumps([kind, *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")


def read_cursor(kind: str, cursor: str, *types: type) -> tuple[Any, ...]:
    """The parts of a cursor of this kind.

    Args:
        kind: The read it must be of.
        cursor: What `write_cursor` gave.
        types: The type of each part.

    Raises:
        InvalidValueError: It is not a cursor of this read.
    """
    parts: list[Any] = []
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = list(json.loads(raw))
    except (ValueError, TypeError):
        pass  # the check below says it
    kinds = [kind_of(part) for part in parts]
    if (
        kinds != [str, *types]
        or parts[0] != kind
        or any(type(part) is int and not 0 <= part <= _LARGEST for part in parts)
        or not is_storable(*(part for part in parts if type(part) is str))
    ):
        raise InvalidValueError(
            f"{ascii(cursor)[:60]} is not a cursor of this read; give it an earlier page's `next`",
            context={"cursor": ascii(cursor)[:60], "kind": kind},
        )
    return tuple(parts[1:])


def page_of(found: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` of the found, which are one more where there is a next page."""
    items = list(found[:limit])
    return Page(items, cursor(items[-1]) if len(found) > limit and items else None)


def request_hash(trigger: str | None, payload: Mapping[str, Any] | None) -> str:
    """32 hexadecimal digits that tell a retry from another event under the same id.

    Raises:
        InvalidValueError: The payload cannot be stored.
    """
    plain: Any = dict(payload) if payload else {}
    if not is_flat(plain):
        plain = json.loads(encode(plain, name="payload"))
    text = _sorted([trigger, plain])
    return blake2b(text.encode(), digest_size=16).hexdigest()


_sorted: Final = json.JSONEncoder(sort_keys=True).encode
"""A retry may list the same fields in another order."""
