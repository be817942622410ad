"""``pystator history``: an entity's life as a timeline."""

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.backends import open_backend
from pystator.cli.machines import machine_name
from pystator.cli.options import (
    EntityArgument,
    JsonOption,
    MachineNameOption,
    ServiceOption,
    StoreOption,
)
from pystator.cli.output import note, paint, say, say_json
from pystator.cli.pages import MOST
from pystator.cli.timeline import timeline
from pystator.service.views import entry_view

if TYPE_CHECKING:
    from pystator.records import HistoryEntry, Page

__all__ = ["history"]

LIMIT = 200


def history(
    entity: EntityArgument,
    machine: MachineNameOption = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", metavar="N", min=1, max=MOST, help="At most so many rows."),
    ] = LIMIT,
    newest: Annotated[bool, typer.Option("--newest", help="The newest rows first.")] = False,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Go on where the last page ended."),
    ] = None,
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything that happened to an entity.

    Rejected events and the outcomes of actions are part of it.
    """
    name = machine_name(machine)
    with open_backend(store, url) as backend:
        found = backend.entity(entity, name)
        page = backend.history(
            entity, found.machine_name, after=after, limit=limit, newest_first=newest
        )
    if json:
        say_json({"history": [entry_view(entry) for entry in page.items], "next": page.next})
        return
    style = paint(sys.stdout)
    version = f" {found.machine_version}" if found.machine_version else ""
    where = f"{style(found.state, 'key')} since version {found.version}"
    say(f"{style(entity, 'strong')}  {found.machine_name}{version}  {where}")
    say()
    columns = shutil.get_terminal_size().columns if style.on else None
    for line in timeline(page.items, style, columns, torn(page, after, newest=newest)):
        say(line)
    if page.next is not None:
        note(f"more: --after {page.next}", "dim")


def torn(page: "Page[HistoryEntry]", after: str | None, *, newest: bool) -> int | None:
    """The version whose rows go on upon another page: outcomes of actions follow their step."""
    if not page.items:
        return None
    if newest:
        return None if after is None else page.items[0].version
    return None if page.next is None else page.items[-1].version
