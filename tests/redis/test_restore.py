"""Parcels into Redis: whole or not at all, once of many at once, into indexes, feed and the stream of replication."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from pystator import InMemoryStateStore
from pystator.errors import ReplicationError, StoreUnavailableError
from pystator.records import Cut, EntryKind, Lookup, OutcomeKind, Parcel
from pystator.stores.redis import RedisStateStore
from pystator.testing.building import applied, change, lookup, note
from replication.shapes import KEYS, contents, key_rows, parcel, rich

APPLIED, STALE, REFUSED = OutcomeKind.APPLIED, OutcomeKind.STALE, OutcomeKind.REFUSED


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


@pytest.fixture
def model():
    made = InMemoryStateStore()
    rich(made)
    return made


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def whole(store, *keys):
    return [parcel(store, key) for key in keys]


def test_everything_is_taken_as_it_is(store, model) -> None:
    assert kinds(store.restore(whole(model, *KEYS))) == [APPLIED] * len(KEYS)
    assert contents(store, KEYS) == contents(model, KEYS)
    assert store.count_by_state() == model.count_by_state()
    assert store.due(10**9, 9) == model.due(10**9, 9)
    assert [e.key for e in store.entities().items] == [e.key for e in model.entities().items]
    age = timedelta(days=1)
    assert store.list_entities(in_state_longer_than=age) == model.list_entities(
        in_state_longer_than=age
    )
    told = store.feed(None, 100).items
    assert sorted((r.entity_id, r.machine_name, r.version, str(r.kind)) for r in told) == sorted(
        (r.entity_id, r.machine_name, r.version, str(r.kind)) for r in model.feed(None, 100).items
    )


def test_it_goes_back_and_forth(store, model) -> None:
    """Out of Redis and in again nothing changes: neither a type nor a digit."""
    store.restore(whole(model, *KEYS))
    back = InMemoryStateStore()
    for each in KEYS:
        entity = store.load([Lookup(*each)])[0].entity
        assert repr(entity) == repr(model.load([Lookup(*each)])[0].entity)
        assert len(key_rows(store, each)) == len(key_rows(model, each))
    assert kinds(back.restore(whole(store, *KEYS))) == [APPLIED] * len(KEYS)
    assert contents(back, KEYS) == contents(model, KEYS)


def test_many_parcels_are_few_round_trips(store) -> None:
    model = InMemoryStateStore()
    names = [f"e{n:04}" for n in range(1_000)]
    applied(model, *[change(name, steps=2, context={"name": name}) for name in names])
    parcels = whole(model, *[(name, "m") for name in names])
    assert kinds(store.restore(parcels)) == [APPLIED] * 1_000
    assert kinds(store.restore(parcels)) == [STALE] * 1_000
    assert [entity.context["name"] for entity in store.list_entities(limit=2_000)] == names
    assert len(store.feed(None, 10_000).items) == 2_000


def test_large_parcels_do_not_go_at_once(store) -> None:
    model = InMemoryStateStore()
    text = "x" * 900_000
    applied(model, *[change(f"e{n}", context={"text": text, "n": n}) for n in range(12)])
    assert (
        kinds(store.restore(whole(model, *[(f"e{n}", "m") for n in range(12)]))) == [APPLIED] * 12
    )
    assert [store.get_context(f"e{n}")["n"] for n in range(12)] == list(range(12))


def test_of_many_at_once_one_is_written(store, model) -> None:
    """Six restores of the same parcels: each parcel is put in by one of them, and its rows are there once."""
    parcels = whole(model, *KEYS)
    answers = []

    def restore() -> None:
        answers.append(kinds(store.restore(parcels)))

    threads = [threading.Thread(target=restore) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(sorted(each) == [APPLIED, *[STALE] * 5] for each in zip(*answers, strict=True))
    assert contents(store, KEYS) == contents(model, KEYS)


def test_a_commit_in_between_makes_a_parcel_stale(store) -> None:
    """Restores in parts while somebody writes the same entity: either goes on from what is there."""
    model = InMemoryStateStore()
    applied(model, change(steps=3, event_id="i"))
    first, *rest = model.history("e").items
    assert kinds(store.restore([Parcel("e", "m", None, (first,), 0, None)])) == [APPLIED]
    applied(store, change("e"))  # the copy is not the only writer after all
    entity = model.load([lookup()])[0].entity
    after = (first.version, first.commit_id)
    assert kinds(store.restore([Parcel("e", "m", entity, tuple(rest), 0, after)])) == [STALE]
    assert store.load([lookup()])[0].entity.version == 1
    assert len(store.history("e").items) == 2


def test_a_snapshot_that_was_restored_is_known_to_prunes(store) -> None:
    """A plan from before it does not put an older one beside it."""
    model = InMemoryStateStore()
    applied(model, change(steps=4))
    model.prune_history(timedelta(0))
    applied(model, change(after=4, steps=2))
    [snapshot, *_] = model.history("e").items
    assert (snapshot.kind, snapshot.version) == (EntryKind.SNAPSHOT, 4)
    store.restore(whole(model, ("e", "m")))
    rows = store.history("e").items
    older = note(version=3, kind=EntryKind.SNAPSHOT, target_state="open", patch=({}, ()))
    assert store.prune_rows([Cut("e", "m", [rows[1].id], older, (), rows[1].id)]) == [1]
    assert [(row.version, str(row.kind)) for row in store.history("e").items] == [
        (4, "snapshot"),
        (6, "event"),
    ]
    assert store.prune_history(timedelta(0)).rows == 1
    assert [row.version for row in store.history("e").items] == [6]


def test_an_entity_that_moves_leaves_its_old_places(store) -> None:
    applied(store, change(state="a", timers={"t": (5, 1)}))
    entity = store.load([lookup()])[0].entity
    row = store.history("e").items[0]
    moved = replace(entity, version=2, state="b+c", timers={}, state_since=7, commit_id="c2")
    given = Parcel(
        "e", "m", moved, (replace(row, version=2, commit_id="c2"),), 1, (1, row.commit_id)
    )
    assert kinds(store.restore([given])) == [APPLIED]
    assert store.count_by_state() == {"b+c": 1}
    assert store.list_entities("a") == []
    assert store.list_entities("a", in_state_longer_than=timedelta(0)) == []
    assert [e.state_since for e in store.list_entities("c", in_state_longer_than=timedelta(1))] == [
        7
    ]
    assert store.due(100, 9) == []
    applied(store, change(after=2, state="a"))
    assert store.count_by_state() == {"a": 1}


def test_a_parcel_that_fits_goes_in_beside_one_that_does_not(store, model) -> None:
    good = whole(model, ("b", "m"))[0]
    bad = replace(whole(model, ("a", "m"))[0], base=7)
    worse = replace(whole(model, ("a", "other"))[0], entity_id="\n")
    assert kinds(store.restore([bad, good, worse])) == [STALE, APPLIED, REFUSED]
    assert [entity.key for entity in store.entities().items] == [("b", "m")]
    assert store.feed().items == store.history("b").items


def test_what_is_restored_is_replicated_as_a_commit_is(redis_url, admin, model) -> None:
    with RedisStateStore(redis_url) as store:
        admin.set(f"{store.key_prefix}:epoch", "one")
        applied(store, change("x", context={"n": 1}))
        store.restore(whole(model, ("a", "m"), ("never", "m")))
        entries = [fields for _, fields in admin.xrange(f"{store.key_prefix}:replication")]
        assert [(each["id"], each["machine"], each["base"]) for each in entries] == [
            ("x", "m", "0"), ("a", "m", "0"), ("never", "m", "0"),
        ]  # fmt: skip
        assert entries[1].keys() >= entries[0].keys() - {"history", "timers", "next_due"}
        assert entries[2].keys() == {"id", "machine", "base", "rows"}
        assert [len(each["rows"].split("\n")) for each in entries] == [1, 4, 1]


def test_another_epoch_refuses_before_anything_is_written(redis_url, admin, model) -> None:
    with RedisStateStore(redis_url) as store:
        store.epoch = "mine"
        for there in (None, "theirs"):
            if there is not None:
                admin.set(f"{store.key_prefix}:epoch", there)
            with pytest.raises(ReplicationError, match="epoch") as caught:
                store.restore(whole(model, *KEYS))
            assert caught.value.context["written"] is False
        assert store.feed().items == []
        assert store.entities().items == []


def test_a_key_of_somebody_else_is_met_before_anything_is_written(redis_url, admin, model) -> None:
    """It is this parcel's outcome: neighbours that do not need the key are put in."""
    with RedisStateStore(redis_url) as store:
        for name in (
            "feed",
            "histories",
            "entities",
            "states",
            "state:m:open",
            "due:m",
        ):
            key = f"{store.key_prefix}:{name}"
            admin.set(key, "mine")
            assert kinds(store.restore(whole(model, ("b", "m")))) == [REFUSED]
            assert admin.keys() == [key]
            admin.delete(key)
        admin.set(f"{store.key_prefix}:due:m", "mine")
        outcomes = store.restore(whole(model, *KEYS))
        assert kinds(outcomes) == [REFUSED, APPLIED, REFUSED, APPLIED]
        assert "something else uses keys of ours" in str(outcomes[0].error)


