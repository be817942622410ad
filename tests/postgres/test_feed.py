"""The feed of PostgreSQL never skips a row, however late its transaction ends, and keeps an entity's rows in order."""

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest

from pystator.stores.postgres import PostgresStateStore
from pystator.stores.postgres.feed import LOOKED_AT
from pystator.testing.building import applied, change

SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture
def store(postgres_url):
    with PostgresStateStore(postgres_url) as connected:
        yield connected


def follow(store, cursor, limit=3):
    """What the feed gives from the cursor to its end, and the cursor to come back with."""
    rows = []
    while True:
        page = store.feed(cursor, limit)
        assert page.next is not None
        cursor = page.next
        rows += [(row.entity_id, row.version) for row in page.items]
        if not page.items:
            return rows, cursor


def test_a_commit_that_ends_late_is_not_skipped(store, postgres_url) -> None:
    """Its rows have smaller ids than those of commits that are long done."""
    applied(store, change("before"))
    rows, cursor = follow(store, None)
    assert rows == [("before", 1)]
    with psycopg.connect(postgres_url) as late:
        applied(store.within(late), change("late"))
        for number in range(5):
            applied(store, change(f"e{number}"))
            rows, cursor = follow(store, cursor)
            assert rows == []  # they would be behind the cursor of who had seen them
        applied(store.within(late), change("late", after=1))
        late.commit()
        rows, cursor = follow(store, cursor)
        assert sorted(rows) == [*((f"e{n}", 1) for n in range(5)), ("late", 1), ("late", 2)]
        assert rows.index(("late", 1)) < rows.index(("late", 2))
    assert follow(store, cursor) == ([], cursor)


def test_a_transaction_that_ends_in_nothing_holds_nobody_up_for_good(store, postgres_url) -> None:
    cursor = follow(store, None)[1]
    with psycopg.connect(postgres_url) as late:
        applied(store.within(late), change("never"))
        applied(store, change("e"))
        assert follow(store, cursor)[0] == []
        late.rollback()
    assert follow(store, cursor)[0] == [("e", 1)]


def test_what_only_reads_holds_nobody_up(store, postgres_url) -> None:
    """A report that runs for an hour in one snapshot writes nothing among the rows."""
    with psycopg.connect(postgres_url) as report:
        report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        report.execute("SELECT count(*) FROM entity_states")
        applied(store, change("e"))
        assert follow(store, None)[0] == [("e", 1)]


@pytest.mark.parametrize("savepoint", [False, True])
def test_an_old_transaction_that_goes_on_where_others_were_comes_after_them(
    store, postgres_url, savepoint
) -> None:
    """It is older than those whose changes it builds on; the feed is in the order of the changes."""
    with psycopg.connect(postgres_url) as old:
        applied(store.within(old), change("first"))
        applied(store, change("e"))
        applied(store, change("e", after=1))
        if savepoint:
            old.execute("SAVEPOINT here")
        applied(store.within(old), change("e", after=2), change("f"))
        applied(store, change("other"))
        assert follow(store, None)[0] == []
        old.commit()
    applied(store, change("e", after=3))
    rows = follow(store, None, limit=2)[0]
    assert [version for name, version in rows if name == "e"] == [1, 2, 3, 4]
    assert sorted(name for name, _ in rows if name != "e") == ["f", "first", "other"]


def test_a_cursor_is_two_numbers_and_lasts(store, postgres_url) -> None:
    applied(store, *[change(f"e{number}") for number in range(7)])
    page = store.feed(None, 4)
    with PostgresStateStore(postgres_url) as other:
        assert len(other.feed(page.next).items) == 3
        everything = other.feed(None).items
    assert [row.id for row in page.items] == [row.id for row in everything[:4]]


# Writers and readers -------------------------------------------------------------------------------

