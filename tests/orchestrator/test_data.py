"""Data without an event: always kept, followed where it leads, written as an event is."""

import asyncio
import logging

import pytest

from pystator import (
    IdempotencyConflictError,
    InMemoryStateStore,
    InvalidValueError,
    LoggingHook,
    MachineVersionMismatchError,
    MetricsCollector,
    Orchestrator,
    StateMachine,
    TransitionHook,
)

LOAN = {
    "meta": {"machine_name": "loan", "version": "1.0"},
    "states": [
        {"name": "asked", "type": "initial", "timeout": {"seconds": 60, "destination": "stale"}},
        {"name": "scored", "when": {"expr": "score > 0"}, "on_enter": ["tell"]},
        {"name": "approved", "type": "terminal", "when": {"expr": "score >= 700"}},
        {"name": "stale"},
    ],
    "transitions": [
        {"trigger": "score", "source": ["asked", "stale"], "dest": "scored"},
        {
            "trigger": "approve",
            "source": "scored",
            "dest": "approved",
            "guards": [{"expr": "signed == true"}],
            "actions": [{"set": {"rate": 3}}, "mail"],
        },
    ],
}


@pytest.fixture(scope="module")
def loan():
    return StateMachine.from_dict(LOAN)


@pytest.fixture
def loan_actions(done):
    return {name: lambda ctx, name=name: done.append(name) for name in ("tell", "mail")}


@pytest.fixture
def loans(loan, store, loan_actions, clock):
    return Orchestrator(loan, store, actions=loan_actions, clock=clock)


def test_data_that_leads_nowhere_is_kept(loans, store, rows, audit):
    loans.create_entity("l-1")
    result = loans.apply_data("l-1", {"name": "ada"}, actor="bob")
    assert (result.success, result.trigger, result.version) == (True, None, 2)
    assert (result.source_state, result.target_state) == ("asked", "asked")
    assert store.get_context("l-1") == {"name": "ada"}
    row = rows(store, "l-1")[-1]
    assert (row.kind, row.trigger, row.payload, row.actor) == (
        "event",
        None,
        {"name": "ada"},
        "bob",
    )
    assert (row.source_state, row.target_state) == ("asked", "asked")
    assert row.patch == ({"name": "ada"}, ())
    audit(store, "l-1", "loan")


def test_data_goes_as_far_as_it_leads_in_one_commit(loans, store, rows, done, audit):
    """Each step's guards and its destination's ``when`` hold; actions are those of events."""
    loans.create_entity("l-1")
    assert loans.apply_data("l-1", {"score": 10}).target_state == "scored"
    assert done == ["tell"]
    result = loans.apply_data("l-1", {"score": 720, "signed": True})
    assert (result.source_state, result.target_state) == ("scored", "approved")
    assert [step.trigger for step in result.microsteps] == [None]
    assert done == ["tell", "mail"]
    assert store.get_context("l-1") == {"score": 720, "signed": True, "rate": 3}
    changes = rows(store, "l-1", "event")
    assert [(row.source_state, row.target_state) for row in changes] == [
        ("asked", "scored"),
        ("scored", "approved"),
    ]
    assert [action["name"] for action in changes[-1].actions] == ["mail"]
    assert [row.ref for row in rows(store, "l-1", "action")] == [2, 3]
    audit(store, "l-1", "loan")
    assert loans.apply_data("l-2", {"score": 720, "signed": True}).target_state == "approved"


def test_a_missing_entity_is_started_first(loan, loans, store, audit):
    result = loans.apply_data("l-1", {"score": 5})
    assert (result.source_state, result.target_state, result.version) == ("asked", "scored", 1)
    audit(store, "l-1", "loan")
    strict = Orchestrator(loan, store, use_initial_state_when_missing=False)
    refused = strict.apply_data("l-2", {"score": 5})
    assert (refused.success, refused.reason, refused.trigger) == (False, "entity_not_found", None)
    assert store.get_state("l-2") is None


def test_a_terminal_entity_takes_data_and_goes_nowhere(loans, store):
    loans.apply_data("l-1", {"score": 720, "signed": True})
    result = loans.apply_data("l-1", {"archived": True})
    assert (result.success, result.target_state) == (True, "approved")
    assert store.get_context("l-1")["archived"] is True


