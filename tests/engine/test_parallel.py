"""Regions: what one event does in several of them, and what happens when they want different things."""

import pytest

FULFIL = """
states:
  - {name: draft, type: initial}
  - name: fulfil
    type: parallel
    on_enter: [e_fulfil]
    on_exit: [x_fulfil]
    regions:
      - {name: goods, initial: picking, states: [picking, packed, shipped]}
      - {name: payment, initial: open, states: [open, paid, refunded]}
  - {name: picking, on_enter: [e_picking], on_exit: [x_picking]}
  - {name: packed, on_enter: [e_packed], on_exit: [x_packed]}
  - {name: shipped, on_enter: [e_shipped]}
  - {name: open, on_enter: [e_open], on_exit: [x_open]}
  - {name: paid, on_enter: [e_paid], on_exit: [x_paid]}
  - {name: refunded, on_enter: [e_refunded]}
  - {name: closed, type: terminal}
transitions:
  - {trigger: begin, source: draft, dest: fulfil}
  - {trigger: late, source: draft, dest: [packed, paid]}
  - {trigger: half, source: draft, dest: paid}
  - {trigger: pack, source: picking, dest: packed}
  - {trigger: pay, source: open, dest: paid}
  - {trigger: both, source: picking, dest: packed, actions: [t_goods]}
  - {trigger: both, source: open, dest: paid, actions: [t_payment]}
  - {trigger: clash, source: open, dest: paid}
  - {trigger: clash, source: picking, dest: closed}
  - {trigger: inner, source: fulfil, dest: closed}
  - {trigger: inner, source: paid, dest: refunded}
  - {trigger: log, source: fulfil, internal: true, actions: [t_log]}
  - {trigger: log, source: open, dest: paid}
  - {trigger: cross, source: packed, dest: refunded}
  - {trigger: repack, source: fulfil, dest: picking, region: goods}
  - {trigger: close, source: "*", dest: closed, actions: [t_close]}
  - {trigger: ship, source: packed, dest: shipped, guards: [{in_state: paid}]}
  - {trigger: where, source: packed, dest: shipped, guards: [{in_state: payment}, {in_state: draft}]}
  - {trigger: ask, source: picking, dest: packed, guards: [g_goods]}
  - {trigger: ask, source: open, dest: paid, guards: [g_payment]}
  - {trigger: ask, source: fulfil, dest: closed, guards: [g_all]}
"""


@pytest.fixture(name="order")
def order_fixture(chart):
    return chart(FULFIL)


def did(result) -> list[str]:
    return [spec.name for spec in result.all_actions]


def test_entering_a_parallel_state_enters_all_its_regions(order) -> None:
    result = order.process("draft", "begin")
    assert result.target_state == "picking+open"
    assert did(result) == ["e_fulfil", "e_picking", "e_open"]
    assert result.microsteps[0].entered == ("fulfil", "goods", "picking", "payment", "open")


def test_targets_in_several_regions(order) -> None:
    assert order.process("draft", "late").target_state == "packed+paid"


def test_a_region_nobody_aims_at_is_entered_by_default(order) -> None:
    assert order.process("draft", "half").target_state == "picking+paid"


def test_one_region_moves_and_the_others_stay(order) -> None:
    result = order.process("picking+paid", "pack")
    assert result.target_state == "packed+paid"
    assert did(result) == ["x_picking", "e_packed"]


def test_several_regions_move_in_one_microstep(order) -> None:
    """All exits in reverse order, then the contents in order, then all entries in order."""
    result = order.process("picking+open", "both")
    assert result.target_state == "packed+paid"
    assert did(result) == [
        "x_open", "x_picking", "t_goods", "t_payment", "e_packed", "e_paid",
    ]  # fmt: skip
    (step,) = result.microsteps
    assert (step.exited, step.entered) == (("open", "picking"), ("packed", "paid"))
    assert len(step.transitions) == 2


def test_of_two_that_conflict_the_earlier_state_wins(order) -> None:
    """Leaving the parallel state would leave what the other region's transition leaves too."""
    assert order.process("picking+open", "clash").target_state == "closed"
    assert order.process("packed+open", "clash").target_state == "packed+paid"


