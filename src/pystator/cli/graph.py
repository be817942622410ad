"""``pystator graph``: a machine as a diagram."""

from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.machines import find_definition, open_store
from pystator.cli.options import DatabaseOption, JsonOption
from pystator.cli.output import say, say_json
from pystator.errors import EntityNotFoundError

if TYPE_CHECKING:
    from pystator.definition.model import Definition

__all__ = ["graph"]

FORMATS = ("mermaid",)


def graph(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A machine file, or the name of a stored machine."
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="mermaid", help="The language.")
    ] = "mermaid",
    brief: Annotated[
        bool, typer.Option("--brief", help="Only states and triggers, no guards and effects.")
    ] = False,
    entity: Annotated[
        str | None,
        typer.Option("--entity", metavar="ENTITY", help="Mark where this entity is and has been."),
    ] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Draw a machine as a Mermaid state diagram.

    GitHub, GitLab and most editors show it; --entity marks the way an entity went.
    """
    from pystator.definition.mermaid import mermaid  # loads the model

    if form not in FORMATS:
        raise typer.BadParameter(f"--format is mermaid, not {form!r}")
    definition = find_definition(machine, db)
    current, visited = whereabouts(definition, entity, db) if entity is not None else ([], [])
    text = mermaid(definition, brief=brief, current=current, visited=visited)
    if json:
        say_json({"format": form, "machine": definition.name, "diagram": text})
    else:
        say(text.rstrip("\n"))


def whereabouts(
    definition: "Definition", entity: str, url: str | None
) -> tuple[list[str], list[str]]:
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
        return loaded.entity.state.split("+"), list(seen)
