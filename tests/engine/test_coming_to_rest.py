"""What follows a transition by itself: eventless transitions, choices, raised events - until nothing follows."""

import pytest

from pystator import ErrorCode
from pystator.engine.step import LIVELOCK


def path(result) -> list[str]:
    return [step.target for step in result.microsteps]


def test_an_eventless_transition_follows_at_once(build) -> None:
    machine = build("a b c d", "go: a -> b", "auto: b -> c", "auto: c -> d")
    result = machine.process("a", "go")
    assert (result.source_state, result.target_state) == ("a", "d")
    assert path(result) == ["b", "c", "d"]
    assert [step.trigger for step in result.microsteps] == ["go", None, None]


def test_an_eventless_guard_sees_the_current_context_and_the_event(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": [{"increment": "n"}]},
        {"way": "auto: b -> c", "guards": [{"expr": "n == 1 and _event.name == 'go'"}]},
    )
    assert machine.process("a", "go", {"n": 0}).target_state == "c"
    assert machine.process("a", "go", {"n": 1}).target_state == "b"


def test_an_eventless_transition_waits_for_the_next_event_when_its_guard_says_no(build) -> None:
    machine = build(
        "a b",
        {"way": "auto: a -> b", "guards": [{"expr": "ready"}]},
        {"trigger": "touch", "source": "a", "internal": True, "actions": [{"set": {"ready": True}}]},
    )  # fmt: skip
    result = machine.process("a", "touch", {"ready": False})
    assert (result.target_state, result.context) == ("b", {"ready": True})


def test_actions_of_all_microsteps_are_one_list(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": ["one"]},
        {"way": "auto: b -> c", "actions": ["three"]},
        b={"on_enter": ["two"], "on_exit": ["x"]},
        c={"on_enter": ["four"]},
    )
    specs = machine.process("a", "go").all_actions
    assert [spec.name for spec in specs] == ["one", "two", "x", "three", "four"]


def test_a_terminal_state_ends_the_event_whatever_was_raised(build) -> None:
    machine = build(
        "a b! c",
        {"way": "go: a -> b", "actions": [{"raise": "more"}]},
        "more: * -> c",
    )
    assert machine.process("a", "go").target_state == "b"


def test_a_choice_leads_on_by_its_guards_in_order(build) -> None:
    machine = build(
        "new route? small large",
        "go: new -> route",
        {"source": "route", "dest": "large", "guards": [{"expr": "total > 100"}]},
        {"source": "route", "dest": "small"},
    )
    assert machine.process("new", "go", {"total": 500}).target_state == "large"
    assert machine.process("new", "go", {"total": 5}).target_state == "small"


def test_an_event_that_would_rest_in_a_choice_fails_and_changes_nothing(build) -> None:
    machine = build(
        "new route? large",
        {"way": "go: new -> route", "actions": [{"set": {"seen": True}}]},
        {"source": "route", "dest": "large", "guards": [{"expr": "total > 100"}]},
    )
    context = {"total": 5}
    result = machine.process("new", "go", context)
    assert (result.reason, result.error.code) == ("choice_unresolved", ErrorCode.CHOICE_UNRESOLVED)
    assert result.context is context
    assert "route" in result.error.message


def test_raised_events_are_taken_in_order_behind_eventless_transitions(build) -> None:
    """First the machine settles, then it hears what it said to itself."""
    log = {"name": "log", "params": {"message": {"expr": "_event.name"}}}
    machine = build(
        "a b c d e",
        {"way": "go: a -> b", "actions": [{"raise": "first"}, {"raise": "second"}]},
        {"way": "auto: b -> c", "actions": [log]},
        {"way": "first: c -> d", "actions": [log]},
        {"way": "second: d -> e", "actions": [log]},
    )
    result = machine.process("a", "go")
    assert path(result) == ["b", "c", "d", "e"]
    assert [step.trigger for step in result.microsteps] == ["go", None, "first", "second"]
    assert [s.params["message"] for s in result.all_actions] == ["go", "first", "second"]
    assert result.trigger == "go"


def test_a_raised_event_that_nobody_takes_is_dropped(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": [{"raise": "other"}, {"raise": "next"}]},
        "other: a -> c",
        "next: b -> c",
    )
    assert path(machine.process("a", "go")) == ["b", "c"]


def test_a_raised_event_meets_the_guards_and_the_context_of_its_moment(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": [{"raise": "next"}, {"increment": "n"}]},
        {"way": "next: b -> c", "guards": [{"expr": "n == 1"}]},
    )
    assert machine.process("a", "go", {"n": 0}).target_state == "c"


def test_an_event_that_never_rests_fails_and_names_the_circle(build) -> None:
    machine = build("a b c d", "go: a -> b", "auto: b -> c", "auto: c -> d", "auto: d -> b")
    context = {"n": 1}
    result = machine.process("a", "go", context)
    assert (result.reason, result.error.code) == ("livelock", ErrorCode.LIVELOCK)
    assert set(result.metadata["cycle"]) == {"b", "c", "d"}
    assert result.metadata["cycle"][0] == result.metadata["cycle"][-1]
    assert result.context is context
    assert " -> " in result.error.message


@pytest.mark.parametrize(("count", "rests"), [(LIVELOCK - 2, True), (LIVELOCK + 2, False)])
def test_many_microsteps_are_fine_as_long_as_they_end(build, count, rests) -> None:
    machine = build(
        "a b",
        {"way": "go: a -> b", "actions": []},
        {"way": "auto: b -> b", "guards": [{"expr": f"n < {count}"}], "actions": [{"increment": "n"}]},
    )  # fmt: skip
    result = machine.process("a", "go", {"n": 0})
    assert result.success is rests


def test_a_failure_in_a_later_microstep_takes_back_the_earlier_ones(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": [{"increment": "n"}, "told"]},
        {"way": "auto: b -> c", "actions": [{"compute": {"x": "1 / zero"}}]},
    )
    context = {"n": 0, "zero": 0}
    result = machine.process("a", "go", context)
    assert (result.success, result.reason) == (False, "evaluation_failed")
    assert result.context is context
    assert context == {"n": 0, "zero": 0}
    assert result.all_actions == []


def test_starting_enters_the_initial_state_and_what_follows(build) -> None:
    machine = build(
        "a b c",
        "auto: a -> b",
        "go: b -> c",
        a={"on_enter": ["hello", {"set": {"born": True}}]},
        state_variables=[{"key": "tries", "type": "number", "default": 0}],
    )
    context = {"who": "ada"}
    result = machine.start(context)
    assert (result.source_state, result.target_state, result.trigger) == (None, "b", None)
    assert result.context == {"who": "ada", "tries": 0, "born": True}
    assert context == {"who": "ada"}
    assert [spec.name for spec in result.all_actions] == ["hello"]
    assert [step.source for step in result.microsteps] == [None, "a"]


def test_a_default_belongs_to_one_entity(build) -> None:
    """Two entities that begin with the same default must not share it."""
    machine = build("a b", "go: a -> b", state_variables=[{"key": "tags", "type": "object", "default": {"x": []}}])  # fmt: skip
    first, second = machine.start().context, machine.start().context
    first["tags"]["x"].append(1)
    assert second["tags"] == {"x": []}
    assert machine.start().context["tags"] == {"x": []}
