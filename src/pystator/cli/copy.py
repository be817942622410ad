"""``pystator stores copy``: entities, history and machines of one store into another.

::

    FROM --> copy_store, batch by batch --> TO      what was written, what is in the way, the digest
"""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.machines import machine_name, open_store, shown_url
from pystator.cli.options import JsonOption, MachineNameOption
from pystator.cli.output import INTERRUPTED, note, problem, say, say_json
from pystator.cli.progress import counting
from pystator.cli.stopping import Stopping
from pystator.cli.text import count, noun
from pystator.db.resolve import parse_sqlite, scheme_of
from pystator.errors import SchemaError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pystator.stores.copying import Conflict, Copied

__all__ = ["copy"]

BATCH = 1_000
SHOWN = 20
"""Conflicts that are listed; all of them are in the JSON."""


def copy(
    source: Annotated[
        str,
        typer.Argument(metavar="FROM", help="The store to copy, e.g. sqlite:///orders.db."),
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help="The store it goes into, e.g. redis://localhost:6379/0."),
    ],
    batch: Annotated[
        int,
        typer.Option("--batch", min=1, max=100_000, metavar="N", help="Rows written in one call."),
    ] = BATCH,
    machine: MachineNameOption = None,
    history: Annotated[
        bool,
        typer.Option("--no-history", help="Copy entities and machines only.", show_default=False),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Copy entities, history and machines into another store, and compare all of it.

    Run it again, after whatever stopped it: it goes on. What TO has of its own stays as it is.
    """
    for url in (source, target):
        _check(url)
    shown = (shown_url(source), shown_url(target))
    if source == target or shown[0] == shown[1]:
        raise typer.BadParameter("FROM and TO are the same store")
    name = machine_name(machine)
    with (
        open_store(source, create=False) as first,
        _target(target, dry_run=dry_run) as second,
        Stopping() as stopping,
    ):
        report = _run(
            first,
            second,
            stopping,
            batch=batch,
            machine_name=name,
            history=not history,
            dry_run=dry_run,
        )
    if json:
        say_json(_view(report, shown, dry_run=dry_run))
    else:
        _tell(report, dry_run=dry_run)
    if report.stopped:
        note("stopped; the same command goes on with the rest", "warn")
        raise typer.Exit(INTERRUPTED)
    if report.conflicts or not (report.verified or dry_run):
        _complain(report)
        raise typer.Exit(1)


def _check(url: str) -> None:
    """Refuse a store that ends with the command.

    Raises:
        BadParameter: It would.
    """
    scheme = scheme_of(url).partition("+")[0]
    in_memory = scheme == "memory" or (scheme == "sqlite" and parse_sqlite(url).path is None)
    if in_memory:
        raise typer.BadParameter(f"{url} is in memory: it is empty now, and gone afterwards")


@contextmanager
def _target(url: str, *, dry_run: bool) -> "Generator[Any]":
    """The store to copy into; for a dry run, an empty one where there is none yet."""
    with ExitStack() as stack:
        if dry_run and _is_absent(url):
            store: Any = _nothing()
        else:
            try:
                store = stack.enter_context(open_store(url, create=not dry_run))
            except SchemaError as error:
                if not dry_run or error.context.get("revision", "") is not None:
                    raise
                store = _nothing()  # a database that has no tables or collections of ours
        yield store


def _is_absent(url: str) -> bool:
    """It is a file that is not there."""
    if scheme_of(url).partition("+")[0] != "sqlite":
        return False
    path = parse_sqlite(url).path
    return path is not None and not path.exists()


def _nothing() -> Any:
    from pystator.stores.memory import InMemoryStateStore  # only then

    return InMemoryStateStore()


def _run(source: Any, target: Any, stopping: Stopping, **options: Any) -> "Copied":
    """Copy, until the end or Ctrl-C."""
    from pystator.stores.copying import copy_store  # a check of the words comes first

    with counting("copying") as show:

        def progress(so_far: "Copied") -> bool:
            what = "" if so_far.passes == 1 else "comparing: "
            rows, entities = count(so_far.rows), count(so_far.entities)
            show(f"{what}{entities} entities, {rows} rows; {count(so_far.new_rows)} rows written")
            return not stopping.asked

        stopping.busy = True
        try:
            return copy_store(source, target, progress=progress, **options)
        except StoreUnavailableError:
            note("when it is there again, the same command goes on with the rest", "warn")
            raise


# Words --------------------------------------------------------------------------------------------


def _tell(report: "Copied", *, dry_run: bool) -> None:
    written = _amounts(report.new_entities, report.new_rows, report.new_machines)
    if written:
        say(f"{written} {'would be copied' if dry_run else 'copied'}")
    else:
        say("nothing to copy")
    if report.verified:
        whole = _amounts(report.entities, report.rows, report.machines)
        say(f"compared: TO has {f'all of it, {whole}' if whole else 'nothing, like FROM'}")
    if report.others:
        rows = f"{count(report.others)} {noun(report.others, 'row is', 'rows are')}"
        say(f"{rows} only in TO: pruned in FROM since, or rejections of its own")
    if not report.stopped and not dry_run:
        say(f"digest {report.digest}")


def _amounts(entities: int, rows: int, machines: int) -> str:
    """``4 entities, 10 rows and 2 machines``."""
    told = [
        f"{count(number)} {noun(number, one, many)}"
        for number, one, many in (
            (entities, "entity", "entities"),
            (rows, "row", "rows"),
            (machines, "machine", "machines"),
        )
        if number
    ]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _complain(report: "Copied") -> None:
    """Say what is not in TO as it is in FROM."""
    for conflict in report.conflicts[:SHOWN]:
        note(f"{_named(conflict)}: {conflict.why}", "warn")
    number = len(report.conflicts)
    if number > SHOWN:
        note(f"and {count(number - SHOWN)} more: --json lists all", "dim")
    if number:
        problem(f"{count(number)} {noun(number, 'conflict')}: TO keeps what it has there")
    if report.behind:
        problem("somebody writes to FROM meanwhile: run it again, the last time when nobody does")


def _named(conflict: "Conflict") -> str:
    if not conflict.entity_id:
        return f"machine {conflict.machine_name}"
    whose = f" of {conflict.machine_name}" if conflict.machine_name else ""
    return f"{conflict.entity_id}{whose}"


def _view(report: "Copied", shown: tuple[str, str], *, dry_run: bool) -> dict[str, Any]:
    return {
        "from": shown[0],
        "to": shown[1],
        "dry_run": dry_run,
        "entities": report.entities,
        "rows": report.rows,
        "machines": report.machines,
        "copied": {
            "entities": report.new_entities,
            "rows": report.new_rows,
            "machines": report.new_machines,
        },
        "conflicts": [
            {
                "entity_id": each.entity_id or None,
                "machine_name": each.machine_name,
                "why": each.why,
            }
            for each in report.conflicts
        ],
        "behind": report.behind,
        "only_in_target": report.others,
        "digest": None if report.stopped else report.digest,
        "verified": report.verified,
        "interrupted": report.stopped,
    }
