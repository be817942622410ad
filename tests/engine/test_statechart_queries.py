"""Questions about nested and parallel states, history, several destinations."""

from pathlib import Path

import pytest

from pystator import (
    ErrorPolicy,
    Event,
    State,
    StateMachine,
    StateType,
    Transition,
    UndefinedStateError,
)

ROOT = Path(__file__).parents[2]

ORDER = {
    "meta": {"machine_name": "order", "version": "1", "classification": {"auto_route": True}},
    "states": [
        {"name": "draft", "type": "initial"},
        {
            "name": "fulfil",
            "type": "parallel",
            "regions": [
                {"name": "goods", "initial": "picking", "states": ["picking", "packing", "sent"], "description": "the parcel"},
                {"name": "payment", "states": [{"name": "unpaid"}, {"name": "paid", "type": "terminal", "when": {"expr": "due == 0"}}]},
            ],
            "on_done": {"dest": "closed", "guards": [{"expr": "ok"}], "actions": [{"timestamp": "done_at"}]},
            "timeout": {"seconds": 3600, "destination": "held"},
        },
        {"name": "picking"},
        {"name": "packing", "initial_child": "wrapping"},
        {"name": "folding", "parent": "packing"},
        {"name": "wrapping", "parent": "packing"},
        {"name": "sent", "type": "terminal"},
        {"name": "held"},
        {"name": "closed", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "begin", "source": "draft", "dest": ["packing", "paid"], "guards": [{"expr": "prepaid"}]},
        {"trigger": "begin", "source": "draft", "dest": "fulfil"},
        {"trigger": "pick", "source": "picking", "dest": "packing"},
        {"trigger": "send", "source": "packing", "dest": "sent"},
        {"trigger": "pay", "source": "unpaid", "dest": "paid", "region": "payment"},
        {"trigger": "refund", "source": "fulfil", "dest": "unpaid", "region": "payment"},
        {"trigger": "hold", "source": "fulfil", "dest": "held"},
        {"trigger": "resume", "source": "held", "dest": "H*(fulfil)"},
        {"trigger": "restart", "source": "held", "dest": "H(goods)", "guards": [{"not": {"in_state": "goods"}}]},
        {"source": "held", "dest": "closed", "after": "2d", "id": "patience"},
    ],
}  # fmt: skip


@pytest.fixture(name="order", scope="module")
def order_fixture() -> StateMachine:
    return StateMachine.from_dict(ORDER)


def again(machine: StateMachine) -> StateMachine:
    """The machine, written down and made again from records."""
    config = machine.definition.config
    more = {
        key: config[key]
        for key in ("groups", "events", "state_variables", "context_invariants", "initial")
        if config.get(key) is not None
    }
    policy = config.get("error_policy")
    more["error_policy"] = policy and ErrorPolicy(**policy)
    return StateMachine(machine.states, machine.transitions, machine.meta, **more)


def test_states_say_what_they_are_inside_and_what_is_inside_them(order) -> None:
    fulfil = order.get_state("fulfil")
    assert fulfil.type is StateType.PARALLEL
    assert fulfil.regions == [
        {"name": "goods", "initial": "picking", "states": ["picking", "packing", "sent"], "description": "the parcel"},
        {"name": "payment", "initial": "unpaid", "states": ["unpaid", "paid"]},
    ]  # fmt: skip
    assert fulfil.timeout == {"seconds": 3600, "destination": "held"}
    assert fulfil.on_done == {
        "dest": "closed",
        "guards": [{"expr": "ok"}],
        "actions": [{"timestamp": "done_at"}],
    }
    assert order.get_state("paid").when == {"expr": "due == 0"}
    assert (order.get_state("paid").parent, order.get_state("wrapping").parent) == (
        "fulfil",
        "packing",
    )
    assert order.get_state("packing").initial_child == "wrapping"
    with pytest.raises(UndefinedStateError):
        order.get_state("goods")
    with pytest.raises(UndefinedStateError):
        order.get_state("region:goods")
    assert order.region_names == ["goods", "payment"]
    assert "goods" not in order.state_names


def test_transitions_show_the_names_that_people_wrote(order) -> None:
    shown = {way.trigger or way.id: way for way in order.transitions}
    assert (shown["pay"].source, shown["pay"].region) == ("unpaid", "payment")
    assert (shown["refund"].source, shown["refund"].region) == ("fulfil", "payment")
    assert shown["resume"].dest == "H*(fulfil)"
    assert (shown["restart"].dest, shown["restart"].guards) == (
        "H(goods)",
        [{"not": {"in_state": "goods"}}],
    )
    assert shown["patience"].after == 2 * 86_400_000
    assert [way.dest for way in order.transitions if way.trigger == "begin"] == [
        ["packing", "paid"],
        "fulfil",
    ]


