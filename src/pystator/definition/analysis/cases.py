"""The guards of one state and trigger side by side: what they leave open, and where they overlap.

That two guards hold at once is how first-match order is meant to be used, and an event that no
guard lets through is refused as it should be. So both are notes, shown on demand, but for two cases
that are hardly ever meant: a choice that may be stuck, and a single value that falls between.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from pystator.definition.analysis.domains import groups, natural_values
from pystator.definition.analysis.findings import Findings, example_words, way_words, where
from pystator.definition.analysis.formulas import (
    Field,
    Formula,
    Free,
    Unknown,
    atoms,
    evaluate,
    views,
)
from pystator.definition.analysis.reach import Reach
from pystator.definition.analysis.search import Example, Wanted, example, impossible
from pystator.definition.analysis.verdicts import MAX_BEFORE
from pystator.definition.model import Definition, Kind, TransitionNode
from pystator.definition.numbers import ROOT

__all__ = ["Facts", "find_cases"]

MAX_PAIRS: Final = 6
"""Transitions of one state and trigger that are compared in pairs."""


class Facts:
    """What is known of every context, so that an example is one that can happen.

    Attributes:
        never_null: Fields that have a default, or must be there.
    """

    def __init__(self, reach: Reach, definition: Definition) -> None:
        checked = definition.validate_context
        self.never_null = frozenset(
            variable.key
            for variable in definition.variables
            if (variable.has_default and variable.default is not None)
            or (variable.required and checked)
        )
        self.limits: list[tuple[Formula, bool]] = []
        if checked:
            self.limits = [
                (reach.verdicts.of_guards((each.guard,), ROOT), True)
                for each in definition.invariants
            ]
            self.limits = [limit for limit in self.limits if is_plain(limit[0])]

    def limited(self, wanted: Wanted) -> Wanted:
        """The question, of contexts that keep the invariants about the same fields."""
        fields = {term for part, _ in wanted for term in _terms(part)}
        return [*wanted, *(each for each in self.limits if fields & set(_terms(each[0])))]


def find_cases(reach: Reach, facts: Facts, findings: Findings) -> None:
    """Report open choices, gaps and overlaps."""
    for number in sorted(reach.nodes - {ROOT}):
        for event, every in reach.chart.ways[number].items():
            ways = [way for way in every if way.index in reach.live]
            if not ways:
                continue
            cases = _Cases(reach, facts, findings, number, ways)
            if reach.chart.nodes[number].kind is Kind.CHOICE:
                cases.open_choice()
            elif event is not None:
                cases.gap(event)
            cases.overlaps()


def is_plain(part: Formula) -> bool:
    """Everything in it is a comparison of fields."""
    return not any(
        isinstance(atom, Free) or any(isinstance(view.term, Unknown) for view in views(atom))
        for atom in atoms(part)
    )


def _terms(part: Formula) -> Iterator[Any]:
    return (view.term for atom in atoms(part) for view in views(atom))


class _Cases:
    """The transitions of one node and event that may be taken, in order."""

    def __init__(
        self,
        reach: Reach,
        facts: Facts,
        findings: Findings,
        number: int,
        ways: Sequence[TransitionNode],
    ) -> None:
        self.reach = reach
        self.facts = facts
        self.findings = findings
        self.number = number
        self.node = reach.chart.nodes[number]
        self.ways = ways
        self.is_guarded = all(way.guards for way in ways) and len(ways) <= MAX_BEFORE

    def formulas(self) -> list[Formula]:
        """What each of the guards asks."""
        return [self.reach.verdicts.of_way(way) for way in self.ways]

    def uncovered(self) -> Example | None:
        """A context for which none holds."""
        wanted = [(part, False) for part in self.formulas()]
        return example(self.facts.limited(wanted), self.facts.never_null)

    # Nothing holds ------------------------------------------------------------------------------

    def open_choice(self) -> None:
        """A choice of which no branch may hold."""
        if not all(way.guards for way in self.ways) or self.reach.verdicts.always_one(self.ways):
            return
        proof = self.uncovered() if self.is_guarded else None
        if proof is None and self.is_guarded and all(map(is_plain, self.formulas())):
            return  # only for values that are not natural: 0.5 between whole numbers
        self.findings.of_state(
            "choice_open",
            self.node,
            f"no branch of the choice {self.node.label!r} {_when(proof)}, and then the event fails:"
            " give it a last branch without guards",
            example=proof,
        )

    def gap(self, event: str) -> None:
        """Values that fall between guards that are about the same fields."""
        if len(self.ways) < 2 or not self.is_guarded or self.is_handled_above(event):
            return
        parts = self.formulas()
        fields = [frozenset(_terms(part)) for part in parts]
        if not all(map(is_plain, parts)) or len(set(fields)) > 1 or not fields[0]:
            return
        missed = self.missed_value(parts)
        if missed is not None:
            self._report_gap(event, missed, "warning")
            return
        proof = self.uncovered()
        if proof is not None:
            self._report_gap(event, proof, "info")

    def _report_gap(self, event: str, proof: Example, severity: Any) -> None:
        refused = "ignored" if self.reach.chart.definition.lenient_events else "refused"
        self.findings.of_way(
            "gap",
            self.ways[0],
            f"{event!r} is {refused} in {self.node.label!r} {example_words(proof)}: the guards of"
            f" its {len(self.ways)} transitions leave that out",
            severity=severity,
            example=proof,
        )

    def missed_value(self, parts: list[Formula]) -> Example | None:
        """The one number at which no guard holds while one does on either side of it."""
        (group, *others) = groups(atom for part in parts for atom in atoms(part))
        if others or len(group.terms) > 1 or not isinstance(term := group.terms[0], Field):
            return None
        line = [v for v in natural_values(group, nullable=False) if _is_number(v)]
        holds = [any(evaluate(part, {term: value}) is True for part in parts) for value in line]
        for place in range(1, len(line) - 1):
            around = holds[place - 1] and holds[place + 1]
            if not holds[place] and around and line[place] in group.constants:
                wanted = [(part, False) for part in parts]
                same = example([*wanted, *_exactly(term, line[place])], self.facts.never_null)
                if same is not None:
                    return same
        return None

    def is_handled_above(self, event: str) -> bool:
        """A state around this one takes the event, too."""
        return any(
            way.index in self.reach.live
            for above in self.reach.chart.upward(self.reach.chart.parents[self.number])
            for way in self.reach.chart.on(above, event)
        )

    # Both hold ----------------------------------------------------------------------------------

    def overlaps(self) -> None:
        """Two guards that hold at once, of which neither is a special case of the other."""
        if not 1 < len(self.ways) <= MAX_PAIRS:
            return
        for first, second in combinations(self.ways, 2):
            if not (first.guards and second.guards) or _is_same(first, second):
                continue
            one, other = self.reach.verdicts.of_way(first), self.reach.verdicts.of_way(second)
            if impossible([(one, True), (other, False)]):
                continue
            wanted = [(one, True), (other, True)]
            proof = example(self.facts.limited(wanted), self.facts.never_null)
            if proof is not None:
                words = way_words(second, self.reach.chart.definition)
                self.findings.of_way(
                    "overlap",
                    second,
                    f"{words} gives way to {where(first)} {example_words(proof)}: the guards of"
                    " both hold, and the order decides",
                    example=proof,
                )


def _when(proof: Example | None) -> str:
    return "may hold" if proof is None else f"holds {example_words(proof)}"


def _exactly(term: Field, value: Any) -> Wanted:
    from pystator.definition.analysis.formulas import Compare, View

    return [(Compare(View(term), "==", value), True)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(way: TransitionNode, other: TransitionNode) -> bool:
    """They lead to the same place: which of them is taken shows in the actions only."""
    return way.targets == other.targets and way.content == other.content
