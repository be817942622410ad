"""Reads of the store in memory."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from heapq import heappop, heappush
from typing import Any

from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.cursors import Cursors
from pystator.stores.keys import names_asked, page_of, read_cursor, rows_asked, write_cursor
from pystator.stores.memory.restoring import RestorableMemory
from pystator.stores.memory.slots import Line, Slot, entity_of, place_of, row_of
from pystator.stores.programs import long_ago, the_machine

__all__ = ["ReadableMemory"]


class ReadableMemory(RestorableMemory):
    """Queries, pages and the feed, over what `InMemoryStateStore` keeps."""

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        with self._lock:
            return [slot.key[1] for slot in self._slots_of(entity_id) if slot.version]

    def _slots_of(self, entity_id: str) -> list[Slot]:
        """Those of an id in which there is something; an interrupted commit may leave others."""
        found = [self._slots.get((entity_id, name)) for name in self._machines.get(entity_id, ())]
        return [slot for slot in found if slot is not None and (slot.version or slot.lines)]

    def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """The entity's rows in the order ``(version, id)``, keyset-paged.

        Raises:
            AmbiguousEntityError: No machine is named, and several have rows of this id.
        """
        limit = rows_asked(limit)
        place = None if after is None else read_cursor("history", after, int, int)
        with self._lock:
            machine = self._machine(machine_name)
            if machine is None:
                names = [slot.key[1] for slot in self._slots_of(entity_id)]
                machine = the_machine(entity_id, names)
            slot = None if machine is None else self._slots.get((entity_id, machine))
            lines = [] if slot is None else slot.lines
            if place is not None and newest_first:
                lines = [line for line in lines if place_of(line) < place]
            elif place is not None:
                lines = lines[bisect_right(lines, place, key=place_of) :]
            found = lines[: -limit - 2 : -1] if newest_first else lines[: limit + 1]
        return page_of(
            [row_of(line) for line in found],
            limit,
            lambda row: write_cursor("history", row.version, row.id),
        )

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """Entities in key order, keyset-paged; ``state`` is an active leaf or a configuration.

        Raises:
            InvalidValueError: ``in_state_longer_than`` is no duration, or ``after`` no cursor.
        """
        limit = rows_asked(limit)
        place = None if after is None else read_cursor("entities", after, str, str)
        names = self._names(machine_name, machine_names)
        since = long_ago(self.now, in_state_longer_than)
        found: list[Entity] = []
        with self._lock:
            for key in self._keys_after(place):
                slot = self._slots[key]
                if not _is_asked(slot, names, archived):
                    continue
                if state is not None and state != slot.state and state not in slot.state.split("+"):
                    continue
                if since is not None and slot.state_since >= since:
                    continue
                found.append(entity_of(slot))
                if len(found) > limit:
                    break
        return page_of(found, limit, lambda entity: write_cursor("entities", *entity.key))

    def _keys_after(self, place: tuple[Any, ...] | None) -> Iterator[Key]:
        order = self._order
        if order is None:
            order = self._order = sorted(key for key, slot in self._slots.items() if slot.version)
        start = 0 if place is None else bisect_right(order, place)
        for index in range(start, len(order)):
            yield order[index]

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """Configuration -> number of entities."""
        names = self._names(machine_name, machine_names)
        with self._lock:
            return dict(
                Counter(
                    slot.state
                    for slot in self._slots.values()
                    if slot.version and _is_asked(slot, names, archived)
                )
            )

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        limit = rows_asked(limit)
        machine = self._machine(machine_name)
        with self._lock:
            names = list(self._due) if machine is None else [machine]
            found = [each for name in names for each in self._due_of(name, now, limit)]
        found.sort()
        return [key for _, key in found[:limit]]

    def _due_of(self, machine: str, now: int, limit: int) -> list[tuple[int, Key]]:
        heap = self._due.get(machine, [])
        found: dict[Key, int] = {}
        while heap and len(found) < limit and heap[0][0] <= now:
            due, entity_id = heappop(heap)
            key = (entity_id, machine)
            slot = self._slots[key]
            if slot.next_due == due and slot.archived_at is None:  # else it is no longer true
                found[key] = due
        for key, due in found.items():
            heappush(heap, (due, key[0]))
        return [(due, key) for key, due in found.items()]

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in the order of their commits."""
        limit = rows_asked(limit)
        start: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
        names = names_asked(machine_names)
        lines: list[Line] = []
        with self._lock:
            for index in range(start, len(self._feed) if limit else 0):
                line = self._feed[index]
                if line is None or (names is not None and line[2].key[1] not in names):
                    continue
                if entity_id is None or line[2].key[0] == entity_id:
                    lines.append(line)
                    if len(lines) == limit:
                        break
            last = len(self._feed)
        if len(lines) == limit:
            last = lines[-1][1] if lines else start
        cursors = Cursors("feed", [(line[1],) for line in lines])
        end = write_cursor("feed", max(last, start))
        return Page([row_of(line) for line in lines], end, cursors)

    def feed_end(self) -> str:
        """The feed's cursor after everything that is there now."""
        return write_cursor("feed", len(self._feed))


def _is_asked(slot: Slot, names: tuple[str, ...] | None, archived: bool) -> bool:
    """A query for entities of these machines means this one."""
    return (slot.archived_at is not None) is archived and (names is None or slot.key[1] in names)
