"""``pystator fire``: take the timed transitions that are due, by hand or from a scheduler."""

import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.code import load_code
from pystator.cli.machines import find_machine, open_store
from pystator.cli.options import CodeOption, JsonOption, MachineOption, StoreOption
from pystator.cli.output import note, paint, problem, say, say_json, without_prints
from pystator.cli.pages import MOST
from pystator.cli.text import Cell, count, move, noun, table
from pystator.errors import ConfigurationError
from pystator.service.views import result_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pystator.engine.machine import StateMachine
    from pystator.engine.result import TransitionResult
    from pystator.stores.protocols import NativeStore

__all__ = ["fire"]

LIMIT = 1_000

GUARD = "guard_rejected"
"""The reason of a timer whose guard said no when its time had come."""


def fire(
    machine: MachineOption = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="N", min=1, max=MOST, help="At most so many entities."
        ),
    ] = LIMIT,
    code: CodeOption = None,
    url: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Take the timed transitions that are due.

    Without --machine, those of every machine that is stored in the database. A timer fires once,
    however often and from wherever this is run. Exits with 1 when one fails; a guard that says no
    is no failure.
    """
    guards, actions = load_code(code, json=json)
    chosen = None if machine is None else find_machine(machine, url)
    sweep = Sweep()
    with open_store(url, create=False) as store:
        from pystator.orchestrator import Orchestrator  # after the options are right

        for found in [chosen] if chosen is not None else sweep.stored(store, url):
            room = limit - len(sweep.moved)
            if room < 1:
                break
            orchestrator = Orchestrator(found, store, guards, actions, hooks=[sweep])
            with without_prints(json=json):
                sweep.take(orchestrator.fire_due(limit=room))
                orchestrator.close()
            sweep.left += len(store.due(now(), MOST, machine_name=found.name))
    sweep.tell(json=json)
    if sweep.failed or any(result.reason != GUARD for result in sweep.refused):
        raise typer.Exit(1)


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


@dataclass(slots=True)
class Sweep:
    """What was fired, and what could not be. A hook: nobody else is told of an entity's error.

    Attributes:
        fired: Timers whose transition was taken.
        refused: Timers whose transition was not: they are spent, too, and history says why.
        moved: Entities whose timers were looked at.
        failed: Entity, or machine, and why its timers are still waiting.
        left: Entities that are still due, those that failed among them.
    """

    fired: "list[TransitionResult]" = field(default_factory=list)
    refused: "list[TransitionResult]" = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0

    def __post_init__(self) -> None:
        """Keep the log's lines about the same errors off the terminal."""
        logging.getLogger("pystator").addHandler(logging.NullHandler())

    def on_transition_error(self, entity_id: str, trigger: str | None, error: Exception) -> None:
        """An entity's timers cannot be fired."""
        del trigger
        self.failed[entity_id] = getattr(error, "message", str(error))

    def take(self, results: "list[TransitionResult]") -> None:
        """Note what was fired."""
        for result in results:
            (self.fired if result.success else self.refused).append(result)
            self.moved.add(entity_of(result))
            self.failed.pop(entity_of(result), None)  # the result says it

    def stored(self, store: "NativeStore", url: str | None) -> "Iterator[StateMachine]":
        """The machines that have something due; those that are not stored have failed."""
        waiting = Counter(name for _, name in store.due(now(), MOST))
        for name, number in sorted(waiting.items()):
            try:
                found = find_machine(name, url)
            except ConfigurationError:
                word = noun(number, "entity is", "entities are")
                self.failed[name] = (
                    f"{count(number)} {word} due, and this machine is not stored: "
                    "give its file with --machine"
                )
                continue
            yield found

    def tell(self, *, json: bool) -> None:
        """What was fired, and what is left."""
        if json:
            say_json(
                {
                    "fired": [result_view(entity_of(each), each) for each in self.fired],
                    "refused": [result_view(entity_of(each), each) for each in self.refused],
                    "failed": self.failed,
                    "due": self.left,
                }
            )
        else:
            style = paint(sys.stdout)
            cells: list[list[Cell]] = [
                [
                    (entity_of(result), "strong"),
                    move(result.source_state, result.target_state or ""),
                    (f"version {result.metadata.get('version')}", "dim"),
                ]
                for result in self.fired
            ]
            for line in table(cells, style, indent=""):
                say(line)
            number = len(self.fired)
            say(f"{style(count(number), 'strong')} {noun(number, 'timer')} fired")
        for result in self.refused:
            why = result.reason if result.error is None else result.error.message
            if result.reason == GUARD:
                note(f"{entity_of(result)}: {why}", "dim")
            else:
                problem(f"{entity_of(result)}: {why}")
        for name, why in self.failed.items():
            problem(f"{name}: {why}")
        if self.left > len(self.failed):
            note("more are due: run it again, or raise --limit", "dim")


def entity_of(result: "TransitionResult") -> str:
    """Whose timer it was."""
    return str(result.metadata["entity_id"])
