"""Paged reads: right against a plain scan, and answered from an index however large the tables are."""

import random
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from pystator.db.schema import TABLES
from pystator.stores.keys import new_commit_id
from pystator.stores.sqlite import SQLiteStateStore, definitions, ops, pruning, reads
from pystator.testing.building import change

MACHINES = ("order", "payment", "")
NOW = 1_700_000_000_000_000
STATES = ("open", "paid", "a+b", "b+c", "open+b")


@pytest.fixture
def filled(store, commit):
    """Some hundred entities of three machines in five configurations."""
    chance = random.Random(7)
    commits = []
    for n in range(300):
        for machine in chance.sample(MACHINES, chance.randrange(1, 4)):
            made = commit(f"e-{n:03}", 0, state=chance.choice(STATES), machine=machine)
            if chance.random() < 0.3:
                made.timers = {"t": (chance.randrange(100), 1), "u": (chance.randrange(100), 1)}
            commits.append(made)
    chance.shuffle(commits)
    store.commit(commits)
    return store, commits


def pages(read, **options):
    after = None
    found = []
    while True:
        page = read(after=after, **options)
        assert len(page.items) <= options["limit"]
        found += page.items
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("machine", [None, "order", "", "nobody"])
@pytest.mark.parametrize("state", [None, "open", "b", "a+b", "never"])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_of_entities_are_the_plain_scan(filled, machine, state, limit) -> None:
    store, commits = filled
    expected = sorted(
        (each.entity_id, each.machine_name)
        for each in commits
        if machine in (None, each.machine_name)
        and (state is None or state == each.state or state in each.state.split("+"))
    )
    if limit == 1:
        expected = expected[:20]
        found = []
        after = None
        while len(found) < 20:
            page = store.entities(state=state, machine_name=machine, after=after, limit=1)
            found += page.items
            after = page.next
            if after is None:
                break
    else:
        found = pages(store.entities, state=state, machine_name=machine, limit=limit)
    assert [entity.key for entity in found] == expected


@pytest.mark.parametrize("few", [0, 20, 10_000])
@pytest.mark.parametrize("state", [None, "b"])
@pytest.mark.parametrize("machine", [None, "order"])
@pytest.mark.parametrize("limit", [3, 1000])
def test_entities_long_in_a_state_are_the_plain_scan(
    filled, monkeypatch, few, state, machine, limit
) -> None:
    """Whether they are few, and sorted, or many, and sought among all: the answer is the same."""
    monkeypatch.setattr(reads, "FEW", few)
    store, commits = filled
    left = {each.entity_id for each in commits[::3] if each.machine_name == "order"}
    later = [replace_state(each) for each in commits if each.entity_id in left]
    store.commit(later)
    store.now = lambda: NOW + 3_000_000
    gone = {(each.entity_id, each.machine_name) for each in later}
    expected = sorted(
        key
        for each in commits
        if (key := (each.entity_id, each.machine_name)) not in gone
        and machine in (None, each.machine_name)
        and (state is None or state in each.state.split("+"))
    )
    longer = timedelta(seconds=2)
    found = pages(
        store.entities,
        state=state,
        machine_name=machine,
        in_state_longer_than=longer,
        limit=limit,
    )
    assert [entity.key for entity in found] == expected


def replace_state(commit):
    """The same entity, a second and a half later, elsewhere or in the same state as it may be."""
    now = NOW + 1_500_000
    entry = replace(commit.entries[0], version=2, now=now)
    return replace(
        commit,
        expected_version=1,
        new_version=2,
        state="b" if commit.state != "b" else "a+b",
        now=now,
        timers=None,
        entries=(entry,),
        commit_id=new_commit_id(),
    )


@pytest.mark.parametrize("machine", [None, "order", "nobody"])
def test_due_entities_come_earliest_first(filled, machine) -> None:
    store, commits = filled
    expected = sorted(
        (min(each.timers.values())[0], (each.entity_id, each.machine_name))
        for each in commits
        if each.timers and machine in (None, each.machine_name)
    )
    now = 60
    assert store.due(now, 1000, machine_name=machine) == [
        key for due, key in expected if due <= now
    ]
    assert (
        store.due(now, 3, machine_name=machine) == [key for due, key in expected if due <= now][:3]
    )


def test_counts_are_the_plain_counts(filled) -> None:
    store, commits = filled
    orders = [each.state for each in commits if each.machine_name == "order"]
    assert store.count_by_state(machine_name="order") == {
        state: orders.count(state) for state in set(orders)
    }
    assert sum(store.count_by_state().values()) == len(commits)


