"""Two stores that belong together, and all the ways in which they may not: nobody guesses."""

import asyncio
import multiprocessing
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import redis

from pystator import SQLiteStateStore
from pystator.errors import ConfigurationError, ReplicationError, StoreUnavailableError
from pystator.stores.redis import RedisStateStore
from pystator.stores.registry import create_state_store
from pystator.stores.replicated import ReplicatedStateStore
from pystator.stores.replicated.places import Ledger
from pystator.stores.replicated.stream import Stream
from pystator.testing.building import applied, change, lookup


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def test_two_empty_stores_are_joined_by_the_first_who_uses_them(store, made, client) -> None:
    epoch = client.get("pystator:epoch")
    assert store.durable_store.marks("replication.epoch") == {"replication.epoch": epoch}
    other = made().connect()
    applied(store, change("a"))
    assert other.get_state("a") == "open"
    assert client.get("pystator:epoch") == epoch


def _join(arguments):
    redis_url, durable_url = arguments
    durable = SQLiteStateStore(durable_url)
    with ReplicatedStateStore(hot=RedisStateStore(redis_url), durable=durable) as store:
        return store.hot_store.epoch


def test_processes_that_come_at_once_join_them_once(redis_url, durable_url, client) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        epochs = pool.map(_join, [(redis_url, durable_url)] * 6, 1)
    assert set(epochs) == {client.get("pystator:epoch")}


@pytest.mark.parametrize("step", range(1, 4))
def test_who_dies_while_joining_them_leaves_it_to_the_next(made, client, monkeypatch, step) -> None:
    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as patched:
        victim = {
            1: (Ledger, "begin_places"),
            2: (Stream, "set_epoch"),
            3: (Ledger, "change_epoch"),
        }[step]
        if step == 3:
            change_epoch = Ledger.change_epoch
            patched.setattr(
                Ledger,
                "change_epoch",
                lambda self, before, after: die() if before else change_epoch(self, before, after),
            )
        else:
            patched.setattr(*victim, die)
        with pytest.raises(Died):
            made().connect()
    store = made().connect()
    applied(store, change("a"))
    store.replicate(once=True)
    assert store.durable_store.get_state("a") == "open"


def test_a_slow_one_does_not_undo_what_others_did_meanwhile(made, monkeypatch) -> None:
    """It stopped just before it noted that nothing is applied yet."""
    begin_places = Ledger.begin_places

    def late(self, epoch, partitions):
        monkeypatch.setattr(Ledger, "begin_places", begin_places)
        with made() as quick:
            applied(quick, change("a"))
            quick.replicate(once=True)
        begin_places(self, epoch, partitions)

    monkeypatch.setattr(Ledger, "begin_places", late)
    store = made().connect()
    applied(store, change("a", after=1))
    assert store.replicate(once=True).entries == 1
    assert store.durable_store.get_state_versioned("a") == ("open", 2)


# Refusals -------------------------------------------------------------------------------------------------------------


def refusal(store, command) -> str:
    with pytest.raises(ReplicationError, match=command) as caught:
        store.connect()
    assert caught.value.context["written"] is False
    with pytest.raises(StoreUnavailableError, match=r"call store.connect"):
        store.get_state("a")
    return caught.value.message


def test_a_redis_with_entities_is_not_taken_for_an_empty_one(made, redis_url) -> None:
    with RedisStateStore(redis_url) as alone:
        applied(alone, change("a"))
    assert "never replicated" in refusal(made(), "--adopt")


def test_a_database_with_entities_is_not_taken_for_an_empty_one(made, tmp_path) -> None:
    with SQLiteStateStore(f"sqlite:///{tmp_path}/durable.db") as alone:
        applied(alone, change("a"))
    assert "the hot one is empty" in refusal(made(), "--rebuild")


