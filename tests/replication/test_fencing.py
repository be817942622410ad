"""Whoever was held up, and goes on when others have brought the stores together anew, changes nothing."""

import pytest
import redis

from pystator import RedisStateStore, ReplicatedStateStore, SQLiteStateStore
from pystator.errors import FSMError, ReplicationError
from pystator.stores.replicated import joining
from pystator.stores.replicated.pair import Pair
from pystator.stores.replicated.places import Ledger
from pystator.stores.replicated.replicator import Replicator
from pystator.stores.replicated.stream import Head, Stream
from pystator.testing.building import applied, change


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def test_nobody_writes_to_a_redis_that_is_being_emptied(made, monkeypatch) -> None:
    live = made().connect()
    applied(live, change("a"))
    live.replicate(once=True)
    wipe, told = Stream._wipe, []

    def meanwhile(*arguments):
        wipe(*arguments)
        with pytest.raises(FSMError) as caught:
            live.commit([change("ghost")])
        told.append(caught.value)

    monkeypatch.setattr(Stream, "_wipe", meanwhile)
    made().rebuild(discard=True)
    assert {type(error) for error in told} == {ReplicationError}
    live.disconnect()
    assert made().connect().get_state("ghost") is None


def test_nothing_of_what_was_discarded_is_left(made, client) -> None:
    with made() as store:
        applied(store, change("a", context={"x": 1}))
        store.replicate(once=True)
        applied(store, change("ghost", state="lost", timers={"t": (1, 1)}, event_id="e"))
        applied(store, change("ghost", machine="n:{m}", timers={"t": (1, 1)}))
    store = made()
    store.rebuild(discard=True)
    store.connect()
    assert not [key for key in client.scan_iter() if "ghost" in key or ":due:" in key]
    assert store.due(10, 10) == []
    assert store.count_by_state() == {"open": 1}


def test_what_was_read_of_an_old_epoch_is_not_applied_in_a_rebuild(made, monkeypatch) -> None:
    live = made().connect()
    applied(live, change("a"))
    live.replicate(once=True)
    applied(live, change("a", after=1))
    slow = Replicator(live._pair)
    slow._begin()
    read, told = slow._read(slow._places), []
    copy_store = joining.copy_store

    def late(*arguments, **options):
        copied = copy_store(*arguments, **options)
        told.append(slow._apply(read))
        return copied

    monkeypatch.setattr(joining, "copy_store", late)
    made().rebuild(discard=True)
    assert told == [False]
    live.disconnect()
    store = made().connect()
    assert store.get_state_versioned("a") == ("open", 1)
    assert store.durable_store.get_state_versioned("a") == ("open", 1)


def test_places_of_partitions_that_are_no_more_are_over(store) -> None:
    ledger = store._pair.ledger
    ledger.begin_places("one", range(3))
    ledger.begin_places("two", range(1))
    assert ledger.places("one") == {}
    assert ledger.places("two") == {0: "0-0"}
    assert not ledger.apply((), 2, "one", "0-0", "1-0")
    ledger.begin_places("three", range(3))
    assert ledger.places("three") == {0: "0-0", 1: "0-0", 2: "0-0"}


def test_who_finds_late_that_something_was_lost_fences_nobody_else(made) -> None:
    live = made().connect()
    applied(live, change("a"))
    live.replicate(once=True)
    pair, epoch = Pair(live.hot_store, live.durable_store), live.hot_store.epoch
    made().rebuild(discard=True)
    told = pair._lost(epoch, "2-0", Head(None, 0, None, False, "1-0", epoch))
    assert "older data" in told.message
    store = made().connect()
    applied(store, change("a", after=1))


def test_a_late_trim_does_not_set_it_back(store, client) -> None:
    applied(store, change("a"))
    store.replicate(once=True)
    [before] = store._pair.places(store.hot_store.epoch).values()
    applied(store, change("a", after=1))
    store.replicate(once=True)
    last = client.get("pystator:replicated")
    assert last == client.xrange("pystator:replication")[0][0] != before
    store._pair.stream.trim({0: before})
    assert client.get("pystator:replicated") == last