def test_a_statechart_can_be_written_in_python() -> None:
    written = StateMachine(
        states={
            "draft": State("draft", StateType.INITIAL),
            "fulfil": State(
                "fulfil",
                StateType.PARALLEL,
                regions=[
                    {"name": "goods", "initial": "picking", "states": ["picking", "packing", "sent"]},
                    {"name": "payment", "states": [State("unpaid"), State("paid", "terminal", when={"expr": "due == 0"})]},
                ],
                on_done={"dest": "closed", "guards": [{"expr": "ok"}], "actions": [{"timestamp": "done_at"}]},
                timeout={"seconds": 3600, "destination": "held"},
            ),
            "picking": State("picking"),
            "packing": State("packing", initial_child="wrapping"),
            "folding": State("folding", parent="packing"),
            "wrapping": State("wrapping", parent="packing"),
            "sent": State("sent", StateType.TERMINAL),
            "held": State("held"),
            "closed": State("closed", StateType.TERMINAL),
        },
        transitions=[
            Transition("begin", "draft", ["packing", "paid"], guards=[{"expr": "prepaid"}]),
            Transition("begin", "draft", "fulfil"),
            Transition("pick", "picking", "packing"),
            Transition("send", "packing", "sent"),
            Transition("pay", "unpaid", "paid", region="payment"),
            Transition("refund", "fulfil", "unpaid", region="payment"),
            Transition("hold", "fulfil", "held"),
            Transition("resume", "held", "H*(fulfil)"),
            Transition("restart", "held", "H(goods)", guards=[{"not": {"in_state": "goods"}}]),
            Transition(source="held", dest="closed", after="2d", id="patience"),
        ],
        meta=ORDER["meta"],
    )  # fmt: skip
    assert written.fingerprint == StateMachine.from_dict(ORDER).fingerprint


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "tests/definition/good/everything.yaml"],
    ids=lambda path: path.stem,
)
def test_what_the_queries_show_is_the_machine(path) -> None:
    machine = StateMachine.from_yaml(path)
    assert again(machine).fingerprint == machine.fingerprint


def test_what_the_queries_show_of_a_statechart_is_the_machine(order) -> None:
    assert again(order).fingerprint == order.fingerprint
    assert list(again(order).definition.nodes) == list(order.definition.nodes)


def test_a_region_may_have_the_name_of_a_state() -> None:
    machine = StateMachine.from_dict({
        "meta": {"machine_name": "m", "version": "1"},
        "states": [
            {"name": "p", "type": "parallel", "regions": [{"name": "b", "states": ["a"]}, {"name": "r", "states": ["b", "c"]}]},
            {"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d", "parent": "b"},
        ],
        "transitions": [{"trigger": "go", "source": "b", "dest": "c"}],
        "initial": "p",
    })  # fmt: skip
    assert again(machine).fingerprint == machine.fingerprint
    assert machine.is_active("a+c", "p")
    assert not machine.is_active("a+c", "b")
    assert machine.active_states("a+c") == {"p", "a", "r", "c"}
    assert machine.active_states("a+d") == {"p", "a", "r", "b", "d"}


def test_states_are_handed_out_in_the_order_in_which_they_were_written() -> None:
    """Of timers that are due at once the one that was written first fires first."""
    timeout = {"seconds": 5, "destination": "over"}
    machine = StateMachine.from_dict({
        "meta": {"machine_name": "m", "version": "1"},
        "states": [
            {"name": "child", "parent": "around", "timeout": timeout},
            {"name": "around", "type": "initial", "timeout": {**timeout, "destination": "late"}},
            {"name": "both", "type": "parallel", "regions": [{"name": "r", "states": [{"name": "inline", "timeout": timeout}]}]},
            {"name": "late"},
            {"name": "over", "type": "terminal"},
        ],
        "transitions": [{"trigger": "go", "source": "late", "dest": "both"}],
    })  # fmt: skip
    assert list(machine.states) == ["child", "around", "both", "inline", "late", "over"]
    assert machine.state_names == ["around", "child", "both", "inline", "late", "over"]
    assert again(machine).fingerprint == machine.fingerprint


def test_where_an_entity_stands(order) -> None:
    assert order.validate_state("unpaid+wrapping")
    assert order.canonical("unpaid+wrapping") == "wrapping+unpaid"
    assert order.canonical("fulfil") == "picking+unpaid"
    assert order.active_states("wrapping+paid") == {
        "fulfil", "goods", "packing", "wrapping", "payment", "paid",
    }  # fmt: skip
    assert order.is_active("wrapping+paid", "goods")
    assert order.is_active("wrapping+paid", "packing")
    assert not order.is_active("wrapping+paid", "folding")
    assert not order.is_terminal("sent+paid")
    assert order.is_terminal("closed")
    assert order.terminal_states == ["sent", "paid", "closed"]
    with pytest.raises(UndefinedStateError, match="never active together"):
        order.validate_state("picking+sent")
    with pytest.raises(UndefinedStateError):
        order.is_active("draft", "nowhere")


