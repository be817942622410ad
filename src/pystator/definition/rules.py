"""Rules about a state with all its transitions, checked when the whole machine is known."""

from collections.abc import Iterable

from pystator.definition.issues import Path, Report
from pystator.definition.model import Kind, Node, TransitionNode
from pystator.definition.states import StateEntry

__all__ = ["check_states"]


def check_states(entries: Iterable[StateEntry], report: Report) -> None:
    """Check choices, terminal states and loops.

    Args:
        entries: The states, with what was written.
        report: Takes the mistakes.
    """
    for found in entries:
        node, path = found.node, found.path
        if node.kind is Kind.CHOICE:
            _check_choice(node, report, path)
        elif node.kind is Kind.TERMINAL:
            _check_terminal(node, report, path)
        else:
            _check_loop(node, report, path)


def _check_choice(node: Node, report: Report, path: Path) -> None:
    branches = node.transitions
    if not branches:
        report.add("choice", path, f"the choice {node.name!r} has no transitions")
    elif all(branch.guards for branch in branches):
        report.warn(
            "choice_open",
            path,
            f"the last branch of {node.name!r} has guards: an event fails when none holds",
        )
    if any(not branch.guards for branch in branches[:-1]):
        report.warn(
            "never", path, f"branches of {node.name!r} after the one without guards are never taken"
        )
    if any(_stays(branch, node) for branch in branches):
        report.add("endless", path, f"the choice {node.name!r} leads to itself")


def _check_terminal(node: Node, report: Report, path: Path) -> None:
    if node.on_exit and not node.parent:
        report.warn("never", (*path, "on_exit"), f"{node.name!r} is terminal and never left")


def _check_loop(node: Node, report: Report, path: Path) -> None:
    for transition in node.transitions:
        if transition.eventless and not transition.guards and _stays(transition, node):
            report.add(
                "endless",
                path,
                f"{node.name!r} goes to itself by 'auto' without guards: that would never end",
            )


def _stays(transition: TransitionNode, node: Node) -> bool:
    return transition.internal or any(target.name == node.name for target in transition.targets)
