"""Automatic transitions that go round for ever.

Every microstep takes transitions without an event as long as there are any, and an event that finds
no rest within the limit fails. Two ways to be certain of it:

- *Whatever the context*: a set of nodes, in each of which a transition without an event is always
  possible, and all of them lead into the set again. `_always` finds the greatest such set.
- *For some context*: a cycle whose guards all hold at once, and whose effects write nothing that a
  guard of it reads. The context is the proof.

A node counts only when no transition without an event lies inside it, nor leaves it from another
region: then nothing but its own can move on.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Final

from pystator.definition.analysis.cases import Facts
from pystator.definition.analysis.effects import inside, writes
from pystator.definition.analysis.findings import Findings, example_words
from pystator.definition.analysis.formulas import Field, Formula, atoms, views
from pystator.definition.analysis.reach import Reach
from pystator.definition.analysis.search import Example, example
from pystator.definition.model import TransitionNode

__all__ = ["find_loops"]

MAX_LENGTH: Final = 8
"""Transitions of a cycle with guards."""

PATIENCE: Final = 2_000
"""Steps of the search for cycles with guards."""


def find_loops(reach: Reach, facts: Facts, findings: Findings) -> set[int]:
    """Report cycles of transitions without an event that never end.

    Returns:
        The nodes that are never left whatever the context.
    """
    loops = _Loops(reach)
    always = loops.always()
    for cycle in loops.cycles_in(always):
        _report(loops, cycle, findings)
    for cycle, proof in loops.guarded(always, facts):
        _report(loops, cycle, findings, proof)
    return always


def _report(
    loops: "_Loops", cycle: list[int], findings: Findings, proof: Example | None = None
) -> None:
    first = cycle.index(min(cycle))
    names = [loops.chart.nodes[number].label for number in (*cycle[first:], *cycle[:first])]
    shown = " → ".join([*names, names[0]])
    when = "" if proof is None else f" {example_words(proof)}"
    said = f"the automatic transitions {shown} never end{when}: an event that gets there fails"
    findings.of_state(
        "endless",
        loops.chart.nodes[cycle[first]],
        said,
        severity="error" if proof is None else "warning",
        example=proof,
    )


class _Loops:
    """The transitions without an event of one machine."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.chart = reach.chart
        self.ways: dict[int, list[TransitionNode]] = {}
        self._left = 0
        for way in reach.live.values():
            if way.eventless:
                self.ways.setdefault(self.chart.source(way), []).append(way)
        for ways in self.ways.values():
            ways.sort(key=lambda way: way.index)
        self._sources = sorted(self.ways)
        self._leaving = self._regions_that_leave()
        self.nodes = [number for number in self._sources if self._is_alone(number)]

    def _regions_that_leave(self) -> dict[int, set[int]]:
        """Parallel -> its regions in which a transition without an event leaves it."""
        found: dict[int, set[int]] = {}
        for number, ways in self.ways.items():
            domains = [self.chart.entry(way).domain for way in ways if way.targets]
            for parallel, region in self.chart.concurrent(number):
                if any(domain < parallel for domain in domains):
                    found.setdefault(parallel, set()).add(region)
        return found

    def _is_alone(self, number: int) -> bool:
        """Nothing but its own transitions can move on from the node without an event."""
        last = self.chart.last[number]
        place = bisect_right(self._sources, number)
        if place < len(self._sources) and self._sources[place] <= last:
            return False
        return not any(
            self._leaving.get(parallel, set()) - {region}
            for parallel, region in self.chart.concurrent(number)
        )

    def following(self, way: TransitionNode, number: int) -> list[int]:
        """The nodes with automatic transitions that are active after this one."""
        if not way.targets:
            return [number]
        entry = self.chart.entry(way)
        if entry.remembers:
            return []
        return [n for n in self.chart.entries(entry.domain, entry.goals) if n in self.ways]

    # Whatever the context -----------------------------------------------------------------------

    def always(self) -> set[int]:
        """The nodes from which no context leads to rest."""
        verdicts = self.reach.verdicts
        found = {number for number in self.nodes if verdicts.is_restless(number)}
        into: dict[int, list[tuple[int, int]]] = {}
        counts: dict[int, int] = {}
        lost: list[int] = []
        for number in found:
            for way in self.ways[number]:
                after = [each for each in self.following(way, number) if each in found]
                counts[way.index] = len(after)
                for each in after:
                    into.setdefault(each, []).append((way.index, number))
                if not after:
                    lost.append(number)
        while lost:
            number = lost.pop()
            if number in found:
                found.discard(number)
                for index, source in into.get(number, ()):
                    counts[index] -= 1
                    if counts[index] == 0:
                        lost.append(source)
        return found

    def cycles_in(self, always: set[int]) -> Iterator[list[int]]:
        """A cycle for each group of nodes that leads into one."""
        seen: dict[int, int] = {}
        for start in sorted(always):
            trail: list[int] = []
            number = start
            while number not in seen:
                seen[number] = start
                trail.append(number)
                way = self.ways[number][0]
                number = next(n for n in self.following(way, number) if n in always)
            if seen[number] == start and number in trail:
                yield trail[trail.index(number) :]

    # For some context ---------------------------------------------------------------------------

    def guarded(self, always: set[int], facts: Facts) -> Iterator[tuple[list[int], Example]]:
        """Cycles with a context in which they never end; each node is in one at most."""
        self._left = PATIENCE
        allowed = set(self.nodes) - always
        for start in self.nodes:
            if start not in allowed:
                continue
            for cycle in self._cycles(start, allowed):
                proof = self._proof(cycle, facts)
                if proof is not None:
                    numbers = [number for number, _ in cycle]
                    allowed.difference_update(numbers)
                    yield numbers, proof
                    break

    def _cycles(self, start: int, allowed: set[int]) -> Iterator[list[tuple[int, TransitionNode]]]:
        """Cycles through a node in which it is the first of all, short ones first."""
        trails = deque([[(start, way)] for way in self.ways[start]])
        while trails:
            self._left -= 1
            if self._left < 0:
                return
            trail = trails.popleft()
            number, way = trail[-1]
            for after in self.following(way, number):
                if after == start:
                    yield trail
                elif (
                    after > start
                    and after in allowed
                    and len(trail) < MAX_LENGTH
                    and all(after != before for before, _ in trail)
                ):
                    trails.extend([*trail, (after, way)] for way in self.ways[after])

    def _proof(self, cycle: list[tuple[int, TransitionNode]], facts: Facts) -> Example | None:
        """A context in which the cycle never ends."""
        wanted: list[tuple[Formula, bool]] = []
        verdicts = self.reach.verdicts
        for number, way in cycle:
            before = [each for each in self.ways[number] if each.index < way.index]
            if any(not each.guards for each in before):
                return None
            wanted += [(verdicts.of_way(each), False) for each in before]
            if way.guards:
                wanted.append((verdicts.of_way(way), True))
        reads = {view.term for part, _ in wanted for atom in atoms(part) for view in views(atom)}
        written = [path for number, way in cycle for path in self._writes(number, way)]
        for term in reads:
            if isinstance(term, Field) and any(_touch(term.path, path) for path in written):
                return None
        found = example(facts.limited(wanted), facts.never_null)
        return None if found is None or found.payload else found

    def _writes(self, number: int, way: TransitionNode) -> Iterator[tuple[str, ...]]:
        """What may be written while one transition of a cycle is taken."""
        regions = [parallel for parallel, _ in self.chart.concurrent(number)]
        if regions:
            # What another region does meanwhile counts, too.
            outermost = regions[-1]
            for other in self.chart.below(outermost):
                yield from writes(inside(self.chart.nodes[other]))
                for each in self.chart.nodes[other].transitions:
                    yield from writes(each.content)
        yield from writes(way.content)
        if not way.targets:
            return
        domain = self.chart.entry(way).domain
        left = [*self.chart.below(number), *self.chart.upward(number, domain)]
        for other in {*left, *self.chart.entries(domain, self.chart.entry(way).goals)}:
            yield from writes(inside(self.chart.nodes[other]))


def _touch(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """One lies at or below the other."""
    length = min(len(path), len(other))
    return path[:length] == other[:length]