def test_what_a_restarted_redis_has_lost_is_not_applied(store, client) -> None:
    """It was read ahead, before: what is there now is applied in its place."""
    applied(store, change("a"), change("b", context={"n": 1}))
    replicator = Replicator(store._pair)
    replicator._begin()
    replicator._ahead = replicator._read(replicator._places)
    second = client.xrevrange("pystator:replication", "+", "-", 1)[0][0]
    client.xdel("pystator:replication", second)
    for key in client.scan_iter("*pystator:entity:b*"):
        client.delete(key)
    store._pair.stream._link.changes += 1  # a connection was lost, and there is a new one
    applied(store, change("b", context={"n": 2}))
    replicator.run(once=True)
    assert store.durable_store.get_context("b") == {"n": 2}


def test_a_redis_without_memory_is_relieved(own_redis, durable_url) -> None:
    server = own_redis()
    hot, kept = RedisStateStore(server.url), SQLiteStateStore(durable_url, synchronous="OFF")
    with (
        ReplicatedStateStore(hot=hot, durable=kept) as store,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        applied(store, *[change(f"e{number}") for number in range(10)])
        client.config_set("maxmemory", 1)
        assert store.replicate(once=True).entries == 10
        assert client.xlen("pystator:replication") == 1


def test_of_two_rebuilds_at_once_the_last_goes_on(made, monkeypatch) -> None:
    """The other one was in the middle of emptying the hot store, and would do so again."""
    with made() as store:
        applied(store, change("a"))
        store.replicate(once=True)
    wipe = Stream._wipe

    def held_up(*arguments):
        monkeypatch.setattr(Stream, "_wipe", wipe)
        made().rebuild(discard=True)
        with made() as meanwhile:
            applied(meanwhile, change("paid"))
        wipe(*arguments)

    monkeypatch.setattr(Stream, "_wipe", held_up)
    with pytest.raises(ReplicationError, match="somebody else brings these stores together"):
        made().rebuild(discard=True)
    store = made().connect()
    assert (store.get_state("a"), store.get_state("paid")) == ("open", "open")


def test_who_was_overtaken_while_copying_does_not_say_that_it_is_done(made, client) -> None:
    with made() as store:
        applied(store, change("a"))
        store.replicate(once=True)
    client.flushall()

    def meanwhile(_):
        with pytest.raises(RuntimeError):
            made().rebuild(progress=stop)

    def stop(_):
        raise RuntimeError

    with pytest.raises(ReplicationError, match="somebody else"):
        made().rebuild(progress=meanwhile)
    assert made().rebuild().finished


# Adopting -------------------------------------------------------------------------------------------------------------


def test_a_redis_that_lacks_entities_is_not_adopted(made, client) -> None:
    """Adopted, it would serve without them, and say that there are none."""
    with made() as store:
        applied(store, change("a"), change("b"))
        store.replicate(once=True)
    client.flushall()
    with pytest.raises(ReplicationError, match=r"lacks 'a' of machine 'm'.*--rebuild"):
        made().adopt()
    with pytest.raises(ReplicationError, match="--rebuild"):
        made().connect()
    made().rebuild()
    assert made().connect().get_state("b") == "open"


def test_a_half_rebuilt_redis_is_not_adopted(made, client, monkeypatch) -> None:
    with made() as store:
        applied(store, change("a"), change("b"))
        store.replicate(once=True)
    client.flushall()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stream, "begin_joining", stop)
        with pytest.raises(KeyboardInterrupt):
            made().rebuild()
    with pytest.raises(ReplicationError, match="is not adopted"):
        made().adopt()
    with pytest.raises(ReplicationError, match="every commit up to") as caught:
        made().connect()
    assert caught.value.context["helps"] == "rebuild"


def test_an_apply_that_was_first_is_copied(made, monkeypatch) -> None:
    """It was in the middle when the rebuild began: the places change when it is done."""
    live = made().connect()
    applied(live, change("a"))
    live.replicate(once=True)
    applied(live, change("a", after=1))
    slow = Replicator(live._pair)
    slow._begin()
    read = slow._read(slow._places)
    begin = Ledger.begin_places

    def first(*arguments):
        slow._apply(read)
        begin(*arguments)

    monkeypatch.setattr(Ledger, "begin_places", first)
    made().rebuild(discard=True)
    live.disconnect()
    assert made().connect().get_state_versioned("a") == ("open", 2)
