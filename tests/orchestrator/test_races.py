"""Races: several writers, versions of a machine and ways of asking meet at one entity."""

import asyncio
import threading

import pytest

from pystator import FSMError, InMemoryStateStore, Orchestrator, StateMachine

TICKET = {
    "meta": {"machine_name": "ticket", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial", "timeout": {"seconds": 60, "destination": "late"}},
        {"name": "held"},
        {"name": "late"},
    ],
    "transitions": [
        {"trigger": "hold", "source": "open", "dest": "held"},
        {"source": "held", "dest": "late", "after": 1_000, "guards": ["slow"]},
    ],
}


async def slow(_):
    await asyncio.sleep(0)
    return True


def test_timers_stale_writers_and_async_guards_together_fire_each_timer_once(
    clock, audit, rows, slow_store
):
    """The draft is thrown away and made again while the guard is awaited."""
    store = slow_store(clock=clock)
    transitions = [
        *TICKET["transitions"],
        {"trigger": "close", "source": "late", "dest": "open", "guards": ["slow"]},
    ]
    machine = StateMachine.from_dict({**TICKET, "transitions": transitions})
    other = Orchestrator(machine, store, guards={"slow": slow}, clock=clock)
    meddled = []

    async def meddling(_):
        if len(meddled) < 3:
            meddled.append(1)
            await other.async_force_state("t-1", "late", reason="meddling", actor="test")
        return True

    tickets = Orchestrator(machine, store, guards={"slow": meddling}, clock=clock)

    async def main():
        await tickets.async_create_entity("t-1")
        await tickets.async_process_event("t-1", "hold")
        clock.advance(120)
        return await tickets.async_process_event("t-1", "close")

    result = asyncio.run(main())
    assert (result.success, result.target_state) == (True, "open")
    assert len(rows(store, "t-1", "event")) == 2
    assert len(rows(store, "t-1", "timer")) <= 1
    audit(store, "t-1", "ticket")


@pytest.mark.parametrize("seed", range(20))
def test_a_rejection_and_an_application_of_one_id_race_for_one_answer(machine, audit, rows, seed):
    """One sender sees the state before another event, the other one after it: both get the answer of who was first."""
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit", {"amount": 10 if seed % 2 else 1})
    barrier = threading.Barrier(5)
    answers = []

    def pay():
        barrier.wait()
        answers.append(orders.process_event("o-1", "pay", event_id="x"))

    def change():
        barrier.wait()
        orders.process_event("o-1", "note", {"amount": 1 if seed % 2 else 10})

    threads = [threading.Thread(target=pay) for _ in range(4)]
    threads.append(threading.Thread(target=change))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(answer.success, answer.version) for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert sum(row.event_id == "x" for row in rows(store, "o-1")) == 1
    audit(store, "o-1")


@pytest.mark.parametrize("first", ["create", "event"])
def test_an_entity_created_and_sent_events_at_once_is_started_once(machine, audit, rows, first):
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    for number in range(50):
        entity_id = f"{first}-{number}"
        barrier = threading.Barrier(3)
        answers = []

        def run(call, barrier=barrier, answers=answers):
            barrier.wait()
            try:
                answers.append(call())
            except FSMError as error:
                answers.append(error)

        calls = [
            lambda e=entity_id: orders.create_entity(e),
            lambda e=entity_id: orders.process_event(e, "submit"),
            lambda e=entity_id: orders.process_events([(e, "note"), (e, "note")]),
        ]
        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [each.code for each in answers if isinstance(each, FSMError)]
        assert errors in ([], ["entity_exists"])
        assert store.get_context(entity_id)["notes"] == 2
        assert store.get_state(entity_id) == "open"
        assert len(rows(store, entity_id, "created")) == 1 - len(errors)
        audit(store, entity_id)


def test_two_versions_of_a_machine_and_a_hand_on_one_entity_lose_nothing(machine_of, audit, rows):
    """A rolling upgrade: each version adopts the entity from the other one, with a row."""
    store = InMemoryStateStore()
    both = [
        Orchestrator(machine_of(meta={"machine_name": "order", "version": version}), store)
        for version in ("1.0", "2.0")
    ]
    failures = []

    def send(orders):
        try:
            for _ in range(50):
                orders.process_event("o-1", "note").raise_for_error()
        except BaseException as error:
            failures.append(error)

    def force():
        try:
            for number in range(20):
                state = ("draft", "open")[number % 2]
                both[0].force_state("o-1", state, reason="test", actor="test")
        except BaseException as error:
            failures.append(error)

    both[0].create_entity("o-1")
    threads = [threading.Thread(target=send, args=(orders,)) for orders in both]
    threads.append(threading.Thread(target=force))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.get_context("o-1")["notes"] == 100
    assert len(rows(store, "o-1", "forced")) == 20
    audit(store, "o-1")
