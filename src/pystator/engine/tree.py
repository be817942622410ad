"""The node tree in numbers.

::

    number   0       1       2    3    4       5
    node     (root)  draft   open open.new ..  closed       document order = depth first
    last     5       1       4    ...                       x is n or below n: n <= x <= last[n]

Every question of the algorithm - who is an ancestor of whom, what does a transition leave and
enter, in which order - is arithmetic on these numbers. A configuration is the tuple of its active
leaves in document order; its text joins their names with ``+``. A flat machine is the special case
of one leaf below the root.
"""

from collections.abc import Iterable

from pystator.definition.model import Definition, Kind, Node, Target
from pystator.errors import UndefinedStateError

__all__ = ["ROOT", "Configuration", "Tree"]

ROOT = 0
"""The number of the root, which is not a state and has no name."""

Configuration = tuple[int, ...]
"""Active leaves, in document order."""

_HOLDERS = frozenset({Kind.COMPOUND, Kind.REGION})


class Tree:
    """Numbers of a `Definition`'s nodes.

    Attributes:
        nodes: Number -> node.
        index: Name -> number.
        parents: Number -> number of the parent; the root is its own.
        children: Number -> numbers of the children.
        last: Number -> the greatest number at or below it.
    """

    __slots__ = ("children", "index", "last", "nodes", "parents")

    def __init__(self, definition: Definition) -> None:
        self.nodes: list[Node] = []
        self.index: dict[str, int] = {}
        self.parents: list[int] = []
        self.children: list[tuple[int, ...]] = []
        self.last: list[int] = []
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

    def is_below(self, number: int, ancestor: int) -> bool:
        """``number`` is a proper descendant of ``ancestor``."""
        return ancestor < number <= self.last[ancestor]

    def upward(self, number: int) -> list[int]:
        """The node and its ancestors, innermost first, without the root."""
        path: list[int] = []
        while number != ROOT:
            path.append(number)
            number = self.parents[number]
        return path

    def active(self, configuration: Configuration) -> set[int]:
        """The leaves and all their ancestors, without the root."""
        return {number for leaf in configuration for number in self.upward(leaf)}

    def domain(self, source: int, targets: Iterable[int], *, internal: bool) -> int:
        """The innermost compound node that stays active: what lies below it is left and entered.

        An internal transition into its own compound source keeps the source.
        """
        goals = list(targets)
        if internal and all(self.is_below(goal, source) for goal in goals):
            return source
        number = source
        while number != ROOT:
            number = self.parents[number]
            if (number == ROOT or self.nodes[number].kind in _HOLDERS) and all(
                self.is_below(goal, number) for goal in goals
            ):
                break
        return number

    # Movement -------------------------------------------------------------------------------

    def exits(self, configuration: Configuration, domain: int) -> list[int]:
        """What a transition with this domain leaves, in order: innermost and last first."""
        return sorted(
            (number for number in self.active(configuration) if self.is_below(number, domain)),
            reverse=True,
        )

    def entries(self, domain: int, targets: Iterable[int]) -> list[int]:
        """What reaching the targets enters, in order of entering: outermost and first first."""
        goals = list(targets)
        entered: set[int] = set()
        for goal in goals:
            entered.update(number for number in self.upward(goal) if self.is_below(number, domain))
        pending = sorted(entered)
        while pending:
            more = [number for number in self._defaults(pending.pop(), entered) if number > domain]
            entered.update(more)
            pending.extend(more)
        return sorted(entered)

    def _defaults(self, number: int, entered: set[int]) -> list[int]:
        """What must be entered below an entered node that nothing chose yet."""
        node = self.nodes[number]
        if node.kind in _HOLDERS:
            if any(child in entered for child in self.children[number]):
                return []
            return [
                step
                for target in node.initial
                for step in self.upward(self.index[target.name])
                if self.is_below(step, number) and step not in entered
            ]
        return [child for child in self.children[number] if child not in entered]

    def leaves(self, numbers: Iterable[int]) -> Configuration:
        """Those of the numbers that have no children, in document order."""
        return tuple(sorted(number for number in numbers if not self.children[number]))

    # Text -----------------------------------------------------------------------------------

    def text(self, configuration: Configuration) -> str:
        """The configuration as it is stored: ``"open"``, ``"packing+paid"``."""
        if len(configuration) == 1:
            return self.nodes[configuration[0]].name
        return "+".join([self.nodes[leaf].name for leaf in configuration])

    def read(self, text: str) -> Configuration:
        """A configuration from its text, in any order, completed by defaults.

        Raises:
            UndefinedStateError: A name is not a state of this machine.
        """
        names = text.split("+") if type(text) is str else []
        if not names or any(self.index.get(name, ROOT) == ROOT for name in names):
            raise self.undefined(text)
        return self.leaves(self.entries(ROOT, [self.index[name] for name in names]))

    def numbers(self, targets: Iterable[Target]) -> list[int]:
        """The nodes that targets name."""
        return [self.index[target.name] for target in targets]

    def undefined(self, text: object) -> UndefinedStateError:
        """The error for a text that names no configuration, with the closest name there is."""
        names = [node.name for node in self.nodes[1:]]
        wrong = str(text)
        if type(text) is str:
            wrong = next((name for name in text.split("+") if name not in self.index), text)
        from difflib import get_close_matches  # only an error pays for it

        close = get_close_matches(wrong, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"states: {', '.join(names[:12])}"
        return UndefinedStateError(
            f"there is no state {wrong!r} in this machine; {hint}",
            context={"state": wrong, "states": names[:100]},
        )