WRITER = """
import random, sys, time
import psycopg
from pystator.records import OutcomeKind
from pystator.stores.postgres import PostgresStateStore
from pystator.stores.postgres.feed import LOOKED_AT
from pystator.testing.building import change, lookup, note

url = sys.argv[1]
seed, wanted, entities = map(int, sys.argv[2:])
chance = random.Random(seed)
written = 0


def names(most):
    return sorted(chance.sample([f"e{number:05}" for number in range(entities)], chance.randint(1, most)))


def some(store, names):
    found = store.load([lookup(name) for name in names])
    commits = []
    for name, loaded in zip(names, found):
        version = loaded.entity.version if loaded.entity else 0
        if chance.random() < 0.1:
            commits.append(note(name, version=version))
        else:
            commits.append(change(name, after=version, steps=chance.choice([1, 1, 1, 2, 5])))
    outcomes = store.commit(commits)
    return sum(
        len(commit.entries)
        for commit, outcome in zip(commits, outcomes)
        if outcome.kind is OutcomeKind.APPLIED
    )


with PostgresStateStore(url) as store, psycopg.connect(url) as connection:
    while written < wanted:
        if chance.random() < 0.85:
            written += some(store, names(entities // 10))
            continue
        within = store.within(connection)
        rows = 0
        for name in names(4):  # in this order everywhere, else two wait for each other
            rows += some(within, [name])
            time.sleep(chance.random() / 200)
        if chance.random() < 0.2:
            connection.rollback()
        else:
            connection.commit()
            written += rows
"""


Row = tuple[int, str, int, str]


def race(store, url: str, rows: int, writers: int, entities: int) -> None:
    """Writers in processes of their own, short and long transactions, and two readers."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER, url, *map(str, numbers)],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for numbers in [(seed, rows // writers + 1, entities) for seed in range(writers)]
    ]
    done = threading.Event()
    seen: list[list[Row]] = [[], []]

    def read(mine: list[Row], limit: int) -> None:
        cursor = None
        while True:
            last = done.is_set()
            page = store.feed(cursor, limit)
            cursor = page.next
            mine += [(row.id, row.entity_id, row.version, str(row.kind)) for row in page.items]
            if not page.items:
                if last:
                    return
                time.sleep(0.001)

    readers = [
        threading.Thread(target=read, args=(mine, limit))
        for mine, limit in zip(seen, (5, 300), strict=True)
    ]
    for reader in readers:
        reader.start()
    try:
        errors = [process.communicate()[1] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stderr.close()
        done.set()
        for reader in readers:
            reader.join()
    assert [process.returncode for process in running] == [0] * writers, errors
    with psycopg.connect(url) as connection:
        kept = connection.execute(
            "SELECT id, entity_id, version, kind FROM transition_history ORDER BY version, id"
        ).fetchall()
    assert len(kept) >= rows
    for mine in seen:
        assert len(mine) == len(kept)
        assert sorted(mine) == sorted(kept)
        assert in_order(mine)


def in_order(rows: list[Row]) -> bool:
    """An entity's changes come in their order, and none is missing among them."""
    versions: dict[str, int] = defaultdict(int)
    for _, name, version, kind in rows:
        if kind == "event":  # a rejection has the version that it saw
            if version != versions[name] + 1:
                return False
            versions[name] = version
    return True


def test_many_writers_and_two_readers(store, postgres_url) -> None:
    race(store, postgres_url, 2_400, 3, 200)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_many_writers_and_two_readers_for_long(store, postgres_url) -> None:
    race(store, postgres_url, 200_000, 6, 2_000)


def test_a_page_of_a_chosen_feed_looks_at_so_many_rows_at_most(store, postgres_url) -> None:
    """A rare row among many is found, part by part; by entity it is found at once."""
    applied(store, change("rare", machine="x"))
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO transition_history (entity_id, machine_name, version, kind, now, success, commit_id,"
            " machine_version, fingerprint, recorded_at) SELECT 'many', 'm', i, 'event', 'epoch', true, 'c', '1', 'f',"
            f" 'epoch' FROM generate_series(1, {LOOKED_AT + 50}) i"
        )
    applied(store, change("rare", machine="x", after=1))
    pages = [store.feed(None, machine_names=["x"])]
    while pages[-1].next != (pages[-2].next if len(pages) > 1 else None):
        pages.append(store.feed(pages[-1].next, machine_names=["x"]))
    assert [[row.version for row in page.items] for page in pages] == [[1], [2], []]
    page = store.feed(None, entity_id="rare", machine_names=["x", "y"])
    assert [row.version for row in page.items] == [1, 2]
    assert page.next == pages[-1].next == store.feed_end()
    assert [row.version for row in store.feed(page.cursors[0], entity_id="rare").items] == [2]
    assert store.feed(None, 2, entity_id="many").items[1].version == 2


def test_the_end_of_the_feed_is_before_what_is_not_settled(store, postgres_url) -> None:
    with psycopg.connect(postgres_url) as late:
        applied(store.within(late), change("late"))
        applied(store, change("early"))
        end = store.feed_end()
        assert store.feed(end, entity_id="early").items == []
        late.commit()
    rows, _ = follow(store, end)
    assert sorted(rows) == [("early", 1), ("late", 1)]
