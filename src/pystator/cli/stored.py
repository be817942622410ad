"""``pystator machines``: definitions that a store keeps, by name and version."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.app import new_app
from pystator.cli.machines import open_store, shown_url, stored_machines
from pystator.cli.options import JsonOption, StoreOption
from pystator.cli.output import note, paint, say, say_json
from pystator.cli.text import Cell, cut, moment, table

if TYPE_CHECKING:
    from pystator.records import StoredMachine

__all__ = ["app"]

app = new_app(
    name="machines", no_args_is_help=True, help="List, show and store definitions of machines."
)


@app.command("list")
def list_machines(store: StoreOption = None, json: JsonOption = False) -> None:
    """List all versions of all machines that are stored."""
    from pystator.stores.named import all_machines  # when it is used, here and below

    with stored_machines(store) as opened:
        found = list(all_machines(opened))
    if json:
        say_json({"machines": [_view(each) for each in found]})
        return
    if not found:
        note(f"no machine is stored in {shown_url(store)}", "dim")
        return
    style = paint(sys.stdout)
    rows: list[list[Cell]] = [
        [
            (each.name, "strong"),
            each.version,
            (moment(each.created_at), "dim"),
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
    json: JsonOption = False,
) -> None:
    """Print the definition of a stored machine: the newest version, or the one that is named."""
    from pystator.stores.named import configuration, find_machine

    with stored_machines(store) as opened:
        found = find_machine(opened, name, shown_url(store))
    config = configuration(found)
    if json:
        say_json({**_view(found), "definition": config})
        return
    import yaml

    dump: Any = vars(yaml)["safe_dump"]  # its stubs are partial
    say(dump(config, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def create(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A machine file.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Store the definition of a machine, so that commands find it by its name.

    A version never changes: what is changed gets a new version.
    """
    from pystator.definition.load import load_file

    machine = _stored(load_file(file))
    with open_store(store, create=True) as opened:
        added = opened.save_machine(machine)
    if json:
        say_json({**_view(machine), "added": added})
    else:
        say(f"{machine.name} {machine.version}  {'added' if added else 'was there'}")


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


def _view(machine: "StoredMachine") -> dict[str, Any]:
    from pystator.records import to_datetime

    return {
        "name": machine.name,
        "version": machine.version,
        "fingerprint": machine.fingerprint,
        "description": machine.description,
        "created_at": to_datetime(machine.created_at),
    }
