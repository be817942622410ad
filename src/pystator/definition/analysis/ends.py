"""States that are never left, and states from which no end can be reached.

Both are asked of leaves. A leaf can be left by a transition of its own, of an ancestor, or of
another region that leaves the parallel state. ``on_done`` of an ancestor is no way out of a leaf
that is not terminal: what is done is somewhere else by then. It is one all the same where the end
of that state may be undone before its event is looked at; see `Ends.may_be_undone`.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from pystator.definition.analysis.effects import inside, raised
from pystator.definition.analysis.findings import Findings, named
from pystator.definition.analysis.reach import Reach
from pystator.definition.model import Kind, StateType, TransitionNode
from pystator.definition.numbers import ROOT

__all__ = ["find_ends"]


def find_ends(reach: Reach, endless: Iterable[int], findings: Findings) -> None:
    """Report traps, and states from which no end can be reached.

    Args:
        reach: Of the machine.
        endless: Nodes that are never left, which is reported already.
        findings: Takes the issues.
    """
    if not reach.live or reach.chart.definition.fallback == "persist":
        return
    ends = Ends(reach, endless)
    for number in ends.traps:
        _report_trap(ends, number, findings)
    reported = set(ends.traps)
    for scope in ends.scopes():
        lost = [number for number in Scope(ends, scope).lost() if number not in reported]
        reported.update(lost)
        for group in ends.together(lost):
            _report_lost(ends, scope, group, findings)


def _report_trap(ends: "Ends", number: int, findings: Findings) -> None:
    node = ends.chart.nodes[number]
    if node.type is StateType.ERROR:
        message = f"no transition leads out of the error state {node.label!r}: it needs an operator"
        findings.of_state("trap", node, message, severity="info")
        return
    message = (
        f"no transition leads out of {node.label!r}, and it is not terminal:"
        " write type: terminal, or add a transition"
    )
    findings.of_state("trap", node, message)


def _report_lost(ends: "Ends", scope: int, group: list[int], findings: Findings) -> None:
    nodes = [ends.chart.nodes[number] for number in group]
    others = f" or {named(node.label for node in nodes[1:])}" if nodes[1:] else ""
    what = f"the end of {ends.chart.nodes[scope].label!r}" if scope else "a terminal state"
    findings.of_state(
        "no_end", nodes[0], f"from {nodes[0].label!r}{others} no transition leads on to {what}"
    )


class Ends:
    """Who leaves what in one machine."""

    def __init__(self, reach: Reach, endless: Iterable[int]) -> None:
        self.reach = reach
        self.endless = [leaf for node in endless for leaf in reach.chart.leaves(node)]
        self.chart = reach.chart
        self.by_source: dict[int, list[TransitionNode]] = {}
        self._undone: dict[int, bool] = {}
        for way in reach.live.values():
            self.by_source.setdefault(self.chart.source(way), []).append(way)

    # Ways out -----------------------------------------------------------------------------------

    @cached_property
    def exits(self) -> dict[int, set[int]]:
        """Parallel -> its regions in which a transition leaves it."""
        found: dict[int, set[int]] = {}
        for way in self.reach.live.values():
            if not way.targets:
                continue
            domain = self.chart.entry(way).domain
            for parallel, region in self.chart.concurrent(self.chart.source(way)):
                if domain < parallel:
                    found.setdefault(parallel, set()).add(region)
        return found

    @cached_property
    def raised(self) -> set[str]:
        """Every event that the machine raises itself."""
        found = {event for node in self.chart.nodes for event in raised(inside(node))}
        for way in self.reach.live.values():
            found.update(raised(way.content))
            if self.chart.waits_for_end(way):
                found.update(way.events)
        return found

    def may_be_undone(self, number: int) -> bool:
        """The end of the node may be left again before its done event is looked at."""
        found = self._undone.get(number)
        if found is None:
            found = self._undone[number] = self._may_be_undone(number)
        return found

    def _may_be_undone(self, number: int) -> bool:
        own = {event for way in self.by_source.get(number, ()) if self.chart.waits_for_end(way)
               for event in way.events}  # fmt: skip
        return any(
            way.eventless or not self.raised.isdisjoint(set(way.events) - own)
            for above in self.chart.upward(number)
            for way in self.by_source.get(above, ())
        )

    def around(self, leaf: int) -> Iterator[TransitionNode]:
        """Transitions of the leaf and its ancestors that may be taken while it is active.

        What undoes the end of an ancestor is a transition of it, and so among them, too.
        """
        ends = self.chart.nodes[leaf].kind is Kind.TERMINAL
        for above in self.chart.upward(leaf):
            for way in self.by_source.get(above, ()):
                if ends or not self.chart.waits_for_end(way):
                    yield way

    def is_left_from_aside(self, leaf: int) -> bool:
        """A transition of another region leaves the leaf, too."""
        return any(
            self.exits.get(parallel, set()) - {region}
            for parallel, region in self.chart.concurrent(leaf)
        )

    @cached_property
    def traps(self) -> list[int]:
        """Leaves in which nothing happens any more, and that are no ends."""
        return [number for number in self.idle if self.chart.nodes[number].kind is Kind.ATOMIC]

    @cached_property
    def idle(self) -> list[int]:
        """Leaves in which nothing happens any more."""
        return [
            number
            for number in sorted(self.reach.nodes - {ROOT})
            if self.chart.is_leaf(number)
            and not any(True for _ in self.around(number))
            and not self.is_left_from_aside(number)
        ]

    # Ends ---------------------------------------------------------------------------------------

    def scopes(self) -> Iterator[int]:
        """Nodes with an end that can be reached, outermost first: root, compounds, regions."""
        for number in sorted(self.reach.nodes):
            if self.chart.is_holder(number) and any(self.ends_of(number)):
                yield number

    def ends_of(self, number: int) -> Iterator[int]:
        """The terminal children of a node that can be reached."""
        return (
            child
            for child in self.chart.children[number]
            if child in self.reach.nodes and self.chart.nodes[child].kind is Kind.TERMINAL
        )

    def together(self, leaves: list[int]) -> list[list[int]]:
        """Leaves in groups between which transitions lead."""
        group = {leaf: {leaf} for leaf in leaves}
        for leaf in leaves:
            for way in self.around(leaf):
                if not way.targets:
                    continue
                entry = self.chart.entry(way)
                for other in self.chart.entries(entry.domain, entry.goals):
                    if other in group and group[other] is not group[leaf]:
                        merged = group[leaf] | group[other]
                        group.update(dict.fromkeys(merged, merged))
        return [sorted(each) for each in {id(each): each for each in group.values()}.values()]


class Scope:
    """Which leaves inside one node may reach its end, or leave it."""

    def __init__(self, ends: Ends, number: int) -> None:
        self.ends = ends
        self.chart = ends.chart
        self.number = number
        self.good: set[int] = set()
        self._spread: set[int] = set()
        self._pending: list[int] = []
        self._entering: dict[int, list[TransitionNode]] = {}
        self._taken: set[int] = set()

    def lost(self) -> list[int]:
        """Leaves that can be reached, and from which neither is possible."""
        leaves = [leaf for leaf in self.chart.leaves(self.number) if leaf in self.ends.reach.nodes]
        if self.number != ROOT and self._is_left_from_outside():
            return []
        self._mark(self.ends.ends_of(self.number))
        known = [*self.ends.idle, *self.ends.endless]
        self._mark(leaf for leaf in known if self.chart.is_in(leaf, self.number))
        for way in self._ways():
            self._look(way)
        while self._pending:
            for way in self._entering.get(self._pending.pop(), ()):
                self._take(way)
        kinds = {Kind.ATOMIC, Kind.CHOICE}
        return [n for n in leaves if n not in self.good and self.chart.nodes[n].kind in kinds]

    def _is_left_from_outside(self) -> bool:
        """A transition around the node leaves it, or one of a region beside it."""
        ends = self.ends
        return ends.is_left_from_aside(self.number) or any(
            way.targets
            and self.chart.entry(way).domain < self.number
            and (not self.chart.waits_for_end(way) or ends.may_be_undone(above))
            for above in self.chart.upward(self.number)
            for way in ends.by_source.get(above, ())
        )

    def _ways(self) -> Iterator[TransitionNode]:
        for source in self.chart.below(self.number):
            yield from self.ends.by_source.get(source, ())

    def _look(self, way: TransitionNode) -> None:
        """Take a transition that leads out or to a history; note what the others enter."""
        if not way.targets:
            return
        entry = self.chart.entry(way)
        if entry.remembers or (entry.domain < self.number and not self.chart.waits_for_end(way)):
            self._take(way)
            return
        for leaf in self.chart.entries(entry.domain, entry.goals):
            if self.chart.is_leaf(leaf):
                self._entering.setdefault(leaf, []).append(way)
                if leaf in self.good:
                    self._take(way)

    def _take(self, way: TransitionNode) -> None:
        """The transition leads to an end: so do the leaves in which it may be taken."""
        if way.index in self._taken:
            return
        self._taken.add(way.index)
        source = self.chart.source(way)
        if self.chart.waits_for_end(way) and not self.ends.may_be_undone(source):
            self._mark(
                leaf
                for leaf in self.chart.leaves(source)
                if self.chart.nodes[leaf].kind is Kind.TERMINAL
            )
        else:
            self._mark_below(source)
        for parallel, region in self.chart.concurrent(source):
            if self.chart.is_in(parallel, self.number):
                for other in self.chart.children[parallel]:
                    if other != region:
                        self._mark_below(other)

    def _mark_below(self, number: int) -> None:
        if number not in self._spread:
            self._spread.add(number)
            self._mark(self.chart.leaves(number))

    def _mark(self, leaves: Iterable[int]) -> None:
        for leaf in leaves:
            if leaf not in self.good:
                self.good.add(leaf)
                self._pending.append(leaf)