def test_both_faces_restore(store, model) -> None:
    outcomes = asyncio.run(store.arestore(whole(model, *KEYS)))
    assert kinds(outcomes) == [APPLIED] * len(KEYS)
    assert contents(store, KEYS) == contents(model, KEYS)


def test_a_server_that_refuses_the_rest_does_not_deny_the_first(own_redis) -> None:
    """Who is told that nothing was written does it again, all of it."""
    server = own_redis()
    with RedisStateStore(server.url) as store, server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 3_000_000)
        model = InMemoryStateStore()
        text = "x" * 400_000
        applied(model, *[change(f"e{n:02}", context={"text": text}) for n in range(40)])
        parcels = whole(model, *[(f"e{n:02}", "m") for n in range(40)])
        with pytest.raises(StoreUnavailableError, match="memory") as caught:
            store.restore(parcels)
        assert "written" not in caught.value.context
        assert 0 < len(store.list_entities()) < 40
        with pytest.raises(StoreUnavailableError, match="memory") as caught:
            store.restore(parcels[-1:])
        assert caught.value.context["written"] is False
        commits = [change(f"f{n:02}", context={"text": text}) for n in range(40)]
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 3_000_000)
        with pytest.raises(StoreUnavailableError, match="memory") as caught:
            store.commit(commits)
        assert "written" not in caught.value.context
        with pytest.raises(StoreUnavailableError, match="memory") as caught:
            store.commit(commits[-1:])
        assert caught.value.context["written"] is False
