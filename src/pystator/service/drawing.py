"""A machine as a picture, in one of four languages."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from pystator.definition.drawing.chart import Chart
from pystator.definition.drawing.chart import draw as chart_of
from pystator.definition.load import load_config
from pystator.definition.model import Definition
from pystator.engine.tree import Tree

__all__ = ["FORMATS", "Whereabouts", "draw", "drawn", "named"]

FORMATS: Final = ("mermaid", "dot", "svg", "json")

LARGE: Final = 150
"""States that can still be taken in."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The states to mark: where an entity is, and where it has been."""

    current: tuple[str, ...] = ()
    visited: tuple[str, ...] = ()


def draw(
    content: bytes,
    *,
    form: str,
    brief: bool = False,
    highlight: Collection[str] = (),
    visited: Collection[str] = (),
) -> dict[str, Any]:
    """The picture of a stored machine, and sentences about what it does not show.

    Args:
        content: Its configuration as JSON.
        form: One of `FORMATS`.
        brief: Only states and triggers, no guards and effects.
        highlight: States to mark; each text may join several by ``+``.
        visited: Names of states to mark as left behind; unknown ones are of an older version.

    Raises:
        UndefinedStateError: A name to mark is no state of this machine.
    """
    definition = load_config(json.loads(content))
    current = dict.fromkeys(name for text in highlight for name in named(definition, text))
    marks = Whereabouts(tuple(current), tuple(name for name in visited if name in definition.nodes))
    if form == "json":
        from pystator.definition.drawing.facts import facts  # one language, not all

        told = facts(definition, current=marks.current, visited=marks.visited)
        return {"diagram": told, "notes": []}
    text, notes = drawn(definition, form, marks, brief=brief)
    return {"diagram": text, "notes": notes}


def drawn(
    definition: Definition, form: str, marks: Whereabouts, *, brief: bool
) -> tuple[str, list[str]]:
    """The picture in one of its languages, and sentences about what it cannot show."""
    chart = chart_of(definition, brief=brief, current=marks.current, visited=marks.visited)
    if form == "dot":
        from pystator.definition.drawing.dot import dot  # one language, not all

        return dot(chart), []
    if form == "svg":
        return _picture(chart, len(definition.nodes))
    from pystator.definition.drawing.mermaid import MOST, compromises, mermaid

    text = mermaid(chart)
    sentences = compromises(chart)
    if len(text) > MOST:
        sentences.append(
            f"most pages draw {MOST:,} characters of Mermaid, and these are {len(text):,}: "
            "try a brief one, or SVG"
        )
    return text, sentences


def named(definition: Definition, text: str) -> tuple[str, ...]:
    """The active states of a configuration, completed as the engine completes it.

    Raises:
        UndefinedStateError: A name is no state of this machine.
    """
    tree = Tree(definition)
    return tuple(tree.nodes[leaf].name for leaf in tree.read(text))


def _picture(chart: Chart, states: int) -> tuple[str, list[str]]:
    """The SVG, with a word about a machine that is too large for one."""
    from pystator.definition.drawing.svg import drawing  # only when asked for

    text, straight = drawing(chart)
    sentences: list[str] = []
    if states > LARGE:
        sentences.append(f"{states} states are more than a picture shows well; a brief one helps")
    if straight:
        sentences.append(f"{straight} long arrows run behind the states, without their labels")
    return text, sentences
