"""A machine as a Mermaid state diagram: text that GitHub, GitLab and most editors draw.

::

    stateDiagram-v2
        [*] --> placed
        placed --> paid : pay [amount > 0] / paid += amount
        paid --> [*]

What happens inside a state (entry, exit and internal transitions) stands in its box, as UML has it.
"""

import re
from collections.abc import Collection, Iterator

from pystator.definition.model import Action, Definition, Kind, Node, StateType, TransitionNode
from pystator.definition.words import action_words, guard_words, trigger_words

__all__ = ["mermaid"]

RESERVED = frozenset(
    (
        "accdescr",
        "acctitle",
        "as",
        "choice",
        "class",
        "classdef",
        "click",
        "default",
        "direction",
        "end",
        "fork",
        "hide",
        "href",
        "join",
        "note",
        "scale",
        "state",
        "style",
        "title",
    )
)
"""Words of Mermaid's own that cannot name a state."""

SPECIAL = re.compile(r"[#;:<>\"\\{}\r\n]")
"""What Mermaid would read as its own in a label."""

WIDEST = 80
"""Characters of a label; a longer one is cut, as a diagram is read at a glance."""

STYLES = {
    "error": "stroke:#c0392b,stroke-width:2px",
    "visited": "fill:#d6eaf8,stroke:#2e86c1",
    "current": "fill:#f9e79f,stroke:#b7950b,stroke-width:3px",
}


def mermaid(
    definition: Definition,
    *,
    brief: bool = False,
    current: Collection[str] = (),
    visited: Collection[str] = (),
) -> str:
    """The diagram of a flat machine.

    Args:
        definition: The machine.
        brief: Only states and triggers, without guards, effects and what happens inside a state.
        current: States to mark as where an entity is.
        visited: States to mark as where it has been.
    """
    return "\n".join(_lines(definition, brief, current, visited)) + "\n"


def _lines(
    definition: Definition, brief: bool, current: Collection[str], visited: Collection[str]
) -> Iterator[str]:
    nodes = list(definition.root.children)
    if definition.name:
        yield from ("---", f"title: {_title(definition)}", "---")
    yield "stateDiagram-v2"
    for node in nodes:
        yield from (f"    {line}" for line in _state(node, brief))
    for target in definition.initial:
        yield f"    [*] --> {_id(target.name)}"
    for node in nodes:
        yield from (f"    {line}" for line in _arrows(node, brief))
    yield from (f"    {line}" for line in _marks(nodes, current, visited))


def _title(definition: Definition) -> str:
    """Inside of YAML's quotes, where only the quote itself has to be minded."""
    name = f"{definition.name} {definition.version}".strip()
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _state(node: Node, brief: bool) -> Iterator[str]:
    name = _id(node.name)
    if node.kind is Kind.CHOICE:
        yield f"state {name} <<choice>>"
        return
    inside = [] if brief else list(_inside(node))
    if name != node.name or inside:
        yield f'state "{node.name}" as {name}'
    for line in inside:
        yield f"{name} : {line}"


def _inside(node: Node) -> Iterator[str]:
    for word, blocks in (("entry", node.on_enter), ("exit", node.on_exit)):
        actions = [action for block in blocks for action in block]
        if actions:
            yield _label(f"{word} / {_actions(actions)}")
    for transition in node.transitions:
        if transition.internal:
            yield _label(_words(transition))


def _arrows(node: Node, brief: bool) -> Iterator[str]:
    for transition in node.transitions:
        if transition.internal:
            continue
        words = trigger_words(transition) if brief else _words(transition)
        label = f" : {_label(words)}" if words else ""
        for target in transition.targets:
            yield f"{_id(node.name)} --> {_id(target.name)}{label}"
    if node.type is StateType.TERMINAL:
        yield f"{_id(node.name)} --> [*]"


def _words(transition: TransitionNode) -> str:
    """``trigger [guard] / actions``, and the requirements it meets."""
    parts = [trigger_words(transition)]
    if transition.guards:
        guards = " and ".join(guard_words(guard) for guard in transition.guards)
        parts.append(f"[{guards}]")
    if transition.content:
        parts.append(f"/ {_actions(transition.content)}")
    parts += [f"({ref})" for ref in transition.refs]
    return " ".join(part for part in parts if part)


def _actions(actions: Collection[Action]) -> str:
    return ", ".join(action_words(action) for action in actions)


def _marks(nodes: list[Node], current: Collection[str], visited: Collection[str]) -> Iterator[str]:
    marked = {
        "error": [node.name for node in nodes if node.type is StateType.ERROR],
        "visited": [node.name for node in nodes if node.name in visited],
        "current": [node.name for node in nodes if node.name in current],
    }
    choices = {node.name for node in nodes if node.kind is Kind.CHOICE}
    for style, names in marked.items():
        drawn = [_id(name) for name in names if name not in choices]
        if drawn:
            yield f"classDef {style} {STYLES[style]}"
            yield f"class {','.join(drawn)} {style}"


def _id(name: str) -> str:
    return f"{name}_" if name in RESERVED else name


def _label(text: str) -> str:
    """Text that Mermaid takes as it is, on one line and not too long."""
    words = " ".join(text.split())
    if len(words) > WIDEST:
        words = words[: WIDEST - 1] + "…"
    return SPECIAL.sub(lambda found: f"#{ord(found.group())};", words)
