"""A cluster that changes under load: a slot moves, a node dies, a replica takes over."""

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress

import pytest
from redis.crc import key_slot

from pystator import Orchestrator, RedisStateStore, StateMachine
from pystator.errors import FSMError
from pystator.stores.redis.layout import Layout
from pystator.testing.building import applied, change, lookup
from servers.cluster import Cluster, Node
from servers.redis import SAFE

MACHINE = {
    "meta": {"machine_name": "m", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut", "actions": [{"increment": "n"}]},
        {"trigger": "turn", "source": "shut", "dest": "open", "actions": [{"increment": "n"}]},
    ],
}
LAYOUT = Layout("pystator", is_cluster=True)
NAMES = [f"e{number}" for number in range(24)]


OPTIONS = (*SAFE, "--repl-diskless-sync-delay", "0")


@pytest.fixture(scope="module")
def nodes():
    """Three nodes that keep what they acknowledged; each test leaves them well."""
    with Cluster(os.getpid(), *OPTIONS) as started:
        yield started


@pytest.fixture
def cluster(nodes):
    """The same, without keys."""
    for node in nodes.nodes:
        with node.client() as client:
            client.flushall()
    return nodes


class Writers:
    """Threads that send events, each for entities of its own, until they are told to stop."""

    def __init__(self, store, count=3):
        self.orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        self.over = threading.Event()
        self.answered = Counter()
        self.failures = []
        self.threads = [
            threading.Thread(target=self.work, args=(NAMES[number::count],))
            for number in range(count)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)

    def work(self, names):
        while not self.over.is_set():
            for name in names:
                event_id = f"i-{self.answered[name]}"
                try:
                    self.orchestrator.process_event(name, "turn", event_id=event_id)
                except FSMError as error:
                    self.failures.append(error)
                else:
                    self.answered[name] += 1

    def wait(self, name, more):
        """Until an entity got so many more events."""
        least = self.answered[name] + more
        until(lambda: self.answered[name] >= least)


def check_books(store, writers):
    """Every answered event is there once, in order, in the entity, its history and the feed."""
    for name in NAMES:
        rows = store.history(name, limit=100_000).items
        ids = [row.event_id for row in rows if row.kind != "created"]
        assert ids == [f"i-{number}" for number in range(len(ids))]
        assert len(ids) - writers.answered[name] in {0, 1}  # the last one was never answered
        entity = store.load_one(name, "m")
        assert (entity.version, entity.context["n"]) == (rows[-1].version, len(ids))
    told = Counter()
    page = store.feed(limit=1_000)
    while page.items:
        told.update((row.entity_id, row.id) for row in page.items)
        page = store.feed(page.next, limit=1_000)
    assert set(told.values()) == {1}
    assert len(told) == sum(len(store.history(name, limit=100_000).items) for name in NAMES)


