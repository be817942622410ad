"""States in states: what is left, what is entered, in which order, and what stays."""

import pytest

ORDER = """
states:
  - {name: draft, type: initial, on_exit: [x_draft]}
  - {name: open, initial_child: fresh, on_enter: [e_open], on_exit: [x_open]}
  - {name: fresh, parent: open, on_enter: [e_fresh], on_exit: [x_fresh]}
  - {name: busy, parent: open, initial_child: picking, on_enter: [e_busy], on_exit: [x_busy]}
  - {name: picking, parent: busy, on_enter: [e_picking], on_exit: [x_picking]}
  - {name: packing, parent: busy, on_enter: [e_packing], on_exit: [x_packing]}
  - {name: closed, type: terminal}
transitions:
  - {trigger: submit, source: draft, dest: open, actions: [t_submit]}
  - {trigger: pick, source: fresh, dest: packing, actions: [t_pick]}
  - {trigger: next, source: picking, dest: packing}
  - {trigger: again, source: open, dest: busy}
  - {trigger: inside, source: open, dest: busy, internal: true}
  - {trigger: touch, source: open, internal: true, actions: [t_touch]}
  - {trigger: self, source: busy, dest: busy}
  - {trigger: up, source: packing, dest: open}
  - {trigger: close, source: "*", dest: closed}
  - {trigger: pick, source: open, dest: closed}
"""


@pytest.fixture(name="order")
def order_fixture(chart):
    return chart(ORDER)


def did(result) -> list[str]:
    return [spec.name for spec in result.all_actions]


@pytest.mark.parametrize(
    ("state", "trigger", "target", "actions"),
    [
        ("draft", "submit", "fresh", ["x_draft", "t_submit", "e_open", "e_fresh"]),
        ("fresh", "pick", "packing", ["x_fresh", "t_pick", "e_busy", "e_packing"]),
        ("picking", "next", "packing", ["x_picking", "e_packing"]),
        ("fresh", "again", "picking", ["x_fresh", "x_open", "e_open", "e_busy", "e_picking"]),
        ("packing", "inside", "picking", ["x_packing", "x_busy", "e_busy", "e_picking"]),
        ("packing", "touch", "packing", ["t_touch"]),
        ("packing", "self", "picking", ["x_packing", "x_busy", "e_busy", "e_picking"]),
        ("packing", "up", "fresh", ["x_packing", "x_busy", "x_open", "e_open", "e_fresh"]),
        ("packing", "close", "closed", ["x_packing", "x_busy", "x_open"]),
        ("packing", "pick", "closed", ["x_packing", "x_busy", "x_open"]),
    ],
)
def test_what_is_left_and_entered(order, state, trigger, target, actions) -> None:
    """Exits inside out, then the content, then entries outside in, by defaults to a leaf."""
    result = order.process(state, trigger)
    assert (result.target_state, did(result)) == (target, actions)


def test_the_inner_transition_wins(order) -> None:
    assert order.process("fresh", "pick").target_state == "packing"
    assert order.process("picking", "pick").target_state == "closed"


def test_microsteps_name_compound_states_too(order) -> None:
    (step,) = order.process("draft", "submit").microsteps
    assert (step.exited, step.entered) == (("draft",), ("open", "fresh"))
    assert step.transitions == (0,)


def test_a_compound_state_stands_for_its_default(order) -> None:
    result = order.process("open", "pick")
    assert (result.source_state, result.target_state) == ("fresh", "packing")


def test_in_state_sees_ancestors(chart) -> None:
    machine = chart(
        """
        states:
          - {name: a, type: initial}
          - {name: b, parent: a}
          - {name: c}
        transitions:
          - {trigger: go, source: b, dest: c, guards: [{in_state: a}]}
          - {trigger: other, source: b, dest: c, guards: [{in_state: c}]}
        """
    )
    assert machine.process("b", "go").success
    assert machine.process("b", "other").metadata["guard_name"] == "in_state c"


def test_content_sees_what_is_active_while_it_runs(chart) -> None:
    """Exits come first: to the content of a transition its source is left already."""
    machine = chart(
        """
        states:
          - name: a
            type: initial
            on_exit: [{set: {leaving: true}, when: {in_state: a}}]
          - name: b
            on_enter: [{set: {entering: true}, when: {in_state: b}}]
        transitions:
          - trigger: go
            source: a
            dest: b
            actions: [{set: {between: true}, when: {anyOf: [{in_state: a}, {in_state: b}]}}]
        """
    )
    assert machine.process("a", "go").context == {"leaving": True, "entering": True}


def test_a_choice_inside_leads_on_inside(chart) -> None:
    machine = chart(
        """
        states:
          - {name: idle, type: initial}
          - {name: work, initial_child: which}
          - {name: which, type: choice, parent: work}
          - {name: small, parent: work}
          - {name: large, parent: work}
        transitions:
          - {trigger: go, source: idle, dest: work}
          - {source: which, dest: large, guards: [{expr: n > 10}]}
          - {source: which, dest: small}
        """
    )
    assert machine.process("idle", "go", {"n": 11}).target_state == "large"
    assert machine.process("idle", "go", {"n": 1}).target_state == "small"


TIMED = """
states:
  - {name: idle, type: initial}
  - {name: work, initial_child: one, timeout: {seconds: 60, destination: idle}}
  - {name: one, parent: work}
  - {name: two, parent: work}
transitions:
  - {trigger: go, source: idle, dest: work}
  - {trigger: next, source: one, dest: two}
  - {trigger: again, source: work, dest: work}
  - {trigger: flash, source: idle, dest: two}
  - {source: two, auto: true, dest: idle, guards: [{expr: leave}]}
"""
TIMER = "work:after:60000:idle"


def test_a_compound_state_has_its_timer_while_it_is_active(chart) -> None:
    """Moves inside leave the timer alone; leaving cancels it, re-entering arms it anew."""
    machine = chart(TIMED)
    assert machine.step("idle", "go", None, {}, 5).timers.armed == {TIMER: 60_000_005}
    assert not machine.step("one", "next", None, {}, 5).timers
    again = machine.step("two", "again", None, {}, 7).timers
    assert (again.armed, again.cancelled) == ({TIMER: 60_000_007}, ())
    fired = machine.fire("two", TIMER, {}, 9)
    assert (fired.target_state, fired.timers.cancelled) == ("idle", (TIMER,))


def test_only_the_net_change_of_timers_is_told(chart) -> None:
    """What was armed and cancelled in one event was never there for anybody else."""
    result = chart(TIMED).step("idle", "flash", None, {"leave": True}, 5)
    assert result.target_state == "idle"
    assert not result.timers


def test_a_nested_terminal_does_not_end_the_machine(chart) -> None:
    machine = chart(
        """
        states:
          - {name: work, type: initial}
          - {name: busy, parent: work}
          - {name: over, type: terminal, parent: work}
          - {name: closed, type: terminal}
        transitions:
          - {trigger: finish, source: busy, dest: over}
          - {trigger: close, source: work, dest: closed}
        """
    )
    assert not machine.is_terminal("over")
    assert machine.process("over", "close").target_state == "closed"
    assert machine.is_terminal("closed")
    assert machine.process("over", "finish").reason == "no_transition"


def test_nothing_but_terminal_leaves_without_a_way_out_is_the_end(chart) -> None:
    machine = chart(
        """
        states:
          - {name: work, type: initial}
          - {name: busy, parent: work}
          - {name: over, type: terminal, parent: work}
        transitions:
          - {trigger: finish, source: busy, dest: over}
        """
    )
    assert machine.is_terminal("over")
    assert machine.process("over", "finish").reason == "terminal_state"
