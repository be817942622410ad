"""The public names as a program that is already written uses them: parameters, defaults, results, errors."""

import asyncio
import copy
import doctest
import importlib
import inspect
import logging
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import pystator
from pystator import (
    ActionExecutor,
    ActionRegistry,
    ActionSpec,
    EntitySession,
    ErrorCode,
    ErrorPolicy,
    Event,
    FSMError,
    GuardRegistry,
    GuardRejectedError,
    InMemoryStateStore,
    InvalidTransitionError,
    InvalidValueError,
    Orchestrator,
    SQLiteStateStore,
    State,
    StateMachine,
    StateType,
    TerminalStateError,
    Transition,
    TransitionResult,
    UndefinedStateError,
    UndefinedTriggerError,
    validate_config,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "2.1", "description": "One order", "team": "x"},
    "states": [
        {"name": "open", "type": "initial", "on_exit": ["leave"]},
        {"name": "paid", "on_enter": ["greet"], "timeout": {"seconds": 5, "destination": "late"}},
        {"name": "late", "type": "error"},
        {"name": "done", "type": "terminal"},
    ],
    "transitions": [
        {
            "trigger": "pay",
            "source": "open",
            "dest": "paid",
            "guards": ["has_amount"],
            "actions": [{"increment": "payments"}, {"name": "book", "params": {"to": "ledger"}}],
            "refs": ["R-1"],
        },
        {"trigger": "ship", "source": ["paid", "late"], "dest": "done"},
        {"trigger": "note", "source": "*", "internal": True},
    ],
}


def make() -> StateMachine:
    machine = StateMachine.from_dict(ORDER)
    machine.guard("has_amount")(lambda ctx: ctx.get("amount", 0) > 0)
    for name in ("leave", "greet", "book"):
        machine.action(name)(lambda ctx, **params: None)
    return machine


@pytest.fixture
def machine() -> StateMachine:
    return make()


# The package --------------------------------------------------------------------------------------


def test_every_name_can_be_imported_and_is_documented() -> None:
    for name in pystator.__all__:
        value = getattr(pystator, name)
        assert name == "__version__" or (value.__doc__ or "").strip(), name


@pytest.mark.parametrize(
    "module", ["pystator.engine.machine", "pystator.engine.registry", "pystator.orchestrator.orchestrator", "pystator.orchestrator.hooks"]
)  # fmt: skip
def test_examples_in_docstrings_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (StateMachine.process, "(state, trigger, context=None, *, now=None)"),
        (StateMachine.aprocess, "(state, trigger, context=None, *, now=None)"),
        (StateMachine.start, "(context=None, *, now=None)"),
        (StateMachine.get_available_transitions, "(state)"),
        (StateMachine.get_available_triggers, "(state)"),
        (StateMachine.can_transition, "(state, trigger, context=None)"),
        (StateMachine.evaluate_destination, "(state, dest, context=None)"),
        (Orchestrator.get_entity, "(entity_id, *, connection=None)"),
        (
            Orchestrator.force_state,
            "(entity_id, state, *, reason, actor, expected_version=None, trace=None, connection=None)",
        ),
        *[
            (
                call,
                "(entity_id, *, reason, actor, expected_version=None, trace=None, connection=None)",
            )
            for call in (Orchestrator.archive, Orchestrator.unarchive)
        ],
        (Orchestrator.fire_due, "(now=None, limit=100)"),
        (Orchestrator.process_events, "(items, *, actor=None, connection=None)"),
        (GuardRegistry.register, "(name, fn)"),
        (ActionRegistry.decorator, "(name=None)"),
        (InMemoryStateStore.set_state, "(entity_id, state, *, metadata=None, machine_name=None)"),
        (SQLiteStateStore.set_context, "(entity_id, context, *, machine_name=None)"),
    ],
)
def test_parameters_have_their_names_and_defaults(function: Any, expected: str) -> None:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    assert str(inspect.Signature(bare)) == expected


# Machines -----------------------------------------------------------------------------------------


def test_a_machine_of_python_records(machine: StateMachine) -> None:
    made = StateMachine(
        states={
            "a": State(name="a", type=StateType.INITIAL, on_exit=["bye"]),
            "b": State("b", type="terminal"),
        },
        transitions=[Transition(trigger="go", source="a", dest="b", guards=[{"expr": "n > 1"}])],
        meta={"machine_name": "mine", "version": "3"},
        error_policy=ErrorPolicy(default_fallback="b"),
    )
    assert (made.name, made.version, made.state_names) == ("mine", "3", ["a", "b"])
    assert made.process("a", "go", {"n": 2}).target_state == "b"
    assert made.process("a", "go", {"n": 1}).metadata["reason"] == "guard_rejected"


