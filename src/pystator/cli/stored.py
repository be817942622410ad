"""``pystator machines``: definitions that a store keeps, by name and version."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.app import new_app
from pystator.cli.backends import open_backend
from pystator.cli.options import JsonOption, ServiceOption, StoreOption
from pystator.cli.output import note, paint, say, say_json
from pystator.cli.text import Cell, cut, moment, noun, table

if TYPE_CHECKING:
    from pystator.records import StoredMachine

__all__ = ["app"]

app = new_app(
    name="machines",
    no_args_is_help=True,
    help="List, show, store and delete definitions of machines.",
)


@app.command("list")
def list_machines(
    store: StoreOption = None, url: ServiceOption = None, json: JsonOption = False
) -> None:
    """List all versions of all machines that are stored."""
    from pystator.service.views import machine_view  # when it is used, here and below

    with open_backend(store, url) as backend:
        found = list(backend.machines())
        shown = backend.shown
    if json:
        say_json({"machines": [machine_view(each) for each in found]})
        return
    if not found:
        note(f"no machine is stored in {shown}", "dim")
        return
    style = paint(sys.stdout)
    rows: list[list[Cell]] = [
        [
            (each.name, "strong"),
            each.version,
            (moment(each.created_at) if each.created_at else "", "dim"),
            cut(" ".join((each.description or "").split())),
        ]
        for each in found
    ]
    for line in table(rows, style, indent=""):
        say(line)


@app.command()
def get(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME[@VERSION]", help="A stored machine, e.g. order or order@1.0."),
    ],
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """Print the definition of a stored machine: the newest version, or the one that is named."""
    from pystator.service.views import machine_view
    from pystator.stores.named import configuration

    with open_backend(store, url) as backend:
        found = backend.stored_machine(name)
    config = configuration(found)
    if json:
        say_json({**machine_view(found), "definition": config})
        return
    import yaml

    dump: Any = vars(yaml)["safe_dump"]  # its stubs are partial
    say(dump(config, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def create(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A machine file.")],
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """Store the definition of a machine, so that commands find it by its name.

    A version never changes: what is changed gets a new version.
    """
    from pystator.definition.load import load_file
    from pystator.service.views import machine_view

    machine = _stored(load_file(file))
    with open_backend(store, url) as backend:
        added = backend.save_machine(machine)
    if json:
        say_json({**machine_view(machine), "added": added})
    else:
        say(f"{machine.name} {machine.version}  {'added' if added else 'was there'}")


@app.command()
def delete(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME[@VERSION]", help="A stored machine, e.g. order or order@1.0."),
    ],
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """Delete a version of a machine, or all of them, if no live entity uses it.

    History stays as it is. Entities that are archived are not alive.
    """
    wanted, _, version = name.partition("@")
    with open_backend(store, url) as backend:
        deleted = backend.delete_machine(wanted, version or None)
        if not deleted:
            backend.stored_machine(name)  # says what there is
    if json:
        say_json({"name": wanted, "version": version or None, "deleted": deleted})
    else:
        what = f"version {version}" if version else f"{deleted} {noun(deleted, 'version')}"
        say(f"{wanted}  {what} deleted")


def _stored(definition: Any) -> "StoredMachine":
    import json as jsonlib

    from pystator.records import StoredMachine

    return StoredMachine(
        definition.name,
        definition.version,
        definition.fingerprint,
        definition.description,
        jsonlib.dumps(definition.config, ensure_ascii=False),
        time.time_ns() // 1_000,
    )
