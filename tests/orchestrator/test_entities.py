"""Entities made, read and moved by hand; and machines that change under them."""

import pytest

from pystator import (
    ConfigurationError,
    EntityExistsError,
    EntityMachineMismatchError,
    EntityNotFoundError,
    IdempotencyConflictError,
    InMemoryStateStore,
    InvalidValueError,
    MachineVersionMismatchError,
    Orchestrator,
    UndefinedStateError,
)
from pystator.records import Lookup
from pystator.stores.protocols import NativeStore


def test_creating_starts_the_entity(orders, store, rows, audit):
    result = orders.create_entity("o-1", {"amount": 5}, actor="ada")
    assert (result.success, result.source_state, result.target_state) == (True, None, "draft")
    assert result.version == 1
    (row,) = rows(store, "o-1")
    assert (row.kind, row.trigger, row.source_state, row.actor) == ("created", None, None, "ada")
    audit(store, "o-1")


def test_creating_twice_is_an_error_unless_it_is_a_retry(orders):
    first = orders.create_entity("o-1", {"amount": 5}, event_id="c-1")
    with pytest.raises(EntityExistsError, match="o-1"):
        orders.create_entity("o-1")
    again = orders.create_entity("o-1", {"amount": 5}, event_id="c-1")
    assert (again.replayed, again.target_state) == (True, first.target_state)
    with pytest.raises(IdempotencyConflictError):
        orders.create_entity("o-1", {"amount": 6}, event_id="c-1")


def test_a_creation_that_fails_is_a_result(machine_of, store):
    machine = machine_of(
        meta={"machine_name": "order", "validate_context": True},
        states=[{"name": "draft", "type": "initial", "on_enter": [{"compute": {"x": "1 / 0"}}]}],
        transitions=[],
    )
    orders = Orchestrator(machine, store)
    result = orders.create_entity("o-1")
    assert (result.success, result.reason) == (False, "evaluation_failed")
    assert orders.get_entity("o-1") is None


def test_what_is_required_may_come_with_the_first_event(machine_of, store, audit):
    """An entity that its first event starts has had no chance to have it before."""
    machine = machine_of(
        meta={"machine_name": "order", "validate_context": True},
        state_variables=[{"key": "country", "type": "string", "required": True}],
        states=[
            {"name": "draft", "type": "initial", "on_enter": [{"set": {"n": 1}}]},
            {"name": "open"},
        ],
        transitions=[{"trigger": "submit", "source": "draft", "dest": "open"}],
    )
    orders = Orchestrator(machine, store)
    without = orders.process_event("o-1", "submit")
    assert (without.reason, orders.get_entity("o-1")) == ("context_invalid", None)
    assert orders.process_event("o-1", "submit", {"country": "NL"}).target_state == "open"
    assert orders.get_entity("o-1").context == {"n": 1, "country": "NL"}
    assert orders.apply_data("o-2", {"country": "BE"}).target_state == "draft"
    assert orders.apply_data("o-3", {"town": "Ghent"}).reason == "context_invalid"
    assert orders.create_entity("o-4").reason == "context_invalid"
    audit(store, "o-1")


def test_an_entity_that_is_not_there_is_none(orders):
    assert orders.get_entity("o-1") is None


def test_forcing_says_who_and_why_and_runs_nothing(orders, store, rows, done, audit):
    orders.process_event("o-1", "submit", {"amount": 50})
    result = orders.force_state("o-1", "shipped", reason="lost in the mail", actor="ada")
    assert (result.success, result.source_state, result.target_state) == (True, "open", "shipped")
    assert result.version == 2
    assert done == []
    row = rows(store, "o-1")[-1]
    assert (row.kind, row.actor, row.payload) == ("forced", "ada", {"reason": "lost in the mail"})
    assert orders.get_entity("o-1").context == {"amount": 50}
    audit(store, "o-1")


def test_forcing_needs_an_entity_and_a_state(orders):
    with pytest.raises(EntityNotFoundError, match="o-1"):
        orders.force_state("o-1", "open", reason="x", actor="y")
    orders.process_event("o-1", "submit")
    with pytest.raises(UndefinedStateError, match="opne"):
        orders.force_state("o-1", "opne", reason="x", actor="y")
    with pytest.raises(InvalidValueError, match="several are joined by"):
        orders.force_state("o-1", ["open"], reason="x", actor="y")


