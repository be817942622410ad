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

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from math import prod

from pystator.definition.model import Definition, Kind, Node, Target, region_key
from pystator.errors import UndefinedStateError

__all__ = ["ROOT", "Configuration", "Tree", "listed"]

ROOT = 0
"""The number of the root, which is not a state and has no name."""

Configuration = tuple[int, ...]
"""Active leaves, in document order."""

_HOLDERS = frozenset({Kind.COMPOUND, Kind.REGION})


class Tree:
    """Numbers of a `Definition`'s nodes.

    Attributes:
        nodes: Number -> node.
        labels: Number -> its name as people write it.
        index: Name -> number.
        parents: Number -> number of the parent; the root is its own.
        children: Number -> numbers of the children.
        last: Number -> the greatest number at or below it.
    """

    __slots__ = ("_wholes", "children", "index", "labels", "last", "nodes", "parents")

    def __init__(self, definition: Definition) -> None:
        self.nodes: list[Node] = []
        self.labels: list[str] = []
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
            self.labels.append(node.label if node.kind is Kind.REGION else node.name)
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

    @property
    def has_regions(self) -> bool:
        """Several leaves may be active at once."""
        return any(node.kind is Kind.PARALLEL for node in self.nodes)

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
        parents = self.parents
        active: set[int] = set()
        for number in configuration:
            while number != ROOT and number not in active:
                active.add(number)
                number = parents[number]  # noqa: PLW2901 # up, as far as nobody went before
        return active

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

    def count(self, limit: int) -> int:
        """How many configurations there are, as far as they are fewer than ``limit``."""
        counts = [1] * len(self.nodes)
        for number in range(len(self.nodes) - 1, -1, -1):
            below = [counts[child] for child in self.children[number]]
            if below:
                both = self.nodes[number].kind is Kind.PARALLEL
                counts[number] = min(limit, prod(below) if both else sum(below))
        return counts[ROOT]

    # Movement -------------------------------------------------------------------------------

    def exits(self, configuration: Configuration, domains: Iterable[int]) -> list[int]:
        """What transitions with these domains leave, in order: innermost and last first."""
        active = self.active(configuration)
        left: set[int] = set()
        for domain in domains:
            last = self.last[domain]
            left.update([number for number in active if domain < number <= last])
        return sorted(left, reverse=True)

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
            UndefinedStateError: A name is not a state of this machine, or two of the states are
                never active together.
        """
        names = text.split("+") if type(text) is str else []
        numbers = [self.index.get(name, ROOT) for name in names]
        if not names or any(
            number == ROOT or self.nodes[number].kind is Kind.REGION for number in numbers
        ):
            raise self.undefined(text)
        entered = self.entries(ROOT, numbers)
        self._check_exclusive(entered, text)
        return self.leaves(entered)

    def _check_exclusive(self, entered: list[int], text: str) -> None:
        active: dict[int, int] = {}
        for number in entered:
            parent = self.parents[number]
            other = active.setdefault(parent, number)
            if other != number and self.is_holder(parent):
                raise UndefinedStateError(
                    f"{text!r:.200} is no configuration of this machine: {self.labels[other]!r} and"
                    f" {self.labels[number]!r} are never active together",
                    context={"state": text},
                )

    def numbers(self, targets: Iterable[Target]) -> list[int]:
        """The nodes that targets name."""
        return [self.index[target.name] for target in targets]

    def undefined(self, text: object) -> UndefinedStateError:
        """The error for a text that names no configuration, with the closest name there is."""
        names = [node.name for node in self.nodes[1:] if node.kind is not Kind.REGION]
        wrong = str(text)
        if type(text) is str:
            wrong = next((name for name in text.split("+") if name not in names), text)
        region = self.index.get(region_key(wrong))
        if region is not None:
            inside = self.nodes[region].children
            message = f"{wrong!r} is a region: name the state in it, e.g. {inside[0].name!r}"
        elif "+" in wrong and all(name in names for name in wrong.split("+")):
            message = f"{wrong!r} are several states: name one of them"
        else:
            message = f"there is no state {wrong!r} in this machine; {self._known(wrong, names)}"
        return UndefinedStateError(message, context={"state": wrong, "states": names[:100]})

    def _known(self, wrong: str, names: list[str]) -> str:
        from difflib import get_close_matches  # only an error pays for it

        if close := get_close_matches(wrong, names, n=1):
            return f"did you mean '{close[0]}'?"
        return f"states: {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """The first dozen names, and how many more there are."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
