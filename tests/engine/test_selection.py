"""Which transition an event takes."""

from enum import StrEnum

import pytest

from pystator import Event, UndefinedStateError


def test_an_event_takes_the_transition_of_its_trigger(build) -> None:
    machine = build("draft open closed!", "submit: draft -> open", "close: open -> closed")
    assert machine.process("draft", "submit").target_state == "open"
    assert machine.process("open", "close").target_state == "closed"


def test_the_first_transition_whose_guards_all_hold_is_taken(build) -> None:
    """Definition order is the priority; it is the only one there is."""
    machine = build(
        "cart small large huge",
        {"way": "pay: cart -> huge", "guards": [{"expr": "total > 100"}, {"expr": "vip"}]},
        {"way": "pay: cart -> large", "guards": [{"expr": "total > 100"}]},
        "pay: cart -> small",
    )
    targets = [
        machine.process("cart", "pay", {"total": total, "vip": vip}).target_state
        for total, vip in [(200, True), (200, False), (5, True)]
    ]
    assert targets == ["huge", "large", "small"]


def test_what_stands_behind_an_unguarded_transition_is_never_taken(build) -> None:
    machine = build("a b c", "go: a -> b", "go: a -> c")
    assert machine.process("a", "go").target_state == "b"


def test_a_list_of_sources_is_one_transition_for_each(build) -> None:
    machine = build("a b c d!", "go: a -> b", "end: a c -> d")
    assert machine.process("a", "end").success
    assert not machine.process("b", "end").success
    assert machine.process("c", "end").success


def test_a_star_leads_out_of_every_state_that_is_not_terminal(build) -> None:
    machine = build("a b c! stopped!", "go: a -> b", "end: b -> c", "stop: * -> stopped")
    assert machine.process("a", "stop").target_state == "stopped"
    assert machine.process("b", "stop").target_state == "stopped"
    assert machine.process("c", "stop").reason == "terminal_state"


def test_a_star_has_the_priority_of_its_place(build) -> None:
    before = build("a b c", "go: * -> b", "go: a -> c")
    after = build("a b c", "go: a -> c", "go: * -> b")
    assert before.process("a", "go").target_state == "b"
    assert after.process("a", "go").target_state == "c"


@pytest.mark.parametrize("written", ["Pay", "PAY", "pay"])
def test_the_normalizer_is_for_declared_and_for_incoming_triggers(build, written: str) -> None:
    machine = build(
        "a b",
        {"trigger": "PaY", "source": "a", "dest": "b"},
        meta={"machine_name": "m", "version": "1", "event_normalizer": "lower"},
    )
    result = machine.process("a", written)
    assert (result.success, result.trigger) == (True, "pay")
    assert machine.trigger_names == ["pay"]


def test_without_a_normalizer_triggers_are_what_they_are(build) -> None:
    assert build("a b", "pay: a -> b").process("a", "Pay").reason == "undefined_trigger"


def test_an_event_object_brings_its_payload(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": [{"expr": "qty > 1"}]})
    assert machine.process("a", Event("go", {"qty": 2}), {"qty": 0}).success
    assert not machine.process("a", Event("go"), {"qty": 0}).success


def test_a_name_of_another_text_type_is_the_same_name(build) -> None:
    """Triggers are often members of an enumeration of strings."""

    class Trigger(StrEnum):
        GO = "go"

    result = build("a b", "go: a -> b").process("a", Trigger.GO)
    assert (result.target_state, result.trigger) == ("b", "go")


def test_what_is_no_trigger_is_a_type_error(build) -> None:
    machine = build("a b", "go: a -> b")
    with pytest.raises(TypeError, match="name or an Event"):
        machine.process("a", 5)


def test_an_undefined_state_is_the_one_thing_that_raises(build) -> None:
    machine = build("draft open", "go: draft -> open")
    with pytest.raises(UndefinedStateError, match="did you mean 'draft'"):
        machine.process("drat", "go")


def test_an_internal_transition_leaves_and_enters_nothing(build) -> None:
    machine = build(
        "a b",
        {"trigger": "note", "source": "a", "internal": True, "actions": ["keep"]},
        "go: a -> b",
        a={"on_exit": ["bye"], "on_enter": ["hello"]},
    )
    result = machine.process("a", "note")
    assert result.target_state == "a"
    assert [spec.name for spec in result.all_actions] == ["keep"]
    assert result.microsteps[0].exited == result.microsteps[0].entered == ()


def test_an_external_self_transition_leaves_and_enters_its_state(build) -> None:
    machine = build("a b", "again: a -> a", "go: a -> b", a={"on_exit": ["x"], "on_enter": ["e"]})
    result = machine.process("a", "again")
    assert [(spec.name, spec.phase) for spec in result.all_actions] == [
        ("x", "exit"),
        ("e", "enter"),
    ]


def test_an_unregistered_guard_is_an_error_of_a_strict_machine_and_passes_in_a_lenient_one(
    build,
) -> None:
    way = {"way": "go: a -> b", "guards": ["is_ready"]}
    strict = build("a b", way)
    lenient = build("a b", way, meta={"machine_name": "m", "version": "1", "strict_mode": False})
    assert strict.process("a", "go").reason == "guard_not_found"
    assert "is_ready" in str(strict.process("a", "go").error)
    assert lenient.process("a", "go").target_state == "b"


def test_a_guard_may_be_registered_after_the_first_event(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": ["ready"]})
    assert not machine.process("a", "go").success

    @machine.guard("ready")
    def ready(ctx) -> bool:
        return ctx["n"] > 0

    assert machine.process("a", "go", {"n": 1}).success
    assert machine.process("a", "go", {"n": 0}).reason == "guard_rejected"


def test_machines_of_one_topology_have_guards_of_their_own(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": ["ready"]})
    yes = machine.with_guards({"ready": lambda ctx: True})
    no = machine.with_guards({"ready": lambda ctx: False})
    assert yes.process("a", "go").success
    assert no.process("a", "go").reason == "guard_rejected"
    assert machine.process("a", "go").reason == "guard_not_found"
    assert yes.process("a", "go").success


def test_in_state_sees_the_configuration_before_the_event(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a b -> c", "guards": [{"in_state": "a"}]},
        "next: a -> b",
    )
    assert machine.process("a", "go").success
    assert machine.process("b", "go").reason == "guard_rejected"
