"""A spliced plan is the plan: what regions do beside each other is what the planner makes of it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from random import Random

import pytest

from pystator.engine import moves, select, splice, table, topology
from pystator.engine.moves import Beside
from pystator.engine.splice import RegionRow

CHART = """
states:
  - {name: idle, type: initial}
  - name: p
    type: parallel
    on_exit: [x_p]
    on_done: {internal: true, actions: [p_done]}
    regions:
      - {name: r, states: [a, b, sub, r_end]}
      - {name: s, states: [x, y, s_end]}
      - {name: t, states: [k, nest, t_end]}
  - {name: a, on_enter: [e_a, {increment: n}], on_exit: [x_a]}
  - {name: b, on_enter: [{append: {field: log, value: b}}], timeout: {seconds: 5, destination: a}}
  - {name: sub, initial_child: sub_1, on_enter: [e_sub]}
  - {name: sub_1, parent: sub, on_exit: [{set: {left: 1}}]}
  - {name: sub_2, parent: sub}
  - {name: r_end, type: terminal}
  - {name: x, on_exit: [x_x, {compute: {n: n * 2}}]}
  - {name: y, on_enter: [e_y]}
  - {name: s_end, type: terminal}
  - {name: k}
  - name: nest
    type: parallel
    regions:
      - {name: u, states: [u_1, u_2]}
      - {name: v, states: [v_1]}
  - {name: u_1}
  - {name: u_2, on_enter: [{increment: n, when: {in_state: b}}]}
  - {name: v_1}
  - {name: t_end, type: terminal, on_enter: [e_end]}
transitions:
  - {trigger: enter, source: idle, dest: p}
  - {trigger: go, source: a, dest: b, actions: [t_a, {increment: n}]}
  - {trigger: go, source: x, dest: y, actions: [t_x]}
  - {trigger: go, source: sub, dest: b}
  - {trigger: go, source: k, dest: nest}
  - {trigger: one, source: a, dest: b}
  - {trigger: one, source: b, dest: sub}
  - {trigger: one, source: sub, dest: a}
  - {trigger: inner, source: sub_1, dest: sub_2}
  - {trigger: inside, source: sub, internal: true, dest: sub_2, actions: [{increment: n}]}
  - {trigger: stay, source: y, internal: true, actions: [{set: {stayed: true}}]}
  - {trigger: stay, source: p, internal: true, actions: [t_p]}
  - {trigger: down, source: k, dest: nest}
  - {trigger: down, source: nest, dest: k}
  - {trigger: turn, source: u_1, dest: u_2}
  - {trigger: turn, source: u_2, dest: u_1}
  - {trigger: end, source: b, dest: r_end}
  - {trigger: end, source: y, dest: s_end}
  - {trigger: end, source: nest, dest: t_end}
  - {trigger: ask, source: a, dest: b, guards: [{expr: n > 1}]}
  - {trigger: ask, source: x, dest: y, guards: [{expr: n > 2}]}
  - {trigger: ask, source: p, dest: idle, guards: [{expr: n > 3}]}
  - {trigger: cross, source: x, dest: b}
  - {trigger: leave, source: p, dest: idle}
  - {trigger: back, source: y, dest: H(s)}
  - {trigger: back, source: idle, dest: H*(p)}
  - {trigger: again, source: idle, dest: [H(sub), y]}
  - {trigger: done.state.s, source: p, internal: true, actions: [s_done]}
  - {trigger: done.state.t, source: p, internal: true, actions: [t_done]}
  - {trigger: say, source: x, internal: true, actions: [{raise: one}]}
