"""``pystator process``: stream a file of events through a machine into a store.

::

    feed -> lines -> batches -> Orchestrator.process_events -> tally
                         `-> rejects file, flushed with every batch

Nothing is remembered between two runs but what the store holds: each event's id makes it apply
once, so that a run that was interrupted, killed or cut off is simply run again.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pystator.cli.backends import open_backend
from pystator.cli.events import FORMATS, Format, Rules, format_of, read_lines
from pystator.cli.feed import STDIN, open_feed
from pystator.cli.options import CodeOption, JsonOption, ServiceOption, StoreOption
from pystator.cli.output import INTERRUPTED, note, paint, say, say_json, without_prints
from pystator.cli.progress import progress_of
from pystator.cli.rejects import Rejects
from pystator.cli.run import Run, batches
from pystator.cli.stopping import Stopping
from pystator.cli.tally import Tally, summary, told
from pystator.cli.text import noun

__all__ = ["process"]

BATCH = 1_000
"""Events committed together: enough that a commit's fixed cost does not count."""


def process(
    machine: Annotated[
        str,
        typer.Option(
            "--machine",
            "-m",
            metavar="FILE|NAME",
            help="A machine file, or the name of a machine stored in the database.",
        ),
    ],
    events: Annotated[
        str,
        typer.Option(
            "--events",
            "-e",
            metavar="FILE|-",
            help="JSON Lines or CSV, also gzipped; - is standard input.",
        ),
    ],
    store: StoreOption = None,
    url: ServiceOption = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=100_000, metavar="N", help="Events in one commit.")
    ] = BATCH,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="FILE",
            help="Write rejected events and damaged lines here; the file can be fed back.",
        ),
    ] = None,
    event_time: Annotated[
        bool, typer.Option("--event-time", help="An event's `at` is the time its step runs at.")
    ] = False,
    id_from_line: Annotated[
        bool,
        typer.Option(
            "--id-from-line", help="An event without an event_id gets one from its file and line."
        ),
    ] = False,
    id_prefix: Annotated[
        str | None,
        typer.Option(
            "--id-prefix",
            metavar="TEXT",
            help="For --id-from-line: stands for the file. Default: its name.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="jsonl|csv", help="Default: by the file's name."),
    ] = None,
    code: CodeOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything was rejected.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Stream a file of events through a machine.

    Each line is {"entity_id", "trigger", "context", "event_id", "at"}; in CSV, further columns are
    the context. Events that carry an event_id are applied exactly once: after an interruption, run
    the same command again.
    """
    rules = Rules(event_time, prefix_of(events, id_prefix) if id_from_line else None)
    check_paths(events, rejects)
    with open_backend(store, url) as backend:
        sender = backend.sender(machine, code, entity=None, json=json)
        with open_feed(events) as feed, sender, Rejects(rejects) as out:
            lines = read_lines(feed, chosen_format(form, events), rules)
            run = Run(sender, out, Tally(), Stopping())
            with without_prints(json=json), progress_of(feed, wanted=not json) as report:
                for _ in run.go(batches(lines, feed, batch)):
                    report(run.tally)
                sender.finish()
            states = backend.count_by_state(machine_name=sender.machine_name, archived=False)
    tell(run, states, events, json=json)
    if run.stopping.asked:
        raise typer.Exit(INTERRUPTED)
    if strict and out.count:
        raise typer.Exit(1)


# Options ----------------------------------------------------------------------------------------


def prefix_of(events: str, given: str | None) -> str:
    """What stands for the file in ids made from lines: its name without folder and ``.gz``."""
    if given:
        return given
    if events == STDIN:
        raise typer.BadParameter("--id-from-line needs --id-prefix when events come by a pipe")
    return Path(events).name.removesuffix(".gz")


def check_paths(events: str, rejects: Path | None) -> None:
    """Writing the rejects over the events would destroy them."""
    if rejects is None or events == STDIN or not (rejects.exists() and Path(events).exists()):
        return
    if rejects.samefile(events):
        raise typer.BadParameter("--rejects would overwrite --events: name another file")


def chosen_format(given: str | None, events: str) -> Format:
    """The format asked for, or by the name."""
    if given is None:
        return format_of(events)
    if given in FORMATS:
        return given
    raise typer.BadParameter(f"--format is jsonl or csv, not {given!r}")


# The end ----------------------------------------------------------------------------------------


def tell(run: Run, states: dict[str, int], events: str, *, json: bool) -> None:
    """The summary."""
    path = run.rejects.path
    if json:
        facts: dict[str, Any] = {
            "file": events,
            "machine": run.sender.machine_name,
            "interrupted": run.stopping.asked,
            "rejects": None if path is None else {"file": str(path), "lines": run.rejects.count},
        }
        say_json({**facts, **told(run.tally, states)})
    else:
        where = (
            "--rejects FILE keeps them"
            if path is None
            else f"-> {path}, {run.rejects.count:,} {noun(run.rejects.count, 'line')}"
        )
        for text in summary(run.tally, states, paint(sys.stdout), where):
            say(text)
    if run.stopping.asked:
        note("interrupted: run the same command again to go on", "warn")
