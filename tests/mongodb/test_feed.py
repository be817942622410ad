"""The feed while others write, relay and die: nothing skipped, repeated or out of order."""

import random
import threading

from pystator.stores.mongodb import MongoDBStateStore
from pystator.stores.mongodb.documents import id_of
from pystator.stores.mongodb.relay import Numbers, relay, relay_waiting
from pystator.testing.building import applied, change, note

NAMES = [f"e{number}" for number in range(6)]


def test_readers_beside_writers_and_relays_see_one_order(store, mongodb_url) -> None:
    """Three relays of stores of their own meet at every number."""
    writing = threading.Event()
    writing.set()
    failures: list[BaseException] = []
    seen: list[list[tuple[str, int, int]]] = [[], []]

    def guarded(work, *arguments) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # raised below
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write(names: list[str]) -> None:
        luck = random.Random(names[0])
        versions = dict.fromkeys(names, 0)
        for _ in range(40):
            chosen = luck.sample(names, 2)
            steps = [luck.randint(1, 3) for _ in chosen]
            commits = [
                change(name, after=versions[name], steps=count)
                for name, count in zip(chosen, steps, strict=True)
            ]
            applied(store, *commits)
            for name, count in zip(chosen, steps, strict=True):
                versions[name] += count

    def keep_relaying(number: int) -> None:
        luck = random.Random(number)
        with MongoDBStateStore(mongodb_url) as own:
            numbers = Numbers()
            while writing.is_set():
                if luck.random() < 0.5:
                    own.parts[0].run(relay([id_of(luck.choice(NAMES), "m")], numbers))
                else:
                    own.parts[0].run(relay_waiting(numbers))

    def follow(rows: list[tuple[str, int, int]], limit: int) -> None:
        cursor = None
        while True:
            was_writing = writing.is_set()
            page = store.feed(cursor, limit)
            rows += [(row.entity_id, row.version, row.id) for row in page.items]
            cursor = page.next
            if not page.items and not was_writing:
                return

    readers = [guarded(follow, rows, limit) for rows, limit in zip(seen, (3, 50), strict=True)]
    relays = [guarded(keep_relaying, number) for number in range(2)]
    for thread in [guarded(write, NAMES[:3]), guarded(write, NAMES[3:])]:
        thread.join()
    writing.clear()
    for thread in [*relays, *readers]:
        thread.join()
    assert not failures, failures
    assert seen[0] == seen[1]
    for name in NAMES:
        mine = [(version, number) for who, version, number in seen[0] if who == name]
        rows = store.history(name, machine_name="m", limit=10_000).items
        assert mine == [(row.version, row.id) for row in rows]


def test_a_page_that_is_full_relays_nothing(store) -> None:
    applied(store, change(steps=5))
    page = store.feed(None, 5)
    applied(store, change("f"))
    assert store.feed(None, 5) == page
    found = store.parts[0]._opened().entity_states.find_one({"_id": id_of("f", "m")})
    assert len(found["tail"]) == 1


def test_more_documents_than_are_relayed_together(store) -> None:
    names = [f"e{number:03}" for number in range(130)]
    applied(store, *[change(name, steps=2) for name in names])
    rows = []
    cursor = None
    for _ in range(10):
        page = store.feed(cursor, 37)
        rows += page.items
        cursor = page.next
    assert len(rows) == 260
    assert len({(row.entity_id, row.version) for row in rows}) == 260
    for name in names:
        assert [row.version for row in rows if row.entity_id == name] == [1, 2]


def test_rows_of_large_payloads_are_filed_in_several_inserts(store) -> None:
    payload = {"text": "x" * 900_000}
    applied(store, *[change(f"e{number}", payload=payload) for number in range(9)])
    assert len(store.feed().items) == 9


def test_a_store_that_outlives_the_emptying_of_its_collection_begins_again(store) -> None:
    applied(store, change(steps=3))
    assert len(store.feed().items) == 3
    database = store.parts[0]._opened()
    database.entity_states.delete_many({})
    database.transition_history.delete_many({})
    applied(store, change(), note(version=1))
    assert [row.version for row in store.feed().items] == [1, 1]
