"""History that is asked for too early: of a state that was not left since.

::

    market ( open --halt--> halted --lift--> H(market) )     market is never left: H(market) is of
                                                             before it was entered, not of before
                                                             halted
"""

from collections.abc import Iterator

from pystator.definition.analysis.findings import Findings, way_words
from pystator.definition.model import Definition, Kind, Node, TransitionNode

__all__ = ["find_unleft"]


def find_unleft(definition: Definition, findings: Findings) -> None:
    """Ways back in a state that lead to what was active before that state was entered."""
    for way in definition.transitions:
        source = definition.nodes[way.source]
        if len(way.targets) != 1 or not way.targets[0].history:
            continue
        remembered = definition.nodes[way.targets[0].name]
        child = _child(definition, source, remembered)
        if child is None or remembered.kind is Kind.PARALLEL:
            continue
        if not _is_entered_from_outside(definition, remembered, child):
            above, below = remembered.label, child.label
            findings.of_way(
                "not_left",
                way,
                f"{way_words(way, definition)} goes to where it was when {above!r} was last left,"
                f" and nothing leaves {above!r} before {below!r}: move {below!r} out of it, or put"
                " the states to return to into one of their own",
            )


def _child(definition: Definition, node: Node, above: Node) -> Node | None:
    """What is directly inside ``above`` and holds the node, or is it; None where nothing does."""
    while node.parent:
        if node.parent == above.name:
            return node
        node = definition.nodes[node.parent]
    return None


def _is_entered_from_outside(definition: Definition, remembered: Node, child: Node) -> bool:
    """Something enters the child together with what is around it: by name, or by default."""
    inside = {node.name for node in _below(child)}
    if any(target.name in inside for target in (*remembered.initial, *definition.initial)):
        return True
    return any(
        not _stays(definition, way, remembered)
        for way in definition.transitions
        if any(target.name in inside for target in way.targets)
    )


def _stays(definition: Definition, way: TransitionNode, remembered: Node) -> bool:
    """The way begins inside and does not leave what is remembered."""
    source = definition.nodes[way.source]
    if source is remembered:
        return way.internal or source.kind is Kind.REGION
    return _child(definition, source, remembered) is not None and len(way.targets) == 1


def _below(node: Node) -> Iterator[Node]:
    """The node and everything inside it."""
    yield node
    for child in node.children:
        yield from _below(child)
