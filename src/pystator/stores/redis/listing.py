"""Entities of the Redis store in the order of their keys, as an operation.

::

    states that fit      from the set of those in use
      their ids          next ones of each, from an index in the order of ids; of those, where that
                         is asked, the ones that are long enough in their state
        keys             merged, up to where all of them are known      <- one script, one moment
          entities       loaded, and looked at again: one may have moved on since

An entity that fits all the time is always found: it is in one of the states when they are looked
at. So a page costs the same at the start and at the end, and whether one entity in ten is in the
state or one in a million; what it costs more is a look at each configuration that is in use. Who
asks for those that are long in their state has each entity of it looked at: an index of its own
would cost every commit a fifth more.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pystator.records import Entity, Key, Lookup, Page
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.redis.layout import Layout, key_of, member_of
from pystator.stores.redis.merging import Part, Place, Walk
from pystator.stores.redis.ops import Command, Operation, chosen, loading, pack
from pystator.stores.redis.scripts import Script

__all__ = ["LOOKED", "entities"]

LIST: Final = Script("list", "names", "states")

LOOKED: Final = 1_000
"""Entities that are looked at in one script, to see which are long in their state."""

LOADED: Final = 250
"""Entities loaded at once."""


def entities(
    layout: Layout,
    state: str | None,
    machines: Sequence[str] | None,
    since: int | None,
    after: str | None,
    limit: int,
    *,
    archived: bool,
) -> Operation[Page[Entity]]:
    """Entities in the order of their keys."""
    place: Place | None = None
    if after is not None:
        place = read_cursor("entities", after, str, str)
    limit = rows_asked(limit)
    if not is_storable(state):
        return Page([])
    walk: Walk[Key] = _All(layout, place, archived=archived)
    if state is not None or machines is not None or since is not None:
        walk = _Chosen(layout, place, state, machines, since, archived=archived)
    found: list[Entity] = []
    while len(found) <= limit and not walk.is_done:
        keys = yield from walk.next(min(limit + 1 - len(found), LOADED))
        if keys:
            loaded = yield from loading(layout, [Lookup(*key) for key in keys])
            found += [
                each.entity
                for each in loaded
                if each.entity is not None and _fits(each.entity, state, since, archived=archived)
            ]
    items = found[:limit]
    if not items or len(found) <= limit:
        return Page(items)
    return Page(items, write_cursor("entities", *items[-1].key))


def _fits(entity: Entity, state: str | None, since: int | None, *, archived: bool) -> bool:
    if (entity.archived_at is not None) is not archived:
        return False
    if since is not None and entity.state_since >= since:
        return False
    return state is None or state == entity.state or state in entity.state.split("+")


class _All(Walk[Key]):
    """Keys of all entities."""

    width: ClassVar[int] = 2

    def __init__(self, layout: Layout, place: Place | None, *, archived: bool) -> None:
        super().__init__((number, place) for number in layout.partitions)
        self._layout = layout
        self._index = "archived" if archived else "entities"
        self._counts = [0] * len(self.parts)

    def ask(self, part: Part[Key], count: int) -> Command:
        """The next keys of a partition."""
        self._counts[part.number] = count
        key = self._layout.shared(self._index, part.number)
        start = "-" if part.place is None else f"({member_of(*part.place)}"
        return part.number, pack(("ZRANGEBYLEX", key, start, "+", "LIMIT", 0, count))

    def take(self, part: Part[Key], reply: Any) -> None:
        """They are in order."""
        part.found += [key_of(member) for member in reply]
        if part.found:
            part.place = part.found[-1]
        part.is_done = len(reply) < self._counts[part.number]


class _Chosen(Walk[Key]):
    """Keys of the entities that are in a state, of a machine, or long in their state."""

    width: ClassVar[int] = 2

    def __init__(
        self,
        layout: Layout,
        place: Place | None,
        state: str | None,
        machines: Sequence[str] | None,
        since: int | None,
        *,
        archived: bool,
    ) -> None:
        super().__init__((number, place) for number in layout.partitions)
        self._layout = layout
        self._states, self._mark = ("archived-states", "1") if archived else ("states", "")
        self._machines = chosen(machines)
        self._state = ("", "") if state is None else ("1", state)
        self._since = "" if since is None else str(since)

    def ask(self, part: Part[Key], count: int) -> Command:
        """The next keys of a partition."""
        number = part.number
        start = "" if part.place is None else part.place[0]
        arguments = (
            self._layout.pres[number],
            self._mark,
            *self._state,
            start,
            count,
            self._since,
            LOOKED,
            self._layout.opening(number),
            *self._machines,
        )
        return number, LIST.call(self._layout.index(number, self._states), arguments)

    def take(self, part: Part[Key], reply: Any) -> None:
        """Keys of each state, up to where those of all states are known."""
        ends = [(end, machine) for machine, told, end, _ in reply if told == "up"]
        bound = min(ends, default=None)
        start = part.place
        part.found = sorted(
            [
                (entity_id, machine)
                for machine, _, _, ids in reply
                for entity_id in ids
                if (start is None or (entity_id, machine) > start)
                and (bound is None or (entity_id, machine) <= bound)
            ]
        )
        if bound is None:
            part.is_done = True
        else:
            part.place = bound
