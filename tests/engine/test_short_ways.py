"""What is decided or added up beforehand is what would have come of it anyway."""

import pytest

from pystator import ErrorCode, StateMachine
from pystator.engine.sequel import LONGEST, SEQUELS

REGIONS = """
states:
  - name: order
    type: parallel
    regions: [{name: goods, states: [packing, packed]}, {name: money, states: [owed, paid]}]
  - {name: packing}
  - {name: packed}
  - {name: owed}
  - {name: paid}
  - {name: gone, type: terminal}
initial: order
"""


# in_state, decided where it stands ----------------------------------------------------------------


def test_who_is_refused_by_in_state_is_named_in_order(chart) -> None:
    machine = chart(
        REGIONS
        + """
transitions:
  - {trigger: go, source: packing, dest: packed, guards: [{in_state: paid}]}
  - {trigger: go, source: packing, internal: true, guards: [is_gift]}
  - {trigger: go, source: packing, internal: true, guards: [{not: {in_state: order}}]}
  - {trigger: pay, source: owed, dest: paid}
"""
    )
    machine.guard("is_gift")(lambda context: context.get("gift", False))
    found = machine.process("packing+owed", "go")
    assert found.reason == "guard_rejected"
    assert [each["guard"] for each in found.metadata["rejections"]] == [
        "in_state paid",
        "is_gift",
        "not (in_state order)",
    ]
    assert found.metadata["guard_name"] == "in_state paid"
    assert machine.process("packing+owed", "go", {"gift": True}).microsteps[0].transitions == (1,)
    assert machine.process("packing+paid", "go").target_state == "packed+paid"


def test_who_is_refused_in_every_region_is_named(chart) -> None:
    machine = chart(
        REGIONS
        + """
transitions:
  - {trigger: go, source: packing, dest: packed, guards: [{in_state: paid}, {expr: n > 1}]}
  - {trigger: go, source: owed, dest: paid, guards: [{allOf: [{in_state: packed}, {in_state: owed}]}]}
"""
    )
    found = machine.process("packing+owed", "go", {"n": 5})
    assert found.reason == "guard_rejected"
    assert [each["guard"] for each in found.metadata["rejections"]] == [
        "in_state paid",
        "allOf(in_state packed, in_state owed)",
    ]
    assert not machine.can_transition("packing+owed", "go", {"n": 5})
    assert found.context == {"n": 5}


@pytest.mark.parametrize(
    "guards",
    [
        "[{expr: n / 0 > 1}, {in_state: paid}]",
        "[{anyOf: [{expr: n / 0 > 1}, {in_state: order}]}]",
        "[{not: {allOf: [{expr: n / 0 > 1}, {in_state: paid}]}}]",
    ],
)
def test_a_guard_that_stands_before_in_state_may_fail(chart, guards) -> None:
    ways = f"transitions:\n  - {{trigger: go, source: packing, dest: packed, guards: {guards}}}\n"
    machine = chart(REGIONS + ways)
    assert machine.process("packing+owed", "go", {"n": 1}).error.code is ErrorCode.EVALUATION_FAILED


def test_guards_behind_in_state_are_asked_where_it_holds(chart) -> None:
    machine = chart(
        REGIONS
        + """
transitions:
  - {trigger: go, source: packing, dest: packed, guards: [first, {in_state: paid}, second]}
"""
    )
    asked = []
    for name in ("first", "second"):
        machine.guard(name)(lambda _, name=name: asked.append(name) or True)
    assert machine.process("packing+owed", "go").metadata["guard_name"] == "in_state paid"
    assert machine.process("packing+paid", "go").target_state == "packed+paid"
    assert asked == ["first", "first", "second"]


def test_a_wrong_context_is_told_before_in_state(build) -> None:
    machine = build(
        "a b",
        {"way": "go: a -> b", "guards": [{"in_state": "b"}]},
        meta={"machine_name": "m", "version": "1", "validate_context": True},
        state_variables=[{"key": "n", "type": "number", "required": True}],
    )
    assert machine.process("a", "go", {"n": "many"}).error.code is ErrorCode.CONTEXT_INVALID
    assert machine.process("a", "go", {"n": 1}).reason == "guard_rejected"


def test_a_timer_is_used_up_where_in_state_refuses_it(build) -> None:
    machine = build(
        "a b", {"source": "a", "dest": "b", "after": "1s", "guards": [{"in_state": "b"}]}
    )
    begun = machine.begin({}, 0)
    (timer,) = begun.timers.armed
    fired = machine.fire("a", timer, {}, 1_000_000)
    assert (fired.success, fired.reason) == (False, "guard_rejected")
    assert fired.timers.cancelled == (timer,)


# What follows without an event --------------------------------------------------------------------

