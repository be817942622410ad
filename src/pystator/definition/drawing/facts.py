"""A machine as plain facts, for drawing tools of your own: ``pystator graph FILE --format json``.

The shape is a promise: keys may be added, none is renamed or taken away (``docs/graph.md`` has it
in full). Guards and actions are in words, as the pictures show them.
"""

from collections.abc import Collection, Iterator
from typing import Any

from pystator.definition.model import (
    Action,
    After,
    At,
    Definition,
    Guard,
    Node,
    Target,
    TransitionNode,
)
from pystator.definition.words import action_words, duration_words, guard_words

__all__ = ["facts"]


def facts(
    definition: Definition, *, current: Collection[str] = (), visited: Collection[str] = ()
) -> dict[str, Any]:
    """The machine, its states and regions in document order, and its transitions."""
    return {
        "machine": definition.name,
        "version": definition.version,
        "description": definition.description,
        "fingerprint": definition.fingerprint,
        "initial": [_target(target) for target in definition.initial],
        "states": [_state(node, current, visited) for node in _walk(definition.root)],
        "transitions": [_transition(way) for way in definition.transitions],
    }


def _walk(root: Node) -> Iterator[Node]:
    pending = list(reversed(root.children))
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.children))


def _state(node: Node, current: Collection[str], visited: Collection[str]) -> dict[str, Any]:
    return {
        "name": node.name,
        "label": node.label,
        "type": node.type.value,
        "kind": node.kind.value,
        "parent": node.parent or None,
        "initial": [_target(target) for target in node.initial],
        "description": node.description,
        "group": node.group,
        "on_enter": _actions(action for block in node.on_enter for action in block),
        "on_exit": _actions(action for block in node.on_exit for action in block),
        "when": _guards(node.when),
        "current": node.name in current,
        "visited": node.name in visited,
    }


def _transition(way: TransitionNode) -> dict[str, Any]:
    timer = way.timer
    return {
        "index": way.index,
        "source": way.source,
        "targets": [_target(target) for target in way.targets],
        "triggers": list(way.events),
        "after": duration_words(timer.microseconds // 1_000) if isinstance(timer, After) else None,
        "at": timer.expression.text if isinstance(timer, At) else None,
        "auto": way.eventless,
        "guards": _guards(way.guards),
        "actions": _actions(way.content),
        "internal": way.internal,
        "origin": way.origin,
        "description": way.description,
        "refs": list(way.refs),
    }


def _target(target: Target) -> dict[str, Any]:
    return {"state": target.name, "history": target.history or None}


def _guards(guards: Collection[Guard]) -> list[str]:
    return [guard_words(guard) for guard in guards]


def _actions(actions: Iterator[Action] | Collection[Action]) -> list[str]:
    return [action_words(action) for action in actions]