def test_an_inner_transition_wins_over_that_of_the_parallel_state(order) -> None:
    assert order.process("picking+paid", "inner").target_state == "picking+refunded"
    assert order.process("picking+open", "inner").target_state == "closed"


def test_what_leaves_nothing_conflicts_with_nothing(order) -> None:
    result = order.process("picking+open", "log")
    assert result.target_state == "picking+paid"
    assert did(result) == ["x_open", "t_log", "e_paid"]


def test_a_transition_into_another_region_re_enters_the_parallel_state(order) -> None:
    result = order.process("packed+paid", "cross")
    assert result.target_state == "picking+refunded"
    assert did(result) == ["x_paid", "x_packed", "x_fulfil", "e_fulfil", "e_picking", "e_refunded"]


def test_a_transition_of_a_region_leaves_the_other_regions_alone(order) -> None:
    """Whatever is active in the region is left: what is paid for stays so."""
    result = order.process("packed+paid", "repack")
    assert result.target_state == "picking+paid"
    assert did(result) == ["x_packed", "e_picking"]
    assert result.microsteps[0].exited == ("packed",)
    assert did(order.process("picking+paid", "repack")) == ["x_picking", "e_picking"]


def test_the_star_is_taken_once(order) -> None:
    assert did(order.process("picking+open", "close")).count("t_close") == 1


def test_in_state_sees_other_regions(order) -> None:
    assert order.process("packed+paid", "ship").target_state == "shipped+paid"
    assert order.process("packed+open", "ship").reason == "guard_rejected"
    assert order.process("packed+open", "where").metadata["guard_name"] == "in_state draft"


@pytest.mark.parametrize(
    ("answers", "target", "asked"),
    [
        ((True, True, True), "packed+paid", ["g_goods", "g_payment"]),
        ((True, False, False), "packed+open", ["g_goods", "g_payment", "g_all"]),
        ((False, True, False), "picking+paid", ["g_goods", "g_all", "g_payment"]),
        ((False, False, True), "closed", ["g_goods", "g_all", "g_payment"]),
        ((True, False, True), "packed+open", ["g_goods", "g_payment", "g_all"]),
        ((False, True, True), "picking+paid", ["g_goods", "g_all", "g_payment"]),
    ],
)
def test_every_guard_is_asked_once_in_a_selection(order, answers, target, asked) -> None:
    seen = []
    for name, answer in zip(("g_goods", "g_payment", "g_all"), answers, strict=True):
        order.guard(name)(lambda _, name=name, answer=answer: seen.append(name) or answer)
    assert order.process("picking+open", "ask").target_state == target
    assert seen == asked


def test_a_rejection_names_every_candidate(order) -> None:
    for name in ("g_goods", "g_payment", "g_all"):
        order.guard(name)(lambda _: False)
    result = order.process("picking+open", "ask")
    assert result.reason == "guard_rejected"
    assert result.metadata["guard_name"] == "g_goods"
    assert result.metadata["rejections"] == [
        {"target": "packed", "guard": "g_goods"},
        {"target": "closed", "guard": "g_all"},
        {"target": "paid", "guard": "g_payment"},
    ]


@pytest.mark.parametrize("text", ["paid+packed", "packed+paid"])
def test_states_are_read_in_any_order(order, text) -> None:
    result = order.process(text, "ship")
    assert (result.source_state, result.target_state) == ("packed+paid", "shipped+paid")


def test_states_that_are_never_active_together_are_no_configuration(order) -> None:
    with pytest.raises(Exception, match="'picking' and 'packed' are never active together"):
        order.process("picking+packed", "pack")
    with pytest.raises(Exception, match="there is no state 'region:goods'"):
        order.process("region:goods", "pack")


def test_a_machine_may_begin_in_several_states(chart) -> None:
    machine = chart(FULFIL.replace("type: initial", "type: stable") + "\ninitial: [packed, paid]")
    assert machine.start().target_state == "packed+paid"


