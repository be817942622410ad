"""One event: applied, refused, ignored; and what each leaves in the store."""

from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest

from pystator import (
    Event,
    GuardRejectedError,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    UndefinedStateError,
)


def test_an_applied_event_writes_state_context_version_and_one_row(orders, store, audit, rows):
    orders.process_event("o-1", "submit", {"amount": 12})
    result = orders.process_event("o-1", "pay")
    assert (result.source_state, result.target_state) == ("open", "paid")
    assert result.metadata["version"] == result.version == 2
    entity = orders.get_entity("o-1")
    assert (entity.state, entity.context, entity.version) == (
        "paid",
        {"amount": 12, "paid": True},
        2,
    )
    row = rows(store, "o-1", "event")[-1]
    assert (row.trigger, row.source_state, row.target_state) == ("pay", "open", "paid")
    assert row.patch == ({"paid": True}, ())
    assert row.actions == ({"name": "receipt", "phase": "transition"},)
    assert row.commit_id == entity.commit_id
    assert row.machine_version == "1.0"
    assert row.duration_us >= 0
    audit(store, "o-1")


def test_a_missing_entity_is_started_and_stepped_in_one_row(orders, store, rows):
    """Two commits would let a crash leave an entity that no event made."""
    result = orders.process_event("o-1", "submit", {"amount": 1})
    assert (result.source_state, result.version) == ("draft", 1)
    (row,) = rows(store, "o-1")
    assert (row.kind, row.version, row.source_state, row.target_state) == (
        "event",
        1,
        "draft",
        "open",
    )
    assert row.patch == ({"amount": 1}, ())


def test_actions_of_the_start_are_planned_with_the_first_event(store, done, machine_of, rows):
    states = [{"name": "draft", "type": "initial", "on_enter": ["greet"]}, {"name": "open"}]
    transitions = [{"trigger": "submit", "source": "draft", "dest": "open", "actions": ["log_it"]}]
    machine = machine_of(states=states, transitions=transitions)
    actions = {name: lambda ctx, name=name: done.append(name) for name in ("greet", "log_it")}
    Orchestrator(machine, store, actions=actions).process_event("o-1", "submit")
    assert done == ["greet", "log_it"]
    assert [each["name"] for each in rows(store, "o-1", "event")[0].actions] == done


def test_a_missing_entity_is_refused_where_it_has_to_be_created_first(machine, store, rows):
    orders = Orchestrator(machine, store, use_initial_state_when_missing=False)
    result = orders.process_event("o-1", "submit")
    assert not result.success
    assert result.reason == "entity_not_found"
    assert "create_entity" in result.error.message
    assert orders.get_entity("o-1") is None
    assert [row.error_code for row in rows(store, "o-1")] == ["entity_not_found"]
    orders.create_entity("o-1")
    assert orders.process_event("o-1", "submit").success


def test_a_rejection_is_a_result_and_a_row_and_changes_nothing(orders, store, audit, rows):
    orders.process_event("o-1", "submit", {"amount": 1})
    before = orders.get_entity("o-1")
    result = orders.process_event("o-1", "pay", {"card": "x"})
    assert not result.success
    assert result.target_state is None
    assert result.version == 1
    with pytest.raises(GuardRejectedError):
        result.raise_for_error()
    assert orders.get_entity("o-1") == before
    row = rows(store, "o-1", "rejected")[0]
    assert (row.version, row.success, row.error_code) == (1, False, "guard_rejected")
    assert (row.payload, row.patch, row.target_state) == ({"card": "x"}, None, None)
    audit(store, "o-1")


def test_a_rejected_first_event_creates_no_entity(orders, store, audit, rows):
    assert not orders.process_event("o-1", "ship").success
    assert orders.get_entity("o-1") is None
    (row,) = rows(store, "o-1")
    assert (row.kind, row.version, row.source_state) == ("rejected", 0, "draft")
    assert orders.process_event("o-1", "submit").version == 1
    audit(store, "o-1")


def test_terminal_and_unknown_are_refused_with_their_reasons(orders, store, rows):
    orders.process_event("o-1", "cancel")
    assert orders.process_event("o-1", "submit").reason == "terminal_state"
    assert orders.process_event("o-1", "sumbit").reason == "undefined_trigger"
    assert [row.error_code for row in rows(store, "o-1", "rejected")] == [
        "terminal_state",
        "undefined_trigger",
    ]


