"""Since when an entity is in its state: the same whether events come one by one, or many in a commit."""

from datetime import UTC, datetime, timedelta

import pytest

from pystator import EventRequest, InMemoryStateStore, Orchestrator, SQLiteStateStore, StateMachine
from pystator.records import from_datetime

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MACHINE = {
    "meta": {"machine_name": "door", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "shut", "timeout": {"seconds": 3600, "destination": "open"}},
    ],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut"},
        {"trigger": "turn", "source": "shut", "dest": "open"},
        {"trigger": "count", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
        {"trigger": "again", "source": "open", "dest": "open"},
    ],
}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


CASES = {
    "a start": ([("count", 1)], "open", 1),
    "a change, then work": ([("turn", 1), ("count", 2), ("count", 3)], "shut", 1),
    "there and back": ([("count", 1), ("turn", 2), ("turn", 3), ("count", 4)], "open", 3),
    "refused": ([("turn", 1), ("again", 2), ("never", 3)], "shut", 1),
    "into the same state": ([("count", 1), ("again", 2)], "open", 1),
    "a timer": ([("turn", 1), ("count", 90)], "open", 61),
}


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = InMemoryStateStore
    if request.param == "sqlite":
        return SQLiteStateStore(f"sqlite:///{tmp_path}/store.db").connect()
    return made()


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_time_of_the_last_event_that_led_elsewhere(store, name) -> None:
    events, state, minutes = CASES[name]
    with store:
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        requests = [EventRequest("d", trigger, now=at(minute)) for trigger, minute in events]
        orchestrator.process_events(requests)
        for each in requests:
            single = EventRequest("e", each.trigger, now=each.now)
            orchestrator.process_events([single])
        for entity_id in ("d", "e"):
            entity = orchestrator.get_entity(entity_id)
            assert entity.state == state
            assert entity.state_since == from_datetime(at(minutes)), entity_id


def test_by_hand_a_state_that_stays_is_there_since_before(store) -> None:
    with store:
        store.now = lambda: 1_000
        store.set_state("d", "open")
        store.now = lambda: 2_000
        store.set_state("d", "open", metadata={"context": {"n": 1}})
        store.set_context("d", {"n": 2})
        assert store.list_entities()[0].state_since == 1_000
        store.set_state("d", "shut")
        assert store.list_entities()[0].state_since == 2_000
