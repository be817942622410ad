"""Done events: what a terminal state inside another one tells, and who hears it."""

import pytest

ORDER = """
states:
  - {name: draft, type: initial}
  - name: fulfil
    type: parallel
    on_done: {dest: complete, actions: [t_complete]}
    regions:
      - {name: goods, states: [picking, shipped]}
      - {name: payment, states: [open, paid]}
  - {name: picking}
  - {name: shipped, type: terminal, on_enter: [e_shipped]}
  - {name: open}
  - {name: paid, type: terminal, on_enter: [e_paid]}
  - {name: complete, on_enter: [e_complete]}
transitions:
  - {trigger: begin, source: draft, dest: fulfil}
  - {trigger: ship, source: picking, dest: shipped}
  - {trigger: pay, source: open, dest: paid}
  - {trigger: all, source: picking, dest: shipped}
  - {trigger: all, source: open, dest: paid}
"""


@pytest.fixture(name="order")
def order_fixture(chart):
    return chart(ORDER)


def did(result) -> list[str]:
    return [spec.name for spec in result.all_actions]


def triggers(result) -> list[str]:
    return [step.trigger for step in result.microsteps]


def test_a_parallel_state_is_done_when_all_its_regions_are(order) -> None:
    assert order.process("picking+open", "ship").target_state == "shipped+open"
    result = order.process("shipped+open", "pay")
    assert result.target_state == "complete"
    assert triggers(result) == ["pay", "done.state.fulfil"]
    assert did(result) == ["e_paid", "t_complete", "e_complete"]


def test_regions_that_finish_together_are_done_once(order) -> None:
    result = order.process("picking+open", "all")
    assert did(result) == ["e_shipped", "e_paid", "t_complete", "e_complete"]


def test_nobody_can_send_a_done_event(order) -> None:
    assert order.process("shipped+paid", "done.state.fulfil").reason == "undefined_trigger"
    assert "done.state.fulfil" not in order.get_available_triggers("shipped+paid")


def test_a_compound_state_is_done_when_a_terminal_child_is_entered(chart) -> None:
    machine = chart(
        """
        states:
          - name: review
            type: initial
            on_done:
              - {dest: large, guards: [{expr: n > 10}]}
              - {dest: small}
          - {name: reading, parent: review}
          - {name: seen, parent: review, type: terminal}
          - {name: small}
          - {name: large}
        transitions:
          - {trigger: read, source: reading, dest: seen}
        """
    )
    assert machine.process("reading", "read", {"n": 11}).target_state == "large"
    assert machine.process("reading", "read", {"n": 1}).target_state == "small"


def test_entry_actions_come_before_the_done_event(chart) -> None:
    """What on_enter raised was raised first and is heard first."""
    machine = chart(
        """
        states:
          - {name: p, type: initial, on_done: done}
          - {name: a, parent: p}
          - {name: end, parent: p, type: terminal, on_enter: [{raise: alarm}]}
          - {name: done}
          - {name: alarmed}
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: alarm, source: p, dest: alarmed}
        """
    )
    assert machine.process("a", "go").target_state == "alarmed"


def test_the_parent_is_done_before_the_parallel_state(chart) -> None:
    machine = chart(
        """
        states:
          - name: p
            type: parallel
            on_done: {internal: true, actions: [p_done]}
            regions:
              - {name: r, states: [a, end]}
          - {name: a}
          - {name: end, type: terminal}
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: done.state.r, source: p, internal: true, actions: [r_done]}
        initial: p
        """
    )
    result = machine.process("a", "go")
    assert did(result) == ["r_done", "p_done"]
    assert triggers(result) == ["go", "done.state.r", "done.state.p"]


def test_the_state_has_the_done_event_of_a_shared_name(chart) -> None:
    machine = chart(
        """
        states:
          - {name: r, on_done: wrong}
          - {name: c, parent: r}
          - {name: c_end, parent: r, type: terminal}
          - name: p
            type: parallel
            regions: [{name: r, states: [a, end]}, {name: s, states: [x]}]
          - {name: a}
          - {name: end, type: terminal}
          - {name: x}
          - {name: wrong}
          - {name: also_wrong}
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: go, source: c, dest: c_end}
          - {trigger: done.state.r, source: p, dest: also_wrong}
        initial: p
        """
    )
    assert machine.process("a+x", "go").target_state == "end+x"
    assert machine.process("c", "go").target_state == "wrong"


