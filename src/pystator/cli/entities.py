"""``pystator entities``: what is stored, by state and by what the contexts say."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from pystator.cli.backends import open_backend
from pystator.cli.machines import machine_name
from pystator.cli.options import JsonOption, MachineNameOption, ServiceOption, StoreOption
from pystator.cli.output import note, paint, say, say_json
from pystator.cli.pages import MOST, all_entities
from pystator.cli.text import WIDEST, Cell, bar, count, cut, moment, noun, pairs, room_beside, table
from pystator.errors import EvaluationError
from pystator.records import record
from pystator.service.times import duration
from pystator.service.views import entity_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pystator.cli.backends import Backend
    from pystator.records import Entity

__all__ = ["entities"]

HINT = (
    ": name an innermost state, or all of them; `pystator entities --count` lists those there are"
)

Fits = Callable[["Entity"], bool]


@record
class Choice:
    """Which entities are asked for: by state, machine, time in the state, and context.

    Attributes:
        archived: Those that are archived, instead of those that are not.
    """

    state: str | None
    machine: str | None
    longer: timedelta | None
    fits: Fits | None
    archived: bool = False


def entities(
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="Only those in this state, or in this configuration, e.g. packed+paid.",
        ),
    ] = None,
    machine: MachineNameOption = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            "-w",
            metavar="EXPRESSION",
            help="Only those whose context fits, e.g. \"total > 100 and customer == 'ada'\".",
        ),
    ] = None,
    longer: Annotated[
        str | None,
        typer.Option(
            "--in-state-longer-than",
            metavar="DURATION",
            help="Only those that came into their state longer ago than this, e.g. 90s, 2h or 14d.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=MOST, help="At most so many.")
    ] = 50,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Go on where the last page ended."),
    ] = None,
    counts: Annotated[
        bool, typer.Option("--count", "-c", help="Only how many there are in each state.")
    ] = False,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that are archived, instead of the others.")
    ] = False,
    store: StoreOption = None,
    url: ServiceOption = None,
    json: JsonOption = False,
) -> None:
    """List entities in the order of their ids."""
    fits = condition(where)
    machine = machine_name(machine)
    choice = Choice(state, machine, wait(longer), fits, archived)
    if after is not None and (fits is not None or counts):
        raise typer.BadParameter("--after goes with whole pages only: not with --where or --count")
    with open_backend(store, url) as backend:
        if counts:
            tell_counts(counted(backend, choice), json=json)
            return
        found, following, more = chosen(backend, choice, limit, after)
    if json:
        view = [entity_view(entity) for entity in found]
        say_json({"entities": view, "next": following, "more": more})
        return
    show(found, choice)
    if more:
        note(f"more: --after {following}" if following else "more: raise --limit", "dim")


def chosen(
    backend: "Backend", choice: Choice, limit: int, after: str | None
) -> "tuple[list[Entity], str | None, bool]":
    """One page, the cursor of the next one, and whether there is more."""
    if choice.fits is None:
        page = backend.entities(
            state=choice.state,
            machine_name=choice.machine,
            in_state_longer_than=choice.longer,
            archived=choice.archived,
            after=after,
            limit=limit,
        )
        return page.items, page.next, page.next is not None
    found = list(islice(everything(backend, choice), limit + 1))
    return found[:limit], None, len(found) > limit


def everything(backend: "Backend", choice: Choice) -> "Iterator[Entity]":
    """All that are asked for."""
    found = all_entities(
        backend,
        state=choice.state,
        machine_name=choice.machine,
        in_state_longer_than=choice.longer,
        archived=choice.archived,
    )
    return found if choice.fits is None else filter(choice.fits, found)


def wait(longer: str | None) -> timedelta | None:
    """The duration that was asked for."""
    try:
        return None if longer is None else duration(longer)
    except ValueError as error:
        raise typer.BadParameter(f"--in-state-longer-than {error}") from error


def condition(where: str | None) -> Fits | None:
    """The expression as a test of an entity; a context it cannot be computed for does not fit."""
    if where is None:
        return None
    from pystator.definition.expressions import ExpressionError, parse  # when used
    from pystator.engine.expressions import compile_expression
    from pystator.engine.frame import Frame

    try:
        evaluate = compile_expression(parse(where))
    except ExpressionError as error:
        raise typer.BadParameter(f"--where: {error}") from error
    now = time.time_ns() // 1_000

    failed = False

    def fits(entity: "Entity") -> bool:
        nonlocal failed
        try:
            return bool(evaluate(entity.context, Frame([], now=now)))
        except EvaluationError as error:
            if not failed:
                failed = True
                note(f"warning: {entity.entity_id} is left out: {error.message}", "warn")
            return False

    return fits


def counted(backend: "Backend", choice: Choice) -> dict[str, int]:
    """How many there are in each state."""
    if choice.fits is None and choice.state is None and choice.longer is None:
        return backend.count_by_state(machine_name=choice.machine, archived=choice.archived)
    return dict(Counter(entity.state for entity in everything(backend, choice)))


def tell_counts(states: dict[str, int], *, json: bool) -> None:
    """The counts, most first."""
    ranked = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    total = sum(states.values())
    if json:
        say_json({"total": total, "by_state": dict(ranked)})
        return
    style = paint(sys.stdout)
    most = ranked[0][1] if ranked else 0
    rows: list[list[Cell]] = [
        [state, count(number), (bar(number, most), "key")] for state, number in ranked
    ]
    for line in table(rows, style, align="<>", indent=""):
        say(line)
    say(f"{style(count(total), 'strong')} {noun(total, 'entity', 'entities')}")


def show(found: "list[Entity]", choice: Choice) -> None:
    """A line for each."""
    style = paint(sys.stdout)
    if not found:
        long = "" if choice.longer is None else " for so long"
        state = "" if choice.state is None else f" in {choice.state!r}"
        kind = "archived " if choice.archived else ""
        note(f"no {kind}entities{state}{long}{HINT if state and not long else ''}", "dim")
        return
    names = {entity.machine_name for entity in found}
    heads: list[list[Cell]] = [
        [
            (entity.entity_id, "strong"),
            *([entity.machine_name] if len(names) > 1 else []),
            (cut(entity.state) if style.on else entity.state, "key"),
            f"v{entity.version}",
            (moment(entity.updated_at), "dim"),
        ]
        for entity in found
    ]
    width = WIDEST
    if style.on:
        width = min(width, room_beside(heads, shutil.get_terminal_size().columns, indent=0))
    rows = [
        [*head, pairs(entity.context, width)] for head, entity in zip(heads, found, strict=True)
    ]
    for line in table(rows, style, indent=""):
        say(line)
