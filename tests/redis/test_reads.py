"""Reads of Redis at scale: pages meet, a rare state costs what a rare state has, deadlines are exact, on one server and a cluster."""

import asyncio
import os
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
import redis

from pystator.errors import InvalidValueError
from pystator.stores.keys import write_cursor
from pystator.stores.programs import wall_clock
from pystator.stores.redis import RedisStateStore
from pystator.testing.building import applied, change, note
from servers.redis import Redis

MANY = 20_000
RARE = {number * 1_999 for number in range(10)}
STUCK = {3, 9_000, 19_998}
HOUR = 3_600_000_000


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


def fill(store, changes) -> None:
    for start in range(0, len(changes), 2_000):
        applied(store, *changes[start : start + 2_000])


def keys(read, **options):
    found = []
    after = None
    while True:
        page = read(after=after, **options)
        found += page.items
        after = page.next
        if after is None:
            return found


class Commands:
    """What the server did while a block ran: name of a command -> calls; also those of scripts."""

    def __init__(self, url) -> None:
        self._client = redis.Redis.from_url(url.partition("?")[0])

    def __enter__(self):
        self._client.config_resetstat()
        return self

    def __exit__(self, *_) -> None:
        stats = self._client.info("commandstats")
        self.calls = Counter(
            {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        )
        self.longest = max(each["usec_per_call"] for each in stats.values())
        for own in (
            "info",
            "ping",
            "client|setinfo",
            "client|setname",
            "hello",
            "select",
            "auth",
            "config|resetstat",
        ):
            del self.calls[own]
        self._client.close()

    def _calls(self) -> Counter:
        stats = self._client.info("commandstats")
        return Counter(
            {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        )


@pytest.fixture(scope="module")
def crowd():
    """A server with 20,000 entities of one machine, and two of another; tests only read them.

    Ten are in a state of their own, three are in theirs for three hours, all others for one.
    """
    now = wall_clock()
    with Redis(os.getpid(), "--save", "3600 1") as server, RedisStateStore(server.url) as store:
        store.began = now
        fill(
            store,
            [
                change(
                    f"e{n:05}",
                    state="odd+rare" if n in RARE else f"s{n % 3}+on",
                    now=now - (3 * HOUR if n in STUCK else HOUR),
                    timers={"t": (n, 1)},
                )
                for n in range(MANY)
            ],
        )
        fill(
            store,
            [
                change(name, machine="other", now=now, timers={"t": (MANY, 1)})
                for name in ("e07000", "zz")
            ],
        )
        yield store


def told(store):
    return Commands(store.url)


def test_a_rare_state_costs_what_it_has(crowd) -> None:
    """Among 20,000 entities ten are found by looking at ten, from the first page on."""
    names = [f"e{number:05}" for number in sorted(RARE)]
    with told(crowd) as server:
        assert [entity.entity_id for entity in crowd.list_entities(state="rare")] == names
    assert sum(server.calls.values()) < 40, server.calls
    with told(crowd) as server:
        page = crowd.entities(state="rare", machine_name="m", limit=4)
        rest = crowd.entities(state="rare", machine_name="m", limit=6, after=page.next)
    assert [entity.entity_id for entity in page.items + rest.items] == names
    assert rest.next is None
    assert sum(server.calls.values()) < 50, server.calls
    with told(crowd) as server:
        counts = crowd.count_by_state()
    assert (counts.pop("odd+rare"), counts.pop("open")) == (10, 2)
    assert sum(counts.values()) == MANY - 10
    assert sum(server.calls.values()) < 12, server.calls


def test_a_rare_machine_costs_what_it_has(crowd) -> None:
    with told(crowd) as server:
        found = crowd.list_entities(machine_name="other")
        assert [entity.key for entity in found] == [("e07000", "other"), ("zz", "other")]
        assert crowd.count_by_state(machine_name="other") == {"open": 2}
        assert crowd.machines("e07000") == ["m", "other"]
        assert crowd.due(MANY, 10, machine_name="other") == [("e07000", "other"), ("zz", "other")]
    assert sum(server.calls.values()) < 30, server.calls


def test_what_is_stuck_is_found_by_its_time(crowd) -> None:
    """Among 20,000 the three that are in their state for long; and all others, page by page."""
    age = timedelta(microseconds=wall_clock() - crowd.began)
    with told(crowd) as server:
        found = crowd.list_entities(in_state_longer_than=age + timedelta(hours=2))
        on = crowd.list_entities(state="on", in_state_longer_than=age + timedelta(hours=2))
    assert [entity.entity_id for entity in found] == ["e00003", "e09000", "e19998"]
    assert on == found
    assert server.calls["evalsha"] < 80, server.calls
    longer = timedelta(minutes=30)
    with told(crowd) as server:
        page = crowd.entities(state="on", in_state_longer_than=longer, limit=50)
    assert [entity.entity_id for entity in page.items] == [
        f"e{n:05}" for n in range(51) if n not in RARE
    ]
    assert sum(server.calls.values()) < 250, server.calls
    every = keys(crowd.entities, machine_name="m", in_state_longer_than=longer, limit=3_000)
    assert [entity.entity_id for entity in every] == [f"e{n:05}" for n in range(MANY)]


def test_the_last_page_costs_what_the_first_one_costs(crowd) -> None:
    costs = []
    for start in (None, write_cursor("entities", "e19800", "m")):
        with told(crowd) as server:
            page = crowd.entities(state="on", limit=100, after=start)
        assert len(page.items) == 100
        costs.append(sum(server.calls.values()))
    assert abs(costs[0] - costs[1]) < 20, costs


def test_a_call_with_much_to_read_holds_nobody_up(crowd) -> None:
    """A neighbour's loads while somebody reads 20,000 entities, rows and deadlines in one call each."""
    done = threading.Event()
    slowest = [0.0]

    def load() -> None:
        while not done.is_set():
            start = time.perf_counter()
            crowd.load_one("e00000", "m")
            slowest[0] = max(slowest[0], time.perf_counter() - start)

    loader = threading.Thread(target=load)
    loader.start()
    try:
        with told(crowd) as server:
            assert len(crowd.list_entities(machine_name="m", limit=MANY)) == MANY
            assert len(crowd.due(MANY, 2 * MANY)) == MANY + 2
            assert len(crowd.feed(None, MANY).items) == MANY
    finally:
        done.set()
        loader.join()
    assert server.longest < 100_000, "one command kept the server busy for 0.1 s"
    assert slowest[0] < 2.0


def test_pages_of_many_entities_meet(store) -> None:
    """Every way to list finds each entity once, in the order of keys, on any number of partitions."""
    count = 1_600
    states = ["a", "b", "a+c", "d"]
    fill(
        store, [change(f"e{n:04}", machine="mn"[n % 2], state=states[n % 4]) for n in range(count)]
    )
    names = [f"e{n:04}" for n in range(count)]
    every = keys(store.entities, limit=700)
    assert [entity.entity_id for entity in every] == names
    assert [entity.entity_id for entity in keys(store.entities, state="a", limit=211)] == names[
        0::2
    ]
    found = keys(store.entities, machine_name="n", limit=333)
    assert [entity.entity_id for entity in found] == names[1::2]
    assert [entity.entity_id for entity in store.list_entities(limit=5)] == names[:5]
    assert len(store.list_entities(limit=10**9)) == count
    assert store.count_by_state() == {"a": 400, "b": 400, "a+c": 400, "d": 400}
    assert store.count_by_state(machine_name="n") == {"b": 400, "d": 400}


def test_history_of_many_rows_is_read_in_both_directions(store) -> None:
    for after in range(0, 1_500, 500):
        applied(store, change(after=after, steps=500))
    up = keys(lambda **o: store.history("e", **o), limit=400)
    assert [row.version for row in up] == list(range(1, 1_501))
    down = keys(lambda **o: store.history("e", newest_first=True, **o), limit=999)
    assert [row.id for row in down] == [row.id for row in up][::-1]
    assert len(store.history("e", limit=10**9).items) == 1_500


def test_deadlines_are_in_their_order_although_scores_are_doubles(store) -> None:
    """Beyond 2**53 neighbours have one score: they are told apart by what they are."""
    far = 2**58
    ats = {f"e{n}": far + (n * 7) % 11 for n in range(11)} | {"x": -(2**58) - 3, "y": -(2**58) - 5}
    ats["now"] = 1_000
    applied(store, *[change(name, timers={"t": (at, 1)}) for name, at in ats.items()])
    order = sorted(ats, key=lambda name: (ats[name], name))
    assert [key[0] for key in store.due(2**60, 100)] == order
    for limit in range(1, len(order) + 1):
        assert [key[0] for key in store.due(2**60, limit)] == order[:limit]
    for at in range(far - 1, far + 12):
        assert [key[0] for key in store.due(at, 100)] == [n for n in order if ats[n] <= at]
    assert [key[0] for key in store.due(-(2**58) - 4, 100)] == ["y"]


def test_many_deadlines_are_read_in_parts(store) -> None:
    """Also those that many entities share, and those of one machine among others."""
    fill(
        store,
        [
            change(f"e{n:04}", machine="mn"[n % 2], timers={"t": (n // 500, 1)})
            for n in range(3_000)
        ],
    )
    names = [(f"e{n:04}", "mn"[n % 2]) for n in range(3_000)]
    assert store.due(100, 10_000) == names
    assert store.due(100, 1_700) == names[:1_700]
    assert store.due(2, 10_000) == names[:1_500]
    assert store.due(100, 10_000, machine_name="n") == names[1::2]
    assert store.due(100, 3, machine_name="n") == names[1:7:2]


def test_names_may_have_every_character_that_keys_are_made_of(store) -> None:
    """Braces, percent signs, colons: no two entities share a key or an index."""
    names = [
        "a",
        "a:history:m",
        "a}",
        "{a}",
        "a%7D",
        "%",
        "%25",
        "a:b",
        "{",
        "}{",
        "machine:m",
        "ä{:}",
    ]
    machines = ["", "m", "m:a", "m%3Aa", "a}:b", "{x}"]
    states = ["a", "b:a", "a:b", "{a}", "a}+%", "%7Ba%7D"]
    made = [
        change(name, machine=machine, state=states[(i + j) % 6], context={"key": [name, machine]},
               event_id=f"{name}:{machine}", timers={"t": (i, 1)})
        for i, name in enumerate(names) for j, machine in enumerate(machines)
    ]  # fmt: skip
    applied(store, *made)
    every = sorted((name, machine) for name in names for machine in machines)
    assert [entity.key for entity in keys(store.entities, limit=7)] == every
    for entity in store.list_entities(limit=1_000):
        assert entity.context["key"] == list(entity.key)
    for name in names:
        assert store.machines(name) == sorted(machines)
        for machine in machines:
            [row] = store.history(name, machine_name=machine).items
            assert row.event_id == f"{name}:{machine}"
    for state in states:
        for machine in machines:
            expected = [key for key in every if key[1] == machine
                        and states[(names.index(key[0]) + machines.index(machine)) % 6] == state]  # fmt: skip
            found = store.list_entities(state, machine_name=machine)
            assert [entity.key for entity in found if entity.state == state] == expected
    assert len(store.due(100, 1_000)) == len(every)
    applied(store, *[change(*key[:1], machine=key[1], after=1, state="z") for key in every])
    assert store.count_by_state() == {"z": len(every)}


def test_an_entity_on_the_move_is_in_every_list(store) -> None:
    """Eight lists while it goes through states that all fit: it is in each of them, once."""
    applied(store, *[change(f"e{n:02}", state="open") for n in range(30)])
    done = threading.Event()

    def move() -> None:
        version = 1
        while not done.is_set():
            applied(store, change("e15", after=version, state=f"{version % 5}+open"))
            version += 1

    mover = threading.Thread(target=move)
    mover.start()
    try:
        names = [f"e{n:02}" for n in range(30)]
        for limit in (1, 7, 100) * 5:
            assert [e.entity_id for e in keys(store.entities, state="open", limit=limit)] == names
            assert sum(store.count_by_state().values()) == 30
    finally:
        done.set()
        mover.join()


def test_a_page_of_large_entities_is_a_page(store) -> None:
    text = "x" * 600_000
    applied(store, *[change(f"e{n}", context={"text": text, "n": n}) for n in range(12)])
    found = keys(store.entities, limit=5)
    assert [entity.context["n"] for entity in found] == [0, 1, 10, 11, *range(2, 10)] or len(
        found
    ) == 12
    assert sorted(entity.context["n"] for entity in found) == list(range(12))


def test_no_read_walks_the_keys_of_the_server(own_redis) -> None:
    server = own_redis()
    with RedisStateStore(server.url) as store:
        applied(store, change("a", timers={"t": (1, 1)}), note("b", version=0))
        with Commands(server.url) as told:
            store.entities()
            store.entities(state="open", in_state_longer_than=timedelta(0))
            store.count_by_state()
            store.due(10, 10)
            store.feed()
            store.history("a")
            store.machines("a")
            store.prune_keys(None, 10)
            store.prune_history(timedelta(0), dedup_window=timedelta(0))
            store.stored_machines()
    assert not {"keys", "scan", "sort"} & told.calls.keys()


def test_both_faces_read_the_same(store) -> None:
    applied(store, *[change(f"e{n}", state="a+b", timers={"t": (n, 1)}) for n in range(20)])

    async def read():
        return [
            await store.aentities(state="a", limit=7),
            await store.acount_by_state(),
            await store.adue(100, 7),
            await store.afeed(None, 7),
            await store.ahistory("e3"),
            await store.amachines("e3"),
            list(await store.aprune_keys(None, 7)),
        ]

    assert asyncio.run(read()) == [
        store.entities(state="a", limit=7),
        store.count_by_state(),
        store.due(100, 7),
        store.feed(None, 7),
        store.history("e3"),
        store.machines("e3"),
        list(store.prune_keys(None, 7)),
    ]


def test_a_cursor_of_another_read_is_refused(store) -> None:
    applied(store, *[change(f"e{n}") for n in range(3)])
    page = store.entities(limit=1)
    for cursor in (page.next, "", "x"):
        with pytest.raises(InvalidValueError, match="cursor"):
            store.feed(cursor)
        with pytest.raises(InvalidValueError, match="cursor"):
            store.history("e0", after=cursor)
        with pytest.raises(InvalidValueError, match="cursor"):
            store.stored_machines(after=cursor)