def test_history_pages_both_ways(store, commit) -> None:
    for version in range(25):
        store.commit([commit("a", version)])
        store.commit([commit("a", version, applies=False)])
    up = pages(store.history, entity_id="a", limit=7)
    down = pages(store.history, entity_id="a", limit=7, newest_first=True)
    assert len(up) == 50
    assert [row.id for row in down] == [row.id for row in reversed(up)]
    assert [(row.version, row.id) for row in up] == sorted((row.version, row.id) for row in up)


def test_a_page_of_a_chosen_feed_looks_at_so_many_rows_at_most(store, monkeypatch) -> None:
    """A rare row among many is found, part by part; by entity it is found at once."""
    monkeypatch.setattr(reads, "LOOKED_AT", 10)
    for version in range(2):
        store.commit([change("rare", machine="x", after=version)])
        store.commit([change("many", after=version * 25, steps=25)])
    found = []
    cursor, before = None, ""
    while cursor != before:
        page = store.feed(cursor, machine_names=["x"])
        found.append([row.version for row in page.items])
        cursor, before = page.next, cursor
    assert found == [[1], [], [2], [], [], [], []]
    page = store.feed(None, entity_id="rare", machine_names=["x", "y"])
    assert [row.version for row in page.items] == [1, 2]
    assert page.next == cursor == store.feed_end()
    assert [row.version for row in store.feed(page.cursors[0], entity_id="rare").items] == [2]