def test_what_is_no_state_is_told_what_it_is(build, order) -> None:
    with pytest.raises(
        UndefinedStateError, match=r"'goods' is a region: name the state in it, e.g. 'picking'"
    ):
        order.process("goods", "hold")
    with pytest.raises(UndefinedStateError, match=r"'picking.unpaid' are several states: name one"):
        order.get_state("picking+unpaid")
    many = build(" ".join(f"s{n:02}" for n in range(15)), "go: s00 -> s01")
    with pytest.raises(UndefinedStateError, match=r"s11 and 3 more$"):
        many.process("zzz", "go")


def test_what_may_happen_inner_states_first(order) -> None:
    assert [way.trigger for way in order.get_available_transitions("wrapping+unpaid")] == [
        "send", "hold", None, "done.state.fulfil", "pay", "refund",
    ]  # fmt: skip
    assert order.get_available_triggers("wrapping+unpaid") == ["send", "hold", "pay", "refund"]
    assert order.get_available_triggers("sent+paid") == ["hold", "refund"]


def test_whether_an_event_would_be_taken(order) -> None:
    assert order.can_transition("wrapping+unpaid", "pay")
    assert not order.can_transition("wrapping+paid", "pay")
    assert order.can_transition("wrapping+paid", "hold")
    assert order.can_transition("held", "resume")
    assert order.can_transition("held", "restart")
    assert not order.can_transition("held", "done.state.fulfil")
    assert order.can_transition("draft", Event("begin", {"prepaid": True}))


@pytest.mark.parametrize(
    ("state", "dest", "context", "triggers"),
    [
        ("draft", "fulfil", {}, ["begin"]),
        ("draft", "fulfil", {"prepaid": True}, ["begin", "begin"]),
        ("draft", "picking", {}, ["begin"]),
        ("draft", "packing", {}, []),
        ("draft", "wrapping", {"prepaid": True}, ["begin"]),
        ("draft", "paid+packing", {"prepaid": True}, ["begin"]),
        ("draft", "unpaid+packing", {"prepaid": True}, []),
        ("picking+unpaid", "paid", {}, ["pay"]),
        ("picking+unpaid", "picking", {}, []),
        ("folding+unpaid", "folding", {}, []),
        ("picking+unpaid", "picking+paid", {}, ["pay"]),
        ("picking+unpaid", "held", {}, ["hold", None]),
        ("picking+unpaid", "closed", {"ok": True}, ["done.state.fulfil"]),
        ("picking+unpaid", "unpaid", {}, ["refund"]),
        ("held", "fulfil", {}, ["resume", "restart"]),
        ("held", "picking", {}, ["resume", "restart"]),
        ("held", "folding", {"_history": {"fulfil": ["folding", "paid"]}}, ["resume"]),
        ("held", "paid+folding", {"_history": {"fulfil": ["folding", "paid"]}}, ["resume"]),
        ("held", "wrapping", {"_history": {"goods": ["folding"]}}, ["restart"]),
        ("closed", "draft", {}, []),
    ],
)  # fmt: skip
def test_which_transitions_lead_to_a_state(order, state, dest, context, triggers) -> None:
    check = order.evaluate_destination(state, dest, context)
    assert [way.trigger for way in check.candidates] == triggers
    assert (check.allowed, check.is_ambiguous) == (bool(triggers), len(triggers) > 1)
    assert order.can_transition_to(state, dest, context) == bool(triggers)


def test_a_destination_that_does_not_exist_is_refused(order) -> None:
    with pytest.raises(UndefinedStateError):
        order.evaluate_destination("draft", "goods")


@pytest.mark.parametrize(
    ("initial", "state", "configuration"),
    [
        (None, "draft", "draft"),
        ("fulfil", "fulfil", "picking+unpaid"),
        ("packing", "packing", "wrapping+unpaid"),
        (["packing", "paid"], "fulfil", "wrapping+paid"),
    ],
)
def test_where_entities_start(initial, state, configuration) -> None:
    states = [
        {key: value for key, value in each.items() if initial is None or value != "initial"}
        for each in ORDER["states"]
    ]
    machine = StateMachine.from_dict(
        {**ORDER, "states": states, **({} if initial is None else {"initial": initial})}
    )
    assert machine.get_initial_state().name == state
    assert machine.is_initial(configuration)
    assert machine.start().target_state == configuration
    assert not machine.is_initial("held")


# Data ---------------------------------------------------------------------------------------------


def test_data_leads_to_the_state_whose_when_holds(order) -> None:
    context = {"due": 5}
    result = order.apply("picking+unpaid", {"due": 0}, context)
    assert (result.success, result.trigger) == (True, None)
    assert (result.source_state, result.target_state) == ("picking+unpaid", "picking+paid")
    assert (result.context, context) == ({"due": 0}, {"due": 5})
    assert [step.trigger for step in result.microsteps] == [None]


def test_data_that_leads_nowhere_is_merged(order) -> None:
    result = order.apply("picking+unpaid", {"due": 3}, {"who": "ada"})
    assert (result.success, result.target_state) == (True, "picking+unpaid")
    assert result.context == {"due": 3, "who": "ada"}
    assert not result.microsteps


def test_a_machine_can_be_looked_at(order) -> None:
    assert repr(order) == "<StateMachine 'order' 1: 11 states>"
