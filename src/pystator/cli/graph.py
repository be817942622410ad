"""``pystator graph``: a machine as a diagram."""

from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.machines import find_definition, open_store
from pystator.cli.options import JsonOption, StoreOption
from pystator.cli.output import note, say, say_json
from pystator.errors import EntityNotFoundError

if TYPE_CHECKING:
    from pystator.definition.model import Definition
    from pystator.service.drawing import Whereabouts

__all__ = ["graph"]

FORMATS = ("mermaid", "dot", "svg", "json")


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
    from pystator.service.drawing import Whereabouts, drawn, named  # after the options are right

    definition = find_definition(machine, url)
    marks = Whereabouts()
    if highlight is not None:
        marks = Whereabouts(named(definition, highlight))
    elif entity is not None:
        marks = whereabouts(definition, entity, url)
    if form == "json":
        tell(definition, marks, json=json)
        return
    text, sentences = drawn(definition, form, marks, brief=brief)
    for sentence in sentences:
        note(f"note: {sentence}", "dim")
    if json:
        say_json({"format": form, "machine": definition.name, "diagram": text})
    else:
        say(text.rstrip("\n"))


def tell(definition: "Definition", marks: "Whereabouts", *, json: bool) -> None:
    """The facts; with ``--json`` in the same envelope as the other languages."""
    from pystator.definition.drawing.facts import facts  # only when asked for

    told = facts(definition, current=marks.current, visited=marks.visited)
    if json:
        say_json({"format": "json", "machine": definition.name, "diagram": told})
    else:
        say_json(told)


def whereabouts(definition: "Definition", entity: str, url: str | None) -> "Whereabouts":
    """The states an entity is in and the states it has been in."""
    from pystator.cli.pages import all_history  # only when asked for
    from pystator.records import Lookup
    from pystator.service.drawing import Whereabouts

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
