"""For authors of native stores: what can be said about a commit, and defaults for the rest.

A store of the native protocol decides in `load` and `commit`; everything else follows from what it
has. `AuthoredStore` derives the rest from three reads, by looking through everything, and runs the
async twins in threads. A store that grows overrides what it can answer from an index.

::

    commit --> decide() --> REFUSED, STALE, DUPLICATE: nothing is written
                       `--> Written: entity and history rows --> the author writes both, or nothing
                                     as plain values: entity_values, row_values

`examples/ledger_store.py` is a whole one.
"""

import asyncio
from abc import abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar, Final, Self, TypeVar

from pystator.errors import InvalidValueError
from pystator.records import (
    Commit,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Page,
    record,
)
from pystator.stores.codec import LIMIT, copy, decode, encode
from pystator.stores.columns import (
    decode_actions,
    decode_history,
    decode_patch,
    decode_payload,
    decode_timers,
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    next_due,
    state_since,
)
from pystator.stores.facade import StoreFacade
from pystator.stores.keys import check_commit, read_cursor, rows_asked, write_cursor
from pystator.stores.programs import long_ago, the_machine
from pystator.stores.pruning import UNLIMITED

__all__ = [
    "AuthoredStore",
    "Written",
    "decide",
    "entity_of",
    "entity_values",
    "row_of",
    "row_values",
]

T = TypeVar("T")

_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)
_CHUNK: Final = 200


# What becomes of a commit -------------------------------------------------------------------------


@record
class Written:
    """What a commit writes.

    Attributes:
        entity: What the entity becomes; None when the commit only appends rows.
        rows: Its history rows, with their ids.
    """

    entity: Entity | None
    rows: list[HistoryEntry]


def decide(
    commit: Commit,
    entity: Entity | None,
    known: Container[str],
    *,
    first_id: int,
    recorded_at: int,
    limit: int = LIMIT,
) -> Written | Outcome:
    """What the commit writes, or why it writes nothing. Nothing of it is kept by reference.

    Args:
        commit: The commit.
        entity: The entity of its key, as it is.
        known: Event ids of the key's history.
        first_id: The id of its first row; the others follow. Ids grow in the order of commits.
        recorded_at: The store's clock.
        limit: The store's ``context_limit``.
    """
    try:
        check_commit(commit)
        context = commit.context
        if context is not None:
            context = copy(dict(context), limit=limit)
        rows = [
            _row(commit, entry, first_id + number, recorded_at, limit)
            for number, entry in enumerate(commit.entries)
        ]
    except InvalidValueError as error:
        return Outcome(OutcomeKind.REFUSED, error)
    ids = [entry.event_id for entry in commit.entries if entry.event_id is not None]
    if len(set(ids)) < len(ids) or any(each in known for each in ids):
        return _DUPLICATE
    if commit.new_version == commit.expected_version:
        return Written(None, rows)
    if commit.expected_version != (0 if entity is None else entity.version):
        return _STALE
    return Written(_after(commit, entity, context), rows)


def _row(commit: Commit, entry: Entry, number: int, recorded_at: int, limit: int) -> HistoryEntry:
    """The history row of an entry, with values of its own."""
    payload = decode_payload(encode_payload(entry.payload, limit=limit))
    patch = decode_patch(encode_patch(entry.patch, limit=limit))
    actions = decode_actions(encode_actions(entry.actions))
    return HistoryEntry(
        number,
        commit.entity_id,
        commit.machine_name,
        entry.version,
        entry.kind,
        entry.trigger,
        payload,
        entry.now,
        patch,
        entry.source_state,
        entry.target_state,
        actions,
        entry.success,
        entry.error_code,
        entry.error_message,
        entry.event_id,
        entry.request_hash,
        entry.actor,
        entry.occurred_at,
        entry.duration_us,
        entry.ref,
        commit.commit_id,
        commit.machine_version,
        commit.fingerprint,
        recorded_at,
    )


def _after(commit: Commit, entity: Entity | None, context: dict[str, Any] | None) -> Entity:
    """The entity after a commit that changes it."""
    since = state_since(commit)
    if entity is None:
        entity = Entity(
            commit.entity_id, commit.machine_name, 0, "", {}, None, {}, "", "", commit.now, 0, "", 0
        )
    return Entity(
        commit.entity_id,
        commit.machine_name,
        commit.new_version,
        entity.state if commit.state is None else commit.state,
        entity.context if context is None else context,
        entity.history if commit.history is None else _own(commit.history),
        entity.timers if commit.timers is None else dict(commit.timers),
        commit.machine_version,
        commit.fingerprint,
        entity.created_at,
        commit.now,
        commit.commit_id,
        entity.state_since if since is None else since,
    )


def _own(history: dict[str, list[str]]) -> dict[str, list[str]] | None:
    return {name: list(leaves) for name, leaves in history.items()} or None


# Records as plain values --------------------------------------------------------------------------


def entity_values(entity: Entity) -> list[str | int | None]:
    """An entity as texts and numbers, in the order of its fields."""
    return [
        entity.entity_id,
        entity.machine_name,
        entity.version,
        entity.state,
        encode(entity.context, limit=UNLIMITED),
        encode_history(entity.history),
        encode_timers(entity.timers),
        entity.machine_version,
        entity.fingerprint,
        entity.created_at,
        entity.updated_at,
        entity.commit_id,
        entity.state_since,
    ]


def entity_of(values: Sequence[Any]) -> Entity:
    """The entity whose `entity_values` these are, the caller's own."""
    entity_id, machine, version, state, context, history, timers, *rest = values
    return Entity(
        entity_id,
        machine,
        version,
        state,
        decode(context),
        decode_history(history),
        decode_timers(timers),
        *rest,
    )


