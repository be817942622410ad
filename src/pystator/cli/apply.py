"""``pystator apply``: data for one entity, without an event."""

from typing import Annotated

import typer

from pystator.cli.options import (
    ActorOption,
    AtOption,
    CodeOption,
    EntityArgument,
    EventIdOption,
    ExpectOption,
    JsonOption,
    MachineOption,
    ServiceOption,
    StoreOption,
)
from pystator.cli.send import deliver, moment, payload_of

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
    event_id: EventIdOption = None,
    at: AtOption = None,
    actor: ActorOption = None,
    expect: ExpectOption = None,
    machine: MachineOption = None,
    code: CodeOption = None,
    store: StoreOption = None,
    url: ServiceOption = None,
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
    deliver(
        entity,
        lambda sender: sender.apply_data(
            entity,
            brought,
            event_id=event_id,
            actor=actor,
            occurred_at=happened,
            expected_version=expect,
        ),
        machine=machine,
        code=code,
        store=store,
        url=url,
        json=json,
    )