def test_a_lenient_no_op_leaves_nothing_unless_its_id_has_to_be_remembered(
    store, audit, machine_of, rows
):
    machine = machine_of(meta={"machine_name": "order", "strict_mode": False})
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit")
    result = orders.process_event("o-1", "whatever")
    assert (result.success, result.ignored, result.version) == (True, True, 1)
    assert len(rows(store, "o-1")) == 1
    first = orders.process_event("o-1", "whatever", event_id="e-1")
    again = orders.process_event("o-1", "whatever", event_id="e-1")
    assert first.ignored
    assert (again.ignored, again.replayed, again.target_state) == (True, True, "open")
    assert len(rows(store, "o-1")) == 2
    audit(store, "o-1")


def test_an_unset_field_is_in_the_patch(orders, store, audit, rows):
    orders.process_event("o-1", "note")
    orders.process_event("o-1", "forget")
    assert rows(store, "o-1")[-1].patch == ({}, ("notes",))
    audit(store, "o-1")


def test_an_event_object_brings_payload_id_and_time(orders, store, rows):
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    event = Event("submit", {"amount": 3}, event_id="e-1", timestamp=moment)
    assert orders.process_event("o-1", event).success
    (row,) = rows(store, "o-1")
    assert (row.payload, row.event_id) == ({"amount": 3}, "e-1")
    assert row.occurred_at == 1_767_312_000_000_000
    assert orders.process_event("o-1", event).replayed


def test_actor_and_times_are_kept(orders, store, clock, rows):
    clock.advance(60)
    at = datetime(2020, 1, 1, tzinfo=UTC)
    orders.process_event("o-1", "submit", actor="ada", occurred_at=at)
    later = datetime(2030, 1, 1, tzinfo=UTC)
    orders.process_event("o-1", "note", now=later)
    first, second = rows(store, "o-1")
    assert (first.actor, first.occurred_at, first.now) == ("ada", 1_577_836_800_000_000, clock())
    assert second.now == 1_893_456_000_000_000
    assert orders.get_entity("o-1").updated_at == second.now


def test_time_never_goes_back_for_an_entity(orders, store, clock, rows):
    """A clock that is set back, or another machine's, must not reorder what happened."""
    orders.process_event("o-1", "submit")
    before = clock()
    clock.advance(-3600)
    orders.process_event("o-1", "note")
    assert [row.now for row in rows(store, "o-1")] == [before, before]


def test_the_callers_data_is_not_kept_by_reference(orders):
    lines = [1]
    data = {"lines": lines, "amount": 20}
    result = orders.process_event("o-1", "submit", data)
    lines.append(2)
    data["amount"] = 0
    assert orders.get_entity("o-1").context == {"lines": [1], "amount": 20}
    assert result.success


def test_any_mapping_is_data_and_exact_values_come_back(orders):
    data = MappingProxyType({"price": Decimal("1.10")})
    orders.process_event("o-1", "submit", data)
    assert orders.get_entity("o-1").context == {"price": Decimal("1.10")}


@pytest.mark.parametrize(
    "data",
    [{"_hidden": 1}, {1: 2}, {"x": {1, 2}}, {"x": float("nan")}, {"x": (1,)}, ["x"], "text"],
    ids=str,
)
def test_data_that_cannot_be_kept_is_refused_before_anything_is_written(orders, store, data, rows):
    orders.process_event("o-1", "submit")
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", "note", data)
    with pytest.raises(InvalidValueError):
        orders.process_event("o-2", "submit", data)
    assert len(rows(store, "o-1")) == 1
    assert rows(store, "o-2") == []


@pytest.mark.parametrize("entity_id", ["", "x" * 256, "a\nb", "\ud800", 7, None])
def test_ids_that_do_not_fit_are_refused(orders, entity_id):
    with pytest.raises(InvalidValueError):
        orders.process_event(entity_id, "submit")


@pytest.mark.parametrize("trigger", ["x" * 300, "a\0b", 7, None])
def test_triggers_that_do_not_fit_are_refused(orders, store, trigger, rows):
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", trigger)
    assert rows(store, "o-1") == []


