"""An event with ``connection=`` and the caller's own rows are one commit, or none."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from pystator import (
    EntityExistsError,
    IdempotencyConflictError,
    InvalidValueError,
    MetricsCollector,
    Orchestrator,
)
from pystator.records import EventRequest
from pystator.scheduler import AsyncioScheduler
from pystator.testing import FakeClock

# One commit ---------------------------------------------------------------------------------------


def test_an_event_and_the_callers_row_are_committed_together(shop, orders, buy, rows):
    connection = shop.connect()
    buy(connection, "o-1")
    result = orders.process_event("o-1", "place", {"amount": 3}, connection=connection)
    assert (result.success, result.version) == (True, 1)
    assert shop.orders() == []
    assert orders.get_entity("o-1") is None
    connection.commit()
    assert shop.orders() == ["o-1"]
    assert orders.get_entity("o-1").state == "placed"
    assert rows(shop.store, "o-1") == [("event", 1)]


def test_the_event_may_come_first(shop, orders, buy):
    """The transaction begins with it, as it would with an INSERT."""
    connection = shop.connect()
    orders.process_event("o-1", "place", connection=connection)
    buy(connection, "o-1")
    assert orders.get_entity("o-1") is None
    connection.commit()
    assert (shop.orders(), orders.get_entity("o-1").version) == (["o-1"], 1)


def test_a_rollback_leaves_nothing(shop, orders, buy, rows):
    connection = shop.connect()
    buy(connection, "o-1")
    orders.process_event("o-1", "place", connection=connection)
    orders.process_event("o-1", "pay", {"amount": 1}, event_id="e", connection=connection)
    connection.rollback()
    shop.store.flush()
    assert shop.orders() == []
    assert orders.get_entity("o-1") is None
    assert rows(shop.store, "o-1") == []


def test_the_callers_context_manager_decides(shop, orders, buy):
    def fail() -> None:
        with shop.connect() as connection:
            buy(connection, "o-1")
            orders.process_event("o-1", "place", connection=connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (shop.orders(), orders.get_entity("o-1")) == ([], None)


def test_a_savepoint_of_the_callers_undoes_the_event(shop, orders, buy):
    connection = shop.connect()
    buy(connection, "o-1")
    connection.execute("SAVEPOINT mine")
    orders.process_event("o-1", "place", connection=connection)
    connection.execute("ROLLBACK TO SAVEPOINT mine")
    connection.commit()
    assert (shop.orders(), orders.get_entity("o-1")) == (["o-1"], None)


def test_several_events_of_an_entity_in_one_transaction(shop, orders, rows):
    with shop.connect() as connection:
        orders.process_event("o-1", "place", connection=connection)
        orders.process_event("o-1", "note", connection=connection)
        paid = orders.process_event("o-1", "pay", {"amount": 10}, connection=connection)
        seen = orders.get_entity("o-1", connection=connection)
    assert paid.version == seen.version == 3
    assert (seen.state, seen.context) == ("paid", {"notes": 1, "amount": 10})
    assert orders.get_entity("o-1") == seen
    assert rows(shop.store, "o-1") == [("event", 1), ("event", 2), ("event", 3)]


def test_two_transactions_in_turn(shop, orders):
    first, second = shop.connect(), shop.connect()
    orders.process_event("o-1", "place", connection=first)
    first.commit()
    orders.process_event("o-1", "note", connection=second)
    second.commit()
    orders.process_event("o-1", "note")
    orders.process_event("o-1", "note", connection=first)
    first.commit()
    assert orders.get_entity("o-1").context == {"notes": 3}


# Other calls --------------------------------------------------------------------------------------


def test_every_call_takes_a_connection(shop, orders, rows):
    connection = shop.connect()
    orders.create_entity("o-1", {"amount": 1}, connection=connection)
    orders.apply_data("o-1", {"amount": 20}, connection=connection)
    orders.process_events(
        [("o-1", "place"), ("o-2", "note"), ("o-1", "pay")], connection=connection
    )
    orders.force_state("o-2", "lost", reason="test", actor="me", connection=connection)
    assert [orders.get_entity(each) for each in ("o-1", "o-2")] == [None, None]
    connection.commit()
    states = [orders.get_entity(each).state for each in ("o-1", "o-2")]
    assert states == ["paid", "lost"]
    assert rows(shop.store, "o-1") == [("created", 1), ("event", 2), ("event", 3), ("event", 4)]
    assert rows(shop.store, "o-2") == [("event", 1), ("forced", 2)]


def test_many_events_are_written_together(shop, orders):
    with shop.connect() as connection:
        results = orders.process_events(
            [(f"o-{n % 300}", "note") for n in range(1_500)], connection=connection
        )
    assert all(result.success for result in results)
    assert {each.context["notes"] for each in shop.store.list_entities(limit=1_000)} == {5}


def test_an_item_of_many_fails_alone(shop, orders):
    with shop.connect() as connection:
        results = orders.process_events(
            [("o-1", "note"), ("o-2", "note", {"x": {1, 2}}), ("o-3", "pay")], connection=connection
        )
    assert [result.success for result in results] == [True, False, False]
    assert orders.get_entity("o-1").version == 1
    assert orders.get_entity("o-2") is None


# Failures -----------------------------------------------------------------------------------------


def test_a_rejection_belongs_to_the_transaction(shop, orders, rows):
    connection = shop.connect()
    orders.process_event("o-1", "place", connection=connection)
    refused = orders.process_event("o-1", "pay", {"amount": 1}, connection=connection)
    assert not refused.success
    orders.process_event("o-1", "note", connection=connection)
    connection.commit()
    assert rows(shop.store, "o-1") == [("event", 1), ("rejected", 1), ("event", 2)]


def test_after_an_error_the_transaction_is_as_it_was(shop, orders, buy):
    connection = shop.connect()
    orders.process_event("o-1", "place", event_id="e-1", connection=connection)
    with pytest.raises(EntityExistsError):
        orders.create_entity("o-1", connection=connection)
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", "note", {"when": {1}}, connection=connection)
    with pytest.raises(IdempotencyConflictError):
        orders.process_event("o-1", "note", event_id="e-1", connection=connection)
    buy(connection, "o-1")
    connection.commit()
    assert (shop.orders(), orders.get_entity("o-1").version) == (["o-1"], 1)


# Event ids ----------------------------------------------------------------------------------------


def test_an_event_id_of_the_same_transaction_is_known(shop, orders):
    connection = shop.connect()
    first = orders.process_event("o-1", "note", event_id="e-1", connection=connection)
    again = orders.process_event("o-1", "note", event_id="e-1", connection=connection)
    assert [first.replayed, again.replayed] == [False, True]
    connection.commit()
    assert orders.process_event("o-1", "note", event_id="e-1").replayed
    assert orders.get_entity("o-1").context == {"notes": 1}


def test_an_event_id_that_was_rolled_back_is_not_known(shop, orders):
    connection = shop.connect()
    orders.process_event("o-1", "note", event_id="e-1", connection=connection)
    connection.rollback()
    result = orders.process_event("o-1", "note", event_id="e-1", connection=connection)
    connection.commit()
    assert not result.replayed
    assert orders.get_entity("o-1").version == 1


def test_a_rejected_event_id_is_known_in_the_same_transaction(shop, orders):
    connection = shop.connect()
    items = [EventRequest("o-1", "pay", event_id="e-1")] * 2
    first, twin = orders.process_events(items, connection=connection)
    again = orders.process_event("o-1", "pay", event_id="e-1", connection=connection)
    connection.commit()
    assert [first.replayed, twin.replayed, again.replayed] == [False, True, True]
    assert again.error.code == first.error.code


# Actions ------------------------------------------------------------------------------------------


def test_actions_wait_for_the_commit_and_run_once(shop, orders, done, rows):
    connection = shop.connect()
    placed = orders.process_event("o-1", "place", connection=connection)
    paid = orders.process_event("o-1", "pay", {"amount": 10}, connection=connection)
    assert done == []
    assert placed.metadata["pending_actions"] == ["mail"]
    assert paid.metadata["pending_actions"] == ["receipt", "mail"]
    connection.commit()
    assert done == []
    orders.run_actions([placed, paid])
    assert done == ["mail", "receipt", "mail"]
    assert "pending_actions" not in paid.metadata
    orders.run_actions(paid)
    orders.run_actions(placed)
    assert done == ["mail", "receipt", "mail"]
    shop.store.flush()
    kinds = [("event", 1), ("action", 1), ("event", 2), ("action", 2)]
    assert rows(shop.store, "o-1") == kinds


def test_actions_are_refused_before_the_commit(shop, orders, done):
    connection = shop.connect()
    placed = orders.process_event("o-1", "place", connection=connection)
    with pytest.raises(InvalidValueError, match="not committed"):
        orders.run_actions(placed)
    connection.commit()
    orders.run_actions(placed)
    assert done == ["mail"]


def test_actions_of_a_rolled_back_event_never_run(shop, orders, done):
    """Not even when another event made the same version since."""
    connection = shop.connect()
    placed = orders.process_event("o-1", "place", connection=connection)
    connection.rollback()
    with pytest.raises(InvalidValueError, match="rolled back"):
        orders.run_actions(placed)
    orders.process_event("o-1", "place")
    orders.process_event("o-1", "note")
    done.clear()
    with pytest.raises(InvalidValueError, match="rolled back"):
        orders.run_actions(placed)
    assert done == []


def test_actions_run_although_others_changed_the_entity_since(shop, orders, done):
    with shop.connect() as connection:
        placed = orders.process_event("o-1", "place", connection=connection)
    for _ in range(120):
        orders.process_event("o-1", "note")
    orders.run_actions(placed)
    assert done == ["mail"]


def test_a_failing_action_is_told_by_its_result(shop, machine):
    def mail(ctx):
        raise OSError("no post today")

    orders = Orchestrator(machine, shop.store, actions={"mail": mail})
    with shop.connect() as connection:
        placed = orders.process_event("o-1", "place", connection=connection)
    orders.run_actions(placed)
    assert placed.metadata["action_errors"][0]["name"] == "mail"


def test_a_result_without_actions_has_nothing_to_run(shop, orders):
    with shop.connect() as connection:
        noted = orders.process_event("o-1", "note", connection=connection)
    assert "pending_actions" not in noted.metadata
    orders.run_actions([noted, orders.process_event("o-1", "place")])


# Hooks --------------------------------------------------------------------------------------------


def test_hooks_are_told_of_completion_after_the_commit(shop, machine):
    metrics = MetricsCollector()
    orders = Orchestrator(machine, shop.store, actions={"mail": lambda ctx: None}, hooks=[metrics])
    with shop.connect() as connection:
        placed = orders.process_event("o-1", "place", connection=connection)
        refused = orders.process_event("o-1", "place", connection=connection)
    counts = metrics.snapshot()
    assert (counts["processed"], counts["applied"], counts["failed"]) == (2, 0, 1)
    orders.run_actions([placed, refused])
    orders.run_actions([placed, refused])
    counts = metrics.snapshot()
    assert (counts["processed"], counts["applied"], counts["failed"]) == (2, 1, 1)


# Timers -------------------------------------------------------------------------------------------


def test_a_timer_that_was_armed_in_the_transaction_fires(shop, orders):
    later = datetime.now(UTC) + timedelta(minutes=2)
    connection = shop.connect()
    orders.process_event("o-1", "place", connection=connection)
    connection.commit()
    assert [each.target_state for each in orders.fire_due(now=later)] == ["lost"]


def test_due_timers_fire_before_the_event_in_the_transaction(shop, orders, rows):
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    orders.process_event("o-1", "place", now=long_ago)
    shop.store.flush()
    connection = shop.connect()
    noted = orders.process_event("o-1", "note", connection=connection)
    assert noted.source_state == "lost"
    connection.rollback()
    assert orders.get_entity("o-1").state == "placed"


def test_a_scheduler_finds_a_timer_that_a_transaction_armed(shop, machine):
    """Nobody wakes it at the commit: it looks again by itself."""
    quick = machine.from_dict(
        {
            "meta": {"machine_name": "quick", "version": "1.0"},
            "states": [
                {"name": "a", "type": "initial"},
                {"name": "b", "timeout": {"seconds": 0.05, "destination": "c"}},
                {"name": "c"},
            ],
            "transitions": [{"trigger": "go", "source": "a", "dest": "b"}],
        }
    )

    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=0.05)
        orders = Orchestrator(quick, shop.store, scheduler=scheduler)
        await scheduler.idle()
        connection = shop.connect()
        orders.process_event("o-1", "go", connection=connection)
        connection.commit()
        async with asyncio.timeout(5):
            while (await orders.async_get_entity("o-1")).state != "c":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await orders.close()

    asyncio.run(main())


def test_a_scheduler_is_told_by_run_actions(shop, machine):
    """So that it need not look: a clock that is moved by hand rings for what it was told."""

    async def main() -> None:
        clock = FakeClock()
        scheduler = AsyncioScheduler(poll_interval=1_000)
        orders = Orchestrator(
            machine,
            shop.store,
            actions={"mail": lambda ctx: None},
            scheduler=scheduler,
            clock=clock,
        )
        await scheduler.idle()
        connection = shop.connect()
        placed = orders.process_event("o-1", "place", connection=connection)
        connection.commit()
        await orders.async_run_actions(placed)
        await clock.aadvance(timedelta(seconds=61))
        assert (await orders.async_get_entity("o-1")).state == "lost"
        await orders.close()

    asyncio.run(main())


# The store itself ---------------------------------------------------------------------------------


def test_a_store_inside_of_a_transaction_has_its_own_methods(shop):
    connection = shop.connect()
    inside = shop.store.within(connection)
    inside.set_state("o-1", "placed", metadata={"machine_name": "order", "context": {"a": 1}})
    state, version = inside.get_state_versioned("o-1")
    inside.set_state_versioned("o-1", "paid", expected_version=version)
    assert (state, inside.get_state("o-1"), inside.get_context("o-1")) == (
        "placed",
        "paid",
        {"a": 1},
    )
    assert [each.entity_id for each in inside.list_entities(state="paid")] == ["o-1"]
    assert inside.count_by_state() == {"paid": 1}
    assert [row.version for row in inside.history("o-1").items] == [1, 2]
    assert inside.machines("o-1") == ["order"]
    assert shop.store.get_state("o-1") is None
    connection.commit()
    assert shop.store.get_state("o-1") == "paid"


def test_a_store_inside_of_a_transaction_never_commits_the_next_one(shop):
    connection = shop.connect()
    inside = shop.store.within(connection)
    inside.set_state("o-1", "placed")
    connection.commit()
    inside.set_state("o-1", "paid")
    assert shop.store.get_state("o-1") == "placed"
    connection.rollback()
    assert shop.store.get_state("o-1") == "placed"


@pytest.mark.parametrize("first", ["order", "event"])
def test_a_session_commits_both(shop, orders, engine, first):
    insert = text("INSERT INTO orders VALUES ('o-1', 1)")
    with Session(engine) as session:
        if first == "order":
            session.execute(insert)
        orders.process_event("o-1", "place", connection=session)
        if first == "event":
            session.execute(insert)
        assert orders.get_entity("o-1") is None
        session.commit()
    assert (shop.orders(), orders.get_entity("o-1").state) == (["o-1"], "placed")
