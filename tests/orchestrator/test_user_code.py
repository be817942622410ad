"""User code around an event: hooks, validators, actions and stores that misbehave, and data that is still in use.

Each of these once lost an answer, wrote something twice, or tore history from state.
"""

import asyncio
import threading

import pytest

from pystator import InMemoryStateStore, InvalidValueError, Orchestrator


def test_hooks_and_validators_cannot_reach_what_is_written(machine, store, rows, audit):
    """What they wrote into the context was stored and stood in no row of history."""

    class Hook:
        def on_transition_start(self, _entity_id, result):
            result.context["hook"] = True
            result.context["items"].append("hook")

    def validator(_entity_id, _state, _trigger, context):
        context["validator"] = True
        context["items"].append("validator")
        return True, []

    orders = Orchestrator(machine, store, hooks=[Hook()], context_validator=validator)
    store.set_state("o-1", "draft", metadata={"machine_name": "order", "context": {"items": ["a"]}})
    for _ in range(3):
        orders.process_event("o-1", "note")
    orders.process_events([("o-1", "note")] * 2)
    assert store.get_context("o-1") == {"items": ["a"], "notes": 5}
    audit(store, "o-1")


def test_an_answer_is_not_lost_because_outcomes_of_actions_cannot_be_kept(
    machine, actions, done, caplog
):
    """The event is written: an error would make its sender send it again."""

    class Failing(InMemoryStateStore):
        def append_later(self, commits):
            raise RuntimeError("can't start new thread")

    orders = Orchestrator(machine, Failing(), actions=actions)
    orders.process_event("o-1", "submit", {"amount": 10})
    assert orders.process_event("o-1", "pay").version == 2
    assert orders.process_events([("o-1", "ship")])[0].version == 3
    assert done == ["receipt", "label", "mail"]
    assert "not recorded" in caplog.text


def test_a_context_that_cannot_be_copied_for_actions_does_not_undo_the_event(machine, done):
    """Users' stores may hold anything."""

    class Kept:
        def __init__(self):
            self.states, self.contexts = {}, {}

        def get_state(self, entity_id):
            return self.states.get(entity_id)

        def get_context(self, entity_id):
            return self.contexts.get(entity_id, {})

        def set_state(self, entity_id, state, *, metadata=None):
            self.states[entity_id] = state
            self.contexts[entity_id] = metadata.get("context", self.contexts.get(entity_id))

    store = Kept()
    orders = Orchestrator(machine, store, actions={"receipt": lambda _: done.append("receipt")})
    orders.process_event("o-1", "submit", {"amount": 10, "lock": threading.Lock()})
    result = orders.process_event("o-1", "pay")
    assert result.success
    assert store.get_state("o-1") == "paid"
    assert [each["name"] for each in result.metadata["action_errors"]] == ["receipt"]


@pytest.mark.parametrize("events", [1, 3])
def test_a_three_method_store_that_loses_its_answer_is_not_asked_twice(machine, events):
    """It cannot say whether it wrote, so nobody but the sender may decide to send again."""

    class Losing:
        def __init__(self):
            self.states, self.contexts, self.loses = {}, {}, False

        def get_state(self, entity_id):
            return self.states.get(entity_id)

        def get_context(self, entity_id):
            return dict(self.contexts.get(entity_id, {}))

        def set_state(self, entity_id, state, *, metadata=None):
            self.states[entity_id] = state
            self.contexts[entity_id] = metadata.get("context", self.contexts.get(entity_id))
            if self.loses:
                raise ConnectionError("the answer is lost")

    store = Losing()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "note")
    store.loses = True
    results = orders.process_events([("o-1", "note")] * events)
    assert [result.success for result in results] == [False] * events
    assert "the answer is lost" in results[0].error.message
    assert store.contexts["o-1"]["notes"] == 1 + events


# What the caller keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("batching", [True, False])
def test_what_the_caller_does_to_its_data_while_it_waits_changes_nothing(
    machine_of, batching, audit, rows, slow_store
):
    """A guard approves one amount, and the caller has another one written: deeply nested, too."""
    store = slow_store()
    seen = []

    async def approves(context):
        seen.append(context["order"]["amount"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return context["order"]["amount"] <= 10

    transitions = [{"trigger": "go", "source": "draft", "dest": "open", "guards": ["approves"]}]
    orders = Orchestrator(
        machine_of(transitions=transitions), store, guards={"approves": approves}, batching=batching
    )
    data = {"order": {"amount": 10, "lines": ["a"]}}

    async def main():
        call = asyncio.create_task(orders.async_process_event("o-1", "go", data, event_id="x"))
        await asyncio.sleep(0)
        data["order"]["amount"] = 1_000
        data["order"]["lines"].append("b")
        data["more"] = True
        return await call

    result = asyncio.run(main())
    assert result.success
    assert seen == [10]
    assert store.get_context("o-1") == {"order": {"amount": 10, "lines": ["a"]}}
    result.context["order"]["lines"].append("result")
    (row,) = rows(store, "o-1", "event")
    row.payload["order"]["lines"].append("row")
    audit(store, "o-1")
    retry = {"order": {"amount": 10, "lines": ["a"]}}
    assert orders.process_event("o-1", "go", retry, event_id="x").replayed


def test_a_stream_that_uses_its_buffer_again_sends_what_it_sent(orders, store):
    """Items are gathered before they are decided; nested data was the last item's for all."""

    def stream():
        data = {"lines": []}
        for number in range(3):
            data["lines"].append(number)
            yield (f"o-{number}", "note", data)

    assert all(result.success for result in orders.process_events(stream()))
    lines = [store.get_context(f"o-{number}")["lines"] for number in range(3)]
    assert lines == [[0], [0, 1], [0, 1, 2]]


def test_results_of_one_commit_share_nothing_that_a_later_event_sees(orders, store, audit):
    first, second = orders.process_events([("o-1", "note", {"lines": ["a"]}), ("o-1", "note")])
    first.context["lines"].append("b")
    first.context["notes"] = 100
    second.context["lines"].append("c")
    assert orders.process_event("o-1", "note").context == {"lines": ["a"], "notes": 3}
    audit(store, "o-1")


def test_data_that_refers_to_itself_is_refused(orders, store):
    data = {"a": {}}
    data["a"]["b"] = data["a"]
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", "note", data)
    assert store.get_state("o-1") is None
