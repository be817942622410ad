"""What the analysis says is never so is never so: small machines are tried with everything there is.

The engine takes every trigger, timer and step of time in every configuration it can reach, with every
context that the guards can tell apart. One counterexample is a false alarm.
"""

from collections import Counter
from functools import cache
from random import Random
from types import MappingProxyType

import pytest

from analysis.exploration import NOW, SECOND, Exploration
from analysis.made_up import CONTEXTS, machine
from pystator.definition.analyse import analyse
from pystator.definition.analysis.cases import Facts, _Cases
from pystator.definition.analysis.chart import Chart
from pystator.definition.analysis.effects import inside, raised
from pystator.definition.analysis.ends import Ends, Scope
from pystator.definition.analysis.heard import Ears
from pystator.definition.analysis.loops import _Loops
from pystator.definition.analysis.reach import explore
from pystator.definition.analysis.search import example
from pystator.definition.load import check_config
from pystator.definition.model import Kind, StateType
from pystator.definition.numbers import ROOT
from pystator.engine.frame import Frame
from pystator.engine.guards import compile_guard
from pystator.errors import EvaluationError
from w3c_reference.choices import seeded
from w3c_reference.contents import GUARDS
from w3c_reference.machines import machine as any_machine

FORMS = ("flat", "compound", "parallel", "any")
TIMED = {
    "states": [
        {"name": "a", "type": "initial"},
        {"name": "b", "parent": "a"},
        {"name": "c", "parent": "a"},
        {"name": "d"},
    ],
    "transitions": [
        {"after": "2s", "source": "a", "dest": "d"},
        {"trigger": "e", "source": "b", "dest": "c"},
        {"after": "3s", "source": "c", "dest": "b"},
        {"after": "3s", "source": "b", "internal": True},
        {"after": "1s", "source": "c", "dest": "b", "guards": [{"expr": "n > 2"}]},
        {"trigger": "f", "source": "d", "dest": "a"},
    ],
}
"""Timers of which some never fire."""

ROUND = {
    "states": [
        {"name": "a", "type": "initial"},
        {"name": "b", "parent": "c"},
        {"name": "c"},
        {"name": "d", "parent": "c"},
        {
            "name": "p",
            "type": "parallel",
            "regions": [
                {"name": "r", "states": [{"name": "s"}, {"name": "t"}, {"name": "u"}, {"name": "v", "type": "terminal"}]},
                {"name": "q", "states": [{"name": "w"}]},
            ],
        },
        {"name": "x", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "e", "source": "a", "dest": "x"},
        {"trigger": "f", "source": "a", "dest": "c"},
        {"trigger": "g", "source": "a", "dest": "p"},
        {"trigger": "e", "source": "b", "dest": "d"},
        {"trigger": "e", "source": "d", "dest": "c", "guards": [{"expr": "n > 2"}]},
        {"trigger": "e", "source": "s", "dest": "t"},
        {"trigger": "f", "source": "s", "dest": "v"},
        {"trigger": "e", "source": "t", "dest": "u"},
        {"trigger": "e", "source": "u", "dest": "t"},
        {"trigger": "g", "source": "w", "internal": True},
    ],
}  # fmt: skip
"""Ways round and round, with an end and out of a region's end."""

BY_HAND = {"timed": TIMED, "round": ROUND}

SOME = (range(30), 25)
MANY = (range(30, 400), 120)
"""Seeds of machines, and how many configurations are looked at in each."""


class Case:
    """A made-up machine, what the analysis says of it, and what happens in it."""

    def __init__(self, form, seed, spots):
        contexts, guards = CONTEXTS, {}
        match form:
            case "timed" | "round":
                config = BY_HAND[form]
            case "any":
                config = any_machine(seeded(seed))
                contexts, guards = any_contexts(Random(seed)), GUARDS
            case _:
                config = machine(seed, form)
        self.definition, _ = check_config(config)
        self.seed = (form, seed)
        if self.definition is None:
            return
        self.chart = Chart(self.definition)
        self.reach = explore(self.chart)
        self.facts = Facts(self.reach, self.definition)
        self.loops = _Loops(self.reach)
        self.always = self.loops.always()
        self.ends = Ends(self.reach, self.always)
        self.issues = analyse(self.definition)
        self.seen = Exploration(self.definition, spots, contexts, guards)

    def label(self, number):
        return self.chart.nodes[number].label

    def was_entered(self, number):
        """Surely: a region may have the name of a state, and people see the same."""
        label = self.label(number)
        others = [each for each, node in enumerate(self.chart.nodes) if node.label == label]
        return label in self.seen.entered and len(others) == 1


