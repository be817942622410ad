"""What there is to draw, before anybody says how: shapes that hold shapes, and arrows between them.

::

    Definition -> Chart -> mermaid | dot | svg

A shape is a state, a region, or one of the small marks of UML that are no state: the dot that an
initial arrow comes from, the ``H`` and ``H*`` that a history arrow goes to, the bar where one arrow
becomes several. Marks have keys that no state can have, so a key names one shape.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from pystator.definition.model import (
    Action,
    Definition,
    Kind,
    Node,
    StateType,
    Target,
    TransitionNode,
)
from pystator.definition.words import action_words, guards_words, trigger_words
from pystator.records import record

__all__ = ["Arrow", "Chart", "Form", "Mark", "Shape", "Words", "draw"]

ROOT = ""
"""The key of the shape that holds all others; it is not drawn."""


class Form(StrEnum):
    """What a shape looks like."""

    ROOT = "root"
    STATE = "state"
    TERMINAL = "terminal"
    CHOICE = "choice"
    COMPOUND = "compound"
    PARALLEL = "parallel"
    REGION = "region"
    INITIAL = "initial"
    SHALLOW = "shallow"
    DEEP = "deep"
    FORK = "fork"


class Mark(StrEnum):
    """Where an entity is: in this very state, in something below it, or it has been here."""

    NONE = ""
    VISITED = "visited"
    ACTIVE = "active"
    CURRENT = "current"


_FORMS = {
    Kind.ATOMIC: Form.STATE,
    Kind.TERMINAL: Form.TERMINAL,
    Kind.CHOICE: Form.CHOICE,
    Kind.COMPOUND: Form.COMPOUND,
    Kind.PARALLEL: Form.PARALLEL,
    Kind.REGION: Form.REGION,
}


@record
class Words:
    """An arrow's label in its parts: ``trigger [guards] / actions (refs)``."""

    trigger: str = ""
    guards: str = ""
    actions: str = ""
    refs: str = ""

    def parts(self) -> list[str]:
        """Those that there are."""
        return [part for part in (self.trigger, self.guards, self.actions, self.refs) if part]


@dataclass(slots=True)
class Shape:
    """A state, a region or a mark.

    Attributes:
        key: Names it; a state's is its name.
        label: What people see.
        parent: The key of the shape that it lies in.
        inside: What happens inside, a line each: entry, exit and internal transitions.
        children: The keys of the shapes in it, in document order; in a parallel state the marks
            come before the regions.
    """

    key: str
    form: Form
    label: str
    parent: str
    inside: tuple[str, ...] = ()
    error: bool = False
    mark: Mark = Mark.NONE
    description: str | None = None
    children: list[str] = field(default_factory=list[str])

    @property
    def holds(self) -> bool:
        """Other shapes are drawn in it."""
        return bool(self.children)


@record
class Arrow:
    """From one shape to another.

    Attributes:
        index: Of the transition that it is, or is a part of; an initial one is none.
    """

    source: str
    target: str
    words: Words
    index: int | None = None


@dataclass(slots=True)
class Chart:
    """Everything to draw.

    Attributes:
        shapes: By key, in document order: what holds a shape comes before it.
        arrows: Initial ones first, then transitions in document order of their sources.
    """

    title: str
    description: str | None
    fingerprint: str
    shapes: dict[str, Shape]
    arrows: list[Arrow]

    def above(self, key: str) -> list[str]:
        """The shape and what holds it, innermost first; the root comes last."""
        path = [key]
        while key != ROOT:
            key = self.shapes[key].parent
            path.append(key)
        return path


def draw(
    definition: Definition,
    *,
    brief: bool = False,
    current: Collection[str] = (),
    visited: Collection[str] = (),
) -> Chart:
    """The chart of a machine.

    Args:
        definition: The machine.
        brief: Only states and triggers, without guards, effects and what happens inside a state.
        current: States to mark as where an entity is.
        visited: States to mark as where it has been.
    """
    title = f"{definition.name} {definition.version}".strip()
    root = Shape(ROOT, Form.ROOT, "", ROOT)
    chart = Chart(title, definition.description, definition.fingerprint, {ROOT: root}, [])
    nodes = list(_walk(definition.root))
    for node in nodes:
        _add(chart, _shape(node, brief))
    _start(chart, ROOT, definition.initial)
    for node in nodes:
        _start(chart, node.name, node.initial if node.children else ())
    for node in nodes:
        for way in node.transitions:
            if not _is_inside(way):
                _connect(chart, node, way, brief)
    _put_marks(chart, current, Mark.CURRENT, Mark.ACTIVE)
    _put_marks(chart, visited, Mark.VISITED, Mark.VISITED)
    return chart


