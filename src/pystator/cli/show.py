"""``pystator show``: one entity."""

import sys
from typing import TYPE_CHECKING

from pystator.cli.backends import open_backend
from pystator.cli.options import (
    EntityArgument,
    JsonOption,
    MachineOption,
    ServiceOption,
    StoreOption,
)
from pystator.cli.output import paint, say, say_json
from pystator.cli.text import Cell, lines_of, moment, table, timer_words
from pystator.service.views import entity_view

if TYPE_CHECKING:
    from pystator.engine.machine import StateMachine
    from pystator.records import Entity

__all__ = ["show"]


def show(
    entity: EntityArgument,
    machine: MachineOption = None,
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """Show an entity's state, context, timers and history states.

    With --machine, its next triggers, too.
    """
    with open_backend(store, url) as backend:
        found_machine = None if machine is None else backend.machine(machine)
        name = None if found_machine is None else found_machine.name
        found = backend.entity(entity, name)
    triggers = None if found_machine is None else next_triggers(found_machine, found)
    if json:
        view = entity_view(found)
        say_json(view if triggers is None else {**view, "triggers": triggers})
        return
    tell(found, triggers)


def next_triggers(machine: "StateMachine", entity: "Entity") -> list[str]:
    """Triggers that have a transition from where it is; guards decide when one is sent."""
    return list(machine.get_available_triggers(entity.state))


def tell(entity: "Entity", triggers: list[str] | None) -> None:
    """The entity as text."""
    style = paint(sys.stdout)
    version = f" {entity.machine_version}" if entity.machine_version else ""
    say(f"{style(entity.entity_id, 'strong')}  {entity.machine_name}{version}")
    rows: list[list[Cell]] = [
        [("state", "dim"), (entity.state, "key")],
        [("since", "dim"), moment(entity.state_since)],
        [("version", "dim"), str(entity.version)],
        [("created", "dim"), moment(entity.created_at)],
        [("changed", "dim"), moment(entity.updated_at)],
    ]
    if entity.archived_at is not None:
        rows.append([("archived", "dim"), moment(entity.archived_at)])
    for name, (deadline, _) in sorted(entity.timers.items(), key=lambda item: item[1]):
        rows.append([("timer", "dim"), f"{moment(deadline)}  {timer_words(name)}"])
    for name, leaves in sorted((entity.history or {}).items()):
        rows.append([("was in", "dim"), f"{name}: {' '.join(leaves)}"])
    if triggers is not None:
        rows.append([("triggers", "dim"), " ".join(triggers) or "none: this is the end"])
    for line in table(rows, style):
        say(line)
    if entity.context:
        say(style("  context", "dim"))
        for line in lines_of(entity.context, "    "):
            say(line)
