"""What goes wrong between a store and its server: told, survived, and never guessed."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from pystator import Orchestrator, RedisStateStore, StateMachine
from pystator.errors import SchemaError, StoreUnavailableError
from pystator.records import EntryKind, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from servers.redis import SAFE
from servers.relay import Relay

MACHINE = {
    "meta": {"machine_name": "m", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut"},
        {"trigger": "turn", "source": "shut", "dest": "open"},
    ],
}

AT_ONCE = (*SAFE, "--repl-diskless-sync-delay", "0")


def cut_off(admin):
    """Cut every other client off."""
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def unknown(call):
    """The error of a call whose outcome nobody knows."""
    with pytest.raises(StoreUnavailableError) as caught:
        call()
    assert "written" not in caught.value.context
    return str(caught.value)


def not_written(call):
    """The error of a call that surely wrote nothing."""
    with pytest.raises(StoreUnavailableError) as caught:
        call()
    assert caught.value.context["written"] is False
    return str(caught.value)


def fill(store):
    """Write twenty megabytes."""
    for number in range(100):
        store.commit([change(f"e{number}", context={"text": "x" * 200_000})])


class TestLostConnections:
    def test_a_dropped_idle_connection_fails_no_event(self, store, admin):
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        for _ in range(4):
            orchestrator.process_event("e", "turn").raise_for_error()
            cut_off(admin)
        assert store.get_state_versioned("e")[1] == len(store.history("e").items)

    def test_a_dropped_idle_connection_fails_no_async_event(self, store, admin):
        async def run():
            orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
            for _ in range(4):
                (await orchestrator.async_process_event("e", "turn")).raise_for_error()
                await asyncio.to_thread(cut_off, admin)

        asyncio.run(run())
        assert store.get_state_versioned("e")[1] == len(store.history("e").items)

    def test_clients_are_cut_off_in_the_middle(self, store, admin):
        """An event that is sent until it is answered is there once."""
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        over = threading.Event()
        counts = [0] * 4

        def work(number):
            while not over.is_set():
                with suppress(StoreUnavailableError):
                    event_id = f"i-{counts[number]}"
                    orchestrator.process_event(f"e{number}", "turn", event_id=event_id)
                    counts[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            cut_off(admin)
            time.sleep(0.01)
        over.set()
        for thread in threads:
            thread.join()
        for number, count in enumerate(counts):
            rows = store.history(f"e{number}", limit=100_000).items
            events = [row.version for row in rows if row.kind is EntryKind.EVENT]
            assert store.get_state_versioned(f"e{number}")[1] == rows[-1].version
            assert len(events) - count in {0, 1}  # the last one may never have been answered

    def test_a_server_that_is_frozen_leaves_a_commit_unknown(self, own_redis):
        server = own_redis()
        with RedisStateStore(server.url, timeout=0.3) as store:
            applied(store, change())
            with server.hung():
                began = time.monotonic()
                said = unknown(lambda: store.commit([change(after=1)]))
                assert "did not answer in time" in said
                assert time.monotonic() - began < 3
                said = not_written(lambda: store.load([lookup()]))
                assert "did not answer in time" in said
            applied(store, change("f"))
            assert store.load([lookup()])[0].entity.version in {1, 2}

    def test_a_server_that_is_frozen_leaves_an_async_commit_unknown(self, own_redis):
        server = own_redis()

        async def run(store):
            await store.acommit([change()])
            with server.hung():
                with pytest.raises(StoreUnavailableError) as caught:
                    await store.acommit([change(after=1)])
                assert "written" not in caught.value.context
                with pytest.raises(StoreUnavailableError, match="in time"):
                    await store.aload([lookup()])
            assert (await store.aload([lookup()]))[0].entity.version in {1, 2}

        with RedisStateStore(server.url, timeout=0.3) as store:
            asyncio.run(run(store))

    def test_a_cancelled_call_leaves_its_connection_to_nobody(self, own_redis):
        server = own_redis()

        async def run(store):
            await store.acommit([change(), change("f", state="shut")])
            with server.hung():
                call = asyncio.ensure_future(store.aload([lookup()]))
                await asyncio.sleep(0.05)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            assert (await store.aload([lookup("f")]))[0].entity.state == "shut"

        with RedisStateStore(server.url, pool_size=1) as store:
            asyncio.run(run(store))


class TestRestarts:
    def test_a_killed_server_comes_back_with_what_it_acknowledged(self, own_redis):
        server = own_redis()
        with RedisStateStore(server.url) as store:
            applied(store, *[change(f"e{number}", event_id="i") for number in range(50)])
            server.kill()
            server.start()
            outcomes = store.commit([change("e7", after=1, event_id="i"), change("e8", after=1)])
            assert [each.kind for each in outcomes] == [OutcomeKind.DUPLICATE, OutcomeKind.APPLIED]
            assert store.count_by_state() == {"open": 50}

    def test_a_server_that_is_away_is_waited_for(self, own_redis):
        server = own_redis()
        with RedisStateStore(server.url) as store:
            applied(store, change())
            server.stop()
            starting = threading.Timer(0.3, server.start)
            starting.start()
            applied(store, change(after=1))
            starting.join()

    def test_a_server_that_stays_away_is_told(self, own_redis):
        server = own_redis()
        with RedisStateStore(server.url, timeout=0.3) as store:
            applied(store, change())
            server.stop()
            assert "is Redis running" in not_written(lambda: store.commit([change(after=1)]))
            store.append_later([note(version=1, kind=EntryKind.ACTION)])
            assert "is Redis running" in not_written(store.flush)
            server.start()
            store.flush()
            assert [row.version for row in store.history("e").items] == [1, 1]

    def test_scripts_are_taught_again(self, store, admin):
        applied(store, change())
        admin.script_flush()
        applied(store, change(after=1), change("f"))
        admin.script_flush()
        assert asyncio.run(store.acommit([change(after=2)]))[0].kind is OutcomeKind.APPLIED

    def test_a_server_that_was_emptied_is_an_empty_store(self, store, admin):
        applied(store, change(), change("f"))
        admin.flushall()
        assert store.get_state("e") is None
        assert store.commit([change(after=1)])[0].kind is OutcomeKind.STALE
        applied(store, change())
        assert store.count_by_state() == {"open": 1}

    def test_a_replica_takes_over_behind_the_same_url(self, own_redis):
        """As behind a name or an address that moves: the old server takes no more writes."""
        primary, replica = own_redis(*AT_ONCE), own_redis(*AT_ONCE)
        with replica.client() as there, primary.client() as here:
            there.replicaof("127.0.0.1", primary.port)
            until(lambda: there.info("replication")["master_link_status"] == "up")
            with Relay(primary.port) as relay, RedisStateStore(relay.url) as store:
                applied(store, change(context={"n": 1}))
                here.wait(1, 5_000)
                there.replicaof("NO", "ONE")
                here.replicaof("127.0.0.1", replica.port)
                relay.port = replica.port
                applied(store, change(after=1, context={"n": 2}))
                assert store.get_context("e") == {"n": 2}


class TestRefusals:
    def test_a_server_without_memory_refuses_whole_commits(self, own_redis):
        server = own_redis("--appendonly", "yes", "--maxmemory", "4mb")
        with RedisStateStore(server.url) as store, server.client() as admin:
            applied(store, change())
            assert "no memory" in not_written(lambda: fill(store))
            there = {each.entity_id for each in store.list_entities(limit=1_000)}
            rows = {row.entity_id for row in store.feed(limit=1_000).items}
            assert there == rows
            admin.config_set("maxmemory", "100mb")
            applied(store, change(after=1))

    @pytest.mark.parametrize("of", ["{P:entity:e}:history:m", "P:entity:e", "{P:entity:e}:ids:m"])
    def test_somebody_elses_key_refuses_that_entity(self, store, admin, of):
        admin.set(of.replace("P", store.key_prefix), "mine")
        outcomes = store.commit([change(event_id="i"), change("f")])
        assert [each.kind for each in outcomes] == [OutcomeKind.REFUSED, OutcomeKind.APPLIED]
        assert isinstance(outcomes[0].error, SchemaError)
        assert "key_prefix" in str(outcomes[0].error)
        assert [each.entity_id for each in store.list_entities()] == ["f"]
        assert [row.entity_id for row in store.feed().items] == ["f"]

    @pytest.mark.parametrize(
        "of", ["feed", "entities", "histories", "due:m", "states", "state:m:x"]
    )
    def test_somebody_elses_shared_key_refuses_every_commit(self, store, admin, of):
        applied(store, change("g"))
        admin.delete(f"{store.key_prefix}:{of}")
        admin.set(f"{store.key_prefix}:{of}", "mine")
        before = sorted(admin.keys("*"))
        [outcome] = store.commit([change(state="x", timers={"t": (5, 1)})])
        assert outcome.kind is OutcomeKind.REFUSED
        assert sorted(admin.keys("*")) == before

    def test_a_hash_that_is_none_of_ours_is_no_entity(self, store, admin):
        admin.hset(f"{store.key_prefix}:entity:e", mapping={"state": "open", "context": "{}"})
        with pytest.raises(SchemaError, match="no version"):
            store.load([lookup()])
        [outcome] = store.commit([change()])
        assert outcome.kind is OutcomeKind.REFUSED

    def test_somebodys_long_script_is_waited_for(self, store, admin):
        applied(store, change())
        admin.config_set("busy-reply-threshold", 20)
        try:
            busy = "local t = redis.call('TIME')[1] + 0; while redis.call('TIME')[1] - t < 2 do end"
            other = threading.Thread(target=admin.eval, args=(busy, 0))
            other.start()
            time.sleep(0.1)
            applied(store, change(after=1))
            other.join()
        finally:
            admin.config_set("busy-reply-threshold", 5_000)

    def test_a_missing_right_leaves_nothing_half_done(self, own_redis):
        server = own_redis("--appendonly", "yes")
        with server.client() as admin:
            admin.execute_command(
                "ACL", "SETUSER", "clerk", "on", ">p", "~*", "+@all", "-zrem"
            )  # fmt: skip
        url = f"redis://clerk:p@127.0.0.1:{server.port}/0"
        with pytest.raises(StoreUnavailableError, match="ZREM"):
            RedisStateStore(url).connect()


def until(true, seconds=20.0):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_password_that_was_changed_is_told_at_once(own_redis):
    server = own_redis(*SAFE, password="old")
    with RedisStateStore(server.url) as store:
        applied(store, change())
        with server.client() as admin:
            admin.config_set("requirepass", "new")
            cut_off(admin)
        server.password = "new"
        began = time.monotonic()
        assert "password is wrong" in not_written(lambda: store.commit([change(after=1)]))
        assert time.monotonic() - began < 5
