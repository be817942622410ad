"""Entities put away and taken back: what still works, what is refused, and what history says."""

import asyncio
import sqlite3

import pytest

from pystator import (
    EntityArchivedError,
    EntityExistsError,
    EntityNotFoundError,
    EventRequest,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    SQLiteStateStore,
    StaleVersionError,
    StateMachine,
)
from pystator.orchestrator.replay import replay
from stores.three import Three

WHY = {"reason": "closed for good", "actor": "ada"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def archived(orders):
    """`orders`, with one entity that was put away in state open."""
    orders.process_event("o-1", "submit", {"amount": 50})
    orders.archive("o-1", **WHY)
    return orders


def test_an_archived_entity_stays_as_it_is_with_its_history(orders, store, rows):
    orders.process_event("o-1", "submit", {"amount": 50})
    before = orders.get_entity("o-1")
    result = orders.archive("o-1", **WHY, trace=TRACE)
    assert (result.success, result.reason, result.version) == (True, "archived", 2)
    assert (result.source_state, result.target_state, result.ignored) == ("open", "open", False)
    entity = orders.get_entity("o-1")
    assert (entity.state, entity.context, entity.version) == ("open", {"amount": 50}, 2)
    assert entity.archived_at == result.now
    assert entity.state_since == before.state_since
    row = rows(store, "o-1")[-1]
    assert (row.kind, row.version, row.payload) == ("archived", 2, {"reason": WHY["reason"]})
    assert (row.actor, row.trace, row.source_state, row.target_state) == (
        "ada",
        TRACE,
        "open",
        "open",
    )
    assert replay(rows(store, "o-1")) == ("open", {"amount": 50})


def test_lists_and_counts_leave_it_out(archived, store):
    archived.process_event("o-2", "submit")
    assert [each.entity_id for each in store.entities().items] == ["o-2"]
    assert [each.entity_id for each in store.entities(archived=True).items] == ["o-1"]
    assert store.count_by_state() == {"open": 1}
    assert store.count_by_state(archived=True) == {"open": 1}


def test_events_and_data_and_hands_are_rejected_and_leave_rows(archived, store, rows, done):
    answers = [
        archived.process_event("o-1", "pay"),
        archived.process_event("o-1", "pay", event_id="e-1"),
        archived.process_event("o-1", "nothing", actor="eve"),
        archived.apply_data("o-1", {"amount": 9}),
        archived.force_state("o-1", "paid", reason="why", actor="eve"),
        *archived.process_events([("o-1", "pay"), EventRequest("o-1", "note")]),
        asyncio.run(archived.async_process_event("o-1", "pay")),
    ]
    for answer in answers:
        assert (answer.success, answer.reason, answer.version) == (False, "entity_archived", 2)
        assert isinstance(answer.error, EntityArchivedError)
        assert (answer.source_state, answer.target_state) == ("open", None)
    error = answers[0].error
    assert "unarchive" in error.message
    assert error.context["trigger"] == "pay"
    refused = rows(store, "o-1", "rejected")
    assert len(refused) == len(answers)
    assert {row.error_code for row in refused} == {"entity_archived"}
    assert {row.version for row in refused} == {2}
    assert archived.get_entity("o-1").context == {"amount": 50}
    assert done == []


def test_a_rejection_is_replayed_also_when_it_is_back(archived):
    first = archived.process_event("o-1", "pay", event_id="e-1")
    archived.unarchive("o-1", **WHY)
    again = archived.process_event("o-1", "pay", event_id="e-1")
    assert (again.replayed, again.reason) == (True, first.reason)
    assert isinstance(again.error, EntityArchivedError)
    assert archived.process_event("o-1", "pay", event_id="e-2").success


def test_it_cannot_be_created_again(archived):
    with pytest.raises(EntityExistsError, match="unarchive"):
        archived.create_entity("o-1")


def test_taking_it_back_makes_it_what_it_was(archived, store, rows, audit, done):
    result = archived.unarchive("o-1", **WHY)
    assert (result.success, result.reason, result.version) == (True, "unarchived", 3)
    assert archived.get_entity("o-1").archived_at is None
    assert archived.process_event("o-1", "pay").target_state == "paid"
    assert done == ["receipt"]
    kinds = [row.kind for row in rows(store, "o-1")]
    assert kinds[:4] == ["event", "archived", "unarchived", "event"]
    assert [each.entity_id for each in store.entities().items] == ["o-1"]
    audit(store, "o-1")


def test_doing_it_again_changes_nothing(archived, store, rows):
    """An answer may be lost; the first reason is the one that counts."""
    again = archived.archive("o-1", reason="another", actor="eve")
    assert (again.success, again.ignored, again.version) == (True, True, 2)
    assert archived.unarchive("o-1", **WHY).version == 3
    again = archived.unarchive("o-1", **WHY)
    assert (again.success, again.ignored, again.version) == (True, True, 3)
    assert len(rows(store, "o-1")) == 3


def test_it_may_expect_a_version(orders):
    orders.process_event("o-1", "submit")
    for call in (orders.archive, orders.unarchive):
        with pytest.raises(StaleVersionError) as caught:
            call("o-1", **WHY, expected_version=7)
        assert (caught.value.context["expected"], caught.value.context["actual"]) == (7, 1)
    assert orders.archive("o-1", **WHY, expected_version=1).version == 2
    with pytest.raises(StaleVersionError):
        orders.process_event("o-1", "pay", expected_version=1)  # that comes before the rejection
    assert orders.process_event("o-1", "pay", expected_version=2).reason == "entity_archived"
    assert orders.unarchive("o-1", **WHY, expected_version=2).version == 3


def test_what_is_missing_is_told(orders):
    with pytest.raises(EntityNotFoundError):
        orders.archive("o-1", **WHY)
    with pytest.raises(EntityNotFoundError):
        orders.unarchive("o-1", **WHY)
    orders.create_entity("o-1")
    with pytest.raises(InvalidValueError, match=r"unarchive needs reason= and actor="):
        orders.unarchive("o-1", reason=" ", actor="ada")
    with pytest.raises(InvalidValueError, match=r"archive needs reason= and actor="):
        orders.archive("o-1", reason="why", actor="")


def test_async_twins(orders):
    async def run():
        await orders.async_create_entity("o-1")
        first = await orders.async_archive("o-1", **WHY)
        refused = await orders.async_process_event("o-1", "submit")
        back = await orders.async_unarchive("o-1", **WHY)
        return first.reason, refused.reason, back.reason

    assert asyncio.run(run()) == ("archived", "entity_archived", "unarchived")


def test_callers_that_share_a_commit_are_rejected_each(machine, slow_store, rows):
    store = slow_store()
    orders = Orchestrator(machine, store)

    async def run():
        await orders.async_process_event("o-1", "submit")
        await orders.async_archive("o-1", **WHY)
        calls = [orders.async_process_event("o-1", "note") for _ in range(5)]
        return await asyncio.gather(*calls)

    assert {each.reason for each in asyncio.run(run())} == {"entity_archived"}
    assert len(rows(store, "o-1", "rejected")) == 5


class Overtaken(InMemoryStateStore):
    """Somebody archives the entity between the load and the commit of an event."""

    def commit(self, commits):
        if other := self.__dict__.pop("other", None):
            other.archive("o-1", **WHY)
        return super().commit(commits)


@pytest.mark.parametrize("event_id", [None, "e-1"])
def test_an_event_that_meets_the_archiving_is_rejected(machine, audit, event_id):
    store = Overtaken()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    store.other = Orchestrator(machine, store)
    result = orders.process_event("o-1", "note", event_id=event_id)
    assert (result.reason, orders.get_entity("o-1").version) == ("entity_archived", 2)


def test_an_archiving_that_meets_an_event_is_done_after_it(machine):
    class Noted(InMemoryStateStore):
        def commit(self, commits):
            if other := self.__dict__.pop("other", None):
                other.process_event("o-1", "note")
            return super().commit(commits)

    store = Noted()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    store.other = Orchestrator(machine, store)
    assert orders.archive("o-1", **WHY).version == 3
    store.other = Orchestrator(machine, store)
    orders.unarchive("o-1", **WHY)
    assert orders.get_entity("o-1").context == {"notes": 1}


def test_a_fallback_state_is_not_for_archived_entities(machine_of, store):
    machine = machine_of(
        meta={
            "machine_name": "order",
            "version": "1.0",
            "orchestrator_default_fallback": "persist",
        },
        error_policy={"default_fallback": "cancelled"},
    )
    orders = Orchestrator(machine, store)
    orders.create_entity("o-1")
    orders.archive("o-1", **WHY)
    assert orders.process_event("o-1", "submit").reason == "entity_archived"
    assert orders.get_entity("o-1").state == "draft"


def test_an_entity_of_another_machine_version_remains_one(machine_of, store, rows):
    """Its state need not be one of the running version: nothing of it is run."""
    old = machine_of()
    Orchestrator(old, store).process_event("o-1", "submit")
    new = machine_of(
        meta={"machine_name": "order", "version": "2.0"},
        states=[{"name": "new", "type": "initial"}, {"name": "old", "type": "terminal"}],
        transitions=[{"trigger": "go", "source": "new", "dest": "old"}],
    )
    orders = Orchestrator(new, store)
    orders.archive("o-1", **WHY)
    entity = orders.get_entity("o-1")
    assert (entity.machine_version, entity.fingerprint) == ("1.0", old.fingerprint)
    assert rows(store, "o-1")[-1].machine_version == "1.0"
    assert Orchestrator(old, store).unarchive("o-1", **WHY).version == 3


TIMED = {
    "meta": {"machine_name": "timed", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial", "timeout": {"seconds": 5, "destination": "late"}},
        {"name": "late"},
    ],
    "transitions": [{"trigger": "note", "source": "*", "internal": True}],
}


def test_its_timers_do_not_fire_until_it_is_back(store, clock, audit):
    timed = Orchestrator(StateMachine.from_dict(TIMED), store, clock=clock)
    timed.create_entity("t-1")
    timed.archive("t-1", **WHY)
    clock.advance(10)
    assert timed.fire_due() == []
    assert timed.process_event("t-1", "note").reason == "entity_archived"
    assert timed.get_entity("t-1").state == "open"
    timed.unarchive("t-1", **WHY)
    (fired,) = timed.fire_due()
    assert (fired.target_state, timed.get_entity("t-1").version) == ("late", 4)
    audit(store, "t-1", "timed")


def test_a_sweep_that_meets_the_archiving_leaves_it_alone(clock):
    """The store said that it is due, and then it was archived."""
    machine = StateMachine.from_dict(TIMED)

    class Overtaken(InMemoryStateStore):
        def due(self, now, limit, *, machine_name=None):
            found = super().due(now, limit, machine_name=machine_name)
            if other := self.__dict__.pop("other", None):
                other.archive("t-1", **WHY)
            return found

    store = Overtaken()
    timed = Orchestrator(machine, store, clock=clock)
    timed.create_entity("t-1")
    clock.advance(10)
    store.other = Orchestrator(machine, store, clock=clock)
    assert timed.fire_due() == []
    assert (timed.get_entity("t-1").state, timed.get_entity("t-1").version) == ("open", 2)


def test_a_scheduler_hears_of_the_timers_of_what_is_back(store, clock):
    class Scheduler:
        def __init__(self):
            self.woken = []

        def attach(self, timers):
            pass

        start = cease = lambda self: None

        def wake(self, deadline):
            self.woken.append(deadline)

        async def stop(self):
            pass

    scheduler = Scheduler()
    machine = StateMachine.from_dict(TIMED)
    timed = Orchestrator(machine, store, clock=clock, scheduler=scheduler)
    timed.create_entity("t-1")
    timed.archive("t-1", **WHY)
    scheduler.woken.clear()
    timed.unarchive("t-1", **WHY)
    ((deadline, _),) = timed.get_entity("t-1").timers.values()
    assert scheduler.woken == [deadline]


def test_in_a_transaction_of_the_caller(tmp_path, machine):
    """Its event and its archiving are one commit, or none."""
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db").connect()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    connection = sqlite3.connect(tmp_path / "x.db")

    def put_away():
        connection.execute("BEGIN IMMEDIATE")
        orders.process_event("o-1", "cancel", connection=connection)
        orders.archive("o-1", **WHY, expected_version=2, connection=connection)
        refused = orders.process_event("o-1", "note", connection=connection)
        assert refused.reason == "entity_archived"
        assert orders.get_entity("o-1", connection=connection).archived_at is not None
        assert orders.get_entity("o-1").archived_at is None

    put_away()
    connection.rollback()
    assert (orders.get_entity("o-1").version, orders.get_entity("o-1").archived_at) == (1, None)
    put_away()
    connection.commit()
    assert (orders.get_entity("o-1").version, orders.get_entity("o-1").state) == (3, "cancelled")
    assert store.entities(archived=True).items == [orders.get_entity("o-1")]
    connection.close()
    store.disconnect()


def test_a_store_without_a_place_for_it_says_so(machine):
    """It would forget that the entity is archived, and take events as if it never had been."""
    orders = Orchestrator(machine, Three())
    orders.process_event("o-1", "submit")
    with pytest.raises(TypeError, match="archived entities, and Three does not"):
        orders.archive("o-1", **WHY)
    with pytest.raises(TypeError, match="versions, and Three does not"):
        orders.process_event("o-1", "note", expected_version=1)
