"""Every statement of the PostgreSQL store finds its rows by an index, however large the tables are.

The planner chooses by statistics and by guesses about parameters, so each statement is planned both ways: with the
values, and once for all values. What a page reads is counted, too: an index that is read from its start to its end is
no better than a table.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from psycopg import pq, sql

from pystator.records import Cut, EntryKind, Lookup
from pystator.stores.postgres import definitions, feed, listing, pruning, reads
from pystator.stores.postgres.encode import prepare
from pystator.stores.postgres.ops import loading
from pystator.stores.postgres.writing import committing
from pystator.testing.building import change, note

ENTITIES: Final = 20_000
LONG: Final = 61
TYPES: Final = {16: "boolean", 20: "bigint", 25: "text", 1000: "boolean[]", 1016: "bigint[]"} | {
    1184: "timestamptz",
    1185: "timestamptz[]",
}
BIG: Final = {"entity_states", "transition_history"}
STATES: Final = "open open+dry paid shipped done done done done+x open+wet a+b+c"

FILL: Final = f"""
INSERT INTO entity_states (entity_id, machine_name, version, state, context, next_due, machine_version, fingerprint,
  created_at, updated_at, commit_id, state_since, archived_at)
SELECT 'e-' || lpad(i::text, 6, '0'), (array['order', 'order', 'order', 'payment'])[1 + i % 4], 1,
  CASE WHEN i % 333 = 7 THEN repeat('long', 200) || i % 5 || '+open' ELSE
    (string_to_array('{STATES}', ' '))[1 + i * 7919 % 10] END,
  '{{"n":' || i || ',"customer":"somebody who ordered something and waits for it"}}',
  CASE WHEN i % 20 = 0 THEN to_timestamp(i) END, '1.0', 'f', 'epoch', 'epoch', 'c', to_timestamp(i),
  CASE WHEN i % 10 = 9 THEN to_timestamp(i) END
FROM generate_series(1, {ENTITIES}) i;
INSERT INTO transition_history (entity_id, machine_name, version, kind, now, success, event_id, commit_id,
  machine_version, fingerprint, recorded_at)
SELECT 'e-' || lpad((1 + i % {ENTITIES})::text, 6, '0'), 'order', 1 + i / {ENTITIES}, 'event', 'epoch', true,
  'event-' || i, 'c', '1.0', 'f', 'epoch'
FROM generate_series(0, {2 * ENTITIES - 1}) i;
INSERT INTO transition_history (entity_id, machine_name, version, kind, now, success, commit_id, machine_version,
  fingerprint, recorded_at)
SELECT 'e-000200', 'order', 5, 'rejected', 'epoch', false, 'c', '1.0', 'f', 'epoch' FROM generate_series(1, 500) i;
"""


@pytest.fixture(scope="module")
def connection(postgres):
    """To a database with so many rows that reading all of a table is never the quickest."""
    url = postgres.database(postgres.tables)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        # Else VACUUM finds rows of which it is not sure yet that they will stay.
        connection.execute("SET synchronous_commit = on")
        connection.execute(FILL)
        connection.execute("VACUUM (ANALYZE)")
        yield connection
    postgres.drop(url)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The plan's nodes that read a table of ours."""
    found = [plan] if plan.get("Relation Name") in BIG or "Index Name" in plan else []
    for child in plan.get("Plans", ()):
        found += nodes(child)
    return found


def indexes(plan: dict[str, Any]) -> set[str]:
    """The indexes it uses, and every other way in which it reads a table."""
    reads = nodes(plan)
    ways = {each["Node Type"] for each in reads if "Index Name" not in each}
    # The first writes what others found; the others have found it already.
    used = {each["Index Name"] for each in reads if "Index Name" in each}
    return (used - {"pk_machines"}) | (ways - {"ModifyTable", "Tid Scan", "Bitmap Heap Scan"})