def test_a_slot_is_moved_under_load(cluster):
    partition = LAYOUT.partition("e0")
    slot = key_slot(LAYOUT.pres[partition].encode())
    with RedisStateStore(cluster.url) as store, Writers(store) as writers:
        writers.wait("e0", 5)
        source = cluster.nodes[slot * 3 // 16_384]
        for target in sorted(cluster.nodes, key=lambda node: node is source):
            move(cluster, slot, source, target)  # in the end to where it was
            source = target
            writers.wait("e0", 5)
    assert writers.failures == []
    with RedisStateStore(cluster.url) as store:
        check_books(store, writers)


def test_a_commit_waits_for_a_slot_that_is_on_its_way(cluster):
    """Half of the partition's keys are there, half are not yet: nothing is written to either."""
    slot = key_slot(LAYOUT.pres[LAYOUT.partition("e0")].encode())
    place = slot * 3 // 16_384
    source, target = cluster.nodes[place], cluster.nodes[place - 1]
    with RedisStateStore(cluster.url, timeout=0.3) as store:
        applied(store, change("e0"))
        for half in (False, True):
            begin_move(slot, source, target)
            if half:
                move_keys(slot, source, target, half=True)
            with pytest.raises(FSMError, match="moving the slot") as caught:
                store.commit([change("e0", after=1)])
            assert caught.value.context["written"] is False
            assert store.load([lookup("e0")])[0].entity.version == 1
        move_keys(slot, source, target)
        end_move(cluster, slot, target)
        applied(store, change("e0", after=1))
        move(cluster, slot, target, source)
        assert [row.version for row in store.history("e0").items] == [1, 2]


def test_a_node_that_takes_no_writes_leaves_a_batch_unknown(cluster):
    """The other nodes have written their commits: nobody may believe that nothing was written."""
    with RedisStateStore(cluster.url, timeout=0.3) as store:
        with cluster.nodes[0].client() as client:
            client.config_set("min-replicas-to-write", 1)
            try:
                with pytest.raises(FSMError, match="too few replicas") as caught:
                    store.commit([change(name) for name in NAMES])
            finally:
                client.config_set("min-replicas-to-write", 0)
        assert any(each.entity for each in store.load([lookup(name) for name in NAMES]))
        assert "written" not in caught.value.context


def test_threads_that_ask_several_nodes_do_not_wait_for_each_other(cluster):
    """Who has the last connection to one node may wait for one to another, but not in a circle."""
    failures = []

    def work(names):
        for version in range(8):
            try:
                applied(store, *[change(name, after=version) for name in names])
            except FSMError as error:
                failures.append(error)
                return

    with RedisStateStore(cluster.url, pool_size=1, timeout=4) as store:
        parts = [NAMES[number::4][:: (-1) ** number] for number in range(4)]
        threads = [threading.Thread(target=work, args=(names,)) for names in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []


def test_a_killed_node_comes_back(cluster):
    partition = LAYOUT.partition("e0")
    node = cluster.nodes[key_slot(LAYOUT.pres[partition].encode()) * 3 // 16_384]
    elsewhere = next(name for name in NAMES if home(cluster, name) is not node)
    with RedisStateStore(cluster.url, timeout=5) as store, Writers(store, len(NAMES)) as writers:
        writers.wait("e0", 3)
        node.kill()
        writers.wait(elsewhere, 3)
        node.start()
        writers.wait("e0", 3)
    with RedisStateStore(cluster.url) as store:
        check_books(store, writers)


def test_whatever_is_read_is_whole_while_a_slot_moves(cluster):
    """Lists, counts, deadlines and the feed wait for the partition that is on its way, and miss nothing."""
    names = sorted(f"e{number}" for number in range(200))
    slot = key_slot(LAYOUT.pres[LAYOUT.partition("e0")].encode())
    source = home(cluster, "e0")
    target = next(node for node in cluster.nodes if node is not source)
    seen = []
    with RedisStateStore(cluster.url) as store:
        applied(store, *[change(name, state="a+b", timers={"t": (5, 1)}) for name in names])
        over = threading.Event()

        def read():
            while not over.is_set():
                seen.append([each.entity_id for each in store.list_entities(limit=1_000)])
                seen.append([each.entity_id for each in store.list_entities("a", limit=1_000)])
                seen.append(sorted(key[0] for key in store.due(10, 1_000)))
                seen.append(sorted(row.entity_id for row in store.feed(limit=1_000).items))
                seen.append(names * (store.count_by_state() == {"a+b": 200}))
            seen.append("all")

        reader = threading.Thread(target=read)
        reader.start()
        try:
            move(cluster, slot, source, target)
            move(cluster, slot, target, source)
        finally:
            over.set()
            reader.join()
    assert seen.pop() == "all"
    assert seen == [names] * len(seen)


def test_a_replica_takes_over():
    with Cluster(os.getpid(), *OPTIONS) as cluster:
        check_takeover(cluster)


def check_takeover(cluster):
    partition = LAYOUT.partition("e0")
    node = cluster.nodes[key_slot(LAYOUT.pres[partition].encode()) * 3 // 16_384]
    seed = next(each for each in cluster.nodes if each is not node)
    replica = Node(os.getpid(), *OPTIONS, name="redis")
    with replica, RedisStateStore(seed.url, timeout=20) as store:
        follow(cluster, replica, node)
        with Writers(store) as writers:
            writers.wait("e0", 3)
            with node.client() as client, suppress(Exception):
                client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
                assert client.wait(1, 5_000) == 1
            node.kill()
            with replica.client() as client:
                client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            writers.wait("e0", 3)
        check_books(store, writers)


# Moving a slot ------------------------------------------------------------------------------------


def home(cluster, name):
    """The node of an entity."""
    return cluster.nodes[key_slot(LAYOUT.pres[LAYOUT.partition(name)].encode()) * 3 // 16_384]


def name_of(node):
    with node.client(decode_responses=True) as client:
        return client.execute_command("CLUSTER", "MYID")


def move(cluster, slot, source, target):
    begin_move(slot, source, target)
    move_keys(slot, source, target)
    end_move(cluster, slot, target)


def begin_move(slot, source, target):
    with source.client() as one, target.client() as other:
        other.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", name_of(source))
        one.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", name_of(target))


def move_keys(slot, source, target, *, half=False):
    """Key by key, so that there is time in between."""
    with source.client() as client:
        keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000)
        for key in keys[: len(keys) // 2] if half else keys:
            client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000)
            time.sleep(0.002)


def end_move(cluster, slot, target):
    with ExitStack() as stack:
        for node in sorted(cluster.nodes, key=lambda node: node is not target):
            client = stack.enter_context(node.client())
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name_of(target))


def follow(cluster, replica, node):
    """Make a node a replica of another one."""
    with replica.client(decode_responses=True) as client:
        client.execute_command(
            "CLUSTER", "MEET", "127.0.0.1", cluster.nodes[0].port, cluster.nodes[0].bus
        )
        wanted = name_of(node)
        until(lambda: wanted in str(client.execute_command("CLUSTER", "NODES")))
        client.execute_command("CLUSTER", "REPLICATE", wanted)
        until(lambda: client.info("replication").get("master_link_status") == "up")
    known = name_of(replica)
    for each in cluster.nodes:
        with each.client(decode_responses=True) as client:
            until(lambda asked=client: known in str(asked.execute_command("CLUSTER", "NODES")))


def until(true, seconds=30.0):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
