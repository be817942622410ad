"""What a machine keeps is bounded, whatever its callers ask: rows, plans, chains and moves."""

import gc
import tracemalloc
from random import Random

import pytest

from pystator.engine import moves, select, splice, table
from pystator.engine.fork import PLANS
from pystator.engine.table import BYTES, LIMIT

REGIONS = STATES = 6


def wide(chart, **meta):
    """46,656 configurations: six regions of six states; `up3` turns one, `all` turns those it may."""
    names = [[f"r{r}s{s}" for s in range(STATES)] for r in range(REGIONS)]
    regions = "".join(f"      - {{name: r{r}, states: {names[r]}}}\n" for r in range(REGIONS))
    states = "".join(f"  - {{name: {name}}}\n" for region in names for name in region)
    ways = "".join(
        f"  - {{trigger: up{r}, source: {names[r][s]}, dest: {names[r][(s + 1) % STATES]}}}\n"
        f"  - {{trigger: all, source: {names[r][s]}, dest: {names[r][(s + 1) % STATES]},"
        f" guards: [{{expr: '{r} in which'}}]}}\n"
        for r in range(REGIONS)
        for s in range(STATES)
    )
    text = f"states:\n  - name: p\n    type: parallel\n    regions:\n{regions}{states}transitions:\n{ways}initial: p\n"
    return chart(text.replace("'", '"'), **meta)


def anywhere(draw: Random) -> str:
    return "+".join(f"r{region}s{draw.randrange(STATES)}" for region in range(REGIONS))


def test_a_walk_through_very_many_configurations_keeps_few(chart) -> None:
    machine = wide(chart)
    draw = Random(5)
    where, before = machine.start().target_state, 0
    tracemalloc.start()
    try:
        for step in range(12_000):
            if step == 100:
                before = tracemalloc.get_traced_memory()[0]
            trigger = draw.choice(["up0", "up1", "up2", "up3", "up4", "up5", "all"])
            context = {"which": draw.sample(range(REGIONS), 3)}
            where = machine.process(where, trigger, context).target_state
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    rows = machine._topology.table
    assert len(rows) + len(rows._old) <= 2 * LIMIT
    assert rows.size <= 2 * BYTES
    assert grown < 2 * BYTES + 4_000_000


def test_a_configuration_is_kept_when_it_comes_again(chart) -> None:
    machine = wide(chart)
    text = anywhere(Random(1))
    machine.process(text, "up0")
    assert text not in machine._topology.table
    machine.process(text, "up0")
    assert machine._topology.table[text] is machine._topology.table[text]


def test_a_generation_is_full_at_so_many_bytes(chart, monkeypatch) -> None:
    """Rows of a large machine are heavy: their number alone would be no bound."""
    monkeypatch.setattr(table, "BYTES", 100_000)
    count = 60
    states = "".join(f"  - {{name: s{n}}}\n" for n in range(count))
    ways = "".join(
        f"  - {{trigger: t{k}, source: s{n}, dest: s{(n + k) % count}, actions: [a, b]}}\n"
        for n in range(count)
        for k in range(20)
    )
    machine = chart(f"states:\n{states}transitions:\n{ways}initial: s0\n")
    rows = machine._topology.table
    for n in range(count):
        for k in range(20):
            machine.process(f"s{n}", f"t{k}")
            assert rows.size <= 2 * (100_000 + 40_000)  # the last row fills when it is in
    assert 0 < len(rows) + len(rows._old) < count


def test_the_weight_of_a_generation_is_that_of_its_rows(chart) -> None:
    machine = chart(
        """
        states: [{name: a, type: initial}, {name: b}]
        transitions:
          - {trigger: go, source: a, dest: b}
          - {trigger: ask, source: a, dest: b, guards: [{expr: n > 1}, {expr: n < 9}]}
        """
    )
    for trigger in ("go", "ask", "nonsense"):
        machine.process("a", trigger, {"n": 1})
    machine.process("b", "go")
    rows = machine._topology.table
    assert rows.weight == rows.size == sum(row.weight for row in rows.values()) > 0


def test_a_weight_is_about_what_is_held(chart) -> None:
    machine = wide(chart)
    draw = Random(3)
    texts = [anywhere(draw) for _ in range(300)]
    for trigger in ("up0", "up1", "up2", "all"):
        for text in texts[:20]:
            machine.process(text, trigger, {"which": [0, 3]})
    rows = machine._topology.table
    rows.clear()
    rows.weight = 0
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for text in texts:
            for _ in range(2):
                for trigger in ("up0", "up1", "up2", "all"):
                    machine.process(text, trigger, {"which": [0, 3]})
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held / 2 < rows.size < held * 3


def test_a_row_that_holds_too_much_begins_anew(chart, monkeypatch) -> None:
    """One configuration of a machine with very many triggers may not fill the memory, either."""
    monkeypatch.setattr(table, "BYTES", 40_000)
    ways = "".join(f"  - {{trigger: t{k}, source: a, dest: b}}\n" for k in range(200))
    machine = chart(f"states: [{{name: a, type: initial}}, {{name: b}}]\ntransitions:\n{ways}")
    for _ in range(2):
        for k in range(200):
            assert machine.process("a", f"t{k}").target_state == "b"
            assert machine._topology.table["a"].weight <= 10_000
    assert 0 < len(machine._topology.table["a"]) < 20