def test_regions_go_on_by_themselves_together(chart) -> None:
    """Eventless transitions of several regions are one microstep, and a guard sees the other's state."""
    machine = chart(
        """
        states:
          - {name: idle, type: initial}
          - name: p
            type: parallel
            regions:
              - {name: r, states: [a, b]}
              - {name: s, states: [x, y, z]}
          - {name: a}
          - {name: b}
          - {name: x}
          - {name: y}
          - {name: z}
        transitions:
          - {trigger: go, source: idle, dest: p}
          - {source: a, auto: true, dest: b}
          - {source: x, auto: true, dest: y}
          - {source: y, auto: true, dest: z, guards: [{in_state: b}]}
        """
    )
    result = machine.process("idle", "go")
    assert [step.target for step in result.microsteps] == ["a+x", "b+y", "b+z"]


def test_a_choice_in_a_region_must_be_left(chart) -> None:
    machine = chart(
        """
        states:
          - {name: idle, type: initial}
          - name: p
            type: parallel
            regions:
              - {name: r, states: [c, a]}
              - {name: s, states: [x]}
          - {name: c, type: choice}
          - {name: a}
          - {name: x}
        transitions:
          - {trigger: go, source: idle, dest: p}
          - {source: c, dest: a, guards: [{expr: ok}]}
        """
    )
    assert machine.process("idle", "go", {"ok": True}).target_state == "a+x"
    assert machine.process("idle", "go", {}).reason == "choice_unresolved"


def test_regions_that_never_rest_are_a_livelock(chart) -> None:
    machine = chart(
        """
        states:
          - {name: idle, type: initial}
          - name: p
            type: parallel
            regions:
              - {name: r, states: [a, b]}
              - {name: s, states: [x, y, z]}
          - {name: a}
          - {name: b}
          - {name: x}
          - {name: y}
          - {name: z}
        transitions:
          - {trigger: go, source: idle, dest: p}
          - {source: a, auto: true, dest: b}
          - {source: b, auto: true, dest: a, guards: [{expr: "true"}]}
          - {source: x, auto: true, dest: y}
          - {source: y, auto: true, dest: z, guards: [{expr: "true"}]}
          - {source: z, auto: true, dest: x}
        """
    )
    result = machine.process("idle", "go", {"n": 1})
    assert result.reason == "livelock"
    assert result.metadata["cycle"] == ["b+x", "a+y", "b+z", "a+x", "b+y", "a+z", "b+x"]
    assert result.context == {"n": 1}


def test_a_timer_of_a_region_fires_only_its_own_transition(chart) -> None:
    machine = chart(
        """
        states:
          - name: p
            type: parallel
            regions:
              - {name: r, states: [a, b]}
              - {name: s, states: [x, y]}
          - {name: a, timeout: {seconds: 1, destination: b}}
          - {name: b}
          - {name: x, timeout: {seconds: 1, destination: y}}
          - {name: y}
        transitions: []
        initial: p
        """
    )
    assert set(machine.start().timers.armed) == {"a:after:1000:b", "x:after:1000:y"}
    result = machine.fire("a+x", "x:after:1000:y", {}, 0)
    assert (result.target_state, result.timers.cancelled) == ("a+y", ("x:after:1000:y",))


def test_parallel_in_parallel(chart) -> None:
    machine = chart(
        """
        states:
          - name: p
            type: parallel
            regions:
              - {name: left, states: [q, l]}
              - {name: right, states: [x, y]}
          - name: q
            type: parallel
            regions:
              - {name: up, states: [a, b]}
              - {name: down, states: [c, d]}
          - {name: l}
          - {name: a}
          - {name: b}
          - {name: c}
          - {name: d}
          - {name: x}
          - {name: y}
        transitions:
          - {trigger: all, source: [a, c, x], dest: l}
          - {trigger: each, source: a, dest: b}
          - {trigger: each, source: c, dest: d}
          - {trigger: each, source: x, dest: y}
          - {trigger: back, source: l, dest: [b, d]}
        initial: p
        """
    )
    assert machine.start().target_state == "a+c+x"
    assert machine.process("a+c+x", "each").target_state == "b+d+y"
    assert machine.process("l+y", "back").target_state == "b+d+y"
