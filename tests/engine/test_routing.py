"""Routing: data alone leads to a state that says when."""

import pytest

LOAN = """
states:
  - {name: open, type: initial}
  - {name: review, when: {expr: score != null}}
  - {name: approved, when: [{expr: score > 700}, {expr: not frozen}]}
  - {name: rejected, when: {expr: score < 500}}
  - {name: manual}
  - {name: later, when: {expr: wait}}
transitions:
  - {trigger: submit, source: open, dest: review}
  - {trigger: approve, source: review, dest: approved, guards: [{expr: amount < 1000}]}
  - {trigger: reject, source: review, dest: rejected}
  - {trigger: hand, source: review, dest: manual}
  - {trigger: reopen, source: approved, dest: review}
  - {after: 1d, source: manual, dest: review}
  - {trigger: note, source: open, internal: true, actions: [{set: {score: 800}}]}
  - {trigger: set, source: manual, dest: manual, actions: [{set: {score: 800}}]}
"""


@pytest.fixture(name="loan")
def loan_fixture(chart):
    return chart(LOAN)


def applied(machine, state, data, context=None):
    return machine._engine.apply(machine._table[state], data, context or {}, 0, None)


def path(result) -> list[str]:
    return [step.target for step in result.microsteps]


def test_data_leads_where_it_fits(loan) -> None:
    """One step after the other, as far as the data reaches; guards of the transition hold, too."""
    result = applied(loan, "open", {"score": 800, "amount": 5, "frozen": False})
    assert path(result) == ["review", "approved"]
    assert (result.source_state, result.target_state, result.trigger) == ("open", "approved", None)
    assert [step.trigger for step in result.microsteps] == [None, None]
    assert result.context == {"score": 800, "amount": 5, "frozen": False}


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ({"score": 800, "amount": 5000, "frozen": False}, "review"),
        ({"score": 800, "amount": 5, "frozen": True}, "review"),
        ({"score": 400}, "rejected"),
        ({"wait": True}, "open"),
        ({}, "open"),
    ],
)
def test_every_guard_counts(loan, data, target) -> None:
    result = applied(loan, "open", data)
    assert (result.success, result.target_state, result.context) == (True, target, data)


def test_data_that_leads_nowhere_is_merged_all_the_same(loan) -> None:
    result = applied(loan, "open", {"n": 2}, {"n": 1, "m": 1})
    assert (result.target_state, result.context, result.microsteps) == (
        "open",
        {"n": 2, "m": 1},
        (),
    )


def test_a_state_that_was_visited_is_not_gone_to_again(loan) -> None:
    """`review` fits for ever, and `reopen` leads back to it: once is enough."""
    result = applied(loan, "approved", {"score": 800, "amount": 5, "frozen": False})
    assert path(result) == ["review"]


def test_where_an_event_came_from_was_visited(chart) -> None:
    routing = chart(LOAN, classification={"auto_route": True})
    context = {"score": 800, "amount": 5, "frozen": True}
    result = routing.process("review", "hand", context)
    assert path(result) == ["manual"]
    back = chart(
        LOAN + "  - {trigger: again, source: manual, dest: review}",
        classification={"auto_route": True},
    )
    assert path(back.process("review", "hand", context)) == ["manual"]
    assert path(back.process("manual", "set", context)) == ["manual", "review"]


def test_a_time_waits_for_its_time(loan) -> None:
    assert applied(loan, "manual", {"score": 800}).target_state == "manual"


def test_events_do_not_route_unless_the_machine_says_so(loan, chart) -> None:
    assert loan.process("open", "note").target_state == "open"
    routing = chart(LOAN, classification={"auto_route": True})
    result = routing.process("open", "note", {"amount": 5, "frozen": False})
    assert path(result) == ["open", "review", "approved"]
    assert [step.trigger for step in result.microsteps] == ["note", None, None]


def test_eventless_transitions_come_first(chart) -> None:
    machine = chart(
        """
        states:
          - {name: a, type: initial}
          - {name: b, when: {expr: ok}}
          - {name: c}
          - {name: d, when: {expr: ok}}
        transitions:
          - {trigger: go, source: a, dest: b}
          - {source: a, auto: true, dest: c, guards: [{expr: first}]}
          - {trigger: next, source: [b, c], dest: d}
        """
    )
    assert path(applied(machine, "a", {"ok": True, "first": True})) == ["c", "d"]
    assert path(applied(machine, "a", {"ok": True})) == ["b", "d"]


def test_regions_route_together(chart) -> None:
    machine = chart(
        """
        states:
          - name: p
            type: parallel
            regions: [{name: r, states: [a, b]}, {name: s, states: [x, y]}]
          - {name: a}
          - {name: b, when: {expr: n > 1}}
          - {name: x}
          - {name: y, when: {expr: n > 2}}
        transitions:
          - {trigger: go, source: a, dest: b}
          - {trigger: go, source: x, dest: y}
        initial: p
        """
    )
    assert path(applied(machine, "a+x", {"n": 2})) == ["b+x"]
    assert path(applied(machine, "a+x", {"n": 3})) == ["b+y"]


def test_on_done_waits_for_what_is_done(chart) -> None:
    machine = chart(
        """
        states:
          - {name: p, type: initial, on_done: out}
          - {name: a, parent: p}
          - {name: end, parent: p, type: terminal}
          - {name: out, when: {expr: ok}}
        transitions: [{trigger: go, source: a, dest: end}]
        """
    )
    assert applied(machine, "a", {"ok": True}).target_state == "a"
    assert machine.process("a", "go").target_state == "out"


def test_data_that_breaks_an_invariant_changes_nothing(chart) -> None:
    machine = chart(
        LOAN + "context_invariants: [{name: positive, expr: n > 0}]", validate_context=True
    )
    context = {"n": 1}
    result = applied(machine, "open", {"n": -1}, context)
    assert (result.success, result.reason, result.context is context) == (
        False, "context_invalid", True,
    )  # fmt: skip


def test_a_failing_guard_is_an_error(loan) -> None:
    context = {"amount": 5}
    result = applied(loan, "open", {"score": "high"}, context)
    assert result.reason == "evaluation_failed"
    assert result.context is context


def test_a_machine_that_is_over_takes_data(chart) -> None:
    machine = chart(
        """
        states: [{name: a, type: initial}, {name: end, type: terminal}]
        transitions: [{trigger: go, source: a, dest: end}]
        """
    )
    result = applied(machine, "end", {"n": 1})
    assert (result.target_state, result.context) == ("end", {"n": 1})


def test_routing_rejects_nothing(loan) -> None:
    assert "rejections" not in applied(loan, "open", {"score": None}).metadata


def test_an_internal_transition_waits_for_its_event(chart) -> None:
    machine = chart(
        """
        states:
          - {name: work, type: initial}
          - {name: one, parent: work}
          - {name: two, parent: work, when: {expr: ok}}
        transitions: [{trigger: go, source: work, dest: two, internal: true}]
        """
    )
    assert applied(machine, "one", {"ok": True}).target_state == "one"
    assert machine.process("one", "go").target_state == "two"
