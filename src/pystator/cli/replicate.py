"""``pystator replicate``: keep a durable store up with a hot one, and bring the two together.

::

    --hot redis://... --durable postgresql://...  --> connect, and see that they belong together
        --> apply what waits, and what comes, until Ctrl-C or SIGTERM       (by default)
        --> or once (--once); or say how far behind it is (--lag)
        --> or copy one into the other, after a loss (--rebuild, --adopt)
"""

import random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.asking import confirm
from pystator.cli.options import ForceOption, JsonOption, StoreOption
from pystator.cli.output import INTERRUPTED, note, say, say_json
from pystator.cli.progress import counting
from pystator.cli.stopping import Stopping
from pystator.cli.text import count, noun
from pystator.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystator.stores.copying import Copied
    from pystator.stores.replicated import Applied, Lag, Rebuilt, ReplicatedStateStore

__all__ = ["replicate"]

LONGEST = 5.0
"""Seconds between two tries to connect, at most."""


def replicate(
    hot: Annotated[
        str | None,
        typer.Option(
            "--hot", metavar="URL", help="The Redis that serves: redis://localhost:6379/0."
        ),
    ] = None,
    durable: Annotated[
        str | None,
        typer.Option(
            "--durable",
            metavar="URL",
            help="The database that keeps: postgresql://user:pass@localhost/shop.",
        ),
    ] = None,
    url: StoreOption = None,
    once: Annotated[bool, typer.Option("--once", help="Apply what waits, and end.")] = False,
    lag: Annotated[
        bool, typer.Option("--lag", help="Say how far behind it is, and apply nothing.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Copy the durable store into the emptied hot one; asks first."
        ),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Copy the hot store into the durable one, while nobody writes; asks first.",
        ),
    ] = False,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="With --rebuild: empty the hot store first."),
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Apply to a durable store what is committed in a hot one, in order and exactly once.

    Runs until Ctrl-C or SIGTERM, and waits for a side that is down. Two at once do no harm.
    """
    if sum((once, lag, rebuild, adopt)) > 1:
        raise typer.BadParameter("--once, --lag, --rebuild and --adopt exclude each other")
    if discard and not rebuild:
        raise typer.BadParameter("--discard goes with --rebuild")
    store = _store(hot, durable, url)
    with Stopping() as stopping:
        stopping.busy = True
        if rebuild or adopt:
            _join(store, stopping, adopt=adopt, discard=discard, force=force, json=json)
        elif lag:
            with store:
                _tell_lag(store.lag(), json=json)
        else:
            _run(store, stopping, once=once, json=json)


def _store(hot: str | None, durable: str | None, url: str | None) -> "ReplicatedStateStore":
    """The store that is meant, not yet connected."""
    from pystator.db.resolve import find_store  # after the options are right
    from pystator.stores.registry import create_state_store
    from pystator.stores.replicated import ReplicatedStateStore

    if hot is not None or durable is not None:
        if hot is None or durable is None or url is not None:
            raise typer.BadParameter("give --hot and --durable, or --store replicated://...")
        made: Any = ReplicatedStateStore
        store: ReplicatedStateStore = made(
            hot=create_state_store(hot), durable=create_state_store(durable)
        )
        return store
    found = create_state_store(find_store(url).url)
    if not isinstance(found, ReplicatedStateStore):
        raise typer.BadParameter(
            "give --hot redis://... and --durable postgresql://..., or --store replicated://..."
        )
    return found


# Applying -----------------------------------------------------------------------------------------


def _run(store: "ReplicatedStateStore", stopping: Stopping, *, once: bool, json: bool) -> None:
    applied: Applied | None = None
    told: str | None = None
    with counting("replicating") as show:

        def progress(so_far: "Applied") -> None:
            nonlocal told
            show(f"{count(so_far.entries)} commits, {count(so_far.waiting)} waiting")
            if so_far.trouble != told:
                told = so_far.trouble
                note("going on" if told is None else f"waiting: {told}", "warn")

        try:
            if _connected(store, stopping, once=once):
                if not once:
                    note(f"replicating {store.hot_store.url} to {store.durable_store.url}", "dim")
                applied = store.replicate(once=once, stop=stopping.event, progress=progress)
        finally:
            store.disconnect()
    _tell_applied(applied, stopping, json=json)
    if once and stopping.asked:
        raise typer.Exit(INTERRUPTED)


def _connected(store: "ReplicatedStateStore", stopping: Stopping, *, once: bool) -> bool:
    """Connect; a side that is down is waited for, unless it is only once."""
    pause = 0.1
    told = ""
    while not stopping.asked:
        try:
            store.connect()
        except StoreUnavailableError as error:
            if once:
                raise
            if error.message != told:
                note(f"waiting: {error.message}", "warn")
            told = error.message
            stopping.event.wait(pause * (0.5 + random.random()))  # noqa: S311 - spreads those who wait
            pause = min(pause * 2, LONGEST)
        else:
            return True
    return False


def _tell_applied(applied: "Applied | None", stopping: Stopping, *, json: bool) -> None:
    entries = 0 if applied is None else applied.entries
    rows = 0 if applied is None else applied.rows
    waiting = None if applied is None else applied.waiting
    if json:
        say_json(
            {
                "commits": entries,
                "rows": rows,
                "waiting": waiting,
                "interrupted": stopping.asked,
            }
        )
        return
    commits = f"{count(entries)} {noun(entries, 'commit')}"
    say(f"{commits} with {count(rows)} {noun(rows, 'history row')} replicated")


def _tell_lag(lag: "Lag", *, json: bool) -> None:
    from pystator.stores.replicated.answers import shown_time

    replicated = None if lag.replicated is None else shown_time(lag.replicated)
    if json:
        say_json({"commits": lag.entries, "seconds": lag.seconds, "replicated_until": replicated})
        return
    if lag.entries:
        word = noun(lag.entries, "commit")
        say(f"{count(lag.entries)} {word} behind, the oldest of {lag.seconds:.1f} s ago")
    else:
        say("nothing waits: every commit is replicated")
    if replicated is not None:
        say(f"replicated until {replicated}")


# Bringing together --------------------------------------------------------------------------------


def _join(
    store: "ReplicatedStateStore",
    stopping: Stopping,
    *,
    adopt: bool,
    discard: bool,
    force: bool,
    json: bool,
) -> None:
    hot, durable = store.hot_store.url, store.durable_store.url
    source, target = (hot, durable) if adopt else (durable, hot)
    if not force:
        what = f"This copies {source} into {target}, under a new epoch: programs that use them have"
        what += " to connect again."
        if discard:
            what += f" What {hot} has now is deleted first."
        confirm(what, "Do it?", target)
    with counting("copying") as show:

        def progress(so_far: "Copied") -> bool:
            show(f"{count(so_far.entities)} entities, {count(so_far.rows)} rows")
            return not stopping.asked

        work: Callable[[], Rebuilt] = (
            (lambda: store.adopt(progress=progress))
            if adopt
            else (lambda: store.rebuild(discard=discard, progress=progress))
        )
        rebuilt = work()
    _tell_rebuilt(rebuilt, target, json=json)
    if not rebuilt.finished:
        note("stopped; run it again for the rest", "warn")
        raise typer.Exit(INTERRUPTED)


def _tell_rebuilt(rebuilt: "Rebuilt", target: str, *, json: bool) -> None:
    known = rebuilt.known
    if json:
        facts = {name: getattr(known, name) for name in known.__dataclass_fields__}
        say_json(
            {
                "store": target,
                "entities": rebuilt.entities,
                "rows": rebuilt.rows,
                "epoch": rebuilt.epoch,
                "known": facts,
                "finished": rebuilt.finished,
            }
        )
        return
    entities = f"{count(rebuilt.entities)} {noun(rebuilt.entities, 'entity', 'entities')}"
    rows = f"{count(rebuilt.rows)} history {noun(rebuilt.rows, 'row')}"
    say(f"{entities} with {rows} copied into {target}")
    say(str(known))