def _walk(root: Node) -> Iterator[Node]:
    """All nodes below, depth first, without recursion: the depth is the author's."""
    pending = list(reversed(root.children))
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.children))


def _add(chart: Chart, shape: Shape) -> None:
    chart.shapes[shape.key] = shape
    chart.shapes[shape.parent].children.append(shape.key)


def _shape(node: Node, brief: bool) -> Shape:
    return Shape(
        node.name,
        _FORMS[node.kind],
        node.label,
        node.parent or ROOT,
        inside=() if brief else tuple(_inside(node)),
        error=node.type is StateType.ERROR,
        description=node.description,
    )


# What happens inside a state --------------------------------------------------------------------


def _is_inside(way: TransitionNode) -> bool:
    """It leaves nothing and enters nothing: it stands in the state's box, as UML has it."""
    return way.internal and all(target == Target(way.source) for target in way.targets)


def _inside(node: Node) -> Iterator[str]:
    if node.when:
        yield f"when [{_guards(node)}]"
    for word, blocks in (("entry", node.on_enter), ("exit", node.on_exit)):
        actions = [action for block in blocks for action in block]
        if actions:
            yield f"{word} / {_actions(actions)}"
    for way in node.transitions:
        if _is_inside(way):
            yield " ".join(_words(node, way, brief=False).parts())


def _guards(of: Node | TransitionNode) -> str:
    guards = of.when if isinstance(of, Node) else of.guards
    return guards_words(guards)


def _actions(actions: Iterable[Action]) -> str:
    return ", ".join(action_words(action) for action in actions)


def _words(node: Node, way: TransitionNode, *, brief: bool) -> Words:
    """A choice's own transitions and ``auto`` ones have no trigger; only the second say so."""
    trigger = "done" if way.origin == "on_done" else trigger_words(way)
    if not trigger and way.eventless and node.kind is not Kind.CHOICE:
        trigger = "auto"
    if brief:
        return Words(trigger)
    return Words(
        trigger,
        f"[{_guards(way)}]" if way.guards else "",
        f"/ {_actions(way.content)}" if way.content else "",
        " ".join(f"({ref})" for ref in way.refs),
    )


# Arrows -----------------------------------------------------------------------------------------


def _start(chart: Chart, holder: str, initial: Iterable[Target]) -> None:
    """The dot in a container, and the arrows from it."""
    for target in initial:
        dot = Shape(f"{holder}:initial", Form.INITIAL, "", holder)
        if dot.key not in chart.shapes:
            chart.shapes[dot.key] = dot
            chart.shapes[holder].children.insert(0, dot.key)
        chart.arrows.append(Arrow(dot.key, _end(chart, target), Words()))


def _end(chart: Chart, target: Target) -> str:
    """The shape that a target is: a state, or the history mark in it."""
    if not target.history:
        return target.name
    form = Form.SHALLOW if target.history == "shallow" else Form.DEEP
    label = "H" if form is Form.SHALLOW else "H*"
    key = f"{target.name}:{target.history}"
    if key not in chart.shapes:
        chart.shapes[key] = Shape(key, form, label, target.name)
        holder = chart.shapes[target.name]
        # Before all regions: between two of them, or behind, it would be in the one before.
        first = 0 if holder.form is Form.PARALLEL else len(holder.children)
        holder.children.insert(first, key)
    return key


def _connect(chart: Chart, node: Node, way: TransitionNode, brief: bool) -> None:
    words = _words(node, way, brief=brief)
    ends = [_end(chart, target) for target in way.targets]
    if len(ends) == 1:
        chart.arrows.append(Arrow(node.name, ends[0], words, way.index))
        return
    fork = Shape(f"{way.index}:fork", Form.FORK, "", _around(chart, [node.name, *ends]))
    _add(chart, fork)
    chart.arrows.append(Arrow(node.name, fork.key, words, way.index))
    chart.arrows += [Arrow(fork.key, end, Words(), way.index) for end in ends]


def _around(chart: Chart, keys: Iterable[str]) -> str:
    """The innermost container with room for a bar that properly holds all of them."""
    first, *others = (chart.above(key)[1:] for key in keys)
    common = [key for key in first if all(key in other for other in others)]
    return next(key for key in common if chart.shapes[key].form is not Form.PARALLEL)


def _put_marks(chart: Chart, names: Collection[str], here: Mark, around: Mark) -> None:
    """Mark the shapes of these names and what holds them; a mark of before stays."""
    for name in names:
        if name not in chart.shapes:
            continue
        for key in chart.above(name)[:-1]:
            shape = chart.shapes[key]
            wanted = here if key == name else around
            if shape.mark is Mark.NONE or (shape.mark is Mark.ACTIVE and wanted is Mark.CURRENT):
                shape.mark = wanted