def test_timers_that_are_due_fire_first(loans, store, clock, rows):
    loans.create_entity("l-1")
    clock.advance(61)
    result = loans.apply_data("l-1", {"score": 5})
    assert (result.source_state, result.target_state) == ("stale", "scored")
    assert [row.kind for row in rows(store, "l-1")][:3] == ["created", "timer", "event"]


def test_the_same_id_applies_once(loans, store, rows):
    first = loans.apply_data("l-1", {"score": 5}, event_id="d-1")
    again = loans.apply_data("l-1", {"score": 5}, event_id="d-1")
    assert (again.replayed, again.trigger, again.version) == (True, None, first.version)
    assert (again.source_state, again.target_state) == ("asked", "scored")
    assert len(rows(store, "l-1", "event")) == 1
    with pytest.raises(IdempotencyConflictError, match="d-1"):
        loans.apply_data("l-1", {"score": 6}, event_id="d-1")
    with pytest.raises(IdempotencyConflictError, match="d-1"):
        loans.process_event("l-1", "score", {"score": 5}, event_id="d-1")
    assert loans.apply_data("l-2", {"score": 5}, event_id="d-1").replayed is False


def test_another_writer_is_met_by_deciding_again(loan, loans, store, audit):
    class Meddling(InMemoryStateStore):
        left = 3

        def commit(self, commits):
            if self.left:
                self.left -= 1
                other.apply_data("l-1", {f"other_{self.left}": True})
            return super().commit(commits)

    meddling = Meddling()
    other = Orchestrator(loan, meddling)
    meddling.left = 0
    other.apply_data("l-1", {"n": 1})
    meddling.left = 1
    assert Orchestrator(loan, meddling).apply_data("l-1", {"score": 5}).version == 3
    assert meddling.get_context("l-1") == {"n": 1, "other_0": True, "score": 5}
    audit(meddling, "l-1", "loan")


def test_data_that_breaks_the_rules_is_rejected_and_not_kept(machine_of, store, rows):
    rules = {
        "meta": {"machine_name": "loan", "validate_context": True},
        "context_invariants": [{"expr": "score < 1000", "message": "no such score"}],
    }
    loans = Orchestrator(machine_of(**{**LOAN, **rules}), store)
    loans.create_entity("l-1", {"score": 1})
    result = loans.apply_data("l-1", {"score": 5_000}, event_id="x")
    assert not result.success
    assert "no such score" in result.error.message
    assert store.get_context("l-1") == {"score": 1}
    row = rows(store, "l-1")[-1]
    assert (row.kind, row.trigger, row.event_id) == ("rejected", None, "x")
    assert loans.apply_data("l-1", {"score": 5_000}, event_id="x").replayed


def test_a_validator_sees_the_merged_context_and_no_trigger(loan, store):
    seen = []

    def validator(entity_id, state, trigger, context):
        seen.append((entity_id, state, trigger, context))
        return context.get("score") != 13, ["unlucky"]

    loans = Orchestrator(loan, store, context_validator=validator)
    assert loans.apply_data("l-1", {"score": 5}).success
    refused = loans.apply_data("l-1", {"score": 13})
    assert (refused.reason, refused.metadata["errors"]) == ("context_invalid", ["unlucky"])
    assert refused.error.message.startswith("data of entity 'l-1' was refused")
    assert seen == [("l-1", "asked", "", {"score": 5}), ("l-1", "scored", "", {"score": 13})]


def test_hooks_are_told(loan, store, caplog):
    calls = []

    class Recorder(TransitionHook):
        def on_before_process(self, entity_id, trigger, context):
            calls.append(("before", trigger, context))

        def on_transition_complete(self, entity_id, result):
            calls.append(("complete", result.trigger, result.target_state))

    metrics = MetricsCollector()
    loans = Orchestrator(loan, store, hooks=[Recorder(), metrics, LoggingHook()])
    with caplog.at_level(logging.INFO, "pystator.events"):
        loans.apply_data("l-1", {"score": 5})
    assert calls == [("before", "", {"score": 5}), ("complete", None, "scored")]
    assert metrics.snapshot()["transitions"] == {"asked ----> scored": 1}
    assert caplog.messages == ["l-1: data asked -> scored (version 1)"]