"""
EVENTLESS = "  - {source: y, auto: true, dest: x, guards: [{expr: n > 4}, {in_state: b}]}\n"

LEAVES = [
    ("a", "b", "sub_1", "sub_2", "r_end"),
    ("x", "y", "s_end"),
    ("k", "u_1+v_1", "u_2+v_1", "t_end"),
]
TRIGGERS = [
    "go", "one", "inner", "inside", "stay", "down", "turn", "end", "ask", "cross", "leave", "back",
    "say", "enter", "nonsense",
]  # fmt: skip


@pytest.mark.parametrize("more", ["", EVENTLESS])
@pytest.mark.parametrize("n", [0, 3, 5])
def test_every_event_in_every_configuration(chart, monkeypatch, more, n) -> None:
    planned, spliced = chart(CHART + more), chart(CHART + more)
    assert planned._topology.splicer is None
    monkeypatch.setattr(topology, "LIMIT", 2)
    assert spliced._topology.splicer is not None
    context = {"n": n, "_history": {"s": ["y"]}}
    for leaves in product(*LEAVES):
        where = "+".join(leaves)
        for trigger in TRIGGERS:
            expected = planned.step(where, trigger, None, context, 7).to_dict()
            for _ in range(2):  # passing, then kept
                assert spliced.step(where, trigger, None, context, 7).to_dict() == expected


def test_what_stays_in_its_region_is_spliced(chart, monkeypatch) -> None:
    """The long way would give the same result: this is about the way."""
    monkeypatch.setattr(topology, "LIMIT", 2)
    machine = chart(CHART)
    rows = machine._topology.table
    passing = rows["b+y+k"]
    assert isinstance(passing, RegionRow)
    assert not passing.kept
    assert isinstance(passing["one"], Beside)
    assert not isinstance(passing["leave"], Beside)
    assert not isinstance(rows["a+x+u_1+v_1"]["turn"], Beside)  # it looks at another region


def test_a_text_of_another_shape_is_read_as_ever(chart, monkeypatch) -> None:
    monkeypatch.setattr(topology, "LIMIT", 2)
    machine = chart(CHART)
    machine.process("a+x+k", "go")
    assert machine.process("k+x+a", "one").source_state == "a+x+k"
    assert machine.process("a+x", "one").source_state == "a+x+k"
    assert machine.process("a+x+u_1", "one").source_state == "a+x+u_1+v_1"
    for wrong in ("a+b+k", "a+x+nowhere", "a+x+k+k+a+idle", "+a"):
        with pytest.raises(Exception, match=r"configuration|there is no state"):
            machine.process(wrong, "go")


def test_a_guard_that_fails_beside_other_regions(chart, monkeypatch) -> None:
    monkeypatch.setattr(topology, "LIMIT", 2)
    machine = chart(CHART)
    result = machine.process("a+x+k", "ask", {"n": 0})
    assert (result.reason, result.metadata["guard_name"]) == ("guard_rejected", "n > 1")
    assert len(result.metadata["rejections"]) == 3


def test_many_threads_share_what_is_kept(chart, monkeypatch) -> None:
    """Everything is thrown away all the time, and made again by several threads at once."""
    planned, spliced = chart(CHART + EVENTLESS), chart(CHART + EVENTLESS)
    assert planned._topology.splicer is None
    monkeypatch.setattr(topology, "LIMIT", 2)
    monkeypatch.setattr(table, "LIMIT", 3)
    monkeypatch.setattr(table, "BYTES", 20_000)
    for module, name in [(select, "_CHAINS"), (select, "_CANDIDATES"), (splice, "_KEPT"), (moves, "_KEPT")]:  # fmt: skip
        monkeypatch.setattr(module, name, 4)
    context = {"n": 3, "_history": {"s": ["y"]}}
    steps = [("+".join(leaves), trigger) for leaves in product(*LEAVES) for trigger in TRIGGERS]

    def run(machine, seed: int) -> dict[tuple[str, str], object]:
        order = Random(seed).sample(steps, len(steps))
        return {
            (where, trigger): machine.step(where, trigger, None, context, 7).to_dict()
            for where, trigger in order
        }

    expected = run(planned, 0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda seed: run(spliced, seed), range(4))) == [expected] * 4
    finally:
        sys.setswitchinterval(interval)
