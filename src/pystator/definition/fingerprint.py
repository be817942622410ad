"""What a machine means, as a hash.

Two texts have the same fingerprint when they give the same machine: layout, comments, order of
keys, descriptions, groups, requirement ids, ``events``, ``metadata`` and the user's own keys of
``meta`` do not count, a list of sources is the same as a transition for each, and ``5s`` is 5000.
The order of states and transitions does count: it decides. So do the modes of ``meta``, variables
and invariants, and how states lie in each other. Name and version of the machine do not: they stand
beside the fingerprint wherever it is kept, and a version that changed nothing shows as one.
"""

import hashlib
import json
from dataclasses import fields
from typing import Any

from pystator.definition.expressions import Expression
from pystator.definition.model import Definition, Node, StateType, TransitionNode

__all__ = ["fingerprint"]

DIGITS = 32
"""128 bits: it stands in every row of entities and history, and nobody forges machines."""

_SCALARS = frozenset({str, int, float, bool, type(None)})


def fingerprint(definition: Definition) -> str:
    """The hash of a lowered machine: `DIGITS` hexadecimal digits."""
    shared: dict[int, Any] = {}

    def content(block: tuple[Any, ...]) -> Any:
        """Transitions of one entry share their content: it is written out once."""
        if not block:
            return 0
        found = shared.get(id(block))
        if found is None:
            found = shared[id(block)] = _plain(block)
        return found

    def transition(node: TransitionNode) -> list[Any]:
        found = [
            node.source,
            [target.text if target.history else target.name for target in node.targets],
            node.events,
            _plain(node.timer),
            content(node.guards),
            content(node.content),
            node.internal,
            node.eventless,
        ]
        if node.origin == "on_done":
            found.append(node.origin)  # nobody can send its event
        return found

    meaning = [
        _modes(definition),
        [_state(node) for node in definition.nodes.values()],
        [transition(node) for node in definition.transitions],
        _plain(definition.variables),
        _plain(definition.invariants),
    ]
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _modes(definition: Definition) -> list[Any]:
    found = [
        [target.name for target in definition.initial],
        definition.normalizer,
        definition.lenient_events,
        definition.lenient_guards,
        definition.validate_context,
        definition.fallback,
        definition.fallback_state,
    ]
    if definition.auto_route:
        found.append("auto_route")
    return found


def _state(node: Node) -> list[Any]:
    """What has its default is left out: a flat machine's hash does not know of nesting."""
    kind = StateType.STABLE if node.type is StateType.INITIAL else node.type
    found: list[Any] = [node.name, kind]
    if node.on_enter or node.on_exit:
        found += [_plain(node.on_enter), _plain(node.on_exit)]
    if not (node.parent or node.initial or node.when):
        return found
    more = {
        "parent": node.parent,
        "initial": [target.text for target in node.initial],
        "when": _plain(node.when),
    }
    found.append({name: value for name, value in more.items() if value})
    return found


_IGNORED = frozenset({"description", "message"})


_FIELDS: dict[Any, tuple[tuple[str, Any], ...]] = {}


def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Fields and their defaults, in order; a description means nothing."""
    return _FIELDS.get(kind) or _FIELDS.setdefault(kind, _read_fields(kind))


def _read_fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (field.name, field.default) for field in fields(kind) if field.name not in _IGNORED
    )


def _plain(value: Any) -> Any:
    """Any part of the model as plain data.

    What has its default is left out, so that a new field changes no hash.
    """
    kind = value.__class__
    if kind in _SCALARS:
        return value
    if kind is tuple or kind is list:
        return [_plain(item) for item in value]
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind is Expression:
        return ["Expression", value.text.strip()]
    found: list[Any] = [kind.__name__]
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if item is not default and item != default:
            found.append([name, _plain(item)])
    return found
