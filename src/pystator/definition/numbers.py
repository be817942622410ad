"""The nodes of a machine in numbers, for whoever has to work out what a transition does.

::

    number   0       1       2    3    4       5
    node     (root)  draft   open open.new ..  closed       document order = depth first
    last     5       1       4    ...                       x is n or below n: n <= x <= last[n]

Every question of the algorithm - who is an ancestor of whom, what does a transition leave and
enter, in which order - is arithmetic on these numbers. The engine (`pystator.engine.tree`) and the
analysis (`pystator.definition.analysis.chart`) ask them of the same ones.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from typing import Final

from pystator.definition.model import Definition, Kind, Node, Target, TransitionNode

__all__ = ["ROOT", "Numbers"]

ROOT: Final = 0
"""The number of the root, which is not a state and has no name."""

_HOLDERS: Final = frozenset({Kind.COMPOUND, Kind.REGION})


class Numbers:
    """Numbers of a `Definition`'s nodes.

    Attributes:
        nodes: Number -> node.
        index: Name -> number.
        parents: Number -> number of the parent; the root is its own.
        children: Number -> numbers of the children.
        last: Number -> the greatest number at or below it.
    """

    __slots__ = ("_wholes", "children", "index", "last", "nodes", "parents")

    def __init__(self, definition: Definition) -> None:
        self.nodes: list[Node] = []
        self.index: dict[str, int] = {}
        self.parents: list[int] = []
        self.children: list[tuple[int, ...]] = []
        self.last: list[int] = []
        self._wholes: dict[int, tuple[int, ...]] = {}
        self._number(definition.root)

    def _number(self, root: Node) -> None:
        """Number the nodes depth first, without recursion: depth is the author's."""
        pending = [(root, ROOT)]
        below: list[list[int]] = []
        while pending:
            node, parent = pending.pop()
            number = len(self.nodes)
            self.nodes.append(node)
            self.index[node.name] = number
            self.parents.append(parent)
            below.append([])
            if number != ROOT:
                below[parent].append(number)
            pending.extend((child, number) for child in reversed(node.children))
        self.children = [tuple(numbers) for numbers in below]
        self.last = list(range(len(self.nodes)))
        for number in range(len(self.nodes) - 1, ROOT, -1):
            parent = self.parents[number]
            self.last[parent] = max(self.last[parent], self.last[number])

    # Relations ------------------------------------------------------------------------------

    def domain(self, source: int, goals: Iterable[int], *, internal: bool) -> int:
        """The innermost compound node that stays active: what lies below it is left and entered.

        An internal transition into its own compound source keeps the source. So does one of a
        region, which is never left alone: the other regions stay as they are.
        """
        first, *others = sorted(goals)
        last = others[-1] if others else first  # below a node are the numbers from it to its last
        number = source
        if not self.is_region(source) and not (internal and self.is_holder(source)):
            number = self.parents[source]
        while number != ROOT and not (
            self.is_holder(number) and number < first and last <= self.last[number]
        ):
            number = self.parents[number]
        return number

    def is_holder(self, number: int) -> bool:
        """Exactly one child is active whenever it is: the root, a compound state or a region."""
        return number == ROOT or self.nodes[number].kind in _HOLDERS

    def is_region(self, number: int) -> bool:
        """Active whenever its parallel state is."""
        return number != ROOT and self.nodes[number].kind is Kind.REGION

    def is_parallel(self, number: int) -> bool:
        """All children are active whenever it is."""
        return self.nodes[number].kind is Kind.PARALLEL

    def numbers(self, targets: Iterable[Target]) -> list[int]:
        """The nodes that targets name."""
        return [self.index[target.name] for target in targets]

    # Transitions ----------------------------------------------------------------------------

    def is_route(self, way: TransitionNode) -> bool:
        """Data alone may take it: it waits for nothing but an event, and a target says ``when``."""
        return (
            bool(way.events)
            and way.origin == "transitions"
            and not (way.internal or way.eventless)
            and any(self.nodes[number].when for number in self.numbers(way.targets))
        )

    def entries(self, domain: int, goals: Iterable[int]) -> list[int]:
        """What reaching the goals enters, in order of entering: outermost and first first."""
        chosen: set[int] = set()
        for goal in goals:
            chosen.update(self._between(domain, goal))
        entered = set(chosen)
        for number in chosen:
            for missing in self._missing(number, chosen):
                entered.update(self._whole(missing))
        return sorted(entered)

    def _between(self, above: int, number: int) -> Iterator[int]:
        """The node and its ancestors below ``above``."""
        while number > above:
            yield number
            number = self.parents[number]

    def _missing(self, number: int, chosen: Container[int]) -> Collection[int]:
        """Where defaults begin at an entered node: at itself, or at regions nothing chose."""
        children = self.children[number]
        if self.is_parallel(number):
            return [child for child in children if child not in chosen]
        for child in children:
            if child in chosen:
                return ()
        return (number,)

    def _whole(self, number: int) -> tuple[int, ...]:
        """A node with everything that its entry enters by default."""
        if not self.children[number]:
            return (number,)
        found = self._wholes.get(number)
        if found is None:
            entered = {number}
            pending = [number]
            while pending:
                more = self._defaults(pending.pop(), entered)
                entered.update(more)
                pending.extend(more)
            found = self._wholes[number] = tuple(entered)
        return found

    def _defaults(self, number: int, entered: set[int]) -> set[int]:
        """What is entered by default below a node, as far as nothing else is."""
        children = self.children[number]
        if self.is_parallel(number):
            return {child for child in children if child not in entered}
        if any(child in entered for child in children):
            return set()
        return {step for goal in self.initial(number) for step in self._between(number, goal)}

    def initial(self, number: int) -> list[int]:
        """What an entry of the node enters by default; a parallel node enters all its regions."""
        if self.is_parallel(number):
            return [*self.children[number]]
        return self.numbers(self.nodes[number].initial)
