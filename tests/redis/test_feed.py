"""The feed of Redis: nothing skipped, nothing twice, each entity's rows in their order, while others write, also in a cluster."""

import threading
from collections import defaultdict

import pytest

from pystator.errors import InvalidValueError
from pystator.records import Cut
from pystator.stores.keys import write_cursor
from pystator.stores.redis import RedisStateStore
from pystator.testing.building import applied, change, note


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


def follow(store, cursor=None, limit=10):
    """Rows from the cursor to the end, and the cursor to come back with."""
    rows = []
    while True:
        page = store.feed(cursor, limit)
        assert len(page.items) <= limit
        cursor = page.next
        rows += page.items
        if not page.items:
            return rows, cursor


@pytest.mark.parametrize("limit", [7, 100])
def test_writers_and_a_reader_that_pages(store, limit) -> None:
    """Four writers of 60 entities, and a reader who sees every row of theirs once."""
    done = threading.Event()
    read = []

    def reading() -> None:
        cursor = None
        while True:
            last = done.is_set()
            page = store.feed(cursor, limit)
            read.extend(page.items)
            cursor = page.next
            if last and not page.items:
                return

    def writing(own: int) -> None:
        for version in range(8):
            applied(store, *[change(f"w{own}-{n}", after=version) for n in range(15)])

    reader = threading.Thread(target=reading)
    writers = [threading.Thread(target=writing, args=(own,)) for own in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    versions = defaultdict(list)
    for row in read:
        versions[row.entity_id].append(row.version)
    assert len(read) == 4 * 8 * 15
    assert all(each == list(range(1, 9)) for each in versions.values())


def test_nobody_waits_for_a_busy_partition(store) -> None:
    """Of one entity with a thousand rows and a hundred with one, each page has what is oldest."""
    applied(store, change("busy", steps=500))
    applied(store, *[change(f"e{n}") for n in range(100)])
    applied(store, change("busy", after=500, steps=500))
    rows, _ = follow(store, limit=50)
    assert len(rows) == 1_100
    last = max(place for place, row in enumerate(rows) if row.entity_id != "busy")
    assert last < 700
    mine = [row.version for row in rows if row.entity_id == "busy"]
    assert mine == list(range(1, 1_001))


def test_pruned_rows_are_gaps(store) -> None:
    for version in range(10):
        applied(store, *[change(f"e{n}", after=version) for n in range(5)])
    page = store.feed(None, 20)
    ids = {row.id for row in store.feed(None, 100).items}
    for n in range(5):
        rows = store.history(f"e{n}").items
        assert store.prune_rows([Cut(f"e{n}", "m", [row.id for row in rows[:9]])]) == [9]
    left = {store.history(f"e{n}").items[0].id for n in range(5)}
    assert left < ids
    rows, cursor = follow(store, page.next)
    assert {row.id for row in rows} == left - {row.id for row in page.items}
    assert {row.id for row in follow(store)[0]} == left
    applied(store, change("new"))
    assert [row.entity_id for row in follow(store, cursor)[0]] == ["new"]


def test_a_prune_does_not_make_the_reader_walk_what_is_gone_again(store) -> None:
    """When all that follows the cursor is gone, the next cursor is behind it."""
    applied(store, change("a"))
    _, cursor = follow(store)
    applied(store, note("b", version=0))
    [row] = store.history("b").items
    store.prune_rows([Cut("b", "m", [row.id])])
    page = store.feed(cursor)
    assert page.items == []
    assert store.feed(page.next).items == []


def test_large_rows_come_in_parts(store) -> None:
    text = "x" * 700_000
    applied(store, *[change(f"e{n}", payload={"text": text}) for n in range(15)])
    applied(store, *[change(f"f{n}") for n in range(15)])
    rows, _ = follow(store, limit=100)
    assert sorted(row.entity_id for row in rows) == sorted(
        [f"{x}{n}" for x in "ef" for n in range(15)]
    )


def test_a_cursor_of_a_cluster_is_none_of_one_server(store) -> None:
    partitions = 64 if store.parts[0].is_cluster else 1
    assert store.feed(write_cursor("feed", *[0] * partitions)).items == []
    with pytest.raises(InvalidValueError, match="cursor"):
        store.feed(write_cursor("feed", *[0] * (65 - partitions)))