def test_an_emptied_redis_is_refused_and_what_is_known_is_said(made, client) -> None:
    with made() as store:
        applied(store, change("a"))
        store.replicate(once=True)
    client.flushall()
    said = refusal(made(), "pystator replicate --hot redis://.* --durable sqlite:///.* --rebuild")
    assert "the hot store was emptied" in said
    assert "every commit up to 2" in said
    assert "what was committed after that is unknown" in said


def test_an_emptied_database_is_refused(made, tmp_path, client) -> None:
    made().connect().disconnect()
    fresh = SQLiteStateStore(f"sqlite:///{tmp_path}/fresh.db")
    assert "the durable store was emptied" in refusal(made(durable=fresh), "--adopt")


def test_stores_of_two_pairs_are_refused(made, client, tmp_path) -> None:
    made().connect().disconnect()
    client.delete("pystator:epoch", "pystator:replication")
    made(durable=SQLiteStateStore(f"sqlite:///{tmp_path}/other.db")).connect().disconnect()
    assert "of different pairs" in refusal(made(), "--rebuild")


def test_who_was_connected_meets_it_at_the_next_write_and_at_what_is_not_there(
    store, client
) -> None:
    """A stale program neither writes into an emptied Redis nor says that there is nothing."""
    applied(store, change("a"))
    store.replicate(once=True)
    client.flushall()
    calls = [
        lambda: store.commit([change("b")]),
        lambda: store.get_state("a"),
        lambda: store.load([lookup("a")]),
        lambda: store.load_one("a", "m"),
        lambda: store.history("a"),
        store.entities,
        store.count_by_state,
        store.feed,
        lambda: store.machines("a"),
        lambda: store.set_state("a", "shut"),
        lambda: store.replicate(once=True),
    ]
    for call in calls:
        with pytest.raises(ReplicationError, match="--rebuild"):
            call()
    assert client.keys("*") == []


async def _meets(store):
    calls = [
        store.acommit([change("b")]),
        store.aget_state("a"),
        store.aload([lookup("a")]),
        store.ahistory("a"),
        store.aentities(),
        store.acount_by_state(),
        store.adue(10**18, 10),
        store.afeed(),
        store.amachines("a"),
    ]
    for call in calls:
        with pytest.raises(ReplicationError, match="--rebuild"):
            await call


def test_the_async_face_meets_it_too(store, client) -> None:
    applied(store, change("a"))
    client.flushall()
    asyncio.run(_meets(store))


def test_a_redis_that_came_back_with_older_data_is_refused_and_fenced(made, client) -> None:
    """It has its epoch, and commits that it lost are in the database: nothing may be added to it."""
    with made() as store:
        applied(store, change("a"))
        store.replicate(once=True)
        applied(store, change("a", after=1))
        store.replicate(once=True)
        last = client.xrevrange("pystator:replication", "+", "-", 1)[0][0]
        # As if the second commit had never been.
        client.xdel("pystator:replication", last)
        client.set("pystator:replicated", "1-0")
        client.hset("pystator:entity:a", "version", "1")
        said = refusal(made(), "--rebuild")
        assert "older data" in said
        with pytest.raises(ReplicationError, match="lost commits that were replicated already"):
            store.commit([change("a", after=1)])
    refusal(made(), "--rebuild")


def test_newer_commits_do_not_hide_that_it_lost_some(store, client) -> None:
    applied(store, change("a"))
    store.replicate(once=True)
    last = client.xrevrange("pystator:replication", "+", "-", 1)[0][0]
    client.xdel("pystator:replication", last)
    client.set("pystator:replicated", "1-0")
    applied(store, change("b"))
    with pytest.raises(ReplicationError, match="older data"):
        store.replicate(once=True)
    assert store.durable_store.get_state("b") is None


