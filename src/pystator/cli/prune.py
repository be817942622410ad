"""``pystator db prune``: delete old history, as the machines say or by a given age.

::

    --older-than, or meta.retention of stored machines and of files --> one rule a machine
                          --> store.prune_history, batch by batch --> what was deleted
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pystator.cli.asking import confirm
from pystator.cli.machines import find_definition, is_file, open_store, shown_url
from pystator.cli.options import ForceOption, JsonOption, StoreOption, UrlArgument
from pystator.cli.output import INTERRUPTED, note, say, say_json
from pystator.cli.progress import counting
from pystator.cli.stopping import Stopping
from pystator.cli.text import count, noun
from pystator.definition.durations import DurationError, microseconds
from pystator.definition.retention import DEDUP_WINDOW, Retention
from pystator.definition.words import duration_words
from pystator.errors import ConfigurationError

if TYPE_CHECKING:
    from pystator.records import Pruned
    from pystator.stores.protocols import MachineStore
    from pystator.stores.prunable import Prunable

__all__ = ["prune"]

BATCH = 1_000

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long history of a machine is kept, and who says so.

    Attributes:
        machine: The machine's name; None for every machine.
    """

    machine: str | None
    retention: Retention
    origin: str

    def __str__(self) -> str:
        """``order: rows of 90d and older, event ids known for 30d (order.yaml)``."""
        whose = "every machine" if self.machine is None else self.machine or "(no machine)"
        return (
            f"{whose}: rows of {_words(self.retention.history)} and older, event ids known for "
            f"{_words(self.retention.dedup_window)} ({self.origin})"
        )

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "machine_name": self.machine,
            "history": _words(self.retention.history),
            "dedup_window": _words(self.retention.dedup_window),
            "origin": self.origin,
        }


def prune(
    url: UrlArgument = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Delete rows of this age, e.g. 90d. Default: what meta.retention of each machine "
            "says, and only those machines.",
            show_default=False,
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            "-m",
            metavar="FILE|NAME",
            help="Only entities of this machine; may be given several times.",
            show_default=False,
        ),
    ] = None,
    dedup_window: Annotated[
        str | None,
        typer.Option(
            "--dedup-window",
            metavar="AGE",
            help="Keep rows of events that have an event id this long. Default: 30d, or what the "
            "machine says.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option("--batch", min=1, max=100_000, metavar="N", help="Rows in one transaction."),
    ] = BATCH,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Delete nothing; say what would be.")
    ] = False,
    force: ForceOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete old history, in small transactions; asks first.

    One snapshot row an entity keeps what is left replayable. Entities stay as they are.
    """
    if url is not None and store is not None:
        raise typer.BadParameter("the URL is given twice: once is enough")
    url = url or store
    shown = shown_url(url)
    age = None if older_than is None else _age(older_than, "--older-than")
    window = None if dedup_window is None else _age(dedup_window, "--dedup-window")
    with open_store(url, create=False) as opened:
        policies = _policies(opened, url, shown, age, window, machine or [])
        if not json:
            for policy in policies:
                note(str(policy), "dim")
        if not (dry_run or force):
            confirm(f"This deletes history in {shown}.", "Delete it?", shown)
        with Stopping() as stopping:
            report = _run(opened, policies, batch, stopping, dry_run=dry_run)
    if json:
        say_json(_view(report, shown, policies, stopping, dry_run=dry_run))
    else:
        _tell(report, dry_run=dry_run)
    if stopping.asked:
        note("stopped; run it again for the rest", "warn")
        raise typer.Exit(INTERRUPTED)


def _run(
    store: "Prunable", policies: list[Policy], batch: int, stopping: Stopping, *, dry_run: bool
) -> "Pruned":
    """Prune, until the end or Ctrl-C."""
    with counting("pruning") as show:

        def progress(so_far: "Pruned") -> bool:
            show(f"{count(so_far.rows)} rows, {count(so_far.entities)} entities")
            return not stopping.asked

        stopping.busy = True
        options: dict[str, Any] = {"batch": batch, "dry_run": dry_run, "progress": progress}
        rules = {each.machine: each.retention for each in policies}
        every = rules.pop(None, None)
        if every is not None:
            return store.prune_history(every.history, dedup_window=every.dedup_window, **options)
        return store.prune_history(retention=cast("dict[str, Retention]", rules), **options)


# Policies -----------------------------------------------------------------------------------------


def _policies(
    store: "MachineStore",
    url: str | None,
    shown: str,
    age: timedelta | None,
    window: timedelta | None,
    machines: list[str],
) -> list[Policy]:
    """One for each machine that is meant, or one for all.

    Raises:
        ConfigurationError: Nobody says how long history is kept.
    """
    if age is not None:
        retention = Retention(age, DEDUP_WINDOW if window is None else window)
        names: list[str | None] = [_name(each) for each in machines]
        return [Policy(name, retention, "--older-than") for name in names or [None]]
    found = [_said(each, url) for each in machines] if machines else _stored(store)
    if not found:
        raise ConfigurationError(
            f"nobody says how long history is kept: no machine that is stored in {shown} has "
            "meta.retention; give --older-than 90d, or --machine FILE of a machine that has it",
            context={"database": shown},
        )
    if window is None:
        return found
    return [
        Policy(each.machine, Retention(each.retention.history, window), each.origin)
        for each in found
    ]


def _name(machine: str) -> str:
    """The name under which the machine's entities are kept."""
    return find_definition(machine, None).name if is_file(machine) else machine