FOLLOWING = {
    "meta": {"machine_name": "m", "version": "1"},
    "states": [
        {"name": "a", "type": "initial", "on_exit": ["leave_a"]},
        {"name": "b", "on_enter": ["enter_b", {"increment": "seen.b"}]},
        {"name": "c", "on_enter": ["enter_c"]},
        {"name": "d", "on_enter": [{"timestamp": "at"}]},
        {"name": "e"},
    ],
    "transitions": [
        {"trigger": "go", "source": "a", "dest": "b", "actions": [{"increment": "n"}]},
        {"trigger": "stay", "source": "b", "internal": True, "actions": [{"increment": "n"}]},
        {"trigger": "back", "source": ["b", "c", "d", "e"], "dest": "a"},
        {"trigger": "data", "source": "a", "dest": "e"},
        {"source": "a", "dest": "e", "after": "9s", "id": "slow"},
        {"source": "b", "dest": "e", "after": "5s", "id": "brief"},
        {"source": "c", "dest": "e", "after": "7s", "id": "late"},
        {"source": "c", "dest": "b", "after": "8s", "id": "later", "guards": [{"expr": "n > 0"}]},
        {"auto": True, "source": "b", "dest": "c", "guards": [{"expr": "n >= 2"}]},
        {"auto": True, "source": "c", "dest": "d", "guards": [{"expr": "n == 3"}]},
        {"auto": True, "source": "c", "dest": "a", "guards": [{"expr": "n >= 4"}]},
        {"auto": True, "source": "e", "dest": "d", "guards": [{"expr": "_event.data.far"}]},
    ],
}  # fmt: skip


def told(result) -> dict:
    return {**result.to_dict(), "void": result.void}


def test_what_an_entity_did_before_changes_nothing_for_the_next() -> None:
    """Every way is gone several times, and each time as by a machine that goes it first."""
    used = StateMachine.from_dict(FOLLOWING)
    seen = set()
    for _ in range(3):
        for n in range(5):
            for state, trigger in (("a", "go"), ("b", "stay"), ("a", "data"), ("c", "back")):
                for payload in ({}, {"far": True}, {"far": 1 // 2}):
                    given = (state, trigger, payload, {"n": n, "seen": {"b": 1}}, 50)
                    result = used.step(*given)
                    assert told(result) == told(StateMachine.from_dict(FOLLOWING).step(*given))
                    seen.add(tuple(step.target for step in result.microsteps))
    assert {("b",), ("b", "c"), ("b", "c", "d"), ("b", "c", "a"), ("e",), ("e", "d")} < seen


def test_timers_of_what_is_passed_through_never_count() -> None:
    machine = StateMachine.from_dict(FOLLOWING)
    for _ in range(2):
        result = machine.step("a", "go", None, {"n": 1}, 50)
        assert result.target_state == "c"
        assert result.timers.armed == {"late": 50 + 7_000_000, "later": 50 + 8_000_000}
        assert result.timers.cancelled == ("slow",)
        round_trip = machine.step("a", "go", None, {"n": 3}, 60)
        assert round_trip.target_state == "a"
        assert round_trip.timers.armed == {"slow": 60 + 9_000_000}
        assert round_trip.timers.cancelled == ()


def test_every_guard_is_asked_once(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "guards": ["one"]},
        {"way": "auto: b -> c", "guards": ["two", "three"]},
        {"way": "auto: c -> a", "guards": ["four"]},
    )
    asked = []
    for name in ("one", "two", "three", "four"):
        machine.guard(name)(lambda _, name=name: asked.append(name) or name != "four")
    for _ in range(2):
        assert machine.process("a", "go").target_state == "c"
    assert asked == ["one", "two", "three", "four"] * 2


def test_an_error_in_what_follows_undoes_the_event(build) -> None:
    machine = build(
        "a b c",
        {"way": "go: a -> b", "actions": [{"increment": "n"}]},
        {"way": "auto: b -> c", "guards": [{"expr": "n > 1"}], "actions": [{"increment": "name"}]},
    )
    assert machine.process("a", "go", {"n": 1}).target_state == "c"
    context = {"n": 1, "name": "ada"}
    result = machine.process("a", "go", context)
    assert result.error.code is ErrorCode.EVALUATION_FAILED
    assert result.error.context["state"] == "a"
    assert result.context is context
    assert machine.process("a", "go", {"n": 0, "name": "ada"}).target_state == "b"


def test_a_long_way_is_told_in_full(build) -> None:
    count = 3 * LONGEST
    names = [f"s{n}" for n in range(count)]
    ways = [
        {"way": f"auto: s{n} -> s{n + 1}", "actions": [{"increment": "n"}, f"act{n}"]}
        for n in range(1, count - 1)
    ]
    machine = build(" ".join(names), "go: s0 -> s1", *ways)
    for _ in range(2):
        result = machine.process("s0", "go", {"n": 0})
        assert [step.target for step in result.microsteps] == names[1:]
        assert [spec.name for spec in result.all_actions] == [
            f"act{n}" for n in range(1, count - 1)
        ]
        assert result.context == {"n": count - 2}


def test_what_is_added_up_does_not_grow_without_end(build) -> None:
    count = 2 * SEQUELS
    ways = [{"way": f"auto: b -> s{n}", "guards": [{"expr": f"n == {n}"}]} for n in range(count)]
    machine = build(" ".join(["a", "b", *(f"s{n}" for n in range(count))]), "go: a -> b", *ways)
    for _ in range(2):
        for n in range(count):
            assert machine.process("a", "go", {"n": n}).target_state == f"s{n}"
    rows = machine._topology.table
    assert 0 < len(rows["a"]._sequels) <= SEQUELS
    assert rows.weight == rows.size
