"""Configurations, and what is left and entered, on the numbers of the node tree.

A configuration is the tuple of its active leaves in document order; its text joins their names with
``+``. A flat machine is the special case of one leaf below the root.
"""

from collections.abc import Iterable, Sequence
from math import prod

from pystator.definition.model import Definition, Kind, region_key
from pystator.definition.numbers import ROOT, Numbers
from pystator.errors import UndefinedStateError

__all__ = ["Configuration", "Tree", "listed"]

Configuration = tuple[int, ...]
"""Active leaves, in document order."""


class Tree(Numbers):
    """The numbers of a definition's nodes, as the engine goes through them.

    Attributes:
        labels: Number -> its name as people write it.
    """

    __slots__ = ("labels",)

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self.labels = [node.label if node.kind is Kind.REGION else node.name for node in self.nodes]

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
