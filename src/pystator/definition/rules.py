"""Rules about a machine as a whole, checked when its parts are known."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pystator.definition.issues import Report
from pystator.definition.model import Kind, Node, TransitionNode

__all__ = ["check_machine"]

Entries = Iterable[tuple[int, Mapping[str, Any]]]


def check_machine(
    nodes: Mapping[str, Node],
    transitions: Sequence[TransitionNode],
    report: Report,
    entries: Entries,
) -> None:
    """Check choices, dead ends and loops.

    Args:
        nodes: The states.
        transitions: All of the machine.
        report: Takes the mistakes.
        entries: The entries of ``states`` with their positions in the list.
    """
    reached = {target.name for transition in transitions for target in transition.targets}
    for index, entry in entries:
        node = nodes.get(entry["name"])
        if node is None:
            continue
        path = ("states", index)
        if node.kind is Kind.CHOICE:
            _check_choice(node, report, path)
        elif node.kind is Kind.TERMINAL:
            if node.on_exit:
                report.warn(
                    "never", (*path, "on_exit"), f"{node.name!r} is terminal: it is never left"
                )
        else:
            _check_loop(node, report, path)
        _ = reached


def _check_choice(node: Node, report: Report, path: tuple[str | int, ...]) -> None:
    branches = node.transitions
    if not branches:
        report.add("choice", path, f"the choice {node.name!r} has no transitions")
    elif branches[-1].guards:
        report.warn(
            "choice_open",
            path,
            f"the last branch of the choice {node.name!r} has guards: an event fails when none holds",
        )


def _check_loop(node: Node, report: Report, path: tuple[str | int, ...]) -> None:
    for transition in node.transitions:
        if transition.eventless and not transition.guards:
            stays = transition.internal or transition.targets[:1] == ()
            back = bool(transition.targets) and transition.targets[0].name == node.name
            if stays or back:
                report.add(
                    "endless",
                    path,
                    f"{node.name!r} has an 'auto' transition to itself without guards: it would never end",
                )
