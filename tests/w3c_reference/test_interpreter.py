"""The interpreter itself, on machines whose answers were worked out by hand from the recommendation.

Each step goes through `Pair`, so the engine has to give the same answer.
"""

from typing import Any

import pytest

from w3c_reference.comparison import Pair
from w3c_reference.histories import NOW, Entity, Step
from w3c_reference.reference import Outcome


def state(name: str, parent: str | None = None, **keys: Any) -> dict[str, Any]:
    """A state whose entry and exit are told."""
    given = {} if parent is None else {"parent": parent}
    return {"name": name, "on_enter": [f"in_{name}"], "on_exit": [f"out_{name}"], **given, **keys}


def region(name: str, *states: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "states": list(states), **keys}


def way(trigger: str, source: str, dest: Any, **keys: Any) -> dict[str, Any]:
    """A transition whose content is told; ``trigger`` may be ``auto``."""
    how = {"auto": True} if trigger == "auto" else {"trigger": trigger}
    return {**how, "source": source, "dest": dest, "actions": [f"{source}_way"], **keys}


def machine(states: list[Any], *transitions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"states": states, "transitions": list(transitions), **keys}


def done(
    config: dict[str, Any], *triggers: str, context: dict[str, Any] | None = None
) -> list[Outcome]:
    """A start and some events; the outcome of each."""
    pair, entity = Pair(config), Entity(None, {}, {})
    outcomes = []
    for step in [Step("start", data=context or {}), *(Step("event", t, {}) for t in triggers)]:
        outcomes.append(pair.live(entity, step))
        entity.after(outcomes[-1], NOW)
    return outcomes


def order(outcome: Outcome) -> list[str]:
    """What was executed, in order."""
    return [name for name, _, _ in outcome.actions]


def taken(outcome: Outcome) -> list[str | None]:
    """On what each microstep was taken."""
    return [each.trigger for each in outcome.microsteps]


TWO = [
    state("a", type="initial"),
    state("p", type="parallel", regions=[region("one", "x1", "x2"), region("two", "y1", "y2")]),
    state("x1"), state("x2"), state("y1"), state("y2"),
]  # fmt: skip
"""Two regions, two states in each."""


