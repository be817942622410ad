"""Deadlines: stored with the entity, fired before its next event or by `fire_due`."""

import asyncio
from datetime import timedelta

import pytest

from pystator import InMemoryStateStore, Orchestrator
from pystator.records import to_datetime

TICKET = {
    "meta": {"machine_name": "ticket", "version": "1.0"},
    "states": [
        {"name": "new", "type": "initial", "timeout": {"seconds": 60, "destination": "late"}},
        {"name": "late", "on_enter": [{"increment": "lates"}, "warn"]},
        {"name": "lost", "type": "terminal"},
        {"name": "busy"},
    ],
    "transitions": [
        {"source": "late", "dest": "lost", "after": "2m"},
        {"trigger": "work", "source": ["new", "late"], "dest": "busy"},
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
        {"source": "busy", "dest": "new", "after": "10s", "guards": [{"expr": "notes > 100"}]},
    ],
}


@pytest.fixture
def machine(machine_of):
    return machine_of(**TICKET)


@pytest.fixture
def tickets(machine, store, clock, done):
    return Orchestrator(
        machine, store, actions={"warn": lambda ctx: done.append("warn")}, clock=clock
    )


def kinds(store, rows, entity_id="t-1"):
    return [(row.version, row.kind, row.target_state) for row in rows(store, entity_id)]


def test_a_due_timer_fires_before_the_event_with_its_deadline_as_time(
    tickets, store, clock, rows, audit
):
    tickets.create_entity("t-1")
    start = clock()
    clock.advance(90)
    result = tickets.process_event("t-1", "work")
    assert (result.source_state, result.version) == ("late", 3)
    created, timer, _, event = rows(store, "t-1")
    assert (timer.kind, timer.now, timer.version) == ("timer", start + 60_000_000, 2)
    assert (timer.source_state, timer.target_state) == ("new", "late")
    assert (event.now, event.commit_id) == (clock(), timer.commit_id)
    assert created.commit_id != timer.commit_id
    audit(store, "t-1", "ticket")


def test_timers_armed_by_timers_fire_in_order(tickets, store, clock, rows, done, audit):
    tickets.create_entity("t-1")
    clock.advance(timedelta(hours=1))
    result = tickets.process_event("t-1", "work")
    assert result.reason == "terminal_state"
    assert [target for _, kind, target in kinds(store, rows) if kind == "timer"] == ["late", "lost"]
    assert done == ["warn"]
    assert tickets.get_entity("t-1").timers == {}
    audit(store, "t-1", "ticket")


def test_actions_of_timers_are_recorded_with_their_version(tickets, store, clock, rows):
    tickets.create_entity("t-1")
    clock.advance(61)
    tickets.process_event("t-1", "note")
    (outcome,) = rows(store, "t-1", "action")
    assert (outcome.ref, outcome.version, outcome.success) == (2, 2, True)


def test_a_timer_whose_guard_says_no_is_used_up(tickets, store, clock, rows, audit):
    tickets.process_event("t-1", "work")
    clock.advance(11)
    assert tickets.process_event("t-1", "note").version == 3
    lapsed = rows(store, "t-1", "timer")[0]
    assert (lapsed.success, lapsed.error_code, lapsed.target_state) == (
        False,
        "guard_rejected",
        None,
    )
    assert tickets.get_entity("t-1").timers == {}
    audit(store, "t-1", "ticket")


def test_a_rejected_event_keeps_what_its_timers_did(tickets, store, clock, rows, audit):
    tickets.create_entity("t-1")
    clock.advance(61)
    assert not tickets.process_event("t-1", "nonsense").success
    assert tickets.get_entity("t-1").state == "late"
    audit(store, "t-1", "ticket")


def test_fire_due_fires_what_is_due_and_says_for_whom(tickets, store, clock, done, audit):
    for n in range(5):
        tickets.create_entity(f"t-{n}")
        clock.advance(1)
    assert tickets.fire_due() == []
    clock.advance(57)
    results = tickets.fire_due()
    assert [r.metadata["entity_id"] for r in results] == ["t-0", "t-1", "t-2"]
    assert {r.target_state for r in results} == {"late"}
    assert done == ["warn"] * 3
    assert tickets.fire_due() == []
    assert len(tickets.fire_due(now=clock.now + timedelta(seconds=10))) == 2
    for n in range(5):
        audit(store, f"t-{n}", "ticket")