def test_the_feed_gives_every_row_once_in_the_order_of_commits(store, commit) -> None:
    cursor = None
    seen = []
    for n in range(40):
        store.commit([commit(f"e-{n % 7}", n // 7)])
        if n % 3 == 0:
            page = store.feed(cursor, limit=2)
            seen += page.items
            cursor = page.next
    while True:
        page = store.feed(cursor)
        if not page.items:
            break
        seen += page.items
        cursor = page.next
    assert [row.id for row in seen] == list(range(1, 41))


PLANS = {
    "machines": (
        reads.MACHINES,
        "COVERING INDEX sqlite_autoindex_entity_states_1 (entity_id=?)",
    ),
    "machines of history": (
        reads.MACHINES_OF_HISTORY,
        "COVERING INDEX ix_transition_history_entity (entity_id=? AND machine_name>?)",
    ),
    "load": (ops.LOAD, "sqlite_autoindex_entity_states_1 (entity_id=? AND machine_name=?)"),
    "load many": (
        ops.LOAD_MANY,
        "sqlite_autoindex_entity_states_1 (entity_id=? AND machine_name=?)",
    ),
    "known": (
        ops.KNOWN,
        "uq_transition_history_event (entity_id=? AND machine_name=? AND event_id=?)",
    ),
    "known many": (
        ops.KNOWN_MANY,
        "uq_transition_history_event (entity_id=? AND machine_name=? AND event_id=?)",
    ),
    "history": (
        reads.HISTORY_UP,
        "ix_transition_history_entity (entity_id=? AND machine_name=? AND version>?)",
    ),
    "history down": (
        reads.HISTORY_DOWN,
        "ix_transition_history_entity (entity_id=? AND machine_name=? AND version<?)",
    ),
    "entities": (
        reads.ENTITIES,
        "SEARCH entity_states USING INDEX sqlite_autoindex_entity_states_1",
    ),
    "entities in": (
        reads.ENTITIES_IN,
        "ix_entity_states_state (machine_name=? AND state=? AND entity_id>?)",
    ),
    "are long": (
        reads.ARE_LONG,
        "COVERING INDEX ix_entity_states_since (machine_name=? AND state=? AND state_since<?)",
    ),
    "entities long": (
        reads.ENTITIES_LONG,
        "ix_entity_states_state (machine_name=? AND state=? AND entity_id>?)",
    ),
    "entities few": (
        reads.ENTITIES_FEW,
        "COVERING INDEX ix_entity_states_since (machine_name=? AND state=? AND state_since<?)",
    ),
    "next pair": (
        reads.NEXT_PAIR[False],
        "SEARCH entity_states USING COVERING INDEX ix_entity_states_state",
    ),
    "next state": (
        reads.NEXT_STATE[False],
        "COVERING INDEX ix_entity_states_state (machine_name=? AND state>?)",
    ),
    "count": (reads.COUNT[False], "SCAN entity_states USING COVERING INDEX ix_entity_states_"),
    "count of": (
        reads.COUNT_OF[False],
        "SEARCH entity_states USING COVERING INDEX ix_entity_states_",
    ),
    "is any archived": (reads.IS_ANY_ARCHIVED, "INDEX ix_entity_states_archived"),
    "archived in": (
        reads.ARCHIVED_IN,
        "ix_entity_states_archived (machine_name=? AND state=? AND entity_id>?)",
    ),
    "next archived pair": (
        reads.NEXT_PAIR[True],
        "SEARCH entity_states USING COVERING INDEX ix_entity_states_archived",
    ),
    "next archived state": (
        reads.NEXT_STATE[True],
        "COVERING INDEX ix_entity_states_archived (machine_name=? AND state>?)",
    ),
    "count of archived": (
        reads.COUNT_OF[True],
        "SEARCH entity_states USING COVERING INDEX ix_entity_states_archived",
    ),
    "live": (definitions.LIVE, "SEARCH entity_states USING COVERING INDEX ix_entity_states_"),
    "live of": (definitions.LIVE_OF, "SEARCH entity_states USING INDEX ix_entity_states_"),
    "due": (reads.DUE, "COVERING INDEX ix_entity_states_due (next_due<?)"),
    "due of": (reads.DUE_OF, "COVERING INDEX ix_entity_states_due (next_due<?)"),
    "next key": (
        pruning.NEXT_KEY,
        "SEARCH transition_history USING COVERING INDEX ix_transition_history_entity",
    ),
    "oldest": (
        pruning.OLDEST,
        "ix_transition_history_entity (entity_id=? AND machine_name=?)",
    ),
    "has snapshot": (
        pruning.HAS_SNAPSHOT,
        "ix_transition_history_entity (entity_id=? AND machine_name=? AND version>?)",
    ),
    "delete": (pruning.DELETE, "INTEGER PRIMARY KEY (rowid=?)"),
    "feed": (reads.FEED, "INTEGER PRIMARY KEY (rowid>?)"),
    "feed ends": (reads.FEED_ENDS, "INTEGER PRIMARY KEY (rowid>?)"),
    "feed among": (reads.FEED_AMONG, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "feed of entity": (reads.FEED_OF_ENTITY, "ix_transition_history_entity (entity_id=?)"),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A database of so many rows that statistics mean something."""
    with SQLiteStateStore(f"sqlite:///{tmp_path_factory.mktemp('large')}/store.db") as store:
        store.commit(
            [
                change(
                    f"e-{n:05}",
                    state=STATES[n % 5],
                    machine=MACHINES[n % 7 % 3],
                    event_id=f"i-{n}",
                    timers={"t": (n, 1)} if n % 20 == 0 else None,
                )
                for n in range(5_000)
            ]
        )
        yield store.parts[0].writer()


@pytest.mark.parametrize("analyzed", [False, True], ids=["guessed", "analyzed"])
@pytest.mark.parametrize("name", PLANS)
def test_a_read_uses_its_index_and_sorts_nothing(large, name, analyzed) -> None:
    """A plan that scans is quick in a test and slow after a year; users may run ANALYZE, or not."""
    connection = large
    statement, expected = PLANS[name]
    connection.execute("ANALYZE")
    if not analyzed:
        connection.execute("DELETE FROM sqlite_stat1")
        connection.execute("ANALYZE sqlite_schema")  # it reads them again
    numbered = [number for number in range(1, 6) if f"?{number}" in statement]
    blanks = max(numbered, default=statement.count("?"))
    plan = " / ".join(
        row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ["[]"] * blanks)
    )
    assert expected in plan
    # A few keys are sorted, never more than the limit that the statement before has counted to.
    assert ("TEMP B-TREE" in plan) is (name in {"entities few", "feed of entity"})
    assert name in {"count", "is any archived"} or not any(
        f"SCAN {table}" in plan for table in TABLES
    )


def test_a_write_finds_its_entity_by_the_key(store) -> None:
    plan = (
        store.parts[0].writer().execute(f"EXPLAIN QUERY PLAN {ops.update_statement(15)}", [1] * 13)
    )
    assert (
        "sqlite_autoindex_entity_states_1 (entity_id=? AND machine_name=?)" in plan.fetchall()[0][3]
    )


def test_a_user_reads_the_tables_with_any_tool(filled, tmp_path) -> None:
    """The database is the user's: its rows are plain values."""
    store, _ = filled
    store.disconnect()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        row = connection.execute("SELECT entity_id, context FROM entity_states LIMIT 1").fetchone()
    connection.close()
    assert row[1] == '{"n":1}'
