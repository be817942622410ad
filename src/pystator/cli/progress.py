"""The progress bar: on a terminal, out of the way of everything else."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from pystator.cli.output import colorful
from pystator.cli.text import count

if TYPE_CHECKING:
    from pystator.cli.feed import Feed
    from pystator.cli.tally import Tally

__all__ = ["counting", "progress_of"]

INTERVAL = 0.1
"""Seconds between two pictures of the bar."""

Report = Callable[["Tally"], None]


@contextmanager
def progress_of(feed: "Feed", *, wanted: bool) -> "Generator[Report]":
    """A function to call after each batch; it draws when standard error is a terminal."""
    if not wanted or not colorful(sys.stderr):
        yield _nothing
        return
    from rich.console import Console  # only on a terminal
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%" if feed.size else ""),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn() if feed.size else TextColumn(""),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(feed.name, total=feed.size, words="")
        drawn = 0.0

        def report(tally: "Tally") -> None:
            nonlocal drawn
            if monotonic() - drawn >= INTERVAL:
                bar.update(task, completed=feed.position(), words=_words(tally), refresh=True)
                drawn = monotonic()

        yield report


@contextmanager
def counting(name: str) -> Generator[Callable[[str], None]]:
    """A function that says how far it is, where nobody knows how far it goes."""
    if not colorful(sys.stderr):
        yield lambda words: None  # noqa: ARG005 - nobody looks
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, words="")
        yield lambda words: bar.update(task, words=words)


def _words(tally: "Tally") -> str:
    rejected = sum(tally.rejected.values())
    told = f", [red]{count(rejected)} rejected[/]" if rejected else ""
    return f"{count(tally.read)} events, {count(tally.rate)}/s{told}"


def _nothing(tally: "Tally") -> None:
    del tally
