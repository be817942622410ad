"""``pystator send``: one event to one entity."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pystator.cli.backends import open_backend
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
from pystator.cli.output import note, paint, problem, say, say_json, without_prints
from pystator.cli.text import moved, value, why_failed
from pystator.records import EventRequest
from pystator.service.jsons import parse
from pystator.service.times import aware
from pystator.service.views import result_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystator.cli.backends import Sender
    from pystator.engine.result import TransitionResult
    from pystator.errors import FSMError

__all__ = ["send"]


def send(
    entity: EntityArgument,
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="What happens to it.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="The event's context. Numbers, true, false, null and JSON are read as such.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="JSON", help="The event's context as a JSON object."),
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
    """Send one event to an entity.

    A new entity starts in the machine's initial state. Without --machine, the entity has to exist
    and its machine to be stored in the database. Exits with 1 when the event is rejected, or is not
    taken because the entity has another version than expected.
    """
    payload = payload_of(context, data or [])
    request = EventRequest(
        entity, trigger, payload or None, event_id, moment(at), None, actor, expect
    )

    def sent(sender: "Sender") -> "TransitionResult":
        (result,) = sender.process_events([request])
        return result

    deliver(entity, sent, machine=machine, code=code, store=store, url=url, json=json)


def deliver(
    entity: str,
    bring: "Callable[[Sender], TransitionResult]",
    *,
    machine: str | None,
    code: Path | None,
    store: str | None,
    url: str | None,
    json: bool,
) -> None:
    """Bring something to an entity, with the machine and the code, and tell what became of it.

    Exits with 1 when it is rejected.
    """
    with (
        open_backend(store, url) as backend,
        backend.sender(machine, code, entity=entity, json=json) as sender,
        without_prints(json=json),
    ):
        result = bring(sender)
        sender.finish()
    tell(entity, result, json=json)
    if not result.success:
        raise typer.Exit(1)


def payload_of(context: str | None, data: list[str], option: str = "--context") -> dict[str, Any]:
    """The event's context from ``--context`` and, above it, ``KEY=VALUE`` pairs."""
    payload: dict[str, Any] = {}
    if context is not None:
        try:
            read = parse(context)
        except ValueError as error:
            raise typer.BadParameter(f"{option} is not JSON: {error}") from error
        if not isinstance(read, dict):
            raise typer.BadParameter(f"{option} is no JSON object, e.g. '{{\"amount\": 5}}'")
        payload = cast("dict[str, Any]", read)
    for pair in data:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE, e.g. amount=5")
        if "." in key:
            outer, _, inner = key.partition(".")
            raise typer.BadParameter(
                f"{key!r} is no key that a machine could read: write the whole object,"
                f" e.g. {outer}='{{\"{inner}\": {value(value_of(text))}}}'"
            )
        payload[key] = value_of(text)
    return payload


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text itself: ``5``, ``true``, ``[1]``, ``ada``."""
    try:
        return parse(text)
    except ValueError:
        return text


def moment(at: str | None) -> datetime | None:
    """An aware time from ISO 8601."""
    try:
        return None if at is None else aware(at)
    except ValueError as error:
        raise typer.BadParameter(f"--at {error}") from error


def tell(entity: str, result: "TransitionResult", *, json: bool) -> None:
    """What became of it."""
    version = result.metadata.get("version")
    error = result.error
    if json:
        say_json(result_view(entity, result))
    elif result.success:
        tell_applied(entity, result, version)
    if result.replayed:
        note("this event id was known: the first answer again", "dim")
    if error is not None:
        problem(error.message if refuses_id(error) else f"{entity}: {error.message}")


def refuses_id(error: "FSMError") -> bool:
    """The message shows the id already, because nobody can read it otherwise."""
    return error.context.get("what") == "entity id"


def tell_applied(entity: str, result: "TransitionResult", version: Any) -> None:
    """One line: where it was and where it is."""
    style = paint(sys.stdout)
    source, target = moved(result.source_state, result.target_state or "")
    if result.ignored:
        say(f"{style(entity, 'strong')}: ignored in {target}")
        return
    way = f"{source} → {style(target, 'key')}" if source else target
    say(f"{style(entity, 'strong')}: {way} (version {version})")
    for failed in result.metadata.get("action_errors") or ():
        note(f"action {failed['name']!r} failed: {why_failed(failed['error'])}", "warn")