def test_fire_due_looks_at_no_more_entities_than_asked(tickets, clock):
    for n in range(5):
        tickets.create_entity(f"t-{n}")
    clock.advance(61)
    assert [len(tickets.fire_due(limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_an_entity_that_another_process_fired_first_is_left_alone(machine, store, clock):
    """Two processes sweep the same entities; each timer fires once."""
    tickets = Orchestrator(machine, store, clock=clock)
    tickets.create_entity("t-1")
    clock.advance(61)

    class Slow(InMemoryStateStore):
        def __init__(self):
            super().__init__()
            self.__dict__.update(store.__dict__)

        def load(self, lookups):
            loaded = super().load(lookups)
            tickets.process_event("t-1", "note")
            return loaded

    assert Orchestrator(machine, Slow(), clock=clock).fire_due() == []
    assert tickets.get_entity("t-1").context == {"lates": 1, "notes": 1}


def test_a_timer_that_no_longer_counts_is_cleared_with_a_row(
    machine_of, tickets, store, clock, rows
):
    """A newer machine without the timer would otherwise find it due for ever."""
    tickets.create_entity("t-1")
    states = [{"name": "new", "type": "initial"}, *TICKET["states"][1:]]
    newer = Orchestrator(machine_of(**{**TICKET, "states": states}), store, clock=clock)
    clock.advance(61)
    assert newer.fire_due() == []
    assert newer.get_entity("t-1").timers == {}
    assert [row.kind for row in rows(store, "t-1")] == ["created", "migrated", "timer"]
    assert store.due(clock(), 10) == []


def with_timeout(machine_of, seconds):
    first = {**TICKET["states"][0], "timeout": {"seconds": seconds, "destination": "late"}}
    return machine_of(**{**TICKET, "states": [first, *TICKET["states"][1:]]})


def test_a_timeout_that_a_newer_machine_shortens_runs_from_where_it_began(
    machine_of, tickets, store, clock, rows, audit
):
    """Nobody's timer would leave the entity waiting for ever."""
    tickets.create_entity("t-1")
    start = clock()
    newer = Orchestrator(with_timeout(machine_of, 20), store, clock=clock)
    clock.advance(30)
    assert newer.process_event("t-1", "note").source_state == "late"
    fired = next(row for row in rows(store, "t-1") if row.kind == "timer")
    assert fired.now == start + 20_000_000
    audit(store, "t-1", "ticket")


def test_a_timeout_that_a_newer_machine_lengthens_is_swept_to_its_new_time(
    machine_of, tickets, store, clock, rows, audit
):
    tickets.create_entity("t-1")
    start = clock()
    newer = Orchestrator(with_timeout(machine_of, 300), store, clock=clock)
    clock.advance(61)
    assert newer.fire_due() == []
    assert newer.fire_due() == []
    assert [row.kind for row in rows(store, "t-1")] == ["created", "migrated"]
    assert [deadline for deadline, _ in newer.get_entity("t-1").timers.values()] == [
        start + 300_000_000
    ]
    clock.advance(240)
    assert [result.target_state for result in newer.fire_due()] == ["late"]
    audit(store, "t-1", "ticket")


def test_a_timer_of_another_way_is_not_taken_for_a_changed_one(machine_of, tickets, store, clock):
    tickets.create_entity("t-1")
    elsewhere = {**TICKET["states"][0], "timeout": {"seconds": 20, "destination": "busy"}}
    states = [elsewhere, *TICKET["states"][1:]]
    newer = Orchestrator(machine_of(**{**TICKET, "states": states}), store, clock=clock)
    clock.advance(61)
    assert newer.fire_due() == []
    assert newer.get_entity("t-1").state == "new"


def test_more_due_timers_than_a_commit_holds_go_in_several(machine_of, store, clock, rows, audit):
    machine = machine_of(
        meta={"machine_name": "beat"},
        states=[{"name": "on", "type": "initial"}],
        transitions=[
            {"source": "on", "dest": "on", "after": "1s", "actions": [{"increment": "beats"}]},
            {"trigger": "note", "source": "on", "internal": True, "actions": [{"increment": "n"}]},
        ],
    )
    beats = Orchestrator(machine, store, clock=clock)
    beats.create_entity("b-1")
    clock.advance(2_500)
    assert beats.process_event("b-1", "note").version == 2_502
    assert beats.get_entity("b-1").context == {"beats": 2_500, "n": 1}
    assert len({row.commit_id for row in rows(store, "b-1")}) == 4
    audit(store, "b-1", "beat")


def test_forcing_a_state_rearms_its_timers(tickets, clock):
    tickets.process_event("t-1", "work")
    tickets.force_state("t-1", "new", reason="again", actor="ada")
    assert [deadline for deadline, _ in tickets.get_entity("t-1").timers.values()] == [
        clock() + 60_000_000
    ]


def test_an_entity_whose_timers_cannot_fire_stops_no_other(machine_of, store, clock, caplog):
    """Its guard is async and the sweep is blocking: it is said in the log, and stays first in line."""

    async def slow(_):
        await asyncio.sleep(0)
        return True

    way = {"source": "late", "dest": "lost", "after": 1_000, "guards": ["slow"]}
    machine = machine_of(**{**TICKET, "transitions": [way, *TICKET["transitions"][1:]]})
    tickets = Orchestrator(machine, store, guards={"slow": slow}, clock=clock)
    for number in range(5):
        tickets.create_entity(f"stuck-{number}")
    clock.advance(60)
    assert len(tickets.fire_due()) == 5
    tickets.create_entity("good")
    clock.advance(120)
    fired = tickets.fire_due(limit=2)
    assert [result.metadata["entity_id"] for result in fired] == ["good"]
    assert "stuck-0" in caplog.text
    assert "async" in caplog.text
    assert tickets.fire_due(limit=2) == []
    fired = asyncio.run(tickets.async_fire_due())
    assert len(fired) == 6


def test_a_clock_that_goes_back_moves_no_time_back_and_loses_no_timer(
    counter, store, clock, audit, rows
):
    counters = Orchestrator(counter, store, actions={"tell": lambda _: None}, clock=clock)
    counters.process_event("c-1", "add")
    made = store.entities().items[0]
    clock.advance(-3_600)
    counters.process_event("c-2", "add")
    assert counters.process_event("c-1", "add").version == 2
    assert counters.process_event("c-1", "add").version == 3
    entity = next(each for each in store.entities().items if each.entity_id == "c-1")
    assert entity.updated_at >= made.updated_at
    old = to_datetime(made.updated_at) - timedelta(days=1)
    assert counters.process_event("c-1", "never", now=old).version == 3
    clock.advance(7_200)
    assert {each.metadata["entity_id"] for each in counters.fire_due()} == {"c-1", "c-2"}
    times = [row.now for row in rows(store, "c-1") if row.kind != "action"]
    assert times == sorted(times)
    for entity_id in ("c-1", "c-2"):
        audit(store, entity_id, "counter")


OVERDUE = {
    "meta": {"machine_name": "overdue"},
    "states": [{"name": "on", "type": "initial"}, {"name": "other"}],
    "transitions": [
        {"source": "on", "dest": "on", "at": "due", "actions": [{"increment": "n"}]},
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
    ],
}


@pytest.mark.parametrize("around", [False, True], ids=["itself", "around"])
@pytest.mark.parametrize("way", ["event", "sweep"])
def test_a_timer_without_end_is_used_up_as_by_an_error(
    machine_of, store, clock, rows, audit, way, around
):
    config = OVERDUE
    if around:
        back = {"source": "other", "dest": "on", "at": "due"}
        first, note = OVERDUE["transitions"]
        config = {**OVERDUE, "transitions": [{**first, "dest": "other"}, back, note]}
    orders = Orchestrator(machine_of(**config), store, clock=clock)
    orders.create_entity("o-1", {"due": clock() + 1})
    clock.advance(60)
    if way == "sweep":
        assert len(orders.fire_due()) == 1_001
    assert orders.process_event("o-1", "note").success
    failed = [row for row in rows(store, "o-1") if row.error_code is not None]
    assert [(row.kind, row.error_code) for row in failed] == [("timer", "livelock")]
    entity = orders.get_entity("o-1")
    assert (entity.context["notes"], entity.timers) == (1, {})
    assert orders.fire_due() == []
    audit(store, "o-1", "overdue")


def test_many_timers_of_one_moment_all_fire(machine_of, store, clock, audit):
    """They do not arm each other: that is no endless round."""
    ways = [
        {"source": "on", "internal": True, "after": "5s", "id": f"t{number}", "actions": [{"increment": "n"}]}
        for number in range(1_200)
    ]  # fmt: skip
    note = OVERDUE["transitions"][1]
    orders = Orchestrator(
        machine_of(**{**OVERDUE, "transitions": [*ways, note]}), store, clock=clock
    )
    orders.create_entity("o-1")
    clock.advance(60)
    assert orders.process_event("o-1", "note").success
    assert orders.get_entity("o-1").context == {"n": 1_200, "notes": 1}
    audit(store, "o-1", "overdue")
