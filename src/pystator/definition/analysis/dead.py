"""What never happens: states nothing leads to, and transitions nothing takes."""

from collections.abc import Iterable, Iterator

from pystator.definition.analysis.findings import Findings, named, way_words, where
from pystator.definition.analysis.reach import Reach
from pystator.definition.model import Kind, TransitionNode
from pystator.definition.rules import unfinished
from pystator.definition.words import guard_words

__all__ = ["find_dead"]


def find_dead(reach: Reach, findings: Findings) -> None:
    """Report what never happens in a machine."""
    _unreachable(reach, findings)
    for group in _entries(reach.chart.definition.transitions):
        _Group(group, reach, findings).report()
    _never_done(reach, findings)


def _unreachable(reach: Reach, findings: Findings) -> None:
    chart = reach.chart
    for number in range(1, len(chart.nodes)):
        node = chart.nodes[number]
        if number in reach.nodes or chart.parents[number] not in reach.nodes:
            continue
        if node.kind is Kind.REGION:
            continue
        inner = " and what is inside" if chart.children[number] else ""
        findings.of_state(
            "unreachable",
            node,
            f"nothing that can happen leads to {node.label!r}{inner}:"
            " add a transition to it, or remove it",
        )


# Transitions ------------------------------------------------------------------------------------


def _entries(ways: Iterable[TransitionNode]) -> Iterator[list[TransitionNode]]:
    """The transitions that were written as one: those of a list of sources."""
    group: list[TransitionNode] = []
    for way in ways:
        if group and not _is_one(group[-1], way):
            yield group
            group = []
        group.append(way)
    if group:
        yield group


def _is_one(way: TransitionNode, other: TransitionNode) -> bool:
    return (
        way.origin == other.origin == "transitions"
        and way.position == other.position
        and way.events is other.events
        and way.guards is other.guards
        and way.content is other.content
        and way.metadata == other.metadata
        and way.targets == other.targets
        and way.source != other.source
    )


class _Group:
    """Transitions that were written as one."""

    def __init__(self, ways: list[TransitionNode], reach: Reach, findings: Findings) -> None:
        self.reach = reach
        self.findings = findings
        self.definition = reach.chart.definition
        self.ways = [way for way in ways if reach.chart.index[way.source] in reach.nodes]
        self.dead = [way for way in self.ways if way.index in reach.reasons]
        self.is_wildcard = len(ways) > 1 and {way.source for way in ways} == {
            node.name
            for node in self.definition.root.children
            if node.kind not in {Kind.TERMINAL, Kind.CHOICE}
        }

    def report(self) -> None:
        """Say what is dead: of a wildcard, only when all is; a state may have its own answer."""
        if not self.dead:
            return
        whole = len(self.dead) == len(self.ways)
        if whole and len({self.reach.reasons[way.index] for way in self.dead}) == 1:
            self.one(self.dead[0], [way.source for way in self.dead])
        elif not self.is_wildcard:
            for way in self.dead:
                if whole or self.reach.reasons[way.index] != "guards":
                    self.one(way, [way.source])

    def one(self, way: TransitionNode, sources: list[str]) -> None:
        """Say why one transition is dead."""
        words = way_words(way, self.definition)
        if len(sources) > 1:
            words = words.partition(" from ")[0] + f" from {named(sources)}"
        match self.reach.reasons[way.index]:
            case "guards":
                self.findings.of_way("never_holds", way, f"{words} is never taken: {_why(way)}")
            case "shadowed":
                self.findings.of_way("shadowed", way, f"{words} is never taken: {self.winner(way)}")
            case "restless":
                said = f"{words} is never taken: {self.mover(way)}"
                self.findings.of_way("passing", way, said)
            case "late":
                number = self.reach.chart.source(way)
                sooner = self.reach.sooner(way, number)
                if sooner is not None:
                    other = way_words(sooner, self.definition)
                    said = f"the timer {words} never fires: {other} always comes before it"
                    self.findings.of_way("never_fires", way, said)
            case "not_done":
                pass

    def winner(self, way: TransitionNode) -> str:
        """What is taken instead."""
        event = None if way.eventless else way.events[0]
        other = self.reach.verdicts.loses(way, event)
        if other is None:
            return f"the states inside {self.definition.nodes[way.source].label!r} always act first"
        always = "its guards hold whenever these do" if other.guards else "it has no guards"
        if other.guards and way.index - other.index > 0 and not way.guards:
            always = "the guards before leave nothing over"
        return f"{where(other)} comes first, and {always}"

    def mover(self, way: TransitionNode) -> str:
        """What moves on before an event can come."""
        chart, verdicts = self.reach.chart, self.reach.verdicts
        label = self.definition.nodes[way.source].label
        for number in chart.upward(chart.source(way)):
            if verdicts.is_restless(number):
                return f"{chart.nodes[number].label!r} is left at once, by 'auto'"
        return f"nothing inside {label!r} ever waits for an event"


def _why(way: TransitionNode) -> str:
    words = [guard_words(guard) for guard in way.guards]
    if len(words) == 1:
        return f"its guard can never hold: {words[0]}"
    return f"its guards can never hold together: {' and '.join(words)}"


# Ends of states ---------------------------------------------------------------------------------


def _never_done(reach: Reach, findings: Findings) -> None:
    """``on_done`` of states that cannot come to their end, once for each state."""
    chart = reach.chart
    seen: set[int] = set()
    for index, reason in reach.reasons.items():
        way = chart.by_index[index]
        number = chart.source(way)
        if reason != "not_done" or number in seen:
            continue
        seen.add(number)
        findings.of_way(
            "never_done",
            way,
            f"'on_done' of {chart.nodes[number].label!r} is never taken:"
            f" {_unfinished(reach, number)}",
        )


def _unfinished(reach: Reach, number: int) -> str:
    chart = reach.chart
    node = chart.nodes[number]
    said = unfinished(node)
    if said is not None:
        return said
    if not chart.is_parallel(number):
        return f"no terminal state directly inside {node.label!r} can be reached"
    region = next(child for child in chart.children[number] if child not in reach.done)
    return f"no terminal state of the region {chart.nodes[region].label!r} can be reached"