def test_queries(machine: StateMachine) -> None:
    assert (machine.name, machine.version) == ("order", "2.1")
    assert machine.meta["team"] == "x"
    assert machine.state_names == ["open", "paid", "late", "done"]
    assert machine.trigger_names == ["pay", "ship", "note"]
    assert machine.terminal_states == ["done"]
    assert machine.get_initial_state().name == "open"
    state = machine.get_state("paid")
    assert isinstance(state, State)
    assert (state.type, state.timeout) == (StateType.STABLE, {"seconds": 5, "destination": "late"})
    ways = machine.get_available_transitions("open")
    assert [(way.trigger, way.source, way.dest) for way in ways] == [
        ("pay", "open", "paid"),
        ("note", "open", None),
    ]
    assert list(ways[0].refs) == ["R-1"]
    assert machine.get_available_triggers("open") == ["pay", "note"]
    assert machine.get_available_triggers("done") == []
    assert machine.is_terminal("done")
    assert machine.is_initial("open")
    assert machine.validate_state("late") is True


def test_what_would_happen(machine: StateMachine) -> None:
    assert machine.can_transition("open", "pay", {"amount": 1})
    assert not machine.can_transition("open", "pay", {})
    assert not machine.can_transition("open", "ship", {})
    checked = machine.evaluate_destination("open", "paid", {"amount": 1})
    assert (checked.allowed, checked.is_ambiguous) == (True, False)
    assert [way.trigger for way in checked.candidates] == ["pay"]
    assert machine.can_transition_to("open", "paid", {"amount": 1})
    assert not machine.can_transition_to("open", "done", {"amount": 1})
    with pytest.raises(UndefinedStateError, match="did you mean 'done'"):
        machine.evaluate_destination("open", "dne")


@pytest.mark.parametrize("query", ["get_state", "is_terminal", "is_initial", "validate_state", "get_available_triggers", "get_available_transitions"])  # fmt: skip
def test_queries_of_a_state_there_is_not_suggest_one(machine: StateMachine, query: str) -> None:
    with pytest.raises(UndefinedStateError, match="did you mean 'paid'") as caught:
        getattr(machine, query)("piad")
    assert caught.value.code is ErrorCode.UNDEFINED_STATE


def test_several_ways_to_one_place_are_ambiguous() -> None:
    machine = StateMachine.from_dict(
        {
            "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
            "transitions": [{"trigger": name, "source": "a", "dest": "b"} for name in ("x", "y")],
        }
    )
    checked = machine.evaluate_destination("a", "b", {})
    assert (checked.allowed, checked.is_ambiguous, len(checked.candidates)) == (True, True, 2)


def test_a_machine_can_be_copied_and_sent_to_another_process() -> None:
    """What was compiled stays; what it means and what is registered travels."""
    machine = StateMachine.from_dict({**ORDER, "transitions": ORDER["transitions"][1:]})
    machine.bind_actions({"leave": len})
    for again in (pickle.loads(pickle.dumps(machine)), copy.deepcopy(machine), copy.copy(machine)):
        assert again.fingerprint == machine.fingerprint
        assert again.actions.has("leave")
        assert again.process("paid", "ship").target_state == "done"


def test_binding_registries_replaces_what_was_bound(machine: StateMachine) -> None:
    guards = GuardRegistry()
    guards.register("has_amount", lambda ctx: True)
    machine.bind_guards(guards)
    assert machine.process("open", "pay", {}).success
    machine.bind_guards({"has_amount": lambda ctx: False})
    assert not machine.process("open", "pay", {"amount": 1}).success


# Results ------------------------------------------------------------------------------------------


def test_an_applied_event_says_everything(machine: StateMachine) -> None:
    result = machine.process("open", "pay", {"amount": 5}, now=NOW)
    assert (result.success, result.source_state, result.target_state) == (True, "open", "paid")
    assert (result.trigger, result.error) == ("pay", None)
    assert [spec.name for spec in result.all_actions] == ["leave", "book", "greet"]
    assert [spec.name for spec in result.on_exit_actions] == ["leave"]
    assert [spec.name for spec in result.actions_to_execute] == ["book"]
    assert [spec.name for spec in result.on_enter_actions] == ["greet"]
    assert dict(result.actions_to_execute[0].params) == {"to": "ledger"}
    assert result.context == {"amount": 5, "payments": 1}
    assert list(result.timers.armed) == ["paid:after:5000:late"]
    assert [(step.source, step.target) for step in result.microsteps] == [("open", "paid")]
    assert result.raise_for_error() is result