def test_a_database_that_came_back_with_older_data_is_refused(made, store, tmp_path) -> None:
    applied(store, change("a"))
    store.replicate(once=True)
    ledger = store._pair.ledger
    epoch = store.hot_store.epoch
    [before] = ledger.places(epoch).values()
    applied(store, change("a", after=1))
    store.replicate(once=True)
    [after] = ledger.places(epoch).values()
    assert ledger.apply((), 0, epoch, after, before)  # as if restored from a backup
    assert "restored from a backup" in refusal(made(), "--adopt")
    applied(store, change("b"))  # the hot store is well, and goes on serving


def test_options_that_are_wrong(redis_url, tmp_path) -> None:
    hot = RedisStateStore(redis_url)
    kept = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="hot= is a RedisStateStore"):
        ReplicatedStateStore(hot=kept, durable=kept)
    with pytest.raises(ConfigurationError, match="durable= is a PostgresStateStore"):
        ReplicatedStateStore(hot=hot, durable=hot)


def test_one_url_for_both(redis_url, tmp_path) -> None:
    url = f"replicated://?hot={redis_url}&durable=sqlite:///{tmp_path}/x.db"
    with create_state_store(url, background=True) as store:
        assert isinstance(store, ReplicatedStateStore)
        applied(store, change("a"))
    assert repr(store).startswith("ReplicatedStateStore(hot=RedisStateStore(")
    for wrong in (
        "replicated://",
        "replicated://?hot=redis://x",
        "replicated://h?hot=a&durable=b",
        url + "&x=1",
    ):
        with pytest.raises(ConfigurationError, match="names two"):
            create_state_store(wrong)
    secret = "replicated://?hot=redis://:s3cret@h&durable=postgresql://u:s3cret@h/d&hot=2"
    with pytest.raises(ConfigurationError) as caught:
        create_state_store(secret)
    assert "s3cret" not in str(caught.value)


def test_the_pair_is_not_made_without_being_asked(made, tmp_path) -> None:
    SQLiteStateStore(f"sqlite:///{tmp_path}/durable.db").connect().disconnect()
    with pytest.raises(ReplicationError, match="never joined"):
        made().connect(auto_initialize=False)


def test_a_store_that_is_not_connected_says_so(made) -> None:
    store = made()
    for call in (
        lambda: store.commit([change("a")]),
        store.lag,
        lambda: store.replicate(once=True),
    ):
        with pytest.raises(StoreUnavailableError, match=r"call store.connect"):
            call()


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_connected_program_notices_a_redis_that_came_back_older(
    own_redis, durable_url, face
) -> None:
    """Its files are those of an earlier moment: the epoch is right, and what was replicated is not there."""
    server = own_redis()
    kept = SQLiteStateStore(durable_url)
    with ReplicatedStateStore(hot=RedisStateStore(server.url), durable=kept) as store:
        applied(store, change("a"))
        store.replicate(once=True)
        server.stop()
        subprocess.run(["cp", "-a", server.data, f"{server.data}.old"], check=True)
        server.start()
        applied(store, change("a", after=1))
        store.replicate(once=True)
        server.kill()
        shutil.rmtree(server.data)
        Path(f"{server.data}.old").rename(server.data)
        server.start()

        def load():
            if face == "async":
                asyncio.run(store.aload([lookup("a")]))
            else:
                store.load([lookup("a")])
            return True

        deadline = time.monotonic() + 20
        with pytest.raises(ReplicationError, match="lost commits that were replicated already"):  # noqa: PT012
            while load():
                assert time.monotonic() < deadline
        with pytest.raises(ReplicationError):
            store.commit([change("b")])


def test_a_redis_that_comes_back_as_it_was_is_believed(own_redis, durable_url) -> None:
    """Also while the database is away: callers do not wait for it."""
    server = own_redis()
    with ReplicatedStateStore(
        hot=RedisStateStore(server.url), durable=SQLiteStateStore(durable_url)
    ) as store:
        applied(store, change("a"))
        store.replicate(once=True)
        for version in range(1, 4):
            server.kill()
            server.start()
            assert store.get_state("a") == "open"
            applied(store, change("a", after=version))
        assert store.replicate(once=True).entries == 3