# Machine versions ---------------------------------------------------------------------------------


def test_a_newer_machine_adopts_the_entity_with_a_row(orders, machine_of, store, rows, audit):
    orders.process_event("o-1", "submit", {"amount": 50})
    old = orders.get_entity("o-1")
    newer = Orchestrator(
        machine_of(
            meta={"machine_name": "order", "version": "2.0"},
            transitions=[{"trigger": "send", "source": "open", "dest": "shipped"}],
        ),
        store,
    )
    assert not newer.process_event("o-1", "pay").success
    assert newer.get_entity("o-1").machine_version == "1.0"
    result = newer.process_event("o-1", "send")
    assert (result.success, result.version) == (True, 3)
    migrated, event = rows(store, "o-1")[-2:]
    assert (migrated.kind, migrated.version) == ("migrated", 2)
    assert migrated.payload == {"machine_version": "1.0", "fingerprint": old.fingerprint}
    assert (event.kind, event.machine_version, event.version) == ("event", "2.0", 3)
    assert newer.get_entity("o-1").machine_version == "2.0"
    audit(store, "o-1")


def test_a_machine_without_the_state_refuses_until_it_is_forced(orders, machine_of, store, audit):
    orders.process_event("o-1", "submit")
    newer = Orchestrator(
        machine_of(
            meta={"machine_name": "order", "version": "2.0"},
            states=[{"name": "draft", "type": "initial"}],
            transitions=[
                {"trigger": "note", "source": "draft", "internal": True, "actions": ["noop"]}
            ],
        ),
        store,
    )
    with pytest.raises(MachineVersionMismatchError, match="open"):
        newer.process_event("o-1", "note")
    good, bad = newer.process_events([("o-2", "note"), ("o-1", "note")])
    assert (good.success, bad.error.code) == (True, "machine_version_mismatch")
    newer.force_state("o-1", "draft", reason="state was dropped", actor="ada")
    assert newer.process_event("o-1", "note").success
    audit(store, "o-1")


def test_another_machines_entity_under_the_same_key_is_refused(machine, machine_of):
    """Some stores know only ids, and keep one entity for each."""

    class ByIdOnly(InMemoryStateStore):
        def load(self, lookups):
            return super().load(
                [Lookup(each.entity_id, "other", each.event_ids) for each in lookups]
            )

        load_one = NativeStore.load_one

    store = ByIdOnly()
    store.set_state("o-1", "open", metadata={"machine_name": "other"})
    orders = Orchestrator(machine, store)
    with pytest.raises(EntityMachineMismatchError, match="other"):
        orders.process_event("o-1", "note")
    with pytest.raises(EntityMachineMismatchError, match="other"):
        orders.force_state("o-1", "open", reason="x", actor="y")


# Options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [{"action_delivery": "outbox"}],
    ids=lambda option: next(iter(option)),
)
def test_options_of_later_releases_are_refused_clearly(machine, store, option):
    with pytest.raises(ConfigurationError, match="not in this release"):
        Orchestrator(machine, store, **option)


def test_a_connection_is_refused_clearly(orders):
    with pytest.raises(ConfigurationError, match="connection"):
        orders.process_event("o-1", "submit", connection=object())


def test_an_async_validator_is_refused(machine, store):
    async def validator(entity_id, state, trigger, ctx):
        return True, []

    with pytest.raises(ConfigurationError, match="blocking"):
        Orchestrator(machine, store, context_validator=validator)


def test_everything_goes_by_keyword(machine, store):
    orders = Orchestrator(
        machine=machine,
        state_store=store,
        guards={},
        actions={},
        context_validator=None,
        scheduler=None,
        hooks=[],
        use_initial_state_when_missing=True,
        action_delivery="inline",
        batching=False,
    )
    assert orders.process_event(entity_id="o-1", trigger="submit", context={"a": 1}).success
    orders.close()