@pytest.mark.parametrize(
    ("state", "trigger", "error", "reason"),
    [
        ("open", "pay", GuardRejectedError, "guard_rejected"),
        ("open", "pya", UndefinedTriggerError, "undefined_trigger"),
        ("done", "ship", TerminalStateError, "terminal_state"),
        ("open", "ship", InvalidTransitionError, "no_transition"),
    ],
)
def test_a_failure_is_a_result(machine: StateMachine, state, trigger, error, reason) -> None:
    result = machine.process(state, trigger, {})
    assert (result.success, result.target_state, result.all_actions) == (False, None, [])
    assert (type(result.error), result.metadata["reason"]) == (error, reason)
    assert isinstance(result.error, InvalidTransitionError)
    assert result.error.message
    assert reason != "guard_rejected" or result.metadata["guard_name"] == "has_amount"
    with pytest.raises(error):
        result.raise_for_error()


def test_results_can_be_copied_and_pickled(machine: StateMachine) -> None:
    for result in (machine.process("open", "pay", {"amount": 5}), machine.process("open", "ship")):
        for again in (
            pickle.loads(pickle.dumps(result)),
            copy.copy(result),
            copy.deepcopy(result),
        ):
            assert isinstance(again, TransitionResult)
            assert again.to_dict() == result.to_dict()


# Errors -------------------------------------------------------------------------------------------

