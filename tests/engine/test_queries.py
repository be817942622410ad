"""Questions a machine answers without an event."""

import pytest

from pystator import (
    EvaluationError,
    State,
    StateMachine,
    StateType,
    Transition,
    UndefinedStateError,
)


@pytest.fixture(name="order")
def order_fixture(build):
    return build(
        "draft open paid!",
        "submit: draft -> open",
        {"way": "pay: open -> paid", "guards": [{"expr": "total > 0"}], "actions": ["book"], "description": "money"},
        {"way": "settle: open -> paid", "guards": ["is_known"]},
        "cancel: * -> paid",
        open={"on_enter": ["hello"], "description": "waiting"},
    )  # fmt: skip


def test_what_the_machine_is(order) -> None:
    assert (order.name, order.version) == ("m", "1")
    assert order.meta["machine_name"] == "m"
    assert order.state_names == ["draft", "open", "paid"]
    assert order.trigger_names == ["submit", "pay", "settle", "cancel"]
    assert order.terminal_states == ["paid"]
    assert order.fingerprint == order.definition.fingerprint
    assert not order.timed


def test_states_are_what_was_written(order) -> None:
    state = order.get_state("open")
    assert (state.name, state.type, state.description) == ("open", StateType.STABLE, "waiting")
    assert state.on_enter == ["hello"]
    assert order.get_initial_state().name == "draft"
    assert order.get_initial_state().is_initial
    assert order.get_state("paid").is_terminal
    with pytest.raises(UndefinedStateError, match="did you mean 'open'"):
        order.get_state("opne")


def test_transitions_are_what_was_written(order) -> None:
    pay = order.get_available_transitions("open")[0]
    assert (pay.trigger, pay.source, pay.dest) == ("pay", "open", "paid")
    assert (pay.guards, pay.actions) == ([{"expr": "total > 0"}], ["book"])
    assert pay.description == "money"
    assert order.get_available_triggers("open") == ["pay", "settle", "cancel"]
    assert order.get_available_triggers("paid") == []
    assert order.get_available_transitions("paid") == []


def test_whether_an_event_would_be_taken(order) -> None:
    assert order.can_transition("open", "pay", {"total": 1})
    assert not order.can_transition("open", "pay", {"total": 0})
    assert order.can_transition("draft", "submit")
    assert not order.can_transition("draft", "pay")
    assert not order.can_transition("draft", "nonsense")
    with pytest.raises(EvaluationError):
        order.can_transition("open", "pay", {"total": "x"})


def test_whether_a_destination_can_be_reached(order) -> None:
    order.guard("is_known")(lambda ctx: ctx.get("known", False))
    check = order.evaluate_destination("open", "paid", {"total": 1, "known": True})
    assert check.allowed
    assert check.is_ambiguous
    assert [each.trigger for each in check.candidates] == ["pay", "settle", "cancel"]
    only = order.evaluate_destination("open", "paid", {"total": 0})
    assert [each.trigger for each in only.candidates] == ["cancel"]
    assert not only.is_ambiguous
    assert not order.can_transition_to("draft", "draft")
    with pytest.raises(UndefinedStateError):
        order.evaluate_destination("open", "nowhere")


def test_where_an_entity_stands(order) -> None:
    assert order.is_initial("draft")
    assert not order.is_initial("open")
    assert order.is_terminal("paid")
    assert not order.is_terminal("open")
    assert order.validate_state("open")
    for ask in (order.is_terminal, order.validate_state, order.get_available_triggers):
        with pytest.raises(UndefinedStateError):
            ask("nowhere")


def test_a_machine_written_in_python_is_the_machine_of_the_file(order) -> None:
    """States and transitions are records; they say what a file says and are checked the same way."""
    written = StateMachine(
        states={
            "draft": State("draft", StateType.INITIAL),
            "open": State("open", on_enter=["hello"], description="waiting"),
            "paid": State("paid", type="terminal"),
        },
        transitions=[
            Transition("submit", "draft", "open"),
            Transition("pay", "open", "paid", guards=[{"expr": "total > 0"}], actions=["book"], description="money"),
            Transition("settle", "open", "paid", guards=["is_known"]),
            Transition("cancel", "*", "paid"),
        ],
        meta={"machine_name": "m", "version": "1"},
    )  # fmt: skip
    assert written.fingerprint == order.fingerprint


def test_what_the_queries_hand_out_can_be_written_down_again(build) -> None:
    """Every notation of guards and actions survives the way through the model."""
    guards = [
        "named",
        {"expr": "a.b >= 1"},
        {"check": {"field": "x.y", "op": "in", "values": [1, 2]}},
        {"check": {"field": "x", "op": "is_set"}},
        {"allOf": ["p", {"not": "q"}]},
        {"anyOf": ["p", {"in_state": "a"}]},
    ]
    actions = [
        "named",
        {"name": "act", "params": {"n": {"expr": "1 + 1"}, "list": [1]}, "timeout": 1.5, "retry": 2, "retry_backoff": 0.5},
        {"set": {"x.y": [1]}},
        {"timestamp": "at"},
        {"increment": {"n": 2}},
        {"decrement": {"n": 2}},
        {"append": {"field": "log", "value": 1}},
        {"clear": "x"},
        {"compute": {"x": "1 + n"}},
        {"raise": "go"},
        {"name": "copy_key", "params": {"from": "x", "to": "y"}},
        {"name": "validate_keys", "params": {"keys": ["x"]}},
        {"name": "snapshot", "params": {"key": "s"}},
        {"branch": {"when": {"expr": "n > 1"}, "then": ["p"], "else": ["q"]}},
        {"set": {"x": 1}, "when": {"expr": "n > 1"}},
    ]  # fmt: skip
    machine = build("a b", {"way": "go: a -> b", "guards": guards, "actions": actions})
    (way,) = machine.get_available_transitions("a")
    again = build("a b", way.to_config())
    assert again.fingerprint == machine.fingerprint


def test_a_machine_reads_from_a_file(tmp_path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "meta: {machine_name: m, version: '1'}\n"
        "states: [{name: on, type: initial}, {name: off}]\n"
        "transitions: [{trigger: flip, source: on, dest: off}]\n"
    )
    assert StateMachine.from_yaml(path).process("on", "flip").target_state == "off"
    assert StateMachine.from_yaml(str(path)).name == "m"
