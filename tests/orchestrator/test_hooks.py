"""Observers see every event and break none."""

import asyncio
import logging

import pytest

from pystator import (
    EntityExistsError,
    IdempotencyConflictError,
    LoggingHook,
    MetricsCollector,
    Orchestrator,
    StoreUnavailableError,
    TransitionHook,
)


class Recorder(TransitionHook):
    def __init__(self):
        self.calls = []

    def on_before_process(self, entity_id, trigger, context):
        self.calls.append(("before", entity_id, trigger))

    def on_transition_start(self, entity_id, result):
        self.calls.append(("start", entity_id, result.target_state))

    def on_transition_complete(self, entity_id, result):
        self.calls.append(("complete", entity_id, result.version))

    def on_transition_error(self, entity_id, trigger, error):
        self.calls.append(("error", entity_id, trigger))


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def watched(machine, store, actions, recorder):
    return Orchestrator(machine, store, actions=actions, hooks=[recorder])


APPLIED = [("before", "o-1", "submit"), ("start", "o-1", "open"), ("complete", "o-1", 1)]


def test_an_event_is_told_before_decided_and_written(watched, recorder):
    watched.process_event("o-1", "submit")
    assert recorder.calls == APPLIED


def test_async_and_batched_events_are_told_the_same_way(machine, store, recorder):
    for batching in (False, True):
        recorder.calls.clear()
        store = type(store)()
        orders = Orchestrator(machine, store, hooks=[recorder], batching=batching)
        asyncio.run(orders.async_process_event("o-1", "submit"))
        assert recorder.calls == APPLIED


def test_a_rejection_is_an_error(watched, recorder):
    watched.process_event("o-1", "ship")
    assert recorder.calls == [("before", "o-1", "ship"), ("error", "o-1", "ship")]


def test_a_start_that_fails_is_an_error(watched, store, recorder):
    watched.create_entity("o-1", event_id="e-1")
    told = [("before", "o-1", ""), ("error", "o-1", "")]
    recorder.calls.clear()
    with pytest.raises(EntityExistsError):
        watched.create_entity("o-1")
    assert recorder.calls == told
    recorder.calls.clear()
    with pytest.raises(IdempotencyConflictError):
        watched.create_entity("o-1", {"other": 1}, event_id="e-1")
    assert recorder.calls == told
    recorder.calls.clear()

    def load(lookups):
        raise StoreUnavailableError("gone")

    store.load = load
    with pytest.raises(StoreUnavailableError):
        watched.create_entity("o-2")
    assert recorder.calls == [("before", "o-2", ""), ("error", "o-2", "")]


def test_an_item_that_is_no_event_is_an_error(watched, recorder):
    watched.process_events([("o-1", "note", {"_x": 1})])
    assert recorder.calls == [("before", "o-1", "note"), ("error", "o-1", "note")]


def test_a_hook_that_raises_is_logged_and_breaks_nothing(machine, store, recorder, caplog):
    class Broken(TransitionHook):
        def on_transition_start(self, entity_id, result):
            raise RuntimeError("broken hook")

    orders = Orchestrator(machine, store, hooks=[Broken(), recorder])
    with caplog.at_level(logging.ERROR, logger="pystator.hooks"):
        assert orders.process_event("o-1", "submit").success
    assert "broken hook" in caplog.text
    assert recorder.calls == APPLIED


def test_an_object_with_one_method_is_a_hook(machine, store):
    class Only:
        def __init__(self):
            self.seen = []

        def on_transition_complete(self, entity_id, result):
            self.seen.append(entity_id)

    only = Only()
    Orchestrator(machine, store, hooks=[only]).process_event("o-1", "submit")
    assert only.seen == ["o-1"]


def test_the_logging_hook_writes_a_line_an_event(machine, store, caplog):
    orders = Orchestrator(machine, store, hooks=[LoggingHook()])
    with caplog.at_level(logging.INFO, logger="pystator.events"):
        orders.process_event("o-1", "submit")
        orders.process_event("o-1", "ship")
    assert caplog.messages[0] == "o-1: submit draft -> open (version 1)"
    assert caplog.messages[1].startswith("o-1: ship failed: ")


def test_the_metrics_collector_counts(machine, store):
    metrics = MetricsCollector()
    orders = Orchestrator(machine, store, actions={"receipt": lambda ctx: 1 / 0}, hooks=[metrics])
    orders.process_event("o-1", "submit", {"amount": 10}, event_id="e-1")
    orders.process_event("o-1", "submit", {"amount": 10}, event_id="e-1")
    orders.process_event("o-1", "pay")
    orders.process_event("o-1", "nonsense")
    counts = metrics.snapshot()
    assert counts == {
        "processed": 4,
        "applied": 2,
        "replayed": 1,
        "ignored": 0,
        "failed": 1,
        "action_errors": 1,
        "errors": {"undefined_trigger": 1},
        "transitions": {"draft --submit--> open": 1, "open --pay--> paid": 1},
    }
    metrics.reset()
    assert metrics.snapshot()["processed"] == 0


def test_timers_are_told_too(machine_of, store, clock, recorder):
    machine = machine_of(
        states=[
            {"name": "draft", "type": "initial", "timeout": {"seconds": 1, "destination": "old"}},
            {"name": "old"},
        ],
        transitions=[],
    )
    orders = Orchestrator(machine, store, hooks=[recorder], clock=clock)
    orders.create_entity("o-1")
    clock.advance(2)
    orders.fire_due()
    assert recorder.calls[-2:] == [("start", "o-1", "old"), ("complete", "o-1", 2)]
