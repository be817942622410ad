"""Pruning of Redis: whole cuts, also when two prune at once; indexes, event ids and feed follow; and a full server can be pruned."""

import threading
from datetime import timedelta

import pytest
import redis

from pystator.errors import FSMError, StoreUnavailableError
from pystator.orchestrator.replay import replay
from pystator.records import Cut, EntryKind
from pystator.stores.redis import RedisStateStore
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.retention import step

NOTHING = timedelta(0)


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


def snapshot(version, entity_id="e"):
    return note(
        entity_id, version=version, kind=EntryKind.SNAPSHOT, target_state="open", patch=({}, ())
    )


def ids(store, entity_id="e"):
    return [row.id for row in store.history(entity_id, machine_name="m", limit=10_000).items]


def test_a_cut_without_its_guard_does_nothing(store) -> None:
    applied(store, *[change(name, steps=4, event_id="i") for name in ("e", "f")])
    first, second, third, _ = ids(store)
    assert store.prune_rows([Cut("e", "m", [first])]) == [1]
    before = store.history("e").items
    assert store.prune_rows([Cut("e", "m", [second, third], snapshot(3), (), first)]) == [None]
    assert store.history("e").items == before
    assert store.prune_rows([Cut("e", "m", [first, second, third], snapshot(3), (), second)]) == [2]
    assert [(row.version, str(row.kind)) for row in store.history("e").items] == [
        (3, "snapshot"),
        (4, "event"),
    ]
    assert store.prune_rows([Cut("nobody", "m", [first]), Cut("nobody", "m", [], None, (), 5)]) == [
        0,
        None,
    ]


def test_a_snapshot_is_left_out_where_there_is_a_later_one(store) -> None:
    applied(store, change(steps=6))
    rows = ids(store)
    assert store.prune_rows([Cut("e", "m", rows[1:4], snapshot(4), (), rows[1])]) == [3]
    assert store.prune_rows([Cut("e", "m", rows[:1], snapshot(1), (), rows[0])]) == [1]
    kinds = [(row.version, str(row.kind)) for row in store.history("e").items]
    assert kinds == [(4, "snapshot"), (5, "event"), (6, "event")]
    [old, fifth, sixth] = ids(store)
    assert store.prune_rows([Cut("e", "m", [fifth, sixth], snapshot(6), (old,), old)]) == [2]
    assert [(row.version, str(row.kind)) for row in store.history("e").items] == [(6, "snapshot")]


def test_a_cut_of_more_rows_than_a_script_takes(store) -> None:
    for after in range(0, 5_000, 500):
        applied(
            store, change(after=after, steps=500, event_id=f"i{after}" if after % 1_000 else None)
        )
    rows = ids(store)
    assert store.prune_rows([Cut("e", "m", rows[:-1], snapshot(4_999), (), rows[0])]) == [4_999]
    assert [(row.version, str(row.kind)) for row in store.history("e").items] == [
        (4_999, "snapshot"),
        (5_000, "event"),
    ]
    assert store.load([lookup("e", "i500", "i500-2")])[0].known == {}


def test_what_is_pruned_leaves_nothing_behind(store) -> None:
    """Rows of nobody: afterwards there is no key of theirs, and no member of an index."""
    applied(store, *[note(f"e{n}", version=0, event_id=f"i{n}") for n in range(40)])
    assert store.prune_history(NOTHING, dedup_window=NOTHING).rows == 40
    assert list(store.prune_keys(None, 10)) == []
    assert store.feed().items == []
    applied(store, *[note(f"e{n}", version=0, event_id=f"i{n}") for n in range(40)])
    assert len(store.feed().items) == 40


def test_no_key_is_left(redis_url, admin) -> None:
    with RedisStateStore(redis_url) as store:
        before = set(admin.keys())
        applied(store, note("e", version=0, event_id="i"), note("f", machine="", version=0))
        store.prune_history(NOTHING, dedup_window=NOTHING)
        left = set(admin.keys()) - before
        assert left <= {
            f"{store.key_prefix}:feed"
        }  # a stream remembers the last number that it gave


def test_prunes_at_once_count_every_row_once(store) -> None:
    """Six prunes of the same entities while two writers go on: each row is deleted by one of them."""
    names = [f"e{n}" for n in range(12)]
    for number in range(1, 9):
        applied(store, *[step(number, name, event_id=f"i{number}") for name in names])
    counted = []
    done = threading.Event()

    def prune() -> None:
        deleted = 0
        while True:
            last = done.is_set()
            deleted += store.prune_history(NOTHING, dedup_window=NOTHING, batch=7).rows
            if last:
                counted.append(deleted)
                return

    def write(own: int) -> None:
        for number in range(9, 25):
            applied(store, *[step(number, name, event_id=f"i{number}") for name in names[own::2]])

    pruners = [threading.Thread(target=prune) for _ in range(6)]
    writers = [threading.Thread(target=write, args=(own,)) for own in range(2)]
    for thread in (*pruners, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in pruners:
        thread.join()
    assert sum(counted) == 24 * len(names)
    for name in names:
        rows = store.history(name).items
        [loaded] = store.load([lookup(name)])
        assert [(row.version, str(row.kind)) for row in rows] == [(24, "snapshot")]
        assert replay(rows) == (loaded.entity.state, loaded.entity.context)
    assert len(store.feed(None, 1_000).items) == len(names)


def test_keys_come_in_order_whatever_their_rows_weigh(store) -> None:
    text = "x" * 900_000
    applied(store, *[change(f"e{n:02}", payload={"text": text}) for n in range(12)])
    applied(store, *[change(f"f{n:02}") for n in range(12)])
    found = []
    after = None
    while True:
        page = store.prune_keys(after, 1_000)
        if not page:
            break
        found += [key for key, _ in page]
        after = page[-1][0]
    assert found == [(f"{x}{n:02}", "m") for x in "ef" for n in range(12)]


def test_a_server_without_memory_can_be_pruned(own_redis) -> None:
    """Pruning is how it gets some back, so that it must not be refused."""
    server = own_redis()
    with RedisStateStore(server.url) as store, redis.Redis.from_url(server.url) as client:
        for number in range(1, 40):
            applied(store, step(number, payload={"text": "x" * 10_000}))
        client.config_set("maxmemory", 1_000_000)
        with pytest.raises(StoreUnavailableError, match="memory"):
            store.commit([step(40)])
        assert store.prune_history(NOTHING).rows == 39
        assert [row.kind for row in store.history("e").items] == [EntryKind.SNAPSHOT]
        client.config_set("maxmemory", 0)
        applied(store, step(40))


def test_a_key_of_somebody_else_stops_a_cut_before_it_writes(redis_url, admin) -> None:
    with RedisStateStore(redis_url) as store:
        applied(store, change(steps=3))
        rows = ids(store)
        admin.delete(f"{store.key_prefix}:feed")
        admin.set(f"{store.key_prefix}:feed", "mine")
        with pytest.raises(FSMError, match="something else uses keys of ours"):
            store.prune_rows([Cut("e", "m", rows[:2])])
        assert ids(store) == rows
