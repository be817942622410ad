"""``pystator apply``: data for one entity, without an event."""

from typing import Annotated

import typer

from pystator.cli.code import load_code
from pystator.cli.machines import find_machine, open_store
from pystator.cli.options import (
    CodeOption,
    DatabaseOption,
    EntityArgument,
    JsonOption,
    MachineOption,
)
from pystator.cli.output import without_prints
from pystator.cli.send import moment, payload_of, stored_for, tell

__all__ = ["apply"]


def apply(
    entity: EntityArgument,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="The data. Numbers, true, false, null and JSON are read as such.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="JSON", help="The data as a JSON object.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--event-id", metavar="ID", help="Sent again, it is not applied again."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="When it happened, e.g. 2026-03-02T08:00:00Z."),
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Who sends it; kept in history.")
    ] = None,
    machine: MachineOption = None,
    code: CodeOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Merge data into an entity's context, and follow where its machine says the data leads.

    The data is kept also when it leads nowhere. A new entity starts in the machine's initial state.
    Without --machine, the entity has to exist and its machine to be stored in the database. Exits
    with 1 when the data is rejected.
    """
    brought = payload_of(data, pairs or [], "--data")
    if not brought:
        raise typer.BadParameter("there is no data: give KEY=VALUE, e.g. amount=5, or --data")
    happened = moment(at)
    guards, actions = load_code(code, json=json)
    chosen = None if machine is None else find_machine(machine, db)
    with open_store(db, create=chosen is not None) as store:
        from pystator.orchestrator import Orchestrator  # after the options are right

        found = chosen or stored_for(store, entity, db)
        with_code = Orchestrator(found, store, guards, actions)
        with without_prints(json=json):
            result = with_code.apply_data(
                entity, brought, event_id=event_id, actor=actor, occurred_at=happened
            )
            with_code.close()
    tell(entity, result, json=json)
    if not result.success:
        raise typer.Exit(1)
