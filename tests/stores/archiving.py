"""Writers that archive, take back and write at once: what they leave in a store's indexes."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pystator.records import UNARCHIVE, Entity, Lookup
from pystator.testing.building import change

NAMES = [f"e{number}" for number in range(6)]


def write_at_once(store: Any, each: int, writers: int = 4) -> None:
    """So many commits of each writer, some of which archive an entity or take it back."""

    def work(seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(each):
            name = luck.choice(NAMES)
            entity = store.load([Lookup(name, "m")])[0].entity
            after = entity.version if entity else 0
            state = luck.choice(["a", "p+q", None]) if after else "a"
            timers = luck.choice([None, {}, {"t": (luck.randrange(50), 1)}])
            asked = luck.choice([5, UNARCHIVE, None, None]) if after else None
            made = change(name, after=after, state=state, timers=timers)
            store.commit([replace(made, archived_at=asked)])

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))


def check_indexes(store: Any) -> None:
    """Lists, counts and deadlines say what the entities say."""
    loaded = store.load([Lookup(name, "m") for name in NAMES])
    entities: list[Entity] = [each.entity for each in loaded if each.entity]
    for archived in (False, True):
        those = [each for each in entities if (each.archived_at is not None) is archived]
        assert store.entities(archived=archived).items == those
        assert store.count_by_state(archived=archived) == Counter(each.state for each in those)
        for leaf in ("a", "q"):
            found = store.entities(state=leaf, archived=archived).items
            assert found == [each for each in those if leaf in each.state.split("+")]
    live = [each for each in entities if each.archived_at is None and each.timers]
    assert sorted(store.due(100, 100)) == [each.key for each in live]
