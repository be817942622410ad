"""``pystator archive`` and ``pystator unarchive``: put an entity away, and take it back."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.local import stored_for
from pystator.cli.machines import find_machine, open_store
from pystator.cli.options import (
    EntityArgument,
    ExpectOption,
    JsonOption,
    MachineOption,
    StoreOption,
)
from pystator.cli.output import paint, say, say_json
from pystator.service.views import result_view

if TYPE_CHECKING:
    from pystator.engine.result import TransitionResult

__all__ = ["archive", "unarchive"]

_Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept in history.", show_default=False)
]
_Actor = Annotated[
    str,
    typer.Option(
        "--actor", metavar="NAME", help="Who does it; kept in history.", show_default=False
    ),
]


def archive(
    entity: EntityArgument,
    reason: _Reason,
    actor: _Actor,
    expect: ExpectOption = None,
    machine: MachineOption = None,
    url: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Put an entity away: it stays readable, with its history, and takes no events.

    Lists leave it out, its timers do not fire. Doing it again changes nothing.
    """
    _do("archive", entity, reason, actor, expect, machine, url, json=json)


def unarchive(
    entity: EntityArgument,
    reason: _Reason,
    actor: _Actor,
    expect: ExpectOption = None,
    machine: MachineOption = None,
    url: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Take an archived entity back, as it was. Timers that became due meanwhile fire then."""
    _do("unarchive", entity, reason, actor, expect, machine, url, json=json)


def _do(
    call: str,
    entity: str,
    reason: str,
    actor: str,
    expect: int | None,
    machine: str | None,
    url: str | None,
    *,
    json: bool,
) -> None:
    chosen = None if machine is None else find_machine(machine, url)
    with open_store(url, create=False) as store:
        from pystator.orchestrator import Orchestrator  # after the options are right

        entities = Orchestrator(chosen or stored_for(store, entity, url), store)
        ask = entities.archive if call == "archive" else entities.unarchive
        result = ask(entity, reason=reason, actor=actor, expected_version=expect)
    if json:
        say_json(result_view(entity, result))
    else:
        _tell(entity, call, result)


def _tell(entity: str, call: str, result: "TransitionResult") -> None:
    style = paint(sys.stdout)
    what = "archived" if call == "archive" else "taken back"
    if result.ignored:
        what = "was archived already" if call == "archive" else "is not archived"
    say(f"{style(entity, 'strong')}: {what} in {result.target_state} (version {result.version})")