@cache
def cases(seeds, spots):
    found = [Case(form, seed, spots) for form in FORMS for seed in seeds]
    found += [Case(form, 0, spots) for form in BY_HAND]
    return [case for case in found if case.definition is not None]


@pytest.fixture(params=[SOME, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
                ids=["some", "many"])  # fmt: skip
def made(request):
    return cases(*request.param)


def holds(case, way, context, payload=MappingProxyType({})):
    """All guards of a transition hold, says the engine; registered ones do not."""
    active = frozenset(case.chart.nodes[n].name for n in case.chart.upward(case.chart.source(way)))
    frame = Frame([lambda _context, _frame: False], None, payload, 0, active)
    merged = {**context, **payload}
    return all(compile_guard(guard, lambda _: 0)(merged, frame) for guard in way.guards)


def any_contexts(random, count=24):
    """Contexts of the machines that stand for all the format can say."""
    fields = {
        "n": range(5),
        "m": range(5),
        "f": (0, 5),
        "flag": (True, False),
        "due": (None, NOW + 3 * SECOND),
        "o": ({"k": 0}, {"k": 1}, {"k": 2, "x": 1}, {}),
    }
    return [
        {"log": []}
        | {key: random.choice(values) for key, values in fields.items() if random.random() < 0.85}
        for _ in range(count)
    ]


def test_what_is_unreachable_is_never_entered(made):
    """A state that is reported can be removed."""
    claims = 0
    for case in made:
        for number in range(1, len(case.chart.nodes)):
            if number not in case.reach.nodes:
                claims += 1
                assert not case.was_entered(number), (case.seed, case.label(number))
    assert claims >= 10


def test_what_is_never_taken_is_never_taken(made):
    """Whatever the reason: guards, an earlier transition, an inner state, a timer, an end."""
    reasons = Counter()
    for case in made:
        for way in case.definition.transitions:
            if way.index not in case.reach.live:
                reasons[case.reach.reasons.get(way.index, "unreachable")] += 1
                assert way.index not in case.seen.taken, (case.seed, way)
    assert min(reasons[reason] for reason in ("guards", "shadowed", "restless", "late")) >= 1


def test_a_trap_has_no_successor(made):
    """Whatever comes, the leaf stays."""
    claims = 0
    for case in made:
        for number in case.ends.traps:
            name = case.chart.nodes[number].name
            for before, after in case.seen.edges:
                if name in before.split("+"):
                    claims += 1
                    assert name in after.split("+"), (case.seed, name, before, after)
    assert claims >= 10


def test_where_no_end_can_be_reached_none_is(made):
    """No sequence of events leads to the end, or out of what should come to it."""
    claims = 0
    for case in made:
        chart = case.chart
        for scope in case.ends.scopes():
            ends = {chart.nodes[number].name for number in case.ends.ends_of(scope)}
            inside = {chart.nodes[number].name for number in chart.leaves(scope)}
            for number in Scope(case.ends, scope).lost():
                for start in case.seen.resting_with(chart.nodes[number].name):
                    claims += 1
                    for text in case.seen.after(start):
                        leaves = set(text.split("+"))
                        assert not leaves & ends, (case.seed, start, text)
                        assert scope == ROOT or leaves & inside, (case.seed, start, text)
    assert claims >= 1


def test_what_is_endless_is_never_come_to_rest_in(made):
    """A state of such a cycle is in no step that succeeds."""
    claims = 0
    for case in made:
        for number in case.always:
            claims += 1
            assert not case.was_entered(number), (case.seed, case.label(number))
    assert claims >= 1


def test_the_context_of_an_endless_cycle_never_lets_it_end(made):
    """The engine gives up after its limit of microsteps, wherever the cycle is entered."""
    claims = 0
    for case in made:
        for cycle, proof in case.loops.guarded(case.always, case.facts):
            names = {case.chart.nodes[number].name for number in cycle}
            leaves = {case.chart.nodes[leaf].name for n in cycle for leaf in case.chart.leaves(n)}
            for text in case.seen.rests:
                if leaves & set(text.split("+")):
                    result = case.seen.machine.apply(text, {}, dict(proof.context))
                    claims += 1
                    assert not result.success, (case.seed, names, text)
                    assert result.metadata["reason"] == "livelock", (case.seed, names, text)
    assert claims >= 1


def test_the_examples_of_gaps_overlaps_and_choices_are_so(made):
    """What a message gives as an example is one, says the engine."""
    claims = Counter()
    for case in made:
        for number in case.reach.nodes - {ROOT}:
            for event, every in case.chart.ways[number].items():
                ways = [way for way in every if way.index in case.reach.live]
                open_ = all(way.guards for way in ways)
                found = _Cases(case.reach, case.facts, None, number, ways)
                gap = found.uncovered() if open_ and ways else None
                if gap is not None:
                    claims["gap"] += 1
                    assert not any(holds(case, way, gap.context, gap.payload) for way in ways), (
                        case.seed,
                        event,
                    )
                for first in ways:
                    for second in ways:
                        if first.index < second.index:
                            both = [
                                (case.reach.verdicts.of_way(each), True) for each in (first, second)
                            ]
                            proof = example(both)
                            if proof is not None:
                                claims["overlap"] += 1
                                assert holds(case, first, proof.context, proof.payload), case.seed
                                assert holds(case, second, proof.context, proof.payload), case.seed
    assert claims["gap"] >= 20
    assert claims["overlap"] >= 10


def test_guards_that_always_hold_together_do(made):
    """A choice of which one branch always holds is no open one."""
    claims = 0
    for case in made:
        for number in case.reach.nodes - {ROOT}:
            for event in case.chart.ways[number]:
                if case.reach.verdicts.is_covered(number, event):
                    ways = case.chart.on(number, event)
                    if all(way.guards for way in ways):
                        claims += 1
                        for context in CONTEXTS:
                            try:
                                assert any(holds(case, way, context) for way in ways), case.seed
                            except EvaluationError:
                                continue  # then the event fails, and nothing is taken
    assert claims >= 1


def test_what_nobody_hears_is_heard_by_nobody(made):
    """Unless another raises the same in the same step, which is then heard for the other."""
    claims = 0
    for case in made:
        ears = Ears(case.reach)
        unheard_ways = {(way.index, event) for way, event in ears.by_ways()}
        unheard_nodes = {(case.label(number), event) for number, event in ears.by_states()}
        if not (unheard_ways or unheard_nodes):
            continue
        for steps in case.seen.steps:
            raised_, heard = {}, set()
            for place, (trigger, ways, exited, entered) in enumerate(steps):
                if place and trigger is not None:
                    heard.add(trigger)
                for index in ways:
                    for event in raised(case.chart.by_index[index].content):
                        raised_.setdefault(event, []).append((index, event) in unheard_ways)
                for name in (*exited, *entered):
                    node = case.chart.nodes[
                        case.chart.index.get(name) or case.chart.index[f"region:{name}"]
                    ]
                    for event in raised(inside(node)):
                        raised_.setdefault(event, []).append((name, event) in unheard_nodes)
            for event, claimed in raised_.items():
                if all(claimed) and not event.lower().startswith("done.state."):  # or an end did it
                    claims += 1
                    assert event not in heard, (case.seed, event, steps)
    assert claims >= 1


def test_errors_are_never_ends_that_somebody_forgot(made):
    """Nobody writes ``terminal`` where an operator is expected."""
    for case in made:
        for issue in case.issues:
            if issue.code == "trap" and issue.severity == "warning":
                assert "error state" not in issue.message
        for number in case.ends.traps:
            assert case.chart.nodes[number].kind is Kind.ATOMIC
            assert case.chart.nodes[number].type is not StateType.TERMINAL
