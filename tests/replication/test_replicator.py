"""The replicator: in order, exactly once, whatever happens between two steps."""

import asyncio
import logging
import threading
import time

import pytest
import redis

from pystator import EventRequest, Orchestrator, StateMachine
from pystator.errors import ReplicationError
from pystator.records import Lookup
from pystator.stores.replicated import replicator
from pystator.stores.replicated.replicator import Replicator
from pystator.stores.replicated.stream import Stream
from pystator.testing.building import applied, change, note
from replication.shapes import KEYS, all_keys, contents, rich

MACHINE = StateMachine.from_dict(
    {
        "meta": {"machine_name": "tally"},
        "states": [{"name": "on", "type": "initial"}],
        "transitions": [
            {"trigger": "add", "source": "on", "dest": "on", "actions": [{"increment": "n"}]}
        ],
    }
)


def same(store) -> bool:
    """Both have the same keys, entities and rows."""
    keys = all_keys(store.hot_store)
    assert all_keys(store.durable_store) == keys
    assert contents(store.durable_store, keys) == contents(store.hot_store, keys)
    return True


def test_every_field_of_entities_and_rows_arrives(on_both) -> None:
    rich(on_both)
    done = on_both.replicate(once=True)
    assert (done.entries, done.rows, done.waiting) == (7, 9, 0)
    assert contents(on_both.durable_store, KEYS) == contents(on_both.hot_store, KEYS)
    assert same(on_both)
    assert on_both.durable_store.due(4_500, 10) == on_both.due(4_500, 10)


def test_fields_that_somebody_else_put_into_a_hash_are_left_alone(store, redis_url) -> None:
    """More of them than a command of a script takes, and names that an entry of the stream has."""
    applied(store, change("a"))
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.hset("pystator:entity:a", mapping={f"f{number}": "" for number in range(8_000)})
        client.hset("pystator:entity:a", mapping={"id": "x", "rows": "x"})
    applied(store, change("a", after=1))
    assert store.replicate(once=True).entries == 2
    assert contents(store.durable_store, [("a", "m")]) == contents(store.hot_store, [("a", "m")])


def test_many_commits_of_one_entity_are_one_parcel(on_both) -> None:
    """And what changes later is a change of what is there."""
    for round_ in range(3):
        on_both.commit([change(f"e{number}", after=round_) for number in range(50)])
        on_both.commit([note("e1", version=round_ + 1, event_id=f"i{round_}")])
        if round_ != 1:
            on_both.replicate(once=True)
            assert same(on_both)


def test_events_of_an_orchestrator(on_both) -> None:
    orchestrator = Orchestrator(MACHINE, on_both)
    for round_ in range(3):
        orchestrator.process_events(
            [
                EventRequest(f"e{number % 7}", "add", {"n": number}, f"{round_}-{number}")
                for number in range(100)
            ]
        )
    orchestrator.close()
    on_both.replicate(once=True)
    assert same(on_both)
    assert sum(len(on_both.durable_store.history(f"e{number}").items) for number in range(7)) == 300


def test_a_step_that_dies_anywhere_is_done_once(store, monkeypatch) -> None:
    """Before and after each of its requests; the next one goes on."""
    calls = 0
    die_at = 0

    class Died(BaseException):
        pass

    def mortal(method):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == die_at:
                raise Died
            answer = method(*arguments, **options)
            calls += 1
            if calls == die_at:
                raise Died
            return answer

        return call

    pair = store._pair
    for name in ("read", "trim", "heads"):
        monkeypatch.setattr(pair.stream, name, mortal(getattr(pair.stream, name)))
    for name in ("apply", "note_seen", "places"):
        monkeypatch.setattr(pair.ledger, name, mortal(getattr(pair.ledger, name)))
    version = 0
    while True:
        applied(store, change("a", after=version), note("b", version=version))
        version += 1
        calls = 0
        die_at += 1
        try:
            store.replicate(once=True)
        except Died:
            die_at, died_at = 0, die_at
            store.replicate(once=True)
            assert same(store), died_at
            die_at = died_at
        else:
            break
    assert die_at > 12


def test_several_at_once_apply_everything_once(store, made, monkeypatch) -> None:
    monkeypatch.setattr(replicator, "STANDBY", 0.01)
    monkeypatch.setattr(replicator, "COUNT", 5)
    others = [made().connect() for _ in range(2)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=each.replicate, kwargs={"stop": stop}) for each in (store, *others)
    ]
    for thread in threads:
        thread.start()
    for round_ in range(30):
        applied(store, *[change(f"e{number}", after=round_) for number in range(10)])
    deadline = time.monotonic() + 30
    while store.lag().entries:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert same(store)


def test_what_is_applied_leaves_the_stream_but_for_an_anchor(store, redis_url) -> None:
    with redis.Redis.from_url(redis_url) as client:
        store.commit([change(f"e{number}") for number in range(20)])
        assert client.xlen("pystator:replication") == 20
        store.replicate(once=True)
        assert client.xlen("pystator:replication") == 1
        store.commit([change("f")])
        store.replicate(once=True)
        assert client.xlen("pystator:replication") == 1


