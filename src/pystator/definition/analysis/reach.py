"""What can be reached: nodes that may be active, transitions that may be taken.

An over-approximation at the level of nodes, linear in the size of the machine: what is *not*
reached here is never reached, whatever the events, the data and the combination of regions. It is
made in rounds: the first assumes nothing of what can be reached; each other one knows the last
one's answer and can show more transitions to be dead (those of a compound state whose reachable
states all handle the event themselves, for example).
"""

from collections.abc import Iterable
from typing import Final, Literal

from pystator.definition.analysis.chart import Chart
from pystator.definition.analysis.effects import inside, is_safe
from pystator.definition.analysis.verdicts import Verdicts
from pystator.definition.model import After, Kind, TransitionNode
from pystator.definition.numbers import ROOT

__all__ = ["Reach", "Reason", "explore"]

ROUNDS: Final = 4

Reason = Literal["guards", "shadowed", "restless", "late", "not_done"]
"""Why a transition is never taken, though its source is reached."""


class Reach:
    """What one machine may do.

    Attributes:
        chart: Of the machine.
        verdicts: That led here.
        nodes: Numbers of the nodes that may be active.
        live: Transitions that may be taken, by index.
        reasons: Transitions of reached nodes that are never taken, by index.
        done: Compound nodes, regions and parallels that may come to their end.
    """

    def __init__(self, chart: Chart, verdicts: Verdicts) -> None:
        self.chart = chart
        self.verdicts = verdicts
        self.nodes: set[int] = {ROOT}
        self.live: dict[int, TransitionNode] = {}
        self.reasons: dict[int, Reason] = {}
        self.done: set[int] = set()
        self._defaulted: set[int] = set()
        self._shallow: set[int] = set()
        self._pending: list[int] = []
        self._waiting: dict[int, list[TransitionNode]] = {}

    # Moving ---------------------------------------------------------------------------------

    def run(self) -> "Reach":
        """Reach everything from the start."""
        definition = self.chart.definition
        goals = [self.chart.index[target.name] for target in definition.initial]
        self._enter(goals, ROOT)
        if definition.fallback_state is not None and definition.fallback != "off":
            self._enter([self.chart.index[definition.fallback_state]], ROOT)
        while self._pending:
            number = self._pending.pop()
            for way in self.chart.nodes[number].transitions:
                self._consider(way, number)
        return self

    def _consider(self, way: TransitionNode, number: int) -> None:
        reason = self._reason(way, number)
        if reason is not None:
            self.reasons[way.index] = reason
        elif self.chart.waits_for_end(way) and number not in self.done:
            self.reasons[way.index] = "not_done"
            self._waiting.setdefault(number, []).append(way)
        else:
            self._take(way)

    def _take(self, way: TransitionNode) -> None:
        self.live[way.index] = way
        self.reasons.pop(way.index, None)
        if not way.targets:
            return
        entry = self.chart.entry(way)
        self._enter(entry.goals, entry.domain)
        for target in way.targets:
            if target.history == "shallow":
                self._remember(self.chart.index[target.name])

    def _remember(self, number: int) -> None:
        """Shallow history enters any child that was active, with its defaults."""
        if number not in self._shallow:
            self._shallow.add(number)
            for child in self.chart.children[number]:
                if child in self.nodes:
                    self._default(child)

    # Entering -------------------------------------------------------------------------------

    def _enter(self, goals: Iterable[int], domain: int) -> None:
        chosen = set(goals)
        inside = {step for goal in chosen for step in self.chart.upward(goal, domain)}
        for number in inside:
            self._add(number)
            if self.chart.is_parallel(number) and number not in self._defaulted:
                for child in self.chart.children[number]:
                    if child not in inside:
                        self._default(child)
        for goal in chosen:
            if not any(child in inside for child in self.chart.children[goal]):
                self._default(goal)

    def _default(self, first: int) -> None:
        """Enter a node by default."""
        pending = [first]
        while pending:
            number = pending.pop()
            self._add(number)
            if number in self._defaulted:
                continue
            self._defaulted.add(number)
            if self.chart.is_parallel(number):
                pending.extend(self.chart.children[number])
            elif self.chart.children[number]:
                for goal in self.chart.initial(number):
                    steps = [*self.chart.upward(goal, number)]
                    for step in steps:
                        self._add(step)
                        if self.chart.is_parallel(step):
                            pending.extend(set(self.chart.children[step]).difference(steps))
                    pending.append(goal)

    def _add(self, number: int) -> None:
        if number in self.nodes:
            return
        self.nodes.add(number)
        self._pending.append(number)
        parent = self.chart.parents[number]
        if parent in self._shallow:
            self._default(number)
        if self.chart.nodes[number].kind is Kind.TERMINAL and parent != ROOT:
            self._finish(parent)

    def _finish(self, number: int) -> None:
        """A terminal child of it is entered."""
        self.done.add(number)
        ways = self._waiting.pop(number, [])
        parent = self.chart.parents[number]
        if (
            parent != ROOT
            and self.chart.is_parallel(parent)
            and parent not in self.done
            and all(region in self.done for region in self.chart.children[parent])
        ):
            self.done.add(parent)
            ways += self._waiting.pop(parent, [])
        for way in ways:
            self._take(way)

    # Reasons --------------------------------------------------------------------------------

    def _reason(self, way: TransitionNode, number: int) -> Reason | None:
        """Why a transition of a reached node is never taken; None when it may be."""
        verdicts = self.verdicts
        if verdicts.is_dead(way):
            return "guards"
        if way.eventless:
            return "shadowed" if verdicts.is_shadowed(way, None) else None
        if not verdicts.rests(number):
            return "restless"
        if way.timer is not None:
            if self.sooner(way, number) is None:
                return None
            if not way.events:
                return "late"
        free = self.chart.is_route(way) or self.chart.definition.errors != "fail"
        shadowed = not free and all(verdicts.is_shadowed(way, event) for event in way.events)
        return "shadowed" if shadowed else None

    def sooner(self, way: TransitionNode, number: int) -> TransitionNode | None:
        """A timed transition that always comes before the timer of this one, and leaves."""
        if not isinstance(way.timer, After):
            return None
        wait = way.timer.microseconds
        for above in self.chart.upward(number):
            for other in self.chart.nodes[above].transitions:
                timer = other.timer
                leaves = not (other.guards or other.internal)
                if leaves and isinstance(timer, After) and timer.microseconds < wait:
                    return other if self._is_sure(other) else None
        return None

    def _is_sure(self, way: TransitionNode) -> bool:
        """Nothing can make an event that takes it fail: no effect, no choice, no invariant."""
        definition = self.chart.definition
        if definition.validate_context or not is_safe(way.content):
            return False
        entry = self.chart.entry(way)
        around = [*self.chart.upward(entry.domain)]
        parallels = [number for number in around if self.chart.is_parallel(number)]
        touched = {
            *self.chart.below(self.chart.source(way)),
            *self.chart.upward(self.chart.source(way), entry.domain),
            *around,
            *(self.chart.below(parallels[-1]) if parallels else ()),
            *self.chart.entries(entry.domain, entry.goals),
        }
        return not entry.remembers and not any(
            self.chart.on(number, None) or not is_safe(inside(self.chart.nodes[number]))
            for number in touched
        )


def explore(chart: Chart) -> Reach:
    """What a machine may do."""
    found = Reach(chart, Verdicts(chart)).run()
    for _ in range(ROUNDS):
        before = (len(found.nodes), len(found.live))
        found = Reach(chart, Verdicts(chart, frozenset(found.nodes))).run()
        if (len(found.nodes), len(found.live)) == before:
            break
    return found
