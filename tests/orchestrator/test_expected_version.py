"""An event that is to meet a version: taken there, and nowhere else, on every way an event takes."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from pystator import (
    EntityNotFoundError,
    EventRequest,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    SQLiteStateStore,
    StaleVersionError,
    StateMachine,
)
from pystator.records import to_datetime


def stale(call, *args, **options):
    """The facts of the error that the call raises."""
    with pytest.raises(StaleVersionError) as caught:
        call(*args, **options)
    return caught.value.context["expected"], caught.value.context["actual"]


def test_an_event_is_taken_at_the_version_it_expects_only(orders, store, rows, audit):
    assert orders.process_event("o-1", "submit", expected_version=0).version == 1
    assert orders.process_event("o-1", "note", expected_version=1).version == 2
    assert stale(orders.process_event, "o-1", "note", expected_version=1) == (1, 2)
    assert stale(orders.process_event, "o-1", "note", expected_version=0) == (0, 2)
    assert stale(orders.process_event, "o-2", "submit", expected_version=3) == (3, 0)
    assert orders.get_entity("o-2") is None
    assert len(rows(store, "o-1")) == 2  # an event that was not taken leaves no row
    audit(store, "o-1")


def test_a_rejection_at_the_right_version_is_a_rejection(orders):
    orders.process_event("o-1", "submit")
    assert orders.process_event("o-1", "ship", expected_version=1).reason == "no_transition"
    assert orders.process_event("o-1", "note", expected_version=1).version == 2


def test_data_and_moves_by_hand_expect_a_version_too(orders):
    assert orders.apply_data("o-1", {"a": 1}, expected_version=0).version == 1
    assert stale(orders.apply_data, "o-1", {"a": 2}, expected_version=0) == (0, 1)
    why = {"reason": "lost", "actor": "ada"}
    assert stale(orders.force_state, "o-1", "paid", **why, expected_version=2) == (2, 1)
    assert orders.force_state("o-1", "paid", **why, expected_version=1).version == 2
    with pytest.raises(EntityNotFoundError):
        orders.force_state("o-9", "paid", **why, expected_version=1)


def test_a_known_event_id_is_replayed_whatever_it_expects(orders):
    """A retry of an event that was written meets the version that it made itself."""
    first = orders.process_event("o-1", "submit", event_id="e-1", expected_version=0)
    again = orders.process_event("o-1", "submit", event_id="e-1", expected_version=0)
    other = orders.process_event("o-1", "submit", event_id="e-1", expected_version=7)
    assert (first.replayed, again.replayed, other.replayed) == (False, True, True)
    assert (again.version, other.version) == (1, 1)
    stale(orders.process_event, "o-1", "note", event_id="e-2", expected_version=0)
    assert orders.process_event("o-1", "note", event_id="e-2", expected_version=1).version == 2


@pytest.mark.parametrize("version", [-1, True, 1.0, "1", "*"])
def test_what_is_no_version_is_refused(orders, version):
    with pytest.raises(InvalidValueError, match="expected_version"):
        orders.process_event("o-1", "submit", expected_version=version)
    (result,) = orders.process_events([EventRequest("o-1", "submit", expected_version=version)])
    assert result.reason == "invalid_value"
    assert orders.get_entity("o-1") is None


def test_events_of_one_call_expect_what_those_before_them_make(orders, store, audit):
    """They share a commit, and each meets the version of its predecessor."""
    requests = [
        EventRequest("o-1", "submit", expected_version=0),
        EventRequest("o-1", "ship", expected_version=1),  # rejected: it makes no version
        EventRequest("o-1", "note", expected_version=1),
        EventRequest("o-1", "note", expected_version=1),  # too late
        EventRequest("o-1", "note", expected_version=2),
        EventRequest("o-2", "submit", expected_version=0),
    ]
    results = orders.process_events(requests)
    told = [result.version if result.success else result.reason for result in results]
    assert told == [1, "no_transition", 2, "stale_version", 3, 1]
    audit(store, "o-1")


def test_twins_in_one_call_have_one_answer(orders):
    requests = [
        EventRequest("o-1", "submit", event_id="e-1", expected_version=0),
        EventRequest("o-1", "submit", event_id="e-1", expected_version=0),
    ]
    first, second = orders.process_events(requests)
    assert (first.success, second.success, second.replayed) == (True, True, True)


def test_async_calls_that_share_a_commit_expect_a_version(machine, slow_store, audit):
    """Of ten at once, the first is taken; in a batch with it, and in those behind."""
    store = slow_store()
    orders = Orchestrator(machine, store)

    async def race():
        await orders.async_process_event("o-1", "submit")
        calls = [orders.async_process_event("o-1", "note", expected_version=1) for _ in range(10)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(race())
    stales = [each for each in answers if isinstance(each, StaleVersionError)]
    assert len(stales) == 9
    assert all(each.context == {"entity_id": "o-1", "expected": 1, "actual": 2} for each in stales)
    audit(store, "o-1")


@pytest.mark.parametrize("batching", [False, True])
def test_threads_that_race_are_taken_one_a_version(machine, audit, tmp_path, batching):
    """Each reads and then writes on what it has read: with expected_version none overwrites."""
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db").connect()
    orders = Orchestrator(machine, store, batching=batching)
    orders.process_event("o-1", "submit", {"sum": 0})

    def add(_):
        while True:
            entity = orders.get_entity("o-1")
            total = {"sum": entity.context["sum"] + 1}
            try:
                return orders.process_event("o-1", "note", total, expected_version=entity.version)
            except StaleVersionError:
                pass

    with ThreadPoolExecutor(4) as pool:
        versions = sorted(result.version for result in pool.map(add, range(40)))
    assert versions == list(range(2, 42))
    assert orders.get_entity("o-1").context["sum"] == 40
    audit(store, "o-1")
    store.disconnect()


class Overtaken(InMemoryStateStore):
    """Somebody else writes between the load and the commit of others."""

    def commit(self, commits):
        if self.__dict__.pop("meanwhile", None):
            Orchestrator(self.machine, self).process_event("o-1", "note")
        return super().commit(commits)


@pytest.mark.parametrize("event_id", [None, "e-1"])
def test_an_event_that_loses_a_race_is_refused(machine, audit, event_id):
    store = Overtaken()
    store.machine = machine
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    store.meanwhile = True
    call = orders.process_event
    assert stale(call, "o-1", "note", event_id=event_id, expected_version=1) == (1, 2)
    audit(store, "o-1")


def test_with_an_async_guard(store, machine_of):
    """The version is looked at again when the verdict is there."""
    machine = machine_of()
    asked = []

    async def is_open(ctx):
        asked.append(1)
        if len(asked) == 1:
            await Orchestrator(machine_of(transitions=NOTE), store).async_process_event("o-1", "n")
        return True

    machine = machine_of(
        transitions=[{"trigger": "go", "source": "draft", "dest": "open", "guards": ["is_open"]}]
    )
    orders = Orchestrator(machine, store, guards={"is_open": is_open})

    async def run():
        await orders.async_create_entity("o-1")
        with pytest.raises(StaleVersionError) as caught:
            await orders.async_process_event("o-1", "go", expected_version=1)
        actual = caught.value.context["actual"]
        return actual, await orders.async_process_event("o-1", "go", expected_version=actual)

    actual, result = asyncio.run(run())
    assert (actual, result.target_state) == (3, "open")  # the other machine version is a change


NOTE = [{"trigger": "n", "source": "*", "internal": True, "actions": [{"increment": "notes"}]}]

TIMED = {
    "meta": {"machine_name": "timed", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial", "timeout": {"seconds": 5, "destination": "late"}},
        {"name": "late"},
        {"name": "done", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "close", "source": "*", "dest": "done"},
        {"trigger": "remind", "source": "late", "internal": True},
    ],
}


def test_timers_that_are_due_count_as_changes(store, clock, audit, rows):
    """Whoever is told of another version finds it: what fired before the event is written."""
    timed = Orchestrator(StateMachine.from_dict(TIMED), store, clock=clock)
    timed.create_entity("t-1")
    clock.advance(6)
    assert stale(timed.process_event, "t-1", "close", expected_version=1) == (1, 2)
    assert (timed.get_entity("t-1").version, timed.get_entity("t-1").state) == (2, "late")
    assert [row.kind for row in rows(store, "t-1", machine_name="timed")] == ["created", "timer"]
    assert timed.process_event("t-1", "close", expected_version=2).target_state == "done"
    audit(store, "t-1", "timed")


def test_timers_that_are_due_between_the_events_of_one_call(store, clock, audit):
    timed = Orchestrator(StateMachine.from_dict(TIMED), store, clock=clock)
    begun = timed.create_entity("t-1").now
    late = to_datetime(begun + 6_000_000)
    results = timed.process_events(
        [
            EventRequest("t-1", "remind", expected_version=1),
            EventRequest("t-1", "close", now=late, expected_version=1),
            EventRequest("t-1", "remind", now=late, expected_version=2),
        ]
    )
    assert [each.reason for each in results] == ["no_transition", "stale_version", None]
    assert results[1].error.context["actual"] == 2
    audit(store, "t-1", "timed")


def test_what_timers_do_is_done_although_the_event_is_not(store, clock, done):
    states = [{**TIMED["states"][1], "on_enter": ["shout"]}]
    machine = StateMachine.from_dict(
        {**TIMED, "states": [TIMED["states"][0], *states, TIMED["states"][2]]}
    )
    timed = Orchestrator(machine, store, clock=clock, actions={"shout": lambda ctx: done.append(1)})
    timed.create_entity("t-1")
    clock.advance(6)
    stale(timed.process_event, "t-1", "close", expected_version=1)
    assert done == [1]


def test_callers_that_share_commits_find_the_timers_written(slow_store, clock, audit):
    store = slow_store()
    timed = Orchestrator(StateMachine.from_dict(TIMED), store, clock=clock)

    async def run():
        await timed.async_create_entity("t-1")
        clock.advance(6)
        calls = [timed.async_process_event("t-1", "remind", expected_version=n) for n in (1, 2, 3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert (first.context["actual"], second.version, third.version) == (2, 3, 4)
    audit(store, "t-1", "timed")


def test_timers_of_a_transaction_of_the_caller_are_not_kept(tmp_path, clock):
    """After an error the transaction is as it was before the call."""
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db").connect()
    timed = Orchestrator(StateMachine.from_dict(TIMED), store, clock=clock)
    timed.create_entity("t-1")
    clock.advance(6)
    connection = sqlite3.connect(tmp_path / "x.db")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        call = timed.process_event
        assert stale(call, "t-1", "close", expected_version=1, connection=connection) == (1, 2)
    assert timed.get_entity("t-1").version == 1
    assert len(timed.fire_due()) == 1
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        assert call("t-1", "close", expected_version=2, connection=connection).success
    connection.close()
    store.disconnect()


def test_in_a_transaction_of_the_caller(tmp_path, machine):
    """An event that was not to be is no reason to give the transaction up."""
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db").connect()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    connection = sqlite3.connect(tmp_path / "x.db")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        one = orders.process_event("o-1", "note", expected_version=1, connection=connection)
        call = orders.process_event
        assert stale(call, "o-1", "note", expected_version=1, connection=connection) == (1, 2)
        requests = [
            EventRequest("o-1", "note", expected_version=1),
            EventRequest("o-1", "note", expected_version=2),
        ]
        two, three = orders.process_events(requests, connection=connection)
    connection.close()
    assert (one.version, two.reason, three.version) == (2, "stale_version", 3)
    assert orders.get_entity("o-1").version == 3
    store.disconnect()
