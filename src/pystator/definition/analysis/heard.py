"""Events that a machine raises, or sends to itself, and that nothing takes.

A raised event is looked at in the same step, behind transitions without an event and behind what
was raised before. So what may be active then is what was entered, and what those lead to; of a
parallel state, every state of the regions beside. An event that is sent comes later, to whatever
state there is then.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from pystator.definition.analysis.effects import raised, sent
from pystator.definition.analysis.findings import Findings, way_words
from pystator.definition.analysis.reach import Reach
from pystator.definition.model import Action, Kind, Send, TransitionNode
from pystator.definition.numbers import ROOT

__all__ = ["Ears", "find_unheard"]


def find_unheard(reach: Reach, findings: Findings) -> None:
    """Report events that are raised or sent and that nothing takes."""
    if reach.chart.definition.errors != "fail":
        return  # a descriptor may stand for many events
    ears = Ears(reach)
    for number, event in ears.by_states():
        node = reach.chart.nodes[number]
        findings.of_state("unheard", node, f"{node.label!r} raises {event!r}, {ears.why(event)}")
    for way, event in ears.by_ways():
        words = way_words(way, reach.chart.definition)
        findings.of_way("unheard", way, f"{words} raises {event!r}, {ears.why(event)}")
    for number in sorted(reach.nodes - {ROOT}):
        node = reach.chart.nodes[number]
        for event in ears.unheard_sends((*_entering(reach, number), *_leaving(reach, number))):
            said = f"{node.label!r} sends {event!r} to this machine, {ears.why(event)}"
            findings.of_state("unheard", node, said)
    for way in reach.live.values():
        for event in ears.unheard_sends(way.content):
            words = way_words(way, reach.chart.definition)
            said = f"{words} sends {event!r} to this machine, {ears.why(event)}"
            findings.of_way("unheard", way, said)


def _entering(reach: Reach, number: int) -> tuple[Action, ...]:
    return tuple(action for block in reach.chart.nodes[number].on_enter for action in block)


def _leaving(reach: Reach, number: int) -> tuple[Action, ...]:
    return tuple(action for block in reach.chart.nodes[number].on_exit for action in block)


class Ears:
    """Who hears what in one machine."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.chart = reach.chart
        self.sources: dict[str, set[int]] = {}
        for way in reach.live.values():
            for event in way.events:
                self.sources.setdefault(event, set()).add(self.chart.source(way))

    # What is raised -----------------------------------------------------------------------------

    def by_states(self) -> Iterator[tuple[int, str]]:
        """(node, event) of what is raised on entering or leaving, and not heard."""
        for number in sorted(self.reach.nodes - {ROOT}):
            entering = dict.fromkeys(raised(_entering(self.reach, number)))
            leaving = dict.fromkeys(raised(_leaving(self.reach, number)))
            if entering or leaving:
                inside = [*self._with_aside(number, self.chart.leaves(number))]
                after = [*self._after_leaving(number)] if leaving else []
                for event in {**entering, **leaving}:
                    leaves = [*(inside if event in entering else ()),
                              *(after if event in leaving else ())]  # fmt: skip
                    if not self._is_heard(event, leaves):
                        yield number, event

    def by_ways(self) -> Iterator[tuple[TransitionNode, str]]:
        """(transition, event) of what its content raises, and not heard."""
        for way in self.reach.live.values():
            events = dict.fromkeys(raised(way.content))
            if events:
                leaves = [*self._after(way)]
                for event in events:
                    if not self._is_heard(event, leaves):
                        yield way, event

    def unheard_sends(self, actions: Iterable[Action]) -> Iterator[str]:
        """What is sent to this machine and no state hears."""
        definition = self.chart.definition
        for send in sent(actions):
            event = _normal(send, definition.normalizer)
            if send.machine in {None, definition.name} and event not in self.sources:
                yield event

    def why(self, event: str) -> str:
        """The end of the sentence."""
        if event in self.sources:
            return "and no state that can be active then takes it"
        return "and no transition that can happen takes it"

    # Who may be active then ---------------------------------------------------------------------

    def _is_heard(self, event: str, leaves: Iterable[int]) -> bool:
        sources = self.sources.get(event)
        if not sources:
            return False
        return any(
            not sources.isdisjoint(self.chart.upward(leaf)) for leaf in self._closure(leaves)
        )

    def _after(self, way: TransitionNode) -> Iterator[int]:
        """Leaves that may be active after a transition."""
        if not way.targets:
            source = self.chart.source(way)
            yield from self._with_aside(source, self.chart.leaves(source))
            return
        entry = self.chart.entry(way)
        if entry.remembers:
            yield from self._with_aside(entry.domain, self.chart.leaves(entry.domain))
            return
        entered = self.chart.entries(entry.domain, entry.goals)
        yield from self._with_aside(entry.domain, filter(self.chart.is_leaf, entered))

    def _after_leaving(self, number: int) -> Iterator[int]:
        """Leaves that may be active after a node was left."""
        for way in self.reach.live.values():
            leaves = bool(way.targets) and self.chart.entry(way).domain < number
            if leaves and self.chart.can_be_together(self.chart.source(way), number):
                yield from self._after(way)

    def _with_aside(self, number: int, leaves: Iterable[int]) -> Iterator[int]:
        """The leaves, and all of the regions beside a node."""
        yield from leaves
        for parallel, region in self.chart.concurrent(number):
            for other in self.chart.children[parallel]:
                if other != region:
                    yield from self.chart.leaves(other)

    def _closure(self, leaves: Iterable[int]) -> set[int]:
        """The leaves, and all that may follow in the same step."""
        found: set[int] = set()
        pending = [leaf for leaf in leaves if leaf in self.reach.nodes]
        while pending:
            leaf = pending.pop()
            if leaf in found:
                continue
            found.add(leaf)
            for number in self.chart.upward(leaf):
                for way in self._own_ways.get(number, ()):
                    pending.extend(
                        other for other in self._after(way)
                        if other in self.reach.nodes and other not in found
                    )  # fmt: skip
        return found

    @cached_property
    def _own_ways(self) -> dict[int, list[TransitionNode]]:
        """Number -> its transitions that the machine takes by itself, within a step."""
        events = {f"done.state.{node.label}" for node in self.chart.nodes}
        events |= {event.lower() for event in events} | {event.upper() for event in events}
        for number in self.reach.nodes:
            node = self.chart.nodes[number]
            for block in (*node.on_enter, *node.on_exit):
                events.update(raised(block))
        for way in self.reach.live.values():
            events.update(raised(way.content))
        found: dict[int, list[TransitionNode]] = {}
        for way in self.reach.live.values():
            number = self.chart.source(way)
            ends = self.chart.nodes[number].kind is Kind.TERMINAL
            if not ends and way.targets and (way.eventless or not events.isdisjoint(way.events)):
                found.setdefault(number, []).append(way)
        return found


def _normal(send: Send, normalizer: str | None) -> str:
    if normalizer is None:
        return send.trigger
    return send.trigger.lower() if normalizer == "lower" else send.trigger.upper()
