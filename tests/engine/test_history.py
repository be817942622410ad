"""Going back to what was active before: `H(state)` one level, `H*(state)` all levels."""

import pytest

from pystator import StateMachine
from pystator.definition.model import region_key

WORK = """
states:
  - {name: idle, type: initial}
  - {name: work, initial_child: one}
  - {name: one, parent: work}
  - {name: two, parent: work, initial_child: left}
  - {name: left, parent: two}
  - {name: right, parent: two}
  - name: both
    type: parallel
    regions:
      - {name: goods, states: [a, b]}
      - {name: money, states: [x, y]}
  - {name: a}
  - {name: b}
  - {name: x}
  - {name: y}
transitions:
  - {trigger: start, source: idle, dest: work}
  - {trigger: pause, source: [work, both], dest: idle}
  - {trigger: back, source: idle, dest: H(work)}
  - {trigger: deep, source: idle, dest: H*(work)}
  - {trigger: both, source: idle, dest: H*(both)}
  - {trigger: money, source: idle, dest: [a, H(money)]}
  - {trigger: again, source: work, dest: H*(work)}
  - {trigger: inside, source: one, dest: H*(work)}
"""


@pytest.fixture(name="work")
def work_fixture(chart):
    return chart(WORK)


def test_what_was_active_is_written_into_the_context(work) -> None:
    result = work.process("right", "pause", {"n": 1})
    assert result.context == {"n": 1, "_history": {"work": ["right"]}}
    assert work.process("b+y", "pause", result.context).context["_history"] == {
        "work": ["right"], "both": ["b", "y"], "money": ["y"],
    }  # fmt: skip


def test_the_context_that_went_in_is_not_written_to(work) -> None:
    context = {"_history": {"work": ["one"]}}
    work.process("right", "pause", context)
    assert context == {"_history": {"work": ["one"]}}


def test_entities_do_not_share_their_records(work) -> None:
    first = work.process("right", "pause", {}).context
    first["_history"]["work"].append("changed")
    assert work.process("right", "pause", {}).context == {"_history": {"work": ["right"]}}


@pytest.mark.parametrize(
    ("trigger", "record", "target"),
    [
        ("back", {}, "one"),
        ("deep", {}, "one"),
        ("back", {"work": ["right"]}, "left"),
        ("deep", {"work": ["right"]}, "right"),
        ("both", {}, "a+x"),
        ("both", {"both": ["b", "y"]}, "b+y"),
        ("money", {"money": ["y"]}, "a+y"),
        ("money", {}, "a+x"),
    ],
)
def test_shallow_history_enters_defaults_and_deep_history_leaves(
    work, trigger, record, target
) -> None:
    assert work.process("idle", trigger, {"_history": record}).target_state == target


@pytest.mark.parametrize(
    ("record", "target"),
    [
        (["gone"], "a+x"),
        (["gone", "y"], "a+y"),
        (["b"], "b+x"),
        (["one"], "a+x"),
        (["b", "a", "y"], "a+y"),
        (["goods"], "a+x"),
        ([], "a+x"),
        ("b", "a+x"),
        (None, "a+x"),
        ([["b"], 5, "y"], "a+y"),
    ],
)
def test_a_record_of_another_time_is_read_with_distrust(work, record, target) -> None:
    """The machine may have been changed since: what it does not have any more is left out."""
    context = {"_history": {"both": record}}
    assert work.process("idle", "both", context).target_state == target


@pytest.mark.parametrize("history", [None, "text", ["work"]])
def test_a_history_that_is_none_is_no_history(work, history) -> None:
    assert work.process("idle", "deep", {"_history": history}).target_state == "one"
    assert work.process("right", "pause", {"_history": history}).context == {
        "_history": {"work": ["right"]}
    }


def test_history_is_read_after_this_microstep_wrote_it(work) -> None:
    """Leaving and going back at once comes back to the same place, not to an older one."""
    result = work.process("right", "again", {"_history": {"work": ["one"]}})
    assert result.target_state == "right"
    assert result.context["_history"]["work"] == ["right"]


def test_history_of_a_state_that_is_not_left(work) -> None:
    context = {"_history": {"work": ["right"]}}
    result = work.process("one", "inside", context)
    assert result.target_state == "right"
    assert result.microsteps[0].exited == ("one",)
    assert result.context is context


def test_a_region_may_share_its_name_with_a_state(chart) -> None:
    machine = chart(
        """
        states:
          - {name: idle, type: initial}
          - {name: goods, initial_child: g1}
          - {name: g1, parent: goods}
          - {name: g2, parent: goods}
          - name: p
            type: parallel
            regions:
              - {name: goods, states: [a, b]}
          - {name: a}
          - {name: b}
        transitions:
          - {trigger: back, source: idle, dest: H(goods)}
          - {trigger: pause, source: [p, goods], dest: idle}
        """
    )
    assert machine.process("g2", "pause").context == {"_history": {"goods": ["g2"]}}
    assert machine.process("idle", "back", {"_history": {"goods": ["g2"]}}).target_state == "g2"
    assert machine.process("b", "pause").context == {}


def test_a_region_that_shares_its_name_has_a_record_of_its_own(chart) -> None:
    """A machine file cannot go back to such a region, other notations may."""
    definition = chart(
        """
        states:
          - {name: idle, type: initial}
          - {name: goods, initial_child: g1}
          - {name: g1, parent: goods}
          - {name: p, type: parallel, regions: [{name: goods, states: [a, b]}]}
          - {name: a}
          - {name: b}
        transitions:
          - {trigger: back, source: idle, dest: H*(p)}
          - {trigger: pause, source: p, dest: idle}
        """
    ).definition
    definition.transitions[0].targets[0].name = region_key("goods")
    machine = StateMachine.from_definition(definition)
    paused = machine.process("b", "pause").context
    assert paused == {"_history": {region_key("goods"): ["b"]}}
    assert machine.process("idle", "back", paused).target_state == "b"


def test_a_machine_without_history_remembers_nothing(chart) -> None:
    machine = chart(
        """
        states: [{name: a, type: initial}, {name: b, parent: a}, {name: c}]
        transitions: [{trigger: go, source: a, dest: c}]
        """
    )
    assert machine.process("b", "go").context == {}


def test_a_refused_event_remembers_nothing(chart) -> None:
    machine = chart(
        """
        states: [{name: idle, type: initial}, {name: a}, {name: b, parent: a}]
        transitions:
          - {trigger: back, source: idle, dest: H(a)}
          - {trigger: go, source: a, dest: idle, actions: [{increment: name}]}
        """
    )
    context = {"name": "ada"}
    assert machine.process("b", "go", context).context is context
