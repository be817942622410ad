"""The relay: rows leave an entity's document, and every reader sees each of them once, always."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from mongodb.actors import Actor, run_mixed
from pystator.errors import StoreUnavailableError
from pystator.stores.mongodb.documents import id_of, row_id
from pystator.stores.mongodb.feed import feed
from pystator.stores.mongodb.reads import history
from pystator.stores.mongodb.relay import Numbers, relay, relay_waiting
from pystator.testing.building import applied, change, lookup, note

KEY = id_of("e", "m")
NOTHING = timedelta(0)
SEEDS = [0, 1, 2, *[pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 100)]]


def document(database, entity_id="e"):
    return database.entity_states.find_one({"_id": id_of(entity_id, "m")})


def filed(database):
    return list(database.transition_history.find(sort=[("feed", 1)]))


def places(store, entity_id="e"):
    return [
        (row.version, row.id)
        for row in store.history(entity_id, machine_name="m", limit=10_000).items
    ]


def test_rows_wait_in_their_document_until_they_are_relayed(store, database) -> None:
    applied(store, change(steps=3))
    assert filed(database) == []
    before = store.history("e").items
    store.parts[0].run(relay([KEY]))
    found = document(database)
    assert (found["tail"], found["seq"], found.get("waiting")) == ([], 3, None)
    assert [(row["id"], row["feed"]) for row in filed(database)] == [(1, 1), (2, 2), (3, 3)]
    assert store.history("e").items == before


def test_what_comes_while_a_relay_works_stays_in_the_tail(store, database) -> None:
    applied(store, change(steps=2))
    actor = Actor(store.parts[0], relay([KEY]))
    for _ in range(3):  # it has read the tail, and filed it
        actor.step()
    applied(store, change(after=2, steps=2))
    actor.run()
    found = document(database)
    assert ([row["version"] for row in found["tail"]], found["waiting"]) == ([3, 4], True)
    assert places(store) == [(number, number) for number in (1, 2, 3, 4)]


def test_a_relay_that_ends_anywhere_is_made_good_by_the_next(store, database) -> None:
    """After each of its commands in turn."""
    steps = 0
    while True:
        version = 2 * steps
        applied(store, change(after=version, steps=2))
        actor = Actor(store.parts[0], relay([KEY]))
        for _ in range(steps):
            if not actor.is_done:
                actor.step()
        assert [row[0] for row in places(store)] == list(range(1, version + 3))
        if actor.is_done:
            break
        steps += 1
    assert steps > 3
    store.feed()
    assert [(row["id"], row["feed"]) for row in filed(database)] == [
        (number, number) for number in range(1, version + 3)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_relays_that_meet_and_die_show_every_row_once(store, database, seed: int) -> None:
    """Relays and readers take their commands in any order, and some of them end anywhere."""
    luck = random.Random(seed)
    link = store.parts[0]
    names = ["e0", "e1", "e2"]
    versions = dict.fromkeys(names, 0)
    cursor = None
    read = []
    for _ in range(6):
        for name in names:
            if luck.random() < 0.8:
                steps = luck.randint(1, 4)
                applied(store, change(name, after=versions[name], steps=steps))
                versions[name] += steps
        pages = []
        keys = [id_of(name, "m") for name in names]
        relays = [relay(keys, Numbers()), relay_waiting(Numbers()), relay(keys[::-1], Numbers())]
        reads = [
            history(name, "m", None, 10_000, newest_first=luck.random() < 0.5) for name in names
        ]
        feeds = []
        run_mixed(
            [
                *[Actor(link, each) for each in relays],
                *[Actor(link, each, pages.append) for each in reads],
                Actor(link, feed(cursor, 5, None, None, Numbers()), feeds.append),
            ],
            luck,
            deaths=0.05,
        )
        for page in pages:
            found = sorted(row.version for row in page.items)
            assert found == list(range(1, versions[page.items[0].entity_id] + 1) if found else [])
        for page in feeds:
            read += page.items
            cursor = page.next
    while True:
        page = store.feed(cursor, 7)
        if not page.items:
            break
        read += page.items
        cursor = page.next
    for name in names:
        mine = [row.version for row in read if row.entity_id == name]
        assert mine == list(range(1, versions[name] + 1))
    numbers = [row["feed"] for row in filed(database)]
    assert numbers == list(range(1, len(read) + 1))


def test_rows_of_many_entities_are_about_in_the_order_of_time(store) -> None:
    order = [random.Random(4).choice("abcd") for _ in range(40)]
    versions = dict.fromkeys("abcd", 0)
    for name in order:
        applied(store, change(name, after=versions[name]))
        versions[name] += 1
    assert [row.entity_id for row in store.feed().items] == order


def test_a_full_tail_is_relayed_by_who_wants_to_add_to_it(store, database) -> None:
    for version in range(120):
        applied(store, change(after=version))
    assert len(document(database)["tail"]) <= 50
    assert [version for version, _ in places(store)] == list(range(1, 121))
    applied(store, change(after=120, steps=300))
    applied(store, change(after=420))
    assert [version for version, _ in places(store)] == list(range(1, 422))


def test_a_tail_of_large_rows_has_room_for_few(store, database) -> None:
    """Else each commit would write megabytes again."""
    for version in range(12):
        payload = {"text": "x" * 60_000} if version < 11 else None
        applied(store, change(after=version, payload=payload))
        assert len(document(database)["tail"]) <= 5
    assert [version for version, _ in places(store)] == list(range(1, 13))


def test_the_second_row_with_an_event_id_stays_without_it(store, database) -> None:
    """It can only come about when hundreds of events lie between a load and its commit."""
    applied(store, change(event_id="i"))
    store.feed()
    late = {"version": 1, "kind": "rejected", "now": 1, "success": False, "commit_id": "late"}
    late |= {"machine_version": "", "fingerprint": "", "recorded_at": 1, "event_id": "i"}
    database.entity_states.update_one(
        {"_id": KEY},
        {"$push": {"tail": {"$each": [late, late | {"event_id": "j"}]}}, "$inc": {"seq": 2},
         "$set": {"waiting": True}},
    )  # fmt: skip
    rows = store.feed().items
    assert [(row.commit_id == "late", row.event_id) for row in rows] == [
        (False, "i"), (True, None), (True, "j"),
    ]  # fmt: skip
    assert store.load([lookup("e", "i")])[0].known["i"].id == 1
    assert document(database)["tail"] == []


def test_old_event_ids_leave_the_document_and_stay_known(store, database) -> None:
    for start in range(0, 600, 60):
        applied(store, change(after=start, steps=60, event_id=f"i{start}"))
        store.feed(None, 10_000)
    found = document(database)
    assert len(found["ids"]) <= 400
    assert found["forgotten"] + len(found["ids"]) == 600
    known = store.load([lookup("e", "i0", "i0-2", "i540", "none")])[0].known
    assert {each: row.version for each, row in known.items()} == {"i0": 1, "i0-2": 2, "i540": 541}
    outcomes = store.commit([note("e", version=600, event_id="i0-3")])
    assert [str(outcome.kind) for outcome in outcomes] == ["duplicate"]


def test_a_number_is_never_given_again(store, database) -> None:
    """Not even when every row that had one is pruned."""
    applied(store, note("nobody", version=0))
    last = store.feed().next
    store.prune_history(NOTHING)
    assert store.feed().items == []
    applied(store, change())
    assert [row.entity_id for row in store.feed(last).items] == ["e"]
    assert filed(database)[-1]["feed"] == 2


def test_a_relay_that_slept_through_a_prune_brings_nothing_back(store, database) -> None:
    applied(store, change(steps=3), note("nobody", version=0))
    link = store.parts[0]
    sleeper = Actor(link, relay_waiting(Numbers()))
    for _ in range(2):  # it has read the tails, and the next number of the feed
        sleeper.step()
    store.prune_history(NOTHING)
    before = [row.kind for row in store.feed().items]
    sleeper.run()
    assert [row.kind for row in store.feed().items] == before
    assert [(row.version, str(row.kind)) for row in store.history("e").items] == [(3, "snapshot")]
    assert store.history("nobody").items == []
    assert database.transition_history.find_one({"_id": row_id(KEY, 1)})["gone"]


def test_an_index_of_somebody_else_that_refuses_rows_is_said(store, database) -> None:
    database.transition_history.create_index("now", unique=True)
    applied(store, change(steps=2))
    with pytest.raises(StoreUnavailableError, match="unique index on transition_history"):
        store.feed()
    assert [version for version, _ in places(store)] == [1, 2]


def test_a_backup_that_is_not_of_one_moment_is_noticed(store, database) -> None:
    """The document is older than the rows: it would give their numbers to others."""
    applied(store, change())
    old = document(database)
    applied(store, change(after=1, steps=2))
    store.feed()
    database.entity_states.replace_one({"_id": KEY}, old)
    assert [version for version, _ in places(store)] == [1, 2, 3]
    applied(store, change(after=1))
    with pytest.raises(StoreUnavailableError, match="another row as number 2 of 'e'"):
        store.feed()


# Killed processes ---------------------------------------------------------------------------------

RELAYS = """
import sys
from pystator.stores.mongodb import MongoDBStateStore
store = MongoDBStateStore(sys.argv[1]).connect()
print("ready", flush=True)
while True:
    store.feed(None, 1_000)