ERRORS = [getattr(pystator, name) for name in pystator.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_is_a_message_facts_and_a_code(kind: type[FSMError]) -> None:
    error = kind("what to do", context={"entity_id": "a"})
    assert isinstance(error, FSMError)
    assert (error.message, str(error), error.context) == ("what to do",) * 2 + ({"entity_id": "a"},)
    assert isinstance(error.code, ErrorCode)
    assert error.to_dict() == {
        "error": kind.__name__,
        "code": error.code.value,
        "message": "what to do",
        "context": {"entity_id": "a"},
    }
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert again.to_dict() == error.to_dict()


def test_codes_tell_classes_apart() -> None:
    assert len({kind.default_code for kind in ERRORS}) == len(ERRORS)
    for kind in (GuardRejectedError, UndefinedTriggerError, TerminalStateError):
        assert issubclass(kind, InvalidTransitionError)


# Sessions -----------------------------------------------------------------------------------------


def test_a_session_by_its_names(machine: StateMachine) -> None:
    session = EntitySession(machine, entity_id="o-1", context={"amount": 1})
    assert (session.entity_id, session.current_state, session.is_open) == ("o-1", "open", True)
    assert session.allowed_triggers == ["pay", "note"]
    assert session.send("pay", note="x").success
    assert session.context == {"amount": 1, "note": "x", "payments": 1}
    assert (session.is_paid, session.is_final) == (True, False)
    assert asyncio.run(session.asend("note", by="me")).success
    assert session.ship(tracking="T").target_state == "done"
    assert session.is_final
    assert [each.trigger for each in session.history] == [None, "pay", "note", "ship"]
    with pytest.raises(AttributeError, match="shipp"):
        session.shipp()


def test_a_session_is_made_by_the_machine(machine: StateMachine) -> None:
    seen: list[str] = []
    machine.action("greet")(lambda ctx: seen.append("greet"))
    session = machine.create(context={"amount": 1}, initial_state="open", execute_actions=True)
    session.pay()
    assert (session.current_state, seen) == ("paid", ["greet"])
    machine.create().note()
    assert machine.create(initial_state="late").is_late


def test_a_snapshot_keeps_timers(machine: StateMachine) -> None:
    time = [NOW]
    session = EntitySession(machine, context={"amount": 1}, clock=lambda: time[0])
    session.pay()
    again = EntitySession.from_snapshot(machine, session.snapshot(), clock=lambda: time[0])
    time[0] += timedelta(seconds=5)
    assert again.note().source_state == "late"
    assert (again.context, session.current_state) == ({"amount": 1, "payments": 1}, "paid")


def test_a_copy_of_a_session_goes_its_own_way() -> None:
    machine = StateMachine.from_dict({
        "states": [{"name": "a", "type": "initial"}, {"name": "b", "timeout": {"seconds": 9, "destination": "a"}}],
        "transitions": [{"trigger": "go", "source": "a", "dest": "b"}],
    })  # fmt: skip
    session = machine.create({"items": [1]})
    for again in (
        copy.copy(session),
        copy.deepcopy(session),
        pickle.loads(pickle.dumps(session)),
    ):
        assert again.go().success
        assert (again.is_b, session.is_a, session.timers, len(session.history)) == (
            True,
            True,
            {},
            1,
        )


# Registries, actions, validation ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GuardRegistry, ActionRegistry])
def test_registries(kind: Any) -> None:
    registry = kind()

    @registry.decorator()
    def first(ctx):
        return True

    @registry.decorator("second")
    async def other(ctx):
        return True

    registry.register("third", first)
    assert [name for name in registry.names if name in {"first", "second", "third"}] == ["first", "second", "third"]  # fmt: skip
    assert (registry.has("second"), registry.has("other")) == (True, False)
    with pytest.raises(InvalidValueError, match="parentheses"):
        registry.decorator(first)
    with pytest.raises(InvalidValueError, match="mapping of name -> callable"):
        kind([first])


def test_the_executor_runs_what_was_planned(machine: StateMachine) -> None:
    actions = ActionRegistry()
    calls: list[Any] = []
    actions.register("leave", lambda ctx: calls.append("leave"))
    actions.register("book", lambda ctx, **params: calls.append((ctx["amount"], params)))

    @actions.decorator("greet")
    async def greet(ctx):
        calls.append("greet")

    result = machine.process("open", "pay", {"amount": 5})
    executor = ActionExecutor(actions)
    assert [each.ok for each in executor.execute(result.all_actions, result.context)] == [True, True, False]  # fmt: skip
    outcomes = asyncio.run(executor.async_execute(result.all_actions, result.context))
    assert [(each.name, each.ok) for each in outcomes] == [("leave", True), ("book", True), ("greet", True)]  # fmt: skip
    assert calls == ["leave", (5, {"to": "ledger"})] * 2 + ["greet"]
    assert executor.execute([ActionSpec("leave")], {})[0].ok


def test_built_in_actions_need_no_registration(caplog: pytest.LogCaptureFixture) -> None:
    machine = StateMachine.from_dict({
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [{
            "trigger": "go", "source": "a", "dest": "a",
            "actions": [
                "noop", "trace",
                {"name": "log", "params": {"message": "hello"}},
                {"name": "set_context", "params": {"x": 1}},
                {"name": "copy_key", "params": {"from": "x", "to": "y"}},
                {"name": "validate_keys", "params": {"keys": ["x", "y"]}},
                {"name": "snapshot", "params": {"key": "before"}},
                {"name": "publish", "params": {"topic": "t"}},
                {"name": "emit_metric", "params": {"name": "m", "value": 2}},
            ],
        }],
    })  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        session = machine.create(execute_actions=True)
        session.go()
    assert session.context == {"x": 1, "y": 1, "before": {"x": 1, "y": 1}}
    assert [each.name for each in session.outcomes] == ["noop", "trace", "log", "publish", "emit_metric"]  # fmt: skip
    assert all(each.ok for each in session.outcomes)
    assert "hello" in caplog.messages


def test_configurations_are_validated_without_raising() -> None:
    assert validate_config(ORDER) == []
    assert "piad" in validate_config({**ORDER, "transitions": [{"trigger": "x", "source": "open", "dest": "piad"}]})[0]  # fmt: skip
    choice = {**ORDER, "states": [*ORDER["states"], {"name": "which", "type": "choice"}]}
    choice["transitions"] = [
        *ORDER["transitions"],
        {"trigger": "ask", "source": "open", "dest": "which"},
        {"source": "which", "dest": "late", "guards": [{"expr": "x > 1"}]},
    ]
    assert validate_config(choice) == []
    assert any("which" in line for line in validate_config(choice, strict=True))
    assert len(validate_config(None)) == 1


def test_events_are_values() -> None:
    event = Event(trigger="pay", payload={"amount": 5}, event_id="e-1", timestamp=NOW)
    assert (Event("pay").payload, event.payload) == ({}, {"amount": 5})
    assert event == Event("pay", {"amount": 5}, "e-1", NOW)
    assert event != Event("pay", {"amount": 5}, "e-2", NOW)
    assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)