@pytest.mark.parametrize("batching", [True, False])
def test_the_twin_shares_batches_with_events(loan, slow_store, rows, audit, batching):
    store = slow_store()
    loans = Orchestrator(loan, store, batching=batching)

    async def main():
        return await asyncio.gather(
            loans.async_apply_data("l-1", {"score": 5}),
            loans.async_apply_data("l-1", {"signed": True}, event_id="s"),
            loans.async_apply_data("l-2", {"score": 720}),
            loans.async_process_event("l-2", "nonsense"),
        )

    results = asyncio.run(main())
    assert [result.success for result in results] == [True, True, True, False]
    if batching:
        assert len({row.commit_id for row in rows(store, "l-1", "event")}) == 1
    for entity_id in ("l-1", "l-2"):
        audit(store, entity_id, "loan")


def test_async_guards_are_awaited(machine_of, store):
    async def slow(context):
        await asyncio.sleep(0)
        return context["signed"]

    transitions = [{**LOAN["transitions"][0], "guards": ["slow"]}]
    loans = Orchestrator(
        machine_of(**{**LOAN, "transitions": transitions}), store, guards={"slow": slow}
    )

    async def main():
        for signed, state in ((False, "asked"), (True, "scored")):
            result = await loans.async_apply_data("l-1", {"score": 5, "signed": signed})
            assert result.target_state == state

    asyncio.run(main())
    with pytest.raises(Exception, match="async"):
        loans.apply_data("l-2", {"score": 5}).raise_for_error()


@pytest.mark.parametrize("data", [None, "score=5", [("score", 5)], {1: 2}, {"_event": 1}])
def test_what_is_no_data_is_refused(loans, store, data):
    with pytest.raises(InvalidValueError):
        loans.apply_data("l-1", data)
    assert store.get_state("l-1") is None


def test_empty_data_is_data(loans, store, rows):
    """Time alone may have made a guard true; and who asked stands in history."""
    assert loans.apply_data("l-1", {}).version == 1
    assert rows(store, "l-1")[-1].payload is None


def test_an_entity_of_a_lost_state_is_refused_as_for_events(loans, machine_of, store):
    loans.apply_data("l-1", {"score": 5})
    newer = machine_of(
        meta={"machine_name": "loan", "version": "2.0"},
        states=[{"name": "asked", "type": "initial"}],
        transitions=[{"trigger": "x", "source": "asked", "dest": "asked"}],
    )
    with pytest.raises(MachineVersionMismatchError, match="scored"):
        Orchestrator(newer, store).apply_data("l-1", {"score": 6})


def test_a_three_method_store_is_called_once_for_each(loan):
    calls = []

    class Three:
        states, contexts = {}, {}

        def get_state(self, entity_id):
            calls.append("get_state")
            return self.states.get(entity_id)

        def get_context(self, entity_id):
            calls.append("get_context")
            return dict(self.contexts.get(entity_id, {}))

        def set_state(self, entity_id, state, *, metadata=None):
            calls.append("set_state")
            assert metadata["trigger"] is None
            self.states[entity_id] = state
            self.contexts[entity_id] = metadata["context"]

    loans = Orchestrator(loan, Three())
    assert loans.apply_data("l-1", {"score": 5}).target_state == "scored"
    assert calls == ["get_state", "get_context", "set_state"]
    assert Three.contexts["l-1"] == {"score": 5}


def test_events_route_by_data_where_the_machine_says_so(machine_of, store, rows, audit):
    """``auto_route``: an event's own data leads on, in the event's commit."""
    meta = {"machine_name": "loan", "classification": {"auto_route": True}}
    more = {"trigger": "note", "source": "*", "internal": True}
    loans = Orchestrator(
        machine_of(**{**LOAN, "meta": meta, "transitions": [*LOAN["transitions"], more]}), store
    )
    result = loans.process_event("l-1", "note", {"score": 720, "signed": True})
    assert (result.trigger, result.target_state, result.version) == ("note", "approved", 1)
    audit(store, "l-1", "loan")
    assert len(rows(store, "l-1", "event")) == 1