"""


@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_relays_that_are_killed_lose_nothing_and_double_nothing(
    mongodb_url, store, rounds: int
) -> None:
    """Two processes relay all the time, are killed at any moment, and others take their place."""
    luck = random.Random(1)
    names = [f"e{number}" for number in range(4)]
    versions = dict.fromkeys(names, 0)
    command = [sys.executable, "-c", RELAYS, mongodb_url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def begin():
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    relays = [begin() for _ in range(2)]
    kills = 0
    try:
        while kills < rounds:
            dying = relays[kills % 2]
            assert dying.stdout is not None
            assert dying.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + luck.uniform(0.02, 0.2)
            while time.monotonic() < deadline:
                name = luck.choice(names)
                applied(store, change(name, after=versions[name], steps=2))
                versions[name] += 2
                assert [place[0] for place in places(store, name)] == list(
                    range(1, versions[name] + 1)
                )
            dying.send_signal(signal.SIGKILL)
            dying.wait()
            dying.stdout.close()
            relays[kills % 2] = begin()
            kills += 1
    finally:
        for each in relays:
            each.kill()
            each.wait()
            assert each.stdout is not None
            each.stdout.close()
    rows = store.feed(None, 100_000).items
    for name in names:
        assert [row.version for row in rows if row.entity_id == name] == list(
            range(1, versions[name] + 1)
        )


def test_what_is_filed_was_read_as_safe_as_it_was_written(line, over, store) -> None:
    """Else a row that a new primary does not have could be filed, or one be cut that is not."""
    far = over()
    levels = []

    def fate(command):
        if "find" in command:
            names = set(command["projection"])
            levels.append((command["find"], names, command["readConcern"]["level"]))
        return "well"

    line.fate = fate
    applied(store, change(steps=3))
    actor = Actor(far.parts[0], relay([KEY]))
    actor.step()
    actor.step()
    store.feed()  # another relay is first
    actor.run()
    safe = [level for _, names, level in levels if names & {"tail", "commit_id"}]
    assert safe == ["majority"] * 2