def test_refusals_count_as_well(chart, monkeypatch) -> None:
    """A machine of many triggers refuses most of them in most of its states."""
    monkeypatch.setattr(table, "BYTES", 40_000)
    ways = "".join(f"  - {{trigger: t{k}, source: a, dest: b}}\n" for k in range(200))
    machine = chart(f"states: [{{name: a, type: initial}}, {{name: b}}]\ntransitions:\n{ways}")
    for k in range(200):
        assert machine.process("b", f"t{k}").reason == "no_transition"
        assert machine._topology.table["b"].weight <= 10_000
    assert 0 < len(machine._topology.table["b"]) < 50


def test_selections_of_one_configuration_do_not_grow_without_end(chart) -> None:
    """Sixteen guarded regions: 65,536 ways to react to one event in one configuration."""
    count = 16
    names = [f"{{name: r{n}, states: [a{n}, b{n}]}}" for n in range(count)]
    states = "".join(f"  - {{name: {side}{n}}}\n" for n in range(count) for side in "ab")
    ways = "".join(
        f"  - {{trigger: go, source: a{n}, dest: b{n}, guards: [{{expr: {n} in which}}]}}\n"
        for n in range(count)
    )
    machine = chart(
        f"states:\n  - {{name: p, type: parallel, regions: [{', '.join(names)}]}}\n{states}"
        f"transitions:\n{ways}initial: p\n"
    )
    where = machine.start().target_state
    draw = Random(2)
    for _ in range(2 * PLANS + 10):
        which = [n for n in range(count) if draw.random() < 0.5] or [0]
        result = machine.process(where, "go", {"which": which})
        assert result.target_state == "+".join(
            f"{'b' if n in which else 'a'}{n}" for n in range(count)
        )
    fork = machine._topology.table[where]["go"]
    assert 0 < len(fork._plans) <= PLANS
    assert machine._topology.table.size <= 2 * BYTES


def test_what_history_leads_to_does_not_grow_without_end(chart) -> None:
    leaves = [f"x{n}" for n in range(100)]
    states = "".join(f"  - {{name: {leaf}, parent: work}}\n" for leaf in leaves)
    machine = chart(
        f"""
states:
  - {{name: idle, type: initial}}
  - {{name: work}}
{states}
transitions:
  - {{trigger: back, source: idle, dest: H*(work)}}
"""
    )
    for leaf in leaves:
        record = {"_history": {"work": [leaf, "nonsense"]}}
        assert machine.process("idle", "back", record).target_state == leaf
    assert len(machine._topology.table["idle"]["back"]._plans) <= PLANS


def test_undeclared_triggers_are_kept_by_nobody(chart) -> None:
    machine = wide(chart)
    where = machine.start().target_state
    for _ in range(3):
        for n in range(50):
            assert machine.process(where, f"nonsense{n}").reason == "undefined_trigger"
    assert not machine._topology.table[where]
    assert not any(machine._topology.splicer._firsts)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(select, "_CHAINS", 5), (select, "_CANDIDATES", 3), (splice, "_KEPT", 5), (moves, "_KEPT", 5)],
)
def test_what_was_forgotten_is_made_again(chart, monkeypatch, module, name, value) -> None:
    """Small caches change nothing but the time it takes."""
    draw = Random(11)
    steps = [
        (anywhere(draw), draw.choice(["up0", "up4", "all"]), draw.sample(range(REGIONS), 2))
        for _ in range(60)
    ]
    expected = [
        wide(chart).process(where, trigger, {"which": which}).to_dict()
        for where, trigger, which in steps[:5]
    ]
    machine = wide(chart)
    monkeypatch.setattr(module, name, value)
    got = [
        machine.process(where, trigger, {"which": which}).to_dict()
        for where, trigger, which in steps
    ]
    assert got[:5] == expected
    assert len(machine._topology.selector._candidates) <= max(value, 100)


def test_a_machine_of_few_configurations_or_one_leaf_splices_nothing(chart, build) -> None:
    machine = chart(
        """
        states: [{name: a, type: initial}, {name: b}]
        transitions: [{trigger: go, source: a, dest: b}]
        """
    )
    assert machine._topology.splicer is None
    names = " ".join(f"s{n}" for n in range(LIMIT + 1))
    assert build(names, "go: s0 -> s1")._topology.splicer is None
    assert wide(chart)._topology.splicer is not None


def test_results_keep_no_rows(chart) -> None:
    """Sessions remember results: a row that the table has forgotten must not live on in them."""
    machine = wide(chart)
    draw = Random(9)
    gc.collect()
    before = sum(isinstance(each, table.Row) for each in gc.get_objects())
    results = []
    for _ in range(50):
        where = anywhere(draw)
        results.append(machine.process(where, "up0"))
        results.append(machine.process(where, "all", {"which": []}))
        results.append(machine.process(where, "nonsense"))
    machine._topology.table.clear()
    gc.collect()
    after = sum(isinstance(each, table.Row) for each in gc.get_objects())
    assert [result.reason for result in results[:3]] == [
        None,
        "guard_rejected",
        "undefined_trigger",
    ]
    assert after == before
