"""The day Redis is gone: everything that was replicated is served again, and what is unknown is said."""

import pytest
import redis

from pystator import Orchestrator, PostgresStateStore, SQLiteStateStore, StateMachine
from pystator.errors import ReplicationError
from pystator.records import StoredMachine
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated.places import Ledger
from pystator.stores.replicated.stream import Stream
from pystator.testing.building import applied, change, lookup
from replication.shapes import KEYS, all_keys, contents, rich


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


class Died(BaseException):
    """The process died here."""


def filled(store, many: int = 30) -> dict:
    """A replicated store with everything that a store can have, replicated; what it says."""
    rich(store)
    for number in range(many):
        applied(store, change(f"e{number:02}", steps=3, context={"n": number}))
    store.save_machine(StoredMachine("m", "1.0", "f", None, "{}", 1))
    store.replicate(once=True)
    keys = all_keys(store.hot_store)
    assert len(keys) == many + len(KEYS)
    return contents(store.hot_store, keys)


@pytest.mark.parametrize("kept", ["sqlite", "postgres"])
def test_every_replicated_entity_is_served_again(made, client, request, kept) -> None:
    durable = (
        PostgresStateStore(request.getfixturevalue("postgres_url")) if kept == "postgres" else None
    )
    with made(durable=durable) as store:
        before = filled(store)
        applied(store, change("late"))  # is not replicated: it is lost
    old = client.get("pystator:epoch")
    client.flushall()
    store = made(durable=durable)
    with pytest.raises(ReplicationError, match="--rebuild"):
        store.connect()
    done = store.rebuild()
    assert (done.entities, done.finished) == (33, True)
    assert done.epoch != old
    store.connect()
    assert contents(store.hot_store, list(before)) == before
    assert store.get_state("late") is None
    assert store.stored_machine("m").definition == "{}"
    assert store.due(4_500, 10) == store.durable_store.due(4_500, 10)
    assert len(store.list_entities("open", machine_name="m")) == 32

    # It goes on from there, and is replicated again.
    applied(store, change("e00", after=3), change("new"))
    assert store.replicate(once=True).entries == 2
    assert store.durable_store.get_state_versioned("e00") == ("open", 4)


def test_what_is_unknown_is_said(made, client) -> None:
    with made() as store:
        filled(store)
        applied(store, change("late"), change("later"))
        store._pair.note_seen({"0": client.xrevrange("pystator:replication", "+", "-", 1)[0][0]}, 2)
        applied(store, change("latest"))
    client.flushall()
    known = made().rebuild().known
    assert known.waiting == 2
    assert known.replicated < known.head <= known.seen + 1_000_000
    assert "2 waited to be replicated" in str(known)
    assert "what was committed after that is unknown" in str(known)


def test_programs_of_the_old_epoch_are_refused(made, client) -> None:
    """They hold decisions that the new Redis never saw; they have to connect again."""
    stale = made().connect()
    filled(stale)
    client.flushall()
    made().rebuild()
    machine = StateMachine.from_dict(
        {
            "meta": {"machine_name": "m"},
            "states": [{"name": "open", "type": "initial"}],
            "transitions": [{"trigger": "go", "source": "open", "dest": "open"}],
        }
    )
    with pytest.raises(ReplicationError):
        stale.commit([change("e00", after=3)])
    with pytest.raises(ReplicationError):
        Orchestrator(machine, stale).process_event("e00", "go")
    assert made().connect().get_state_versioned("e00") == ("open", 3)
    stale.disconnect()
    applied(stale.connect(), change("e00", after=3))


def test_a_redis_that_is_not_empty_is_not_overwritten(made, client) -> None:
    with made() as store:
        filled(store, 3)
        applied(store, change("late"))
    client.delete("pystator:epoch")
    with pytest.raises(ReplicationError, match=r"is not empty.*--discard"):
        made().rebuild()
    assert client.exists("pystator:entity:late")
    with RedisStateStore(f"{made().hot_store.url}?key_prefix=pystator:2") as other:
        applied(other, change("of another store"))
        made().rebuild(discard=True)
        assert other.get_state("of another store") == "open"
    store = made().connect()
    assert store.get_state("late") is None
    assert store.get_state("e00") == "open"