@pytest.mark.parametrize("entities", [60, 1])
def test_large_contexts_are_read_a_few_at_a_time(store, monkeypatch, entities) -> None:
    """What the replicator holds does not grow with what waits; each entry has a whole context."""
    monkeypatch.setattr(replicator, "SIZE", 50_000)
    for number in range(60):
        name, after = f"e{number % entities}", number // entities
        applied(store, change(name, after=after, context={"text": "x" * 10_000}))
    counts = []
    read = Stream.read

    def noting(self, places, count):
        batches = read(self, places, count)
        counts.append(sum(len(batch.entries) for batch in batches))
        return batches

    monkeypatch.setattr(Stream, "read", noting)
    store.replicate(once=True)
    assert counts[0] == replicator.FEW
    assert max(counts[1:]) <= 5
    assert same(store)


def test_lag_counts_commits_and_their_age(store) -> None:
    assert (store.lag().entries, store.lag().seconds) == (0, 0)
    applied(store, change("a"), change("b"))
    time.sleep(0.05)
    lag = store.lag()
    assert lag.entries == 2
    assert 0.04 < lag.seconds < 5
    assert lag.replicated is None
    store.replicate(once=True)
    applied(store, change("a", after=1))
    lag = store.lag()
    assert lag.entries == 1
    assert abs(lag.replicated - time.time() * 1_000_000) < 60_000_000


def test_a_durable_store_that_others_wrote_to_stops_it(store) -> None:
    """Nothing is skipped and nothing overwritten: a person decides."""
    applied(store, change("a"))
    store.durable_store.commit([change("a")])
    with pytest.raises(ReplicationError, match=r"'a' of machine 'm'.*--adopt or --rebuild"):
        store.replicate(once=True)
    assert store.lag().entries == 1
    assert len(store.durable_store.history("a").items) == 1


def test_in_the_background_of_a_program(made, caplog) -> None:
    store = made(background=True).connect()
    for number in range(5):
        applied(store, change(f"e{number}"))
    deadline = time.monotonic() + 10
    while store.lag().entries:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert same(store)
    store.durable_store.commit([change("x")])
    with caplog.at_level(logging.ERROR, "pystator.replication"):
        applied(store, change("x"))
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert "somebody else has written" in store.lag().trouble.lower()
    applied(store, change("x", after=1))


def test_as_a_task_of_an_event_loop(store) -> None:
    async def run():
        task = asyncio.create_task(store.areplicate())
        await store.acommit([change("a"), change("b", steps=3)])
        while (await store.alag()).entries:  # noqa: ASYNC110 - nobody could tell
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.acommit([change("a", after=1)])
        await asyncio.sleep(0.05)
        assert (await store.alag()).entries == 1
        assert (await store.areplicate(once=True)).entries == 1

    asyncio.run(run())
    assert same(store)


def test_what_redis_forgot_by_pruning_stays_in_the_durable_store(store) -> None:
    from datetime import timedelta

    applied(store, change("a", steps=5, context={"n": 1}))
    store.replicate(once=True)
    assert store.prune_history(timedelta(0)).rows == 5
    applied(store, change("a", after=5))
    store.replicate(once=True)
    assert [row.version for row in store.durable_store.history("a").items] == [1, 2, 3, 4, 5, 6]
    assert store.durable_store.load([Lookup("a", "m")])[0] == store.load([Lookup("a", "m")])[0]


def test_an_event_id_that_redis_forgot_may_come_again(on_both) -> None:
    """Its row was pruned there, and not in the durable store, where the older row gives up its id."""
    from datetime import timedelta

    applied(on_both, change("a", event_id="i", steps=2), note("b", version=0, event_id="é" * 255))
    on_both.replicate(once=True)
    on_both.prune_history(timedelta(0), dedup_window=timedelta(0))
    applied(on_both, change("a", after=2, event_id="i"), note("b", version=0, event_id="é" * 255))
    on_both.replicate(once=True)
    kept = on_both.durable_store
    assert [row.event_id for row in kept.history("a").items] == [None, "i-2", "i"]
    assert [row.event_id for row in kept.history("b").items] == [None, "é" * 255]

    # And again, twice before it is replicated.
    for version in (3, 4):
        on_both.prune_history(timedelta(0), dedup_window=timedelta(0))
        applied(on_both, change("a", after=version, event_id="i"))
    on_both.replicate(once=True)
    assert [row.event_id for row in kept.history("a").items] == [None, "i-2", None, None, "i"]


def test_a_step_is_a_step_of_the_public_class(store) -> None:
    """A replicator that was told to stop before it began does nothing."""
    stop = threading.Event()
    stop.set()
    applied(store, change("a"))
    assert Replicator(store._pair, stop=stop).run().entries == 0
    assert store.lag().entries == 1
