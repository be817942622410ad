"""``pystator send``: one event to one entity."""

import json as jsonlib
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

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
from pystator.cli.output import note, paint, problem, say, say_json
from pystator.cli.whose import machine_of
from pystator.errors import ConfigurationError
from pystator.records import EventRequest

if TYPE_CHECKING:
    from pystator.engine.machine import StateMachine
    from pystator.engine.result import TransitionResult
    from pystator.stores.protocols import NativeStore

__all__ = ["send"]


def send(
    entity: EntityArgument,
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="What happens to it.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="The event's context. Numbers, true, false, null and JSON are read as such.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="JSON", help="The event's context as a JSON object."),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--event-id", metavar="ID", help="Sent again, the event is not applied again."
        ),
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
    """Send one event to an entity.

    A new entity starts in the machine's initial state. Without --machine, the entity has to exist
    and its machine to be stored in the database. Exits with 1 when the event is rejected.
    """
    payload = payload_of(context, data or [])
    request = EventRequest(entity, trigger, payload or None, event_id, moment(at), None, actor)
    guards, actions = load_code(code)
    chosen = None if machine is None else find_machine(machine, db)
    with open_store(db, create=chosen is not None) as store:
        from pystator.orchestrator import Orchestrator  # after the options are right

        found = chosen or stored_for(store, entity, db)
        with_code = Orchestrator(found, store, guards, actions)
        (result,) = with_code.process_events([request])
        with_code.close()
    tell(entity, result, json=json)
    if not result.success:
        raise typer.Exit(1)


def payload_of(context: str | None, data: list[str]) -> dict[str, Any]:
    """The event's context from ``--context`` and, above it, ``KEY=VALUE`` pairs."""
    payload: dict[str, Any] = {}
    if context is not None:
        try:
            read = jsonlib.loads(context)
        except ValueError as error:
            raise typer.BadParameter(f"--context is not JSON: {error}") from error
        if not isinstance(read, dict):
            raise typer.BadParameter("--context is no JSON object, e.g. '{\"amount\": 5}'")
        payload = cast("dict[str, Any]", read)
    for pair in data:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        payload[key] = value_of(text)
    return payload


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text itself: ``5``, ``true``, ``[1]``, ``ada``."""
    try:
        return jsonlib.loads(text)
    except ValueError:
        return text


def moment(at: str | None) -> datetime | None:
    """An aware time from ISO 8601."""
    if at is None:
        return None
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise typer.BadParameter(f"--at is no ISO 8601 time: {at!r}") from error
    if time.tzinfo is None:
        raise typer.BadParameter(f"--at has no time zone: write e.g. {at}Z or {at}+02:00")
    return time


def stored_for(store: "NativeStore", entity: str, url: str | None) -> "StateMachine":
    """The stored machine of an entity that exists."""
    name = machine_of(store, entity)
    if name is None:
        raise ConfigurationError(
            f"there is no entity {entity!r} yet: give its machine with --machine FILE"
        )
    return find_machine(name, url)


def tell(entity: str, result: "TransitionResult", *, json: bool) -> None:
    """What became of it."""
    version = result.metadata.get("version")
    error = result.error
    if json:
        say_json(
            {
                "entity_id": entity,
                "trigger": result.trigger,
                "success": result.success,
                "source_state": result.source_state,
                "target_state": result.target_state,
                "version": version,
                "reason": result.reason,
                "replayed": result.replayed,
                "context": result.context if result.success else None,
                "actions": [spec.to_dict() for spec in result.all_actions],
                "action_errors": result.metadata.get("action_errors"),
                "error": None if error is None else error.to_dict(),
            }
        )
    elif result.success:
        tell_applied(entity, result, version)
    if result.replayed:
        note("this event id was known: the first answer again", "dim")
    if error is not None:
        problem(f"{entity}: {error.message}")


def tell_applied(entity: str, result: "TransitionResult", version: Any) -> None:
    """One line: where it was and where it is."""
    style = paint(sys.stdout)
    source, target = result.source_state, result.target_state or ""
    if result.ignored:
        say(f"{style(entity, 'strong')}: ignored in {target}")
        return
    way = target if source in {None, target} else f"{source} → {style(target, 'key')}"
    say(f"{style(entity, 'strong')}: {way} (version {version})")
    for failed in result.metadata.get("action_errors") or ():
        note(f"action failed: {failed}", "warn")
