"""Keys and rows of stores, in order, as a copy reads them.

Keys are read many at once and rows key by key, which over a network is mostly waiting: so the first
rows of many keys are asked for at the same time.
"""

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import islice
from typing import Any, Final

from pystator.records import Entity, HistoryEntry, Key, Loaded, Lookup, Page, record

__all__ = ["Found", "Keys", "Reader", "all_entities", "readers", "rounds"]

ROUND: Final = 100
"""Keys that are looked at together."""

FIRST: Final = 100
"""Rows of the first page of a key: most have fewer."""

PAGE: Final = 500
"""Rows of further pages."""

KEYS: Final = 1_000
_READERS: Final = 8
"""Reads at once."""


@record
class Found:
    """A key of the source: its entity, if it has one, and whether it has rows."""

    key: Key
    entity: Entity | None
    has_rows: bool


class Keys:
    """The keys of a store that have rows, in order; asked about ever greater ones.

    A store that cannot list them is taken to have rows of every key that it is asked about.
    """

    def __init__(self, store: Any, machine_name: str | None) -> None:
        self._store = store
        self._machine_name = machine_name
        self._is_known = hasattr(store, "prune_keys")
        self._is_over = not self._is_known
        self._last: Key | None = None
        self._waiting: deque[Key] = deque()

    def peek(self) -> Key | None:
        """The next one."""
        while not self._waiting and not self._is_over:
            self._fetch(self._last)
        return self._waiting[0] if self._waiting else None

    def take(self, key: Key) -> bool:
        """Go beyond a key; whether it was among them."""
        self._drop(key)
        # Who asks about few keys does not read all of a large store: what lies in between is passed
        # over. The place before all named machines of an id is the machine without a name.
        place: Key | None = (key[0], "") if key[1] else None
        while not self._waiting and not self._is_over:
            behind = self._last is None or (place is not None and self._last < place)
            self._fetch(place if behind else self._last)
            self._drop(key)
        if not self._waiting or self._waiting[0] != key:
            return not self._is_known
        self._waiting.popleft()
        return True

    def _drop(self, key: Key) -> None:
        while self._waiting and self._waiting[0] < key:
            self._waiting.popleft()

    def _fetch(self, after: Key | None) -> None:
        page: Sequence[tuple[Key, int | None]] = self._store.prune_keys(after, KEYS)
        if not page:
            self._is_over = True
            return
        self._last = (page[-1][0][0], page[-1][0][1])
        for (entity_id, machine), _ in page:
            if self._machine_name is None or machine == self._machine_name:
                self._waiting.append((entity_id, machine))


def all_entities(store: Any, machine_name: str | None = None) -> Iterator[Entity]:
    """All entities in the order of keys, those that are archived among them."""
    ways: list[dict[str, Any]] = [{}]
    if _has_archived(store):
        ways.append({"archived": True})
    last: Key | None = None
    for entity in merge(*[_pages(store, machine_name, way) for way in ways], key=_key):
        if entity.key != last:  # else it was archived, or taken back, between two pages
            yield entity
        last = entity.key


def _has_archived(store: Any) -> bool:
    """A store of somebody else's need not know of it."""
    parameters = inspect.signature(store.entities).parameters.values()
    return any(each.name == "archived" or each.kind is each.VAR_KEYWORD for each in parameters)


def _key(entity: Entity) -> Key:
    return entity.key


def _pages(store: Any, machine_name: str | None, asked: dict[str, Any]) -> Iterator[Entity]:
    after: str | None = None
    while True:
        page: Page[Entity] = store.entities(
            machine_name=machine_name, after=after, limit=ROUND, **asked
        )
        yield from page.items
        after = page.next
        if after is None:
            return


def rounds(store: Any, machine_name: str | None, *, history: bool) -> Iterator[list[Found]]:
    """Everything the store has, in the order of keys, many keys at a time."""
    found = _found(store, machine_name, history=history)
    while some := list(islice(found, ROUND)):
        yield some


def _found(store: Any, machine_name: str | None, *, history: bool) -> Iterator[Found]:
    keys = Keys(store, machine_name) if history else None
    for entity in all_entities(store, machine_name):
        while keys is not None and (key := keys.peek()) is not None and key < entity.key:
            keys.take(key)
            yield Found(key, _unlisted(store, key), True)
        yield Found(entity.key, entity, keys is not None and keys.take(entity.key))
    while keys is not None and (key := keys.peek()) is not None:
        keys.take(key)
        yield Found(key, _unlisted(store, key), True)


def _unlisted(store: Any, key: Key) -> Entity | None:
    """The entity of a key that was in no list: made since, or archived or taken back meanwhile."""
    loaded: Loaded = store.load([Lookup(*key)])[0]
    return loaded.entity


class Reader:
    """Reads of one store.

    Args:
        store: The store.
        pool: Whose threads read.
    """

    def __init__(self, store: Any, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._pool = pool

    def entities(self, keys: Sequence[Key]) -> list[Entity | None]:
        """The entities of these keys."""
        loaded = self._store.load([Lookup(*key) for key in keys])
        return [each.entity for each in loaded]

    def first_pages(self, keys: Sequence[Key]) -> dict[Key, Page[HistoryEntry]]:
        """The first rows of these keys, read at the same time."""
        waits = len(keys) > 1 and getattr(self._store, "in_flight", 1) > 1
        if not waits:
            return {key: self._first_page(key) for key in keys}
        return dict(zip(keys, self._pool.map(self._first_page, keys), strict=True))

    def _first_page(self, key: Key) -> Page[HistoryEntry]:
        return self._page(key, None, FIRST)

    def _page(self, key: Key, after: str | None, limit: int) -> Page[HistoryEntry]:
        page: Page[HistoryEntry] = self._store.history(
            key[0], machine_name=key[1], after=after, limit=limit
        )
        return page

    def rows(self, key: Key, page: Page[HistoryEntry] | None) -> Iterator[HistoryEntry]:
        """All rows of a key; None for one that has none."""
        while page is not None:
            yield from page.items
            page = None if page.next is None else self._page(key, page.next, PAGE)

    def newest(self, key: Key) -> HistoryEntry | None:
        """The last row in order."""
        page: Page[HistoryEntry] = self._store.history(
            key[0], machine_name=key[1], limit=1, newest_first=True
        )
        return page.items[0] if page.items else None


def readers() -> ThreadPoolExecutor:
    """Threads for reads."""
    return ThreadPoolExecutor(_READERS, thread_name_prefix="pystator-copy")
