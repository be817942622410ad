"""Event ids: applied once, answered as often as asked."""

import pytest

from pystator import EventRequest, IdempotencyConflictError, Orchestrator


class Basic:
    """A store of the three methods."""

    def __init__(self):
        self.states, self.contexts = {}, {}

    def get_state(self, entity_id):
        return self.states.get(entity_id)

    def set_state(self, entity_id, state, *, metadata=None):
        self.states[entity_id] = state
        self.contexts[entity_id] = (metadata or {}).get("context", {})

    def get_context(self, entity_id):
        return self.contexts.get(entity_id, {})


def test_a_retry_is_answered_with_the_first_result(orders, store, done, audit):
    orders.process_event("o-1", "submit", {"amount": 20})
    first = orders.process_event("o-1", "pay", {"by": "card"}, event_id="p-1")
    orders.process_event("o-1", "note")
    again = orders.process_event("o-1", "pay", {"by": "card"}, event_id="p-1")
    assert (again.success, again.replayed, again.metadata["replayed"]) == (True, True, True)
    assert (again.source_state, again.target_state) == ("open", "paid")
    assert again.metadata["version"] == again.version == first.version == 2
    assert [spec.name for spec in again.all_actions] == ["receipt"]
    assert again.context is None
    assert done == ["receipt"]
    assert orders.get_entity("o-1").version == 3
    audit(store, "o-1")


def test_a_rejection_is_replayed_too(orders, store):
    """Otherwise a retry could be applied after its sender was told no."""
    first = orders.process_event("o-1", "ship", event_id="s-1")
    orders.process_event("o-1", "submit", {"amount": 20})
    orders.process_event("o-1", "pay")
    again = orders.process_event("o-1", "ship", event_id="s-1")
    assert (again.success, again.reason) == (False, first.reason)
    assert type(again.error) is type(first.error)
    assert again.error.message == first.error.message
    assert orders.get_entity("o-1").state == "paid"


@pytest.mark.parametrize(("trigger", "data"), [("note", {}), ("submit", {"amount": 2})])
def test_the_same_id_for_another_event_is_a_conflict(orders, trigger, data):
    orders.process_event("o-1", "submit", {"amount": 1}, event_id="e-1")
    with pytest.raises(IdempotencyConflictError, match="e-1"):
        orders.process_event("o-1", trigger, data, event_id="e-1")


def test_no_data_and_empty_data_and_order_of_fields_are_the_same_event(orders):
    orders.process_event("o-1", "submit", event_id="e-1")
    assert orders.process_event("o-1", "submit", {}, event_id="e-1").replayed
    orders.process_event("o-1", "note", {"a": 1, "b": 2}, event_id="e-2")
    assert orders.process_event("o-1", "note", {"b": 2, "a": 1}, event_id="e-2").replayed


def test_ids_belong_to_an_entity_of_a_machine(orders, store, machine_of):
    assert orders.process_event("o-1", "submit", event_id="e-1").success
    second = orders.process_event("o-2", "submit", event_id="e-1")
    assert second.success
    assert not second.replayed
    other = Orchestrator(machine_of(meta={"machine_name": "other"}), store)
    assert not other.process_event("o-1", "submit", event_id="e-1").replayed


def test_the_normaliser_reads_both_sides(store, machine_of):
    machine = machine_of(meta={"machine_name": "order", "event_normalizer": "lower"})
    orders = Orchestrator(machine, store)
    assert orders.process_event("o-1", "SUBMIT", event_id="e-1").success
    assert orders.process_event("o-1", "submit", event_id="e-1").replayed


def test_the_same_id_twice_in_one_call_is_answered_from_the_first(orders, store, rows):
    first, second, other = orders.process_events(
        [
            EventRequest("o-1", "note", event_id="e-1"),
            EventRequest("o-1", "note", event_id="e-1"),
            EventRequest("o-1", "submit", event_id="e-1"),
        ]
    )
    assert (first.success, first.replayed) == (True, False)
    assert (second.success, second.replayed, second.metadata["version"]) == (True, True, 1)
    assert second.context is None
    assert isinstance(other.error, IdempotencyConflictError)
    assert orders.get_entity("o-1").context == {"notes": 1}
    assert len(rows(store, "o-1")) == 1


def test_a_bad_event_id_is_refused_before_anything(orders, store, rows):
    with pytest.raises(ValueError, match="event id"):
        orders.process_event("o-1", "submit", event_id="a\nb")
    assert rows(store, "o-1") == []


def test_a_store_without_ids_says_so(machine):
    orders = Orchestrator(machine, Basic())
    with pytest.raises(TypeError, match="event_id"):
        orders.process_event("o-1", "submit", event_id="e-1")


def test_a_three_method_store_is_called_once_for_each(machine):
    calls = []

    class Counting(Basic):
        def get_state(self, entity_id):
            calls.append("get_state")
            return super().get_state(entity_id)

        def get_context(self, entity_id):
            calls.append("get_context")
            return super().get_context(entity_id)

        def set_state(self, entity_id, state, *, metadata=None):
            calls.append("set_state")
            super().set_state(entity_id, state, metadata=metadata)

    orders = Orchestrator(machine, Counting())
    orders.process_event("o-1", "submit", {"amount": 3})
    orders.process_event("o-1", "note")
    assert sorted(calls) == ["get_context"] * 2 + ["get_state"] * 2 + ["set_state"] * 2
    assert orders.get_entity("o-1").context == {"amount": 3, "notes": 1}


def test_replays_survive_a_restart(machine, store):
    Orchestrator(machine, store).process_event("o-1", "submit", event_id="e-1")
    assert Orchestrator(machine, store).process_event("o-1", "submit", event_id="e-1").replayed


def test_an_id_that_a_validator_refused_stays_refused_until_a_new_id_is_sent(machine, store, rows):
    strict = [True]

    def validator(*_):
        return (not strict, ["not today"])

    orders = Orchestrator(machine, store, context_validator=validator)
    first = orders.process_event("o-1", "submit", event_id="x")
    strict.clear()
    again = orders.process_event("o-1", "submit", event_id="x")
    assert (again.success, again.replayed) == (False, True)
    assert (again.reason, again.error.code) == (first.reason, first.error.code)
    assert again.error.message == first.error.message
    assert orders.process_event("o-1", "submit", event_id="y").success
    assert len(rows(store, "o-1", "rejected")) == 1


def test_one_id_many_times_in_one_call_among_others(orders, store, audit, rows):
    items = [
        EventRequest("o-1", "submit", {"amount": 10}, "a"),
        EventRequest("o-1", "pay", None, "b"),
        EventRequest("o-1", "submit", {"amount": 10}, "a"),
        EventRequest("o-2", "submit", {"amount": 10}, "a"),
        EventRequest("o-1", "pay", None, "b"),
        EventRequest("o-1", "pay", None, "c"),
        EventRequest("o-1", "pay", {"amount": 5}, "b"),
    ]
    for _ in range(2):
        results = orders.process_events(items)
        assert [result.success for result in results] == [True] * 5 + [False] * 2
        assert [result.version for result in results[:5]] == [1, 2, 1, 1, 2]
        assert results[6].error.code == "idempotency_conflict"
    assert len(rows(store, "o-1", "event")) == 2
    assert len(rows(store, "o-1", "rejected")) == 1
    audit(store, "o-1")