STEPS = [
    (Stream, "wipe"),
    (Stream, "begin_joining"),
    (Ledger, "begin_places"),
    (Stream, "set_epoch"),
    (Stream, "end_joining"),
]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=[name for _, name in STEPS])
def test_killed_between_two_steps_it_is_run_again(made, client, monkeypatch, step, before) -> None:
    with made() as store:
        served = filled(store, 3)
    client.flushall()
    owner, name = step
    method = getattr(owner, name)

    def die(*arguments, **options):
        if not before:
            method(*arguments, **options)
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, die)
        with pytest.raises(Died):
            made().rebuild()
    with pytest.raises(ReplicationError, match="rebuild was interrupted"):
        made().connect()
    assert made().rebuild().finished
    store = made().connect()
    assert contents(store.hot_store, list(served)) == served
    assert store.replicate(once=True).entries == 0


def test_stopped_or_killed_while_copying_it_goes_on(made, client) -> None:
    with made() as store:
        served = filled(store, 2_000)
    client.flushall()

    def die(so_far):
        if so_far.new_rows:
            raise Died

    with pytest.raises(Died):
        made().rebuild(progress=die)
    assert not made().rebuild(progress=lambda so_far: not so_far.new_rows).finished
    assert 0 < client.zcard("pystator:entities") < 2_003
    with pytest.raises(ReplicationError, match="rebuild was interrupted"):
        made().connect()
    assert made().rebuild().finished
    store = made().connect()
    assert contents(store.hot_store, list(served)) == served


def test_a_database_that_served_alone_gets_a_redis(made, durable_url) -> None:
    with SQLiteStateStore(durable_url) as alone:
        rich(alone)
    assert made().rebuild().known.replicated is None
    store = made().connect()
    assert contents(store.hot_store, KEYS) == contents(store.durable_store, KEYS)


# Adopting -------------------------------------------------------------------------------------------------------------


def test_a_redis_that_served_alone_gets_a_database(made, redis_url) -> None:
    with RedisStateStore(redis_url) as alone:
        rich(alone)
    assert made().adopt().finished
    store = made().connect()
    assert contents(store.durable_store, KEYS) == contents(store.hot_store, KEYS)
    applied(store, change("b", after=1))
    assert store.replicate(once=True).entries == 1


def test_a_database_from_a_backup_is_brought_up_again(made, client, redis_url) -> None:
    """And what only Redis knew is in the database then."""
    with made() as store:
        rich(store)
        store.replicate(once=True)
        ledger, epoch = store._pair.ledger, store.hot_store.epoch
        [old] = ledger.places(epoch).values()
        applied(store, change("b", after=1))
        store.replicate(once=True)
        [new] = ledger.places(epoch).values()
        ledger.apply((), 0, epoch, new, old)
    with pytest.raises(ReplicationError, match="--adopt"):
        made().connect()
    assert made().adopt().finished
    store = made().connect()
    assert contents(store.durable_store, KEYS) == contents(store.hot_store, KEYS)


def test_a_database_that_has_something_else_is_not_overwritten(
    made, redis_url, durable_url
) -> None:
    with RedisStateStore(redis_url) as hot, SQLiteStateStore(durable_url) as kept:
        applied(hot, change("a", context={"of": "redis"}))
        applied(kept, change("a", context={"of": "sqlite"}))
    with pytest.raises(ReplicationError, match="'a' of machine 'm'"):
        made().adopt()
    with SQLiteStateStore(durable_url) as kept:
        assert kept.get_context("a") == {"of": "sqlite"}
    made().rebuild(discard=True)
    assert made().connect().load([lookup("a")])[0].entity.context == {"of": "sqlite"}