def test_naive_times_are_refused(orders):
    with pytest.raises(InvalidValueError, match="aware"):
        orders.process_event("o-1", "submit", now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_state_of_no_machine_is_an_error_that_names_it(orders, store):
    store.set_state("o-1", "lost", metadata={"machine_name": "order"})
    with pytest.raises(UndefinedStateError, match="lost"):
        orders.process_event("o-1", "submit")


def test_an_entity_written_by_hand_is_taken_on(orders, store, audit):
    store.set_state("o-1", "open", metadata={"machine_name": "order", "context": {"amount": 50}})
    assert orders.process_event("o-1", "pay").version == 2
    audit(store, "o-1")


# The validator -----------------------------------------------------------------------------------


def test_the_validator_sees_the_merged_context_before_the_guards(machine, store, rows):
    seen = []

    def validator(entity_id, state, trigger, ctx):
        seen.append((entity_id, state, trigger, ctx))
        return "amount" in ctx, ["amount is missing"]

    orders = Orchestrator(machine, store, context_validator=validator)
    refused = orders.process_event("o-1", "submit")
    assert (refused.reason, refused.metadata["errors"]) == (
        "context_invalid",
        ["amount is missing"],
    )
    assert "amount is missing" in refused.error.message
    assert orders.process_event("o-1", "submit", {"amount": 2}).success
    assert seen[-1] == ("o-1", "draft", "submit", {"amount": 2})
    assert [row.error_code for row in rows(store, "o-1", "rejected")] == ["context_invalid"]


def test_a_validator_that_raises_fails_the_event_and_changes_nothing(machine, store):
    orders = Orchestrator(machine, store, context_validator=lambda *_: 1 / 0)
    result = orders.process_event("o-1", "submit")
    assert result.reason == "evaluation_failed"
    assert "ZeroDivisionError" in result.error.message
    assert orders.get_entity("o-1") is None


# Fallback ----------------------------------------------------------------------------------------


@pytest.fixture
def broken(machine_of):
    """A machine whose guard of ``pay`` raises, with a fallback state."""
    return lambda mode: _broken(machine_of, mode)


def _broken(machine_of, mode: str) -> Orchestrator:
    machine = machine_of(
        meta={"machine_name": "order", "orchestrator_default_fallback": mode},
        states=[
            {"name": "draft", "type": "initial"},
            {"name": "paid"},
            {"name": "broken", "type": "error"},
        ],
        transitions=[
            {"trigger": "pay", "source": "draft", "dest": "paid", "guards": ["raises"]},
            {"trigger": "no", "source": "draft", "dest": "paid", "guards": [{"expr": "false"}]},
            {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
        ],
        error_policy={"default_fallback": "broken"},
    )
    return Orchestrator(machine, InMemoryStateStore(), guards={"raises": lambda ctx: 1 / 0})


def test_fallback_off_records_the_error_only(broken):
    orders = broken("off")
    orders.process_event("o-1", "note")
    result = orders.process_event("o-1", "pay")
    assert (result.success, result.target_state) == (False, None)
    assert "fallback_state" not in result.metadata
    assert orders.get_entity("o-1").state == "draft"


def test_fallback_hint_names_the_state_and_changes_nothing(broken):
    orders = broken("hint")
    orders.process_event("o-1", "note")
    result = orders.process_event("o-1", "pay")
    assert result.metadata["fallback_state"] == "broken"
    assert result.metadata["version"] == 1
    assert orders.get_entity("o-1").state == "draft"


def test_fallback_persist_puts_the_entity_there_with_the_error(broken, audit, rows):
    orders = broken("persist")
    orders.process_event("o-1", "note")
    result = orders.process_event("o-1", "pay")
    assert (result.success, result.target_state, result.version) == (False, "broken", 2)
    assert result.error is not None
    entity = orders.get_entity("o-1")
    assert (entity.state, entity.context) == ("broken", {"n": 1})
    row = rows(orders.state_store, "o-1")[-1]
    assert (row.kind, row.success, row.target_state) == ("event", False, "broken")
    audit(orders.state_store, "o-1")


def test_an_ordinary_rejection_never_falls_back(broken):
    orders = broken("persist")
    orders.process_event("o-1", "note")
    assert orders.process_event("o-1", "no").reason == "guard_rejected"
    assert not orders.process_event("o-1", "nonsense").success
    assert orders.get_entity("o-1").state == "draft"