def two(*transitions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Two regions, and a way in."""
    return machine(TWO, way("in", "a", "p"), *transitions, **keys)


# Entry, exit, conflicts -------------------------------------------------------------------------


def test_entering_a_parallel_state_enters_all_of_it_in_document_order() -> None:
    _, entered = done(two(), "in")
    assert order(entered) == ["out_a", "a_way", "in_p", "in_x1", "in_y1"]
    assert entered.microsteps[0].entered == ["p", "one", "x1", "two", "y1"]
    assert entered.target == "x1+y1"


def test_leaving_it_goes_the_other_way_round() -> None:
    *_, left = done(two(way("out", "p", "a")), "in", "out")
    assert order(left) == ["out_y1", "out_x1", "out_p", "p_way", "in_a"]
    assert left.microsteps[0].exited == ["y1", "two", "x1", "one", "p"]


def test_transitions_of_several_regions_are_one_microstep() -> None:
    """All exits, then all contents in order of selection, then all entries."""
    *_, moved = done(two(way("go", "y1", "y2"), way("go", "x1", "x2")), "in", "go")
    assert len(moved.microsteps) == 1
    assert order(moved) == ["out_y1", "out_x1", "x1_way", "y1_way", "in_x2", "in_y2"]


def test_a_descendants_transition_preempts_its_ancestors() -> None:
    *_, moved = done(two(way("go", "p", "a"), way("go", "y1", "y2")), "in", "go")
    assert moved.target == "x1+y2"
    assert moved.features >= {"preempted by a descendant's transition"}


def test_of_two_that_leave_the_same_states_the_earlier_region_wins() -> None:
    *_, moved = done(two(way("go", "y1", "a"), way("go", "x1", "a")), "in", "go")
    assert order(moved) == ["out_y1", "out_x1", "out_p", "x1_way", "in_a"]


def test_a_transition_without_exits_conflicts_with_nobody() -> None:
    staying = {"trigger": "go", "source": "x1", "internal": True, "actions": ["stay"]}
    *_, moved = done(two(staying, way("go", "y1", "a")), "in", "go")
    assert order(moved) == ["out_y1", "out_x1", "out_p", "stay", "y1_way", "in_a"]


def test_a_destination_in_another_region_enters_the_parallel_state_again() -> None:
    """The least common compound ancestor of x1 and y2 lies above the parallel state."""
    *_, moved = done(two(way("go", "x1", "y2")), "in", "go")
    assert moved.microsteps[0].exited == ["y1", "two", "x1", "one", "p"]
    assert moved.target == "x1+y2"


def test_a_self_transition_of_a_parallel_state_leaves_and_enters_it() -> None:
    *_, moved = done(two(way("go", "p", "p"), way("x", "x1", "x2")), "in", "x", "go")
    assert (moved.source, moved.target) == ("x2+y1", "x1+y1")


def test_several_destinations_choose_the_states_of_their_regions() -> None:
    _, entered = done(two(way("both", "a", ["x2", "y2"])), "both")
    assert entered.target == "x2+y2"
    _, entered = done(two(way("second", "a", "y2")), "second")
    assert entered.target == "x1+y2"


NEST = [
    state("top", type="initial", initial_child="b"),
    state("b", "top"), state("c", "top", initial_child="c2"), state("c1", "c"), state("c2", "c"),
    state("other"),
]  # fmt: skip
"""A compound state in a compound state."""


def test_an_internal_transition_into_its_source_does_not_leave_it() -> None:
    inside = way("go", "top", "c1", internal=True)
    _, moved = done(machine(NEST, inside), "go")
    assert order(moved) == ["out_b", "top_way", "in_c", "in_c1"]
    _, moved = done(machine(NEST, way("go", "top", "c1")), "go")
    assert order(moved) == ["out_b", "out_top", "top_way", "in_top", "in_c", "in_c1"]


def test_an_ancestors_transition_is_tried_when_no_inner_one_is_enabled() -> None:
    inner = way("go", "b", "c", guards=[{"expr": "n > 0"}])
    config = machine(NEST, inner, way("go", "top", "other"))
    assert done(config, "go", context={"n": 1})[-1].target == "c2"
    assert done(config, "go", context={"n": 0})[-1].target == "other"


# History ----------------------------------------------------------------------------------------


def test_deep_history_returns_to_the_states_and_shallow_history_to_the_child() -> None:
    config = machine(
        NEST, way("c1", "b", "c1"), way("leave", "top", "other"),
        way("deep", "other", "H*(top)"), way("shallow", "other", "H(top)"),
    )  # fmt: skip
    *_, left, deep = done(config, "c1", "leave", "deep")
    assert left.context == {"_history": {"top": ["c1"]}}
    assert deep.target == "c1"
    assert done(config, "c1", "leave", "shallow")[-1].target == "c2"


def test_history_that_was_never_recorded_is_the_default_entry() -> None:
    config = machine(NEST, way("away", "top", "other"), way("back", "other", "H(c)"))
    assert done(config, "away", "back")[-1].target == "c2"


def test_history_of_a_parallel_state_restores_every_region() -> None:
    config = two(way("go", "x1", "x2"), way("out", "p", "a"), way("back", "a", "H*(p)"))
    *_, left, back = done(config, "in", "go", "out", "back")
    assert left.context["_history"] == {"p": ["x2", "y1"]}
    assert back.target == "x2+y1"


def test_history_is_recorded_before_it_is_read_in_the_same_microstep() -> None:
    """exitStates comes before enterStates: the history of what is left now is what was left now."""
    config = two(way("go", "x1", "x2"), way("again", "p", "H*(p)"))
    *_, again = done(config, "in", "go", "again")
    assert order(again) == ["out_y1", "out_x2", "out_p", "p_way", "in_p", "in_x2", "in_y1"]


def test_what_is_not_left_is_not_entered_again() -> None:
    config = machine(
        NEST, way("c", "b", "c"), way("c1", "c2", "c1"), way("leave", "top", "other"),
        way("back", "other", "H*(top)"), way("inner", "c1", "H*(top)"),
    )  # fmt: skip
    *_, inner = done(config, "c", "c1", "leave", "back", "inner")
    assert order(inner) == ["out_c1", "c1_way", "in_c1"]


# What follows -----------------------------------------------------------------------------------


def finishing(**keys: Any) -> dict[str, Any]:
    """Two regions that end; what is done is told."""
    states = [
        state("a", type="initial"),
        state("p", type="parallel", regions=[region("one", "x1", "x2"), region("two", "y1", "y2")], **keys),
        state("x1"), state("x2", type="terminal", on_exit=[]),
        state("y1"), state("y2", type="terminal", on_exit=[]),
    ]  # fmt: skip
    return machine(states, way("in", "a", "p"), way("x", "x1", "x2"), way("y", "y1", "y2"))


def test_a_parallel_state_is_done_when_all_its_regions_are() -> None:
    config = finishing(on_done={"dest": "a", "actions": ["done"]})
    *_, one, both = done(config, "in", "x", "y")
    assert (one.target, taken(one)) == ("x2+y1", ["x"])
    assert taken(both) == ["y", "done.state.p"]
    assert order(both) == ["out_y1", "y1_way", "in_y2", "out_p", "done", "in_a"]


def test_the_done_event_of_a_region_comes_before_that_of_the_parallel_state() -> None:
    config = finishing()
    config["transitions"] += [
        {
            "trigger": f"done.state.{name}",
            "source": "p",
            "internal": True,
            "actions": [f"{name}_is"],
        }
        for name in ("p", "one", "two")
    ]
    *_, one, both = done(config, "in", "x", "y")
    assert order(one)[-1] == "one_is"
    assert order(both)[-2:] == ["two_is", "p_is"]


def test_a_compound_state_is_done_when_its_terminal_child_is_entered() -> None:
    states = [
        state("top", type="initial", on_done="other"), state("b", "top"),
        state("c", "top", type="terminal", on_exit=[]), state("other"),
    ]  # fmt: skip
    *_, moved = done(machine(states, way("go", "b", "c")), "go")
    assert taken(moved) == ["go", "done.state.top"]
    assert moved.target == "other"


def test_eventless_transitions_come_before_raised_events_and_those_in_order() -> None:
    raising = way("go", "b", "c1", actions=[{"raise": "second"}, {"raise": "third"}])
    config = machine(
        NEST, raising, way("auto", "c1", "c2"), way("second", "c2", "b"), way("third", "b", "other")
    )
    *_, moved = done(config, "go")
    assert taken(moved) == ["go", None, "second", "third"]
    assert moved.target == "other"


def test_a_terminal_state_of_the_root_ends_the_macrostep() -> None:
    states = [state("a", type="initial", on_exit=[{"raise": "more"}]), state("z", type="terminal")]
    config = machine(states, way("go", "a", "z"), way("more", "a", "a"))
    *_, moved, refused = done(config, "go", "go")
    assert taken(moved) == ["go"]
    assert refused.reason == "terminal_state"


def test_a_guard_is_asked_once_for_all_regions() -> None:
    *_, moved = done(two(way("go", "p", "a", guards=["even"])), "in", "go", context={"n": 2})
    assert moved.asked == ["even"]


def test_guards_see_the_configuration_before_and_content_what_is_left_of_it() -> None:
    told = [{"name": "told", "when": {"in_state": name}} for name in ("one", "x1", "p")]
    config = two(
        way("go", "x1", "x2", guards=[{"in_state": "x1"}, {"in_state": "one"}], actions=told),
        way("go", "y1", "y2", guards=[{"in_state": "x1"}]),
    )
    *_, moved = done(config, "in", "go")
    assert moved.target == "x2+y2"
    assert order(moved).count("told") == 2


# Where the package decides ----------------------------------------------------------------------


def test_a_choice_that_nothing_leads_out_of_fails_the_event() -> None:
    states = [state("a", type="initial"), state("c", type="choice"), state("b")]
    leave = {"source": "c", "dest": "b", "guards": [{"expr": "n > 1"}]}
    config = machine(states, way("go", "a", "c"), leave)
    assert done(config, "go", context={"n": 0})[-1].reason == "choice_unresolved"
    assert done(config, "go", context={"n": 2})[-1].target == "b"


@pytest.mark.parametrize(("limit", "reason"), [(999, None), (1_000, "livelock")])
def test_a_thousand_microsteps_are_too_many(limit: int, reason: str | None) -> None:
    states = [state("a", type="initial", on_enter=[], on_exit=[]), state("b")]
    loop = {
        "source": "b", "dest": "b", "auto": True, "guards": [{"expr": f"n < {limit}"}],
        "actions": [{"increment": "n"}],
    }  # fmt: skip
    config = machine(states, way("go", "a", "b"), loop)
    assert done(config, "go", context={"n": 0})[-1].reason == reason


def test_a_timer_lives_as_long_as_its_source_is_active() -> None:
    slow = {"source": "p", "dest": "a", "after": "1s", "id": "slow"}
    quick = {"source": "x1", "dest": "x2", "after": "5ms", "id": "quick"}
    config = two(slow, quick, way("go", "x1", "x2"), way("out", "p", "a"))
    _, entered, moved, left = done(config, "in", "go", "out")
    assert entered.armed == {"slow": NOW + 1_000_000, "quick": NOW + 5_000}
    assert (moved.armed, moved.cancelled) == ({}, {"quick"})
    assert left.cancelled == {"slow"}


def test_data_alone_leads_into_a_state_with_when() -> None:
    states = [
        state("a", type="initial"),
        state("b", when={"expr": "n > 1"}),
        state("c", when={"expr": "n > 2"}),
    ]
    config = machine(states, way("go", "a", "b"), way("go", "b", "c"))
    pair, entity = Pair(config), Entity(None, {}, {})
    entity.after(pair.live(entity, Step("start", data={"n": 0})), NOW)
    assert pair.live(entity, Step("apply", data={"n": 1})).target == "a"
    assert pair.live(entity, Step("apply", data={"n": 2})).target == "b"
    assert pair.live(entity, Step("apply", data={"n": 3})).target == "c"
