"""The node tree in numbers, as the analysis walks it.

Numbers are in document order, depth first: below ``n`` are the numbers from it to ``last[n]``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from pystator.definition.analysis.effects import inside, raised
from pystator.definition.model import Definition, TransitionNode
from pystator.definition.numbers import ROOT, Numbers

__all__ = ["Chart", "Entry"]

_NO_WAYS: Final[Mapping[str | None, list[TransitionNode]]] = {}


class Entry:
    """What a transition enters.

    Attributes:
        goals: The nodes it names.
        domain: The node that stays: what lies below it is left and entered. The largest, where
            history decides.
        remembers: Some target is a history: what is entered is not known.
    """

    __slots__ = ("domain", "goals", "remembers")

    def __init__(self, goals: tuple[int, ...], domain: int, *, remembers: bool) -> None:
        self.goals = goals
        self.domain = domain
        self.remembers = remembers


class Chart(Numbers):
    """The numbers of a definition's nodes, and what its transitions enter."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self.definition = definition
        self._entries: dict[int, Entry] = {}

    # Relations ------------------------------------------------------------------------------

    def is_leaf(self, number: int) -> bool:
        """Nothing is inside it."""
        return not self.children[number]

    def is_in(self, number: int, node: int) -> bool:
        """It is the node, or inside it."""
        return node <= number <= self.last[node]

    def upward(self, number: int, end: int = ROOT) -> Iterator[int]:
        """The node and its ancestors, innermost first, below ``end``."""
        while number not in {end, ROOT}:
            yield number
            number = self.parents[number]

    def below(self, number: int) -> range:
        """The node and all inside it."""
        return range(number, self.last[number] + 1)

    def leaves(self, node: int) -> Iterator[int]:
        """The leaves at or below a node."""
        return (number for number in self.below(node) if self.is_leaf(number))

    def can_be_together(self, number: int, other: int) -> bool:
        """Both may be active at once: one holds the other, or they are in different regions."""
        if self.is_in(number, other) or self.is_in(other, number):
            return True
        while not self.is_in(number, other):
            other = self.parents[other]
        return self.is_parallel(other)

    def concurrent(self, number: int) -> Iterator[tuple[int, int]]:
        """(parallel, region) around a node, innermost first."""
        for above in self.upward(number):
            parent = self.parents[above]
            if parent != ROOT and self.is_parallel(parent):
                yield parent, above

    # Transitions ----------------------------------------------------------------------------

    def source(self, way: TransitionNode) -> int:
        """The number of its source."""
        return self.index[way.source]

    def entry(self, way: TransitionNode) -> Entry:
        """What it enters; only of one that has targets."""
        found = self._entries.get(way.index)
        if found is None:
            goals = tuple(self.numbers(way.targets))
            remembers = any(target.history for target in way.targets)
            domain = self.domain(self.source(way), goals, internal=way.internal)
            found = self._entries[way.index] = Entry(goals, domain, remembers=remembers)
        return found

    @cached_property
    def by_index(self) -> Mapping[int, TransitionNode]:
        """The transitions by their index."""
        return {way.index: way for way in self.definition.transitions}

    @cached_property
    def ways(self) -> list[Mapping[str | None, list[TransitionNode]]]:
        """Number -> event -> its transitions, in order; None is without an event."""
        made: list[Mapping[str | None, list[TransitionNode]]] = [_NO_WAYS] * len(self.nodes)
        for number, node in enumerate(self.nodes):
            if node.transitions:
                by_event: dict[str | None, list[TransitionNode]] = defaultdict(list)
                for way in node.transitions:
                    for event in (None,) if way.eventless else way.events:
                        by_event[event].append(way)
                made[number] = by_event
        return made

    def on(self, number: int, event: str | None) -> Sequence[TransitionNode]:
        """The transitions of one node on an event, in order."""
        return self.ways[number].get(event, ())

    @cached_property
    def said(self) -> frozenset[str]:
        """Every event that actions raise, and every trigger that a caller can send."""
        found = set(self.definition.triggers)
        for node in self.nodes:
            found.update(raised(inside(node)))
        for content in {
            id(way.content): way.content for way in self.definition.transitions
        }.values():
            found.update(raised(content))
        return frozenset(found)

    def waits_for_end(self, way: TransitionNode) -> bool:
        """Only the end of its source takes it: its done event is nobody else's."""
        return way.origin == "on_done" and self.said.isdisjoint(way.events)