def test_a_declared_done_event_may_be_sent(chart) -> None:
    machine = chart(
        """
        states: [{name: p, type: initial}, {name: a, parent: p}, {name: end, parent: p, type: terminal}, {name: b}]
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: done.state.p, source: p, dest: b}
        """
    )
    assert machine.process("a", "go").target_state == "b"
    assert machine.process("a", "done.state.p").target_state == "b"


@pytest.mark.parametrize("normalizer", ["lower", "upper"])
def test_done_events_are_normalised_as_others(chart, normalizer) -> None:
    machine = chart(ORDER, event_normalizer=normalizer)
    result = machine.process("shipped+open", "Pay")
    assert result.target_state == "complete"
    assert result.microsteps[1].trigger == getattr("done.state.fulfil", normalizer)()


def test_done_with_the_start(chart) -> None:
    machine = chart(
        """
        states: [{name: p, type: initial, on_done: b}, {name: end, parent: p, type: terminal}, {name: b}]
        transitions: [{trigger: go, source: b, dest: b}]
        """
    )
    assert machine.start().target_state == "b"


def test_a_terminal_state_of_the_machine_ends_the_event(chart) -> None:
    """Nothing that was raised, not even by its own entry, is heard any more."""
    machine = chart(
        """
        states:
          - {name: a, type: initial}
          - {name: end, type: terminal, on_enter: [{raise: more}]}
          - {name: b}
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: more, source: "*", dest: b}
        """
    )
    assert machine.process("a", "go").target_state == "end"


@pytest.mark.parametrize(
    ("more", "over"),
    [
        ("", True),
        ("  - {trigger: leave, source: p, dest: b}", False),
        ("  - {after: 1s, source: p, dest: b}", False),
    ],
)
def test_an_entity_is_over_when_nothing_can_happen(chart, more, over) -> None:
    machine = chart(
        f"""
states:
  - name: p
    type: parallel
    regions: [{{name: r, states: [a, a_end]}}, {{name: s, states: [x_end]}}]
  - {{name: a}}
  - {{name: a_end, type: terminal}}
  - {{name: x_end, type: terminal}}
  - {{name: b}}
transitions:
  - {{trigger: go, source: a, dest: a_end}}
{more}
initial: p
"""
    )
    assert not machine.is_terminal("a+x_end")
    assert machine.is_terminal("a_end+x_end") is over
    reason = "terminal_state" if over else "no_transition"
    assert machine.process("a_end+x_end", "go").reason == reason


def test_on_done_keeps_an_entity_going(order) -> None:
    assert not order.is_terminal("shipped+paid")


def test_a_dropped_event_leaves_no_trace(chart) -> None:
    """What routes at rest sees the event that came, not one that nobody took."""
    machine = chart(
        """
        states:
          - {name: a, type: initial}
          - {name: b}
          - {name: c, when: {expr: _event.name == 'go'}}
        transitions:
          - {trigger: go, source: a, dest: b, actions: [{raise: unheard}]}
          - {trigger: unheard, source: b, dest: a, guards: [{expr: "_event.name == 'go'"}]}
          - {trigger: next, source: b, dest: c}
        """,
        classification={"auto_route": True},
    )
    assert machine.process("a", "go").target_state == "c"


def test_what_nobody_hears_costs_nothing(chart) -> None:
    """A done event is queued only where some transition of the machine is taken on it."""
    text = """
        states:
          - {name: p, type: initial}
          - {name: a, parent: p}
          - {name: end, parent: p, type: terminal}
          - {name: b}
        transitions:
          - {trigger: go, source: a, dest: end}
          - {trigger: leave, source: p, dest: b}
    """
    assert chart(text)._topology.table["a"]["go"].fast
    heard = text + "      - {trigger: done.state.p, source: p, dest: b}\n"
    assert not chart(heard)._topology.table["a"]["go"].fast
