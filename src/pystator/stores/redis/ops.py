"""What the Redis store asks of its server.

An operation is a generator: it yields a `Request` and is sent the replies, one for each of its
commands, in order. Nothing here does I/O: the store runs it, over both faces.

Replies are ``None``, ``int``, ``str`` and lists of these.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from hiredis import pack_command  # pyright: ignore[reportUnknownVariableType] # its types lack one

from pystator.records import Entity, HistoryEntry, Loaded, Lookup
from pystator.stores.keys import is_storable
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.rows import ENTITY_FIELDS, Reply, entity_of, entry_of

__all__ = ["FEW", "Command", "One", "Operation", "Request", "chosen", "getting", "loading", "pack"]

T = TypeVar("T")

Command = tuple[int, bytes]
"""A partition, and a command on the wire for the server that has it."""

pack: Final = cast("Callable[[tuple[str | bytes | int, ...]], bytes]", pack_command)
"""``pack(("HGET", key, field))``: a command on the wire."""


class One:
    """A single command, which takes a shorter way than many do."""

    __slots__ = ("command",)

    def __init__(self, partition: int, command: bytes) -> None:
        self.command = (partition, command)

    def __iter__(self) -> Iterator[Command]:
        yield self.command


class Request(NamedTuple):
    """Commands that do not depend on each other.

    Attributes:
        commands: They are packed while those before them are being worked on, if this is a
            generator.
        reads: They write nothing, so that they may be sent as often as one likes.
        blames: A reply may be a `Complaint`, an error of the command itself: whoever made the
            request knows what it means. Otherwise it is raised as the caller's error.
    """

    commands: Iterable[Command]
    reads: bool
    blames: bool = False


def chosen(machines: Sequence[str] | None) -> tuple[str, ...]:
    """The machines that are asked for, None for all, as scripts take them at their end."""
    return ("",) if machines is None else ("1", *filter(is_storable, machines))


FEW: Final = 4
"""Lookups and commits that are packed before the first is sent."""

Operation = Generator[Request, Any, T]
"""Yields requests, is sent a list of replies for each, and ends in its answer."""


# Loading ------------------------------------------------------------------------------------------

_GET: Final = b"*%d\r\n$5\r\nHMGET\r\n" % (len(ENTITY_FIELDS) + 2)
_FIELDS: Final = b"".join(b"$%d\r\n%b\r\n" % (len(f), f.encode()) for f in ENTITY_FIELDS)


def getting(key: str) -> bytes:
    """The command that reads an entity's hash."""
    name = key.encode()
    return b"%b$%d\r\n%b\r\n%b" % (_GET, len(name), name, _FIELDS)


def loading(layout: Layout, lookups: Sequence[Lookup]) -> Operation[list[Loaded]]:
    """Entities and known event ids, in the order of the lookups."""
    return (yield from _Load(layout, lookups).run())


class _Load:
    """Many lookups: one round trip, and a second one for what few of them find.

    That is an entity of a machine that was not the first under its id, and the rows of event ids
    that are known. Reading an id after its entity never misses one: at worst it finds the id of a
    later change, and that is what the caller asks for.
    """

    def __init__(self, layout: Layout, lookups: Sequence[Lookup]) -> None:
        self._layout = layout
        self._lookups = lookups
        self._places = [
            place
            for place, lookup in enumerate(lookups)
            if is_storable(lookup.entity_id, lookup.machine_name)
        ]
        self._found: list[Entity | None] = [None] * len(lookups)
        self._known: dict[int, dict[str, HistoryEntry]] = {}
        self._more: list[tuple[int, str | None, Command]] = []

    def run(self) -> Operation[list[Loaded]]:
        """The answers."""
        if self._places:
            first = self._first()
            are_few = len(self._lookups) < FEW
            replies: list[Reply] = yield Request(list(first) if are_few else first, reads=True)
            self._take(iter(replies))
        if self._more:
            replies = yield Request([command for _, _, command in self._more], reads=True)
            self._take_more(replies)
        known = self._known
        return [Loaded(entity, known.get(place, {})) for place, entity in enumerate(self._found)]

    def _first(self) -> Iterator[Command]:
        layout = self._layout
        for place in self._places:
            lookup = self._lookups[place]
            entity_id = lookup.entity_id
            partition = layout.partition(entity_id)
            yield partition, getting(layout.entity(entity_id))
            ids = _asked(lookup)
            if ids:
                key = layout.ids(entity_id, lookup.machine_name)
                yield partition, pack(("HMGET", key, *ids))

    def _take(self, replies: Iterator[Reply]) -> None:
        for place in self._places:
            lookup = self._lookups[place]
            reply = next(replies)
            owner = reply[0]
            if owner != lookup.machine_name and owner is not None:
                other = self._layout.other(lookup.entity_id, lookup.machine_name)
                self._ask(place, None, getting(other))
            else:
                self._found[place] = entity_of(lookup.entity_id, reply)
            ids = _asked(lookup)
            if ids:
                for event_id, digits in zip(ids, next(replies), strict=True):
                    if digits is not None:
                        self._ask(place, event_id, self._row(lookup, digits))

    def _row(self, lookup: Lookup, digits: str) -> bytes:
        key = self._layout.history(lookup.entity_id, lookup.machine_name)
        packed: bytes = pack(("ZRANGEBYLEX", key, f"[{digits}", "+", "LIMIT", 0, 1))
        return packed

    def _ask(self, place: int, event_id: str | None, command: bytes) -> None:
        partition = self._layout.partition(self._lookups[place].entity_id)
        self._more.append((place, event_id, (partition, command)))

    def _take_more(self, replies: list[Reply]) -> None:
        for (place, event_id, _), reply in zip(self._more, replies, strict=True):
            lookup = self._lookups[place]
            if event_id is None:
                self._found[place] = entity_of(lookup.entity_id, reply)
            elif reply:
                row = entry_of(lookup.entity_id, lookup.machine_name, reply[0])
                if row.event_id == event_id:  # else it was pruned in between
                    self._known.setdefault(place, {})[event_id] = row


def _asked(lookup: Lookup) -> list[str]:
    """The event ids that can be there."""
    return [each for each in lookup.event_ids if is_storable(each)]
