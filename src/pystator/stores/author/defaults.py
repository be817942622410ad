"""What follows from what a store has: queries, pages, the feed and the async twins."""

from abc import abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar, Final, Self

from pystator.records import (
    Commit,
    Entity,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    Page,
)
from pystator.stores.columns import next_due
from pystator.stores.facade import StoreFacade
from pystator.stores.immediate import AsideAsync
from pystator.stores.keys import names_asked, page_of, read_cursor, rows_asked, write_cursor
from pystator.stores.programs import long_ago, the_machine

__all__ = ["AuthoredStore"]

_CHUNK: Final = 200
"""Entities that are loaded together."""


class AuthoredStore(AsideAsync, StoreFacade):
    """A native store of which its author writes five methods: two that decide and three reads.

    Everything else looks through all there is, which is right for thousands of entities; override
    what the store can answer faster. Twins run the blocking methods in threads: override them where
    there is an async driver. What the store promises is said by the facts of its class.
    """

    durable: ClassVar[bool] = False
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
    archives: ClassVar[bool] = True
    combines: ClassVar[bool] = False
    in_flight: ClassVar[int] = 1

    # The author's ---------------------------------------------------------------------------------

    @abstractmethod
    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""

    @abstractmethod
    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order. `decide` says what."""

    @abstractmethod
    def keys(self) -> Iterable[Key]:
        """Every key that has an entity or history rows, in any order."""

    @abstractmethod
    def rows(self, key: Key) -> Sequence[HistoryEntry]:
        """The history of a key in the order ``(version, id)``."""

    @abstractmethod
    def rows_after(self, number: int, limit: int) -> Sequence[HistoryEntry]:
        """Rows of all keys whose id is larger than this, in the order of their ids."""

    # Defaults -------------------------------------------------------------------------------------

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Append rows of commits that change nothing: here, at once."""
        self.commit(commits)

    def flush(self) -> None:
        """Nothing waits here."""

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """There is nothing to open."""
        del auto_initialize, validate_schema
        return self

    def disconnect(self) -> None:
        """There is nothing to close."""

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted."""
        keys = sorted(key for key in self.keys() if key[0] == entity_id)
        return [entity.machine_name for entity in self._entities(keys)]

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
        machine = self._machine(machine_name)
        if machine is None:
            names = sorted(name for found, name in self.keys() if found == entity_id)
            machine = the_machine(entity_id, names)
        rows: Sequence[HistoryEntry] = () if machine is None else self.rows((entity_id, machine))
        if newest_first:
            rows = [row for row in reversed(rows) if place is None or _place(row) < place]
        elif place is not None:
            rows = rows[bisect_right(rows, place, key=_place) :]
        return page_of(
            rows[: limit + 1], limit, lambda row: write_cursor("history", row.version, row.id)
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
        since = long_ago(self.now, in_state_longer_than)
        names = self._names(machine_name, machine_names)
        among = self._among(names, archived, place, state, since)
        found = list(islice(among, limit + 1))
        return page_of(found, limit, lambda entity: write_cursor("entities", *entity.key))

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """Configuration -> number of entities."""
        names = self._names(machine_name, machine_names)
        return dict(Counter(entity.state for entity in self._among(names, archived)))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        found = sorted(
            (deadline, entity.key)
            for entity in self._among(self._names(machine_name, None))
            if (deadline := next_due(entity.timers)) is not None and deadline <= now
        )
        return [key for _, key in found[: rows_asked(limit)]]

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """Rows of all entities in the order of their commits."""
        place: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
        names = names_asked(machine_names)
        looked_at = self.rows_after(place, rows_asked(limit))
        rows = [
            row
            for row in looked_at
            if (names is None or row.machine_name in names)
            and (entity_id is None or row.entity_id == entity_id)
        ]
        end = write_cursor("feed", looked_at[-1].id if looked_at else place)
        return Page(rows, end, [write_cursor("feed", row.id) for row in rows])

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have rows, in key order, for a store that can be pruned."""
        keys = sorted(key for key in self.keys() if after is None or key > after)
        found = ((key, self.rows(key)) for key in keys)
        return [(key, _oldest(rows)) for key, rows in islice(filter(_has_rows, found), limit)]

    def _among(
        self,
        names: tuple[str, ...] | None,
        archived: bool = False,
        place: tuple[Any, ...] | None = None,
        state: str | None = None,
        since: int | None = None,
    ) -> Iterator[Entity]:
        """The entities that are asked for, in key order."""
        keys = [key for key in self.keys() if names is None or key[1] in names]
        for entity in self._entities(sorted(key for key in keys if place is None or key > place)):
            if (entity.archived_at is not None) is not archived:
                continue
            if state is not None and state not in {entity.state, *entity.state.split("+")}:
                continue
            if since is None or entity.state_since < since:
                yield entity

    def _entities(self, keys: Sequence[Key]) -> Iterator[Entity]:
        for start in range(0, len(keys), _CHUNK):
            for loaded in self.load([Lookup(*key) for key in keys[start : start + _CHUNK]]):
                if loaded.entity is not None:
                    yield loaded.entity

    # Twins ----------------------------------------------------------------------------------------

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await self._aside(lambda: self.prune_keys(after, limit))


def _place(row: HistoryEntry) -> tuple[int, int]:
    return row.version, row.id


def _has_rows(found: tuple[Key, Sequence[HistoryEntry]]) -> bool:
    return bool(found[1])


def _oldest(rows: Sequence[HistoryEntry]) -> int | None:
    return next((row.recorded_at for row in rows if row.kind is not EntryKind.SNAPSHOT), None)
