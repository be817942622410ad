"""What compound, parallel and region nodes remember.

Memory is data of the entity: ``context["_history"]`` maps a node to the leaves that were active
below it when it was last left. Only nodes that some transition returns to - ``H(node)`` or
``H*(node)`` - are recorded. Both forms read the same record: deep history enters the leaves
themselves, shallow history the children of the node that hold them, and their defaults.

A record is read with distrust: the machine may have been changed since. Names that do not lie below
the node any more, and states that are never active together, are left out; a record of which
nothing is left is the node's default entry, as if there were none.
"""

from collections.abc import Iterable
from typing import Any, cast

from pystator.definition.model import Definition, Kind, Target, TransitionNode
from pystator.engine.frame import Frame
from pystator.engine.tree import Configuration, Tree
from pystator.engine.values import is_list
from pystator.records import HISTORY, Context

__all__ = ["HISTORY", "History", "Memory", "recording", "remembered"]

Memory = tuple[tuple[str, ...], ...]
"""The records that the history targets of some transitions read, in order: names of leaves."""

Records = dict[str, tuple[str, ...]]
"""Keys of records, and the leaves to write down."""


class History:
    """The nodes of one machine that are returned to.

    Attributes:
        keys: Number of a node -> its name in records: what people call it, but for a region that
            shares its name with a state.
    """

    __slots__ = ("_tree", "keys")

    def __init__(self, definition: Definition, tree: Tree) -> None:
        self._tree = tree
        self.keys: dict[int, str] = {}
        for way in definition.transitions:
            for target in way.targets:
                if target.history:
                    node = tree.nodes[tree.index[target.name]]
                    taken = node.kind is Kind.REGION and node.label in tree.index
                    self.keys[tree.index[target.name]] = node.name if taken else node.label

    # Recording ------------------------------------------------------------------------------

    def record(self, configuration: Configuration, exits: Iterable[int]) -> Records:
        """What leaving these nodes writes down."""
        tree = self._tree
        return {
            self.keys[number]: tuple(
                [tree.nodes[leaf].name for leaf in configuration if tree.is_below(leaf, number)]
            )
            for number in exits
            if number in self.keys
        }

    # Returning ------------------------------------------------------------------------------

    def returns(self, way: TransitionNode) -> tuple[str, ...]:
        """Keys of the records that a transition's history targets read, in order."""
        return tuple(
            self.keys[self._tree.index[target.name]] for target in way.targets if target.history
        )

    def read(self, ways: Iterable[TransitionNode], context: Context) -> Memory:
        """The records that the history targets of transitions read, as the context has them."""
        return remembered([key for way in ways for key in self.returns(way)], context)

    def resolve(self, target: Target, leaves: Iterable[str]) -> tuple[int, ...]:
        """The nodes that a history target stands for, given the record of its node."""
        tree = self._tree
        node = tree.index[target.name]
        goals = {
            number if target.history == "deep" else self._child(node, number)
            for number in [tree.index[name] for name in leaves if name in tree.index]
            if tree.is_below(number, node)
        }
        together: list[int] = []
        for goal in sorted(goals):
            if all(self._can_be_active(goal, other) for other in together):
                together.append(goal)
        return tuple(together or tree.initial(node))

    def _child(self, node: int, number: int) -> int:
        """The child of a node that holds a number below it."""
        parents = self._tree.parents
        while parents[number] != node:
            number = parents[number]
        return number

    def _can_be_active(self, number: int, other: int) -> bool:
        """Two nodes, neither of which holds the other, may be active at once."""
        tree = self._tree
        while not other <= number <= tree.last[other]:
            other = tree.parents[other]
        return tree.nodes[other].kind is Kind.PARALLEL


def remembered(keys: Iterable[str], context: Context) -> Memory:
    """The records of these keys, as far as the context has any."""
    records = context.get(HISTORY)
    if not isinstance(records, dict):
        return tuple(() for _ in keys)
    known = cast("dict[str, Any]", records)
    return tuple([_names(known.get(key)) for key in keys])


def _names(leaves: Any) -> tuple[str, ...]:
    """What is a name in a record."""
    return tuple([leaf for leaf in leaves if type(leaf) is str]) if is_list(leaves) else ()


def recording(records: Records, context: Context, _frame: Frame) -> Context:
    """The effect of writing records down; every entity gets lists of its own."""
    before = context.get(HISTORY)
    after: dict[str, Any] = {**cast("Any", before)} if isinstance(before, dict) else {}
    after.update({key: [*leaves] for key, leaves in records.items()})
    return {**context, HISTORY: after}