def _said(machine: str, url: str | None) -> Policy:
    """What a file, or a stored machine, says itself."""
    definition = find_definition(machine, url)
    retention = Retention.of(definition.meta)
    if retention is None:
        raise ConfigurationError(
            f"{machine} does not say how long history is kept: write "
            "meta: {retention: {history: 90d}}, or give --older-than 90d",
            context={"machine": machine},
        )
    origin = machine if is_file(machine) else f"stored version {definition.version}"
    return Policy(definition.name, retention, origin)


def _stored(store: "MachineStore") -> list[Policy]:
    """What the newest versions of the stored machines say."""
    from pystator.definition.load import load_config
    from pystator.stores.named import configuration, newest_machines

    found: list[Policy] = []
    for name, machine in newest_machines(store).items():
        config, version = configuration(machine), machine.version
        meta: dict[str, Any] = config.get("meta") or {}
        if not meta.get("retention"):
            continue
        retention = Retention.of(load_config(config, file=f"{name}@{version}").meta)
        if retention is not None:
            found.append(Policy(name, retention, f"stored version {version}"))
    return found


def _age(text: str, option: str) -> timedelta:
    """An age as written.

    Raises:
        BadParameter: It is none.
    """
    try:
        return timedelta(microseconds=microseconds(text))
    except DurationError:
        raise typer.BadParameter(
            f"{text!r} is no age: write a whole number with d, h, m or s, e.g. 90d",
            param_hint=option,
        ) from None


# Words --------------------------------------------------------------------------------------------


def _words(age: timedelta) -> str:
    return duration_words(age // _MILLISECOND)


def _tell(report: "Pruned", *, dry_run: bool) -> None:
    if not report.rows:
        say("nothing to prune")
    else:
        rows = f"{count(report.rows)} {noun(report.rows, 'row')}"
        entities = f"{count(report.entities)} {noun(report.entities, 'entity', 'entities')}"
        snapshots = f"{count(report.snapshots)} {noun(report.snapshots, 'snapshot')}"
        deleted = "would be deleted" if dry_run else "deleted"
        place = noun(report.rows, "its place", "their place")
        say(f"{rows} of {entities} {deleted}, {snapshots} in {place}")
    if report.kept:
        kept = noun(
            report.kept,
            "row stays: its event id is still known",
            "rows stay: their event ids are still known",
        )
        say(f"{count(report.kept)} older {kept}")


def _view(
    report: "Pruned", shown: str, policies: list[Policy], stopping: Stopping, *, dry_run: bool
) -> dict[str, Any]:
    return {
        "database": shown,
        "dry_run": dry_run,
        "policies": [policy.view() for policy in policies],
        "rows": report.rows,
        "entities": report.entities,
        "snapshots": report.snapshots,
        "kept": report.kept,
        "interrupted": stopping.asked,
    }