def row_values(row: HistoryEntry) -> list[str | int | bool | None]:
    """A history row as texts, numbers and truth values, in the order of its fields."""
    return [
        row.id,
        row.entity_id,
        row.machine_name,
        row.version,
        str(row.kind.value),
        row.trigger,
        encode_payload(row.payload, limit=UNLIMITED),
        row.now,
        encode_patch(row.patch, limit=UNLIMITED),
        row.source_state,
        row.target_state,
        encode_actions(row.actions),
        row.success,
        row.error_code,
        row.error_message,
        row.event_id,
        row.request_hash,
        row.actor,
        row.occurred_at,
        row.duration_us,
        row.ref,
        row.commit_id,
        row.machine_version,
        row.fingerprint,
        row.recorded_at,
    ]


def row_of(values: Sequence[Any]) -> HistoryEntry:
    """The history row whose `row_values` these are, the caller's own."""
    number, entity_id, machine, version, kind, trigger, payload, now, patch, *middle = values
    source, target, actions, *rest = middle
    return HistoryEntry(
        number,
        entity_id,
        machine,
        version,
        EntryKind(kind),
        trigger,
        decode_payload(payload),
        now,
        decode_patch(patch),
        source,
        target,
        decode_actions(actions),
        *rest,
    )


# Defaults -----------------------------------------------------------------------------------------


class AuthoredStore(StoreFacade):
    """A native store of which its author writes five methods: two that decide and three reads.

    Everything else looks through all there is, which is right for thousands of entities; override
    what the store can answer faster. Twins run the blocking methods in threads: override them where
    there is an async driver. What the store promises is said by the facts of its class.
    """

    durable: ClassVar[bool] = False
    idempotent: ClassVar[bool] = True
    keeps_history: ClassVar[bool] = True
    has_feed: ClassVar[bool] = True
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
        machine = self.machine_name if machine_name is None else machine_name
        if machine is None:
            names = sorted(name for found, name in self.keys() if found == entity_id)
            machine = the_machine(entity_id, names)
        rows: Sequence[HistoryEntry] = () if machine is None else self.rows((entity_id, machine))
        if newest_first:
            rows = [row for row in reversed(rows) if place is None or _place(row) < place]
        elif place is not None:
            rows = rows[bisect_right(rows, place, key=_place) :]
        return _page(
            rows[: limit + 1], limit, lambda row: write_cursor("history", row.version, row.id)
        )

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
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
        found = list(islice(self._among(machine_name, place, state, since), limit + 1))
        return _page(found, limit, lambda entity: write_cursor("entities", *entity.key))

    def count_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """Configuration -> number of entities."""
        return dict(Counter(entity.state for entity in self._among(machine_name)))

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Keys of entities whose earliest deadline is at or before ``now``, earliest first."""
        found = sorted(
            (deadline, entity.key)
            for entity in self._among(machine_name)
            if (deadline := next_due(entity.timers)) is not None and deadline <= now
        )
        return [key for _, key in found[: rows_asked(limit)]]

    def feed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """Rows of all entities in the order of their commits."""
        place: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
        rows = list(self.rows_after(place, rows_asked(limit)))
        return Page(rows, write_cursor("feed", rows[-1].id if rows else place))

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have rows, in key order, for a store that can be pruned."""
        keys = sorted(key for key in self.keys() if after is None or key > after)
        found = ((key, self.rows(key)) for key in keys)
        return [(key, _oldest(rows)) for key, rows in islice(filter(_has_rows, found), limit)]

    def _among(
        self,
        machine_name: str | None,
        place: tuple[Any, ...] | None = None,
        state: str | None = None,
        since: int | None = None,
    ) -> Iterator[Entity]:
        """The entities that are asked for, in key order."""
        machine = self.machine_name if machine_name is None else machine_name
        keys = [key for key in self.keys() if machine is None or key[1] == machine]
        for entity in self._entities(sorted(key for key in keys if place is None or key > place)):
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

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await asyncio.to_thread(self.load, lookups)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await asyncio.to_thread(self.commit, commits)

    async def aflush(self) -> None:
        """`flush` for asyncio."""
        await asyncio.to_thread(self.flush)

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await asyncio.to_thread(self.machines, entity_id)

    async def ahistory(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """`history` for asyncio."""
        return await asyncio.to_thread(
            self.history,
            entity_id,
            machine_name=machine_name,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )

    async def aentities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """`entities` for asyncio."""
        return await asyncio.to_thread(
            self.entities,
            state=state,
            machine_name=machine_name,
            in_state_longer_than=in_state_longer_than,
            after=after,
            limit=limit,
        )

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        return await asyncio.to_thread(self.count_by_state, machine_name=machine_name)

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return await asyncio.to_thread(self.due, now, limit, machine_name=machine_name)

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await asyncio.to_thread(self.feed, cursor, limit)

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return await asyncio.to_thread(self.prune_keys, after, limit)


def _place(row: HistoryEntry) -> tuple[int, int]:
    return row.version, row.id


def _has_rows(found: tuple[Key, Sequence[HistoryEntry]]) -> bool:
    return bool(found[1])


def _oldest(rows: Sequence[HistoryEntry]) -> int | None:
    return next((row.recorded_at for row in rows if row.kind is not EntryKind.SNAPSHOT), None)


def _page(found: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` of the found, which are one more where there is a next page."""
    items = list(found[:limit])
    return Page(items, cursor(items[-1]) if len(found) > limit and items else None)
