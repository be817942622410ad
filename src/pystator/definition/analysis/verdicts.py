"""What is certain about transitions: guards that never hold, earlier ones that always win.

Everything here errs on one side: what is not certain is not said.

- A transition is *dead by its guards* when they can never hold.
- It is *shadowed* on an event when each time it could be taken an earlier one is: of the same
  state, or of a state inside.
- A node is *restless* when a transition without an event always leaves it, so that no event ever
  finds it active.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from pystator.definition.analysis.chart import Chart
from pystator.definition.analysis.formulas import Every, Formula, formula
from pystator.definition.analysis.search import impossible
from pystator.definition.model import Guard, Kind, TransitionNode
from pystator.definition.numbers import ROOT

__all__ = ["Verdicts"]

MAX_BEFORE: Final = 12
"""Earlier transitions that are weighed against a later one."""


class Verdicts:
    """Answers about the transitions of one chart, given the states that can be reached.

    Args:
        chart: Of the machine.
        reached: Numbers of nodes that may be active; None while that is not known.
    """

    def __init__(self, chart: Chart, reached: Collection[int] | None = None) -> None:
        self.chart = chart
        self.reached = reached
        self._formulas: dict[tuple[int, int], Formula] = {}
        self._covered: dict[tuple[int, str | None], bool] = {}
        self._handled: dict[tuple[int, str | None], bool] = {}
        self._preempting: dict[tuple[int, str | None, int], bool] = {}
        self._sources: dict[str | None, list[int]] = {}
        self._rest: list[bool] | None = None

    def is_reached(self, number: int) -> bool:
        """It may be active."""
        return self.reached is None or number in self.reached

    # Guards ---------------------------------------------------------------------------------

    def of_guards(self, guards: Sequence[Guard], number: int) -> Formula:
        """The formula of guards that must all hold, asked at a node."""
        parts = tuple([self._formula(guard, number) for guard in guards])
        return parts[0] if len(parts) == 1 else Every(parts)

    def of_way(self, way: TransitionNode) -> Formula:
        """The formula of a transition's guards."""
        return self.of_guards(way.guards, self.chart.source(way))

    def _formula(self, guard: Guard, number: int) -> Formula:
        key = (id(guard), number)
        found = self._formulas.get(key)
        if found is None:
            found = self._formulas[key] = formula(guard, partial(self.placed, number))
        return found

    def placed(self, number: int, name: str) -> bool | None:
        """Whether the named node is active while ``number`` is."""
        other = self.chart.index[name]
        if self.chart.is_in(number, other):
            return True
        if not self.is_reached(other) or not self.chart.can_be_together(number, other):
            return False
        return None

    def is_dead(self, way: TransitionNode) -> bool:
        """Its guards never hold."""
        return bool(way.guards) and impossible([(self.of_way(way), True)])

    # One node -------------------------------------------------------------------------------

    def earlier(self, way: TransitionNode, event: str | None) -> list[TransitionNode]:
        """Transitions of the same node and event that are tried before it."""
        ways = self.chart.on(self.chart.source(way), event)
        return [other for other in ways if other.index < way.index]

    def is_covered(self, number: int, event: str | None) -> bool:
        """At the node itself, some transition on the event is always possible."""
        key = (number, event)
        found = self._covered.get(key)
        if found is None:
            found = self._covered[key] = self.always_one(self.chart.on(number, event))
        return found

    def always_one(self, ways: Sequence[TransitionNode]) -> bool:
        """Whatever the context, the guards of one of these hold."""
        if not all(way.guards for way in ways):
            return True
        if not 0 < len(ways) <= MAX_BEFORE:
            return False
        return impossible([(self.of_way(way), False) for way in ways])

    def loses(self, way: TransitionNode, event: str | None) -> TransitionNode | None:
        """An earlier transition of the same node, if those before always win."""
        before = self.earlier(way, event)
        if not before:
            return None
        free = next((other for other in before if not other.guards), None)
        if free is not None or len(before) > MAX_BEFORE:
            return free
        goals = [(self.of_way(way), True)] if way.guards else []
        for other in before:
            if impossible([(self.of_way(other), False), *goals]):
                return other
        together = [(self.of_way(each), False) for each in before]
        return before[-1] if len(before) > 1 and impossible([*together, *goals]) else None

    # Inner states come first ------------------------------------------------------------------

    def inside(self, number: int, event: str | None) -> list[int]:
        """The children that may be active when an event (or none) is looked at."""
        children = [child for child in self.chart.children[number] if self.is_reached(child)]
        return children if event is None else [child for child in children if self.rests(child)]

    def is_handled(self, number: int, event: str | None) -> bool:
        """Every leaf at or below the node always selects a transition at or below it."""
        key = (number, event)
        found = self._handled.get(key)
        if found is None:
            found = self.is_covered(number, event) or self.is_handled_inside(number, event)
            self._handled[key] = found
        return found

    def is_handled_inside(self, number: int, event: str | None) -> bool:
        """As `is_handled`, of transitions below the node."""
        inside = self.inside(number, event)
        return bool(inside) and all(self.is_handled(child, event) for child in inside)

    def is_preempted(self, number: int, event: str | None, domain: int) -> bool:
        """One below the node that leaves something is always taken, so none of its own can.

        Args:
            number: The node.
            event: The event.
            domain: What lies below it, the transition of the node leaves. One that leaves more may
                itself give way to an earlier region, and then preempts nothing.
        """
        inside = self.inside(number, event)
        if not inside:
            return False
        ask = any if self.chart.is_parallel(number) else all
        return ask(self._preempts(child, event, domain) for child in inside)

    def _preempts(self, number: int, event: str | None, domain: int) -> bool:
        key = (number, event, domain)
        found = self._preempting.get(key)
        if found is None:
            leaves = (
                self.is_covered(number, event)
                and all(
                    way.targets and self.chart.is_in(self.chart.entry(way).domain, domain)
                    for way in self.chart.on(number, event)
                )
                and not self._is_taken_below(number, event)
            )
            found = leaves or self.is_preempted(number, event, domain)
            self._preempting[key] = found
        return found

    def _is_taken_below(self, number: int, event: str | None) -> bool:
        """A state inside the node has transitions on the event, which come first."""
        sources = self._sources.get(event)
        if sources is None:
            sources = self._sources[event] = [
                place for place, ways in enumerate(self.chart.ways) if event in ways
            ]
        place = bisect_right(sources, number)
        return place < len(sources) and sources[place] <= self.chart.last[number]

    def inner_win(self, way: TransitionNode, event: str | None) -> bool:
        """Transitions of states inside its source are always taken instead."""
        number = self.chart.source(way)
        if not self.chart.children[number]:
            return False
        if self.is_handled_inside(number, event):
            return True
        if not way.targets:
            return False
        entry = self.chart.entry(way)
        return self.is_preempted(number, event, number if entry.remembers else entry.domain)

    # Rest -------------------------------------------------------------------------------------

    def is_restless(self, number: int) -> bool:
        """A transition of it without an event is always possible."""
        return self.is_covered(number, None)

    def rests(self, number: int) -> bool:
        """The node may be active when an event comes."""
        if self._rest is None:
            self._rest = self._resting()
        return self._rest[number]

    def _resting(self) -> list[bool]:
        chart = self.chart
        rest = [False] * len(chart.nodes)
        for number in range(len(rest) - 1, -1, -1):
            children = [child for child in chart.children[number] if self.is_reached(child)]
            kind = chart.nodes[number].kind
            if kind is Kind.CHOICE or (number != ROOT and self.is_restless(number)):
                continue
            if kind is Kind.PARALLEL:
                rest[number] = all(rest[child] for child in children)
            else:
                rest[number] = not chart.children[number] or any(rest[child] for child in children)
        for number in range(1, len(rest)):
            rest[number] = rest[number] and (
                chart.parents[number] == ROOT or rest[chart.parents[number]]
            )
        return rest

    # All together -----------------------------------------------------------------------------

    def is_shadowed(self, way: TransitionNode, event: str | None) -> bool:
        """On this event, another transition is always taken instead."""
        return self.loses(way, event) is not None or self.inner_win(way, event)
