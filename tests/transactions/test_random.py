"""Any sequence of transactions leaves what its committed calls alone would have left."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pystator import EntityExistsError, IdempotencyConflictError, InMemoryStateStore, Orchestrator

_numbers = count()
ENTITIES = st.sampled_from(["a", "b"])
IDS = st.sampled_from([None, None, "x", "y"])
CALL = st.one_of(
    st.tuples(st.sampled_from(["place", "pay", "note"]), ENTITIES, IDS),
    st.tuples(st.just("create"), ENTITIES, IDS),
    st.tuples(st.just("data"), ENTITIES, IDS),
    st.tuples(st.just("many"), ENTITIES, IDS),
)
TRANSACTION = st.tuples(
    st.lists(CALL, min_size=1, max_size=5),
    st.sampled_from(["commit", "commit", "rollback", "savepoint"]),
)
BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


def call(orders: Orchestrator, run: str, what, moment: datetime, **how: Any) -> Any:
    """Make a call; what it answers, as far as it can be compared."""
    kind, entity, event_id = what
    entity = f"{run}-{entity}"
    try:
        if kind == "create":
            result = orders.create_entity(
                entity, {"amount": 5}, event_id=event_id, now=moment, **how
            )
        elif kind == "data":
            data = {"amount": 20}
            result = orders.apply_data(entity, data, event_id=event_id, now=moment, **how)
        elif kind == "many":
            results = orders.process_events([(entity, "note"), (entity, "place")], **how)
            return [(each.success, each.version, each.target_state) for each in results]
        else:
            result = orders.process_event(entity, kind, event_id=event_id, now=moment, **how)
    except (EntityExistsError, IdempotencyConflictError) as error:
        return str(error.code)
    return (result.success, result.version, result.target_state, result.replayed)


def told(store, run: str) -> list[Any]:
    """All that is stored of the entities of a run, but for clocks and ids."""
    found: list[Any] = []
    for name in ("a", "b"):
        entity = store.load_one(f"{run}-{name}", "order")
        found.append(None if entity is None else (entity.version, entity.state, entity.context))
        found += [
            (row.version, str(row.kind), row.trigger, row.target_state, row.event_id, row.success)
            for row in store.history(f"{run}-{name}", machine_name="order", limit=1_000).items
            if row.kind != "action"
        ]
    return found


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(transactions=st.lists(TRANSACTION, min_size=1, max_size=5))
def test_only_what_was_committed_counts(shop, machine, transactions):
    run = f"r{next(_numbers)}"
    actions = {name: lambda ctx: None for name in ("mail", "receipt")}
    real = Orchestrator(machine, shop.store, actions=actions)
    model = Orchestrator(machine, InMemoryStateStore(), actions=actions)
    moment = BEGAN
    connection = shop.connect()
    for calls, end in transactions:
        kept = calls[: len(calls) // 2] if end == "savepoint" else calls
        answers = []
        for number, what in enumerate(calls):
            if end == "savepoint" and number == len(kept):
                if number == 0:
                    connection.execute("INSERT INTO orders VALUES ('begins', 1)")
                connection.execute("SAVEPOINT mine")
            answers.append(call(real, run, what, moment, connection=connection))
        if end == "savepoint":
            connection.execute("ROLLBACK TO SAVEPOINT mine")
            connection.execute("DELETE FROM orders")
        if end == "rollback":
            connection.rollback()
        else:
            connection.commit()
            expected = [call(model, run, what, moment) for what in kept]
            assert answers[: len(kept)] == expected
        moment += timedelta(seconds=1)
    connection.close()
    assert told(shop.store, run) == told(model.state_store, run)
