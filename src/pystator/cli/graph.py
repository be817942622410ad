"""``pystator graph``: a machine as a diagram."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.machines import find_definition, open_store
from pystator.cli.options import JsonOption, StoreOption
from pystator.cli.output import note, say, say_json
from pystator.errors import EntityNotFoundError

if TYPE_CHECKING:
    from pystator.definition.drawing.chart import Chart
    from pystator.definition.model import Definition

__all__ = ["graph"]

LARGE = 150
"""States that can still be taken in."""

FORMATS = ("mermaid", "dot", "svg", "json")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The states to mark: where an entity is, and where it has been."""

    current: tuple[str, ...] = ()
    visited: tuple[str, ...] = ()


def graph(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A machine file, or the name of a stored machine."
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="The language.")
    ] = "mermaid",
    brief: Annotated[
        bool, typer.Option("--brief", help="Only states and triggers, no guards and effects.")
    ] = False,
    highlight: Annotated[
        str | None,
        typer.Option(
            "--highlight", metavar="STATE", help="Mark this state; several: picking+paid."
        ),
    ] = None,
    entity: Annotated[
        str | None,
        typer.Option("--entity", metavar="ENTITY", help="Mark where this entity is and has been."),
    ] = None,
    url: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Draw a machine: Mermaid for Markdown, DOT for Graphviz, SVG as it is, JSON for other tools.

    --highlight and --entity mark states in it.
    """
    if form not in FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(FORMATS)}, not {form!r}")
    if highlight is not None and entity is not None:
        raise typer.BadParameter("--highlight and --entity both say what to mark: give one")
    if brief and form == "json":
        raise typer.BadParameter("--brief is for pictures; JSON always has everything")
    definition = find_definition(machine, url)
    marks = Whereabouts()
    if highlight is not None:
        marks = Whereabouts(named(definition, highlight))
    elif entity is not None:
        marks = whereabouts(definition, entity, url)
    if form == "json":
        tell(definition, marks, json=json)
        return
    text = drawn(definition, form, marks, brief=brief)
    if json:
        say_json({"format": form, "machine": definition.name, "diagram": text})
    else:
        say(text.rstrip("\n"))


def drawn(definition: "Definition", form: str, marks: Whereabouts, *, brief: bool) -> str:
    """The picture in one of its languages; what it cannot show is told beside it."""
    from pystator.definition.drawing.chart import draw  # loads the model

    chart = draw(definition, brief=brief, current=marks.current, visited=marks.visited)
    if form == "dot":
        from pystator.definition.drawing.dot import dot  # one language, not all

        return dot(chart)
    if form == "svg":
        return picture(chart, len(definition.nodes))
    from pystator.definition.drawing.mermaid import MOST, compromises, mermaid

    text = mermaid(chart)
    sentences = compromises(chart)
    if len(text) > MOST:
        sentences.append(
            f"most pages draw {MOST:,} characters of Mermaid, and these are {len(text):,}: "
            "try --brief, or --format svg"
        )
    for sentence in sentences:
        note(f"note: {sentence}", "dim")
    return text


def picture(chart: "Chart", states: int) -> str:
    """The SVG, with a word about a machine that is too large for one."""
    from pystator.definition.drawing.svg import drawing  # only when asked for

    text, straight = drawing(chart)
    if states > LARGE:
        note(f"note: {states} states are more than a picture shows well; --brief helps", "dim")
    if straight:
        note(f"note: {straight} long arrows run behind the states, without their labels", "dim")
    return text


def tell(definition: "Definition", marks: Whereabouts, *, json: bool) -> None:
    """The facts; with ``--json`` in the same envelope as the other languages."""
    from pystator.definition.drawing.facts import facts  # only when asked for

    told = facts(definition, current=marks.current, visited=marks.visited)
    if json:
        say_json({"format": "json", "machine": definition.name, "diagram": told})
    else:
        say_json(told)


def named(definition: "Definition", text: str) -> tuple[str, ...]:
    """The active states of a configuration, completed as the engine completes it.

    Raises:
        UndefinedStateError: A name is no state of this machine.
    """
    from pystator.engine.tree import Tree  # only when asked for

    tree = Tree(definition)
    return tuple(tree.nodes[leaf].name for leaf in tree.read(text))


def whereabouts(definition: "Definition", entity: str, url: str | None) -> Whereabouts:
    """The states an entity is in and the states it has been in."""
    from pystator.cli.pages import all_history  # only when asked for
    from pystator.records import Lookup

    with open_store(url, create=False) as store:
        (loaded,) = store.load([Lookup(entity, definition.name)])
        if loaded.entity is None:
            raise EntityNotFoundError(f"there is no entity {entity!r} of machine {definition.name}")
        seen: dict[str, None] = {}
        for entry in all_history(store, entity, definition.name):
            if entry.success:
                for state in (entry.source_state, entry.target_state):
                    seen.update(dict.fromkeys(state.split("+") if state else ()))
        return Whereabouts(tuple(loaded.entity.state.split("+")), tuple(seen))