def touched(plan: dict[str, Any]) -> int:
    """Rows that were read, those that did not fit included."""
    return sum(
        (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
        for each in nodes(plan)
    )


def explained(connection, mode: str, statement, values, options: str = "") -> dict[str, Any]:
    """The plan of a prepared statement, with the values in it (custom) or for all values (generic)."""
    types = ", ".join(TYPES[oid] for oid in statement.types)
    text = statement.sql.decode()
    arguments = sql.SQL(", ").join(sql.Literal(value) for value in values)
    called = sql.SQL("({})").format(arguments) if values else sql.SQL("")
    connection.execute("DEALLOCATE ALL")
    connection.execute(f"SET plan_cache_mode = force_{mode}_plan")
    connection.execute(f"PREPARE it {f'({types})' if types else ''} AS {text}")
    query = sql.SQL("EXPLAIN (FORMAT JSON{}) EXECUTE it {}").format(sql.SQL(options), called)
    return connection.execute(query).fetchone()[0][0]["Plan"]


def explained_as_sent(connection, statement, params) -> dict[str, Any]:
    """The plan of a statement with what the store sends."""
    connection.execute("SET plan_cache_mode = auto")
    result = connection.pgconn.exec_params(
        b"EXPLAIN (FORMAT JSON) " + statement.sql, params, statement.types, statement.formats
    )
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    return json.loads(result.get_value(0, 0))[0]["Plan"]


# Reads --------------------------------------------------------------------------------------------


class Read(NamedTuple):
    statement: Any
    values: tuple[Any, ...]
    indexes: set[str]
    most: int
    """Rows that it may touch."""


def entities(most: int, indexes: str, *place: Any, **asked: Any) -> Read:
    names = ("state", "machine", "machines", "since", "archived")
    which = {name: name in asked for name in names}
    values = [asked[name] for name in names[:-1] if which[name]]
    return Read(
        listing.statement(**which),
        (*(place or ("", "")), 11, *values),
        {f"ix_entity_states_{name}" for name in indexes.split()} | {"pk_entity_states"},
        most,
    )


PAIRS: Final = 16
"""Machines and states in use, at most."""

EVERY_PAIR: Final = PAIRS * 12 + PAIRS + 2 * LONG + 11
RECENT: Final = datetime.fromtimestamp(ENTITIES - 100, UTC)
OLD: Final = datetime.fromtimestamp(200, UTC)
MIDDLE: Final = ("e-010000", "order")
PK: Final = {"pk_entity_states"}
ENTITY: Final = {"ix_transition_history_entity"}
FEED: Final = {"ix_transition_history_feed"}
DUE: Final = {"ix_entity_states_due"}
TWO: Final = "order\x1fpayment"
ARCHIVES: Final = {"ix_entity_states_archived", "ix_entity_states_long"}
COUNTS: Final = {"ix_entity_states_state", "ix_entity_states_long"}
LAST: Final = 2**63 - 1

READS: Final = {
    "machines": Read(reads.MACHINES, ("e-000100",), PK, 1),
    "machines of history": Read(reads.MACHINES_OF_HISTORY, ("e-000100",), ENTITY, 2),
    "history": Read(reads.HISTORY_UP, ("e-000100", "order", -1, -1, 11), ENTITY, 2),
    "history down": Read(reads.HISTORY_DOWN, ("e-000100", "order", LAST, LAST, 11), ENTITY, 2),
    "history within a version": Read(
        reads.HISTORY_UP, ("e-000200", "order", 5, 2 * ENTITIES + 200, 11), ENTITY, 11
    ),
    "due": Read(reads.DUE, (RECENT, 10), DUE, 10),
    "due of a machine": Read(reads.DUE_OF, (RECENT, 10, "order"), DUE, 40),
    "prune keys": Read(pruning.KEYS, ("", "", 10), ENTITY, 22),
    "prune keys, later": Read(pruning.KEYS, (*MIDDLE, 10), ENTITY, 22),
    "feed": Read(feed.FEED, ("0", 0, 10), FEED, 10),
    "feed at the end": Read(feed.FEED, ("4000000000", 0, 10), FEED, 0),
    "feed's end": Read(feed.FEED_END, (), FEED, 1),
    "feed, a part": Read(feed.FEED_PART, ("0", 0), FEED, feed.LOOKED_AT),
    "feed among": Read(feed.FEED_AMONG, ("0", 0, 10, "4000000000", 1_000, TWO, None), FEED, 10),
    "feed among, of an entity": Read(
        feed.FEED_AMONG, ("0", 0, 10, "4000000000", 0, None, "e-000100"), FEED, 2 * ENTITIES + 500
    ),
    "feed of an entity": Read(
        feed.FEED_OF_ENTITY, ("0", 0, 10, "4000000000", 0, None, "e-000200"), ENTITY, 1_004
    ),
    "count": Read(reads.COUNT[False], (), COUNTS, ENTITIES + LONG),
    "count of a machine": Read(reads.COUNT_OF[False], ("payment",), COUNTS, ENTITIES // 4 + LONG),
    "count of two": Read(reads.COUNT_OF[False], (TWO,), COUNTS, ENTITIES + 2 * LONG),
    "count of archived": Read(reads.COUNT_OF[True], ("payment",), ARCHIVES, ENTITIES // 10 + LONG),
    "all": Read(listing.ALL, ("", "", 11), PK, 14),
    "all, later": Read(listing.ALL, (*MIDDLE, 11), PK, 14),
    "is any archived": Read(listing.IS_ANY_ARCHIVED, (), ARCHIVES, 1),
    "all that live": entities(EVERY_PAIR, "state long"),
    "all that live, later": entities(EVERY_PAIR, "state long", *MIDDLE),
    "archived": entities(EVERY_PAIR, "archived long", archived=True),
    "archived, later": entities(EVERY_PAIR, "archived long", *MIDDLE, archived=True),
    "archived, both": entities(
        EVERY_PAIR, "archived long", *MIDDLE, archived=True, machine="payment", state="open"
    ),
    "archived, since": entities(EVERY_PAIR + 300, "archived long", archived=True, since=RECENT),
    "of machines": entities(EVERY_PAIR, "state long", machines=TWO),
    "machines, state": entities(EVERY_PAIR, "state long", *MIDDLE, machines=TWO, state="open"),
    "machines, since": entities(EVERY_PAIR + 800, "state long since", machines=TWO, since=OLD),
    "state": entities(EVERY_PAIR, "state long", state="dry"),
    "state, later": entities(EVERY_PAIR, "state long", *MIDDLE, state="open"),
    "machine": entities(EVERY_PAIR, "state long", machine="order"),
    "both": entities(EVERY_PAIR, "state long", *MIDDLE, machine="payment", state="open"),
    "since": entities(EVERY_PAIR + 800, "state long since", since=OLD),
    "since, state": entities(EVERY_PAIR + 300, "state long since", since=OLD, state="open"),
    "since, machine": entities(EVERY_PAIR + 600, "state long since", since=OLD, machine="order"),
    "since, both": entities(
        EVERY_PAIR + 300, "state long since", since=OLD, machine="order", state="done"
    ),
}


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("name", READS)
def test_a_read_uses_its_indexes_and_reads_what_it_gives(connection, mode, name) -> None:
    read = READS[name]
    plan = explained(connection, mode, read.statement, read.values, ", ANALYZE, TIMING OFF")
    assert indexes(plan) <= read.indexes
    assert indexes(plan) - {"ix_entity_states_long"} or not read.most
    assert touched(plan) <= read.most


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("asked", [{}, {"state": "open"}, {"machine": "order"}], ids=str)
def test_what_many_fit_is_walked_in_order_and_not_sorted(
    connection, monkeypatch, mode, asked
) -> None:
    """Entities that are long in their state may be nearly all: a page does not look at each."""
    listing.statement.cache_clear()
    monkeypatch.setattr(listing, "FEW", 100)
    read = entities(0, "state long since", *MIDDLE, since=RECENT, **asked)
    listing.statement.cache_clear()
    plan = explained(connection, mode, read.statement, read.values, ", ANALYZE, TIMING OFF")
    assert indexes(plan) <= read.indexes
    assert touched(plan) <= EVERY_PAIR + PAIRS * (100 + 1) * 2


# Loads and commits ---------------------------------------------------------------------------------

NOW: Final = 1_700_000_000_000_000
KNOWN: Final = {"uq_transition_history_event"}


def key(number: int) -> tuple[str, str]:
    return f"e-{number:06}", "payment" if number % 4 == 3 else "order"


def request(operation):
    """The first statement of an operation."""
    return next(operation)


def changes(*numbers: int, **fields: Any):
    made = [change(key(n)[0], machine=key(n)[1], after=1, **fields) for n in numbers]
    return request(committing(prepare(made, NOW, 10**6)))


def cuts(*numbers: int):
    """Cuts of a row each, with a snapshot in its place, and one of many rows."""
    made = [
        Cut(
            *key(n),
            [n],
            note(key(n)[0], machine=key(n)[1], kind=EntryKind.SNAPSHOT),
            (n + 9_000,),
            n,
        )
        for n in numbers
    ]
    return request(pruning.prune_rows([*made, Cut(*key(1), range(1, 900))], NOW))


OPERATIONS: Final = {
    "prune": (lambda: cuts(*range(1, 901)), ENTITY | {"pk_transition_history"}),
    "load": (lambda: request(loading([Lookup(*key(5))])), PK),
    "load with an event id": (
        lambda: request(loading([Lookup(*key(5), ("event-4",))])),
        PK | KNOWN,
    ),
    "load many": (lambda: request(loading([Lookup(*key(n)) for n in range(1, 1_001)])), PK),
    "load many with event ids": (
        lambda: request(loading([Lookup(*key(n), (f"event-{n}", "new")) for n in range(1, 1_001)])),
        PK | KNOWN,
    ),
    "delete a machine": (
        lambda: request(definitions.deleting_machine("order", None)),
        {"ix_entity_states_state", "ix_entity_states_long"},
    ),
    "change": (lambda: changes(5, event_id="x"), PK),
    "change many": (lambda: changes(*range(1, 1_001), event_id="x"), PK),
    "change in steps": (lambda: changes(*range(1, 301), steps=3), PK),
    "create": (lambda: request(committing(prepare([change("new")], NOW, 10**6))), set()),
    "append": (lambda: request(committing(prepare([note("new")], NOW, 10**6))), set()),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_loads_and_commits_find_each_row_by_its_key(connection, name) -> None:
    make, expected = OPERATIONS[name]
    asked = make()
    plan = explained_as_sent(connection, asked.statement, asked.params)
    assert indexes(plan) == expected
    nothing = [None] * len(asked.statement.types)
    plan = explained(connection, "generic", asked.statement, nothing)
    assert indexes(plan) == expected


def test_the_entities_with_long_states_are_few_and_found_by_their_own_index(connection) -> None:
    """Else these tests would show nothing of them."""
    (count,) = connection.execute(
        "SELECT count(*) FROM entity_states WHERE octet_length(state) > 512"
    ).fetchone()
    assert count == LONG
    read = entities(EVERY_PAIR, "state long", state="long" * 200 + "2")
    plan = explained(connection, "generic", read.statement, read.values, ", ANALYZE, TIMING OFF")
    assert "ix_entity_states_long" in indexes(plan)
    assert plan["Actual Rows"] == 11
