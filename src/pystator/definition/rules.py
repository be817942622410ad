"""Rules about a state with all its transitions, checked when the whole machine is known.

What follows from several states, or from what guards mean, is `pystator.definition.analyse`'s.
"""

from collections.abc import Iterable, Mapping

from pystator.definition.issues import Path, Report
from pystator.definition.model import Kind, Node, TransitionNode, upward
from pystator.definition.states import StateEntry

__all__ = ["check_states", "unfinished"]


def check_states(nodes: Mapping[str, Node], entries: Iterable[StateEntry], report: Report) -> None:
    """Check choices, terminal states and loops.

    Args:
        nodes: The states and regions.
        entries: The states, with what was written.
        report: Takes the mistakes.
    """
    for found in entries:
        node, path = found.node, found.path
        if node.kind is Kind.CHOICE:
            _check_choice(node, report, path)
        elif node.kind is Kind.TERMINAL:
            _check_terminal(node, report, path)
        _check_loop(nodes, node, report, path)


def _check_choice(node: Node, report: Report, path: Path) -> None:
    branches = node.transitions
    if not branches:
        report.add("choice", path, f"the choice {node.name!r} has no transitions")
    if any(target.name == node.name for branch in branches for target in branch.targets):
        report.add("endless", path, f"the choice {node.name!r} leads to itself")


def _check_terminal(node: Node, report: Report, path: Path) -> None:
    if node.on_exit and not node.parent:
        report.warn("never", (*path, "on_exit"), f"{node.name!r} is terminal and never left")


def unfinished(node: Node) -> str | None:
    """Why a state with others inside can never be done; None when it can."""
    holders = node.children if node.kind is Kind.PARALLEL else [node]
    for holder in holders:
        if not any(child.kind is Kind.TERMINAL for child in holder.children):
            what = "the region " if holder.kind is Kind.REGION else ""
            return f"no state directly inside {what}{holder.label!r} is terminal"
    return None


# Loops ------------------------------------------------------------------------------------------


def _check_loop(nodes: Mapping[str, Node], node: Node, report: Report, path: Path) -> None:
    """A way without event and guards back into its own source would be taken for ever.

    Only what is certain is refused: no other eventless transition may come between.
    """
    way = next((way for way in node.transitions if way.eventless), None)
    if way is None or way.guards or not _comes_back(nodes, node, way):
        return
    around = _outermost_parallel(nodes, node) or node
    if any(each.eventless for each in _inside(around) if each.source != node.name):
        return
    if node.kind is Kind.CHOICE:
        report.add("endless", path, f"the choice {node.name!r} leads to itself")
        return
    into = "to itself" if way.internal or _is_target(node, way) else "back into itself"
    report.add(
        "endless",
        path,
        f"{node.name!r} goes {into} by 'auto' without guards: that would never end",
    )


def _is_target(node: Node, way: TransitionNode) -> bool:
    return any(target.name == node.name for target in way.targets)


def _comes_back(nodes: Mapping[str, Node], node: Node, way: TransitionNode) -> bool:
    """A transition's source is active after it, whatever was active before."""
    if way.internal or _is_target(node, way):
        return True
    if any(target.history or target.name not in nodes for target in way.targets):
        return False
    return _is_entered(nodes, node, [target.name for target in way.targets])


def _is_entered(nodes: Mapping[str, Node], node: Node, goals: list[str]) -> bool:
    """A node is active when these goals are reached from outside."""
    above = [upward(nodes, goal) for goal in goals]
    around: Node | None = None
    for name in reversed(upward(nodes, node.name)):
        chosen = any(name in chain for chain in above)
        if not chosen and (around is None or around.kind is not Kind.PARALLEL):
            if around is None or any(around.name in chain[1:] for chain in above):
                return False
            above += [upward(nodes, target.name) for target in around.initial]
            if not any(name in chain for chain in above):
                return False
        around = nodes[name]
    return True


def _outermost_parallel(nodes: Mapping[str, Node], node: Node) -> Node | None:
    found: Node | None = None
    above = node.parent
    while above:
        found = nodes[above] if nodes[above].kind is Kind.PARALLEL else found
        above = nodes[above].parent
    return found


def _inside(node: Node) -> Iterable[TransitionNode]:
    """The transitions of a node and of all nodes inside it."""
    pending = [node]
    while pending:
        each = pending.pop()
        pending.extend(each.children)
        yield from each.transitions
