"""Two stores brought together: the durable one copied into an emptied hot one, or the other way.

Each step may be the last one before a kill; run again, it goes on::

    durable: "E' rebuilding"  -->  hot: of no epoch  -->  copy  -->  hot: E'  -->  durable: E'

From the first step to the last one every replicated store refuses to work: the epochs differ. What
is copied into a hot store of no epoch is not replicated back; and a replicator that has read
something of the old epoch, and was held up, finds places of another one.

Of two who do this at once the last to begin goes on, and the other one ends with an error.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final

from pystator.errors import ReplicationError
from pystator.records import Lookup
from pystator.stores.copying import Copied, copy_store
from pystator.stores.copying.reading import all_entities
from pystator.stores.copying.report import Progress
from pystator.stores.keys import new_commit_id
from pystator.stores.replicated.answers import Rebuilt
from pystator.stores.replicated.pair import Pair
from pystator.stores.replicated.places import Epoch, Phase

__all__ = ["adopt", "rebuild"]

ROUND: Final = 500
"""Entities that are looked for at once."""


def rebuild(pair: Pair, *, discard: bool = False, progress: Progress | None = None) -> Rebuilt:
    """Copy the durable store into the hot one, which has been emptied, under a new epoch.

    Args:
        pair: The stores.
        discard: Empty the hot store first: what it has and was not replicated is gone.
        progress: Told what was copied so far.

    Raises:
        ReplicationError: The hot store is not empty.
    """
    epoch = pair.ledger.epoch()
    fresh = not _goes_on(pair, epoch, Phase.REBUILDING)
    if fresh and not discard and not pair.stream.holds_nothing():
        raise ReplicationError(
            f"{pair.hot.url} is not empty: what it has and was not replicated would be lost. Look"
            " at it first; then run this again with --discard (discard=True), which deletes every"
            " key of ours there",
            context={"hot": pair.hot.url, "written": False},
        )
    epoch = _enter(pair, epoch, Phase.REBUILDING)
    check = _begin_run(pair)
    if pair.stream.epochs() != {epoch.name} and pair.stream.joining() != epoch.name:
        pair.stream.wipe(check)
        check()
        pair.stream.begin_joining(epoch.name)
    return _copied(pair, epoch, check, progress)


def adopt(pair: Pair, *, progress: Progress | None = None) -> Rebuilt:
    """Copy the hot store into the durable one, under a new epoch; nobody may write meanwhile.

    What the durable store has already stays, if it is the beginning of what the hot one has.

    Raises:
        ReplicationError: The hot store lacks what the durable one has, or has something else.
    """
    _check_hot_has_all(pair)
    epoch = _enter(pair, pair.ledger.epoch(), Phase.ADOPTING)
    check = _begin_run(pair)
    if pair.stream.epochs() != {epoch.name}:
        check()
        pair.stream.begin_joining(epoch.name)
    return _copied(pair, epoch, check, progress)


def _check_hot_has_all(pair: Pair) -> None:
    """Refuse to adopt a hot store without entities that the durable one has: it has lost them.

    Raises:
        ReplicationError: It has.
    """
    entities = all_entities(pair.durable)
    while some := list(islice(entities, ROUND)):
        found = pair.hot.load([Lookup(*entity.key) for entity in some])
        for entity, each in zip(some, found, strict=True):
            if each.entity is None:
                raise _lacking(pair, *entity.key)


def _goes_on(pair: Pair, epoch: Epoch | None, phase: Phase) -> bool:
    """This was begun before, and has come to the copying."""
    return (
        epoch is not None
        and epoch.phase is phase
        and epoch.name in {pair.stream.joining(), *pair.stream.epochs()}
    )


def _enter(pair: Pair, before: Epoch | None, phase: Phase) -> Epoch:
    """Say in the durable store that this is under way."""
    if before is not None and before.phase is phase:
        return before
    pair.ledger.keep_known(pair.known())
    epoch = Epoch(new_commit_id(), phase)
    if not pair.ledger.change_epoch(before, epoch):
        raise _overtaken(pair)
    return epoch


def _begin_run(pair: Pair) -> Callable[[], None]:
    """Take over from whoever does this; answers the check that nobody has taken over since."""
    name = pair.ledger.begin_run()

    def check() -> None:
        if pair.ledger.run() != name:
            raise _overtaken(pair)

    return check


def _copied(
    pair: Pair, epoch: Epoch, check: Callable[[], None], progress: Progress | None
) -> Rebuilt:
    def watched(so_far: Copied) -> bool | None:
        check()
        return None if progress is None else progress(so_far)

    known = pair.ledger.kept_known()
    check()
    pair.ledger.begin_places(epoch.name, pair.stream.partitions)
    done = Copied()
    if pair.stream.epochs() != {epoch.name}:
        if epoch.phase is Phase.ADOPTING:
            done = copy_store(pair.hot, pair.durable, progress=watched)
        else:
            done = copy_store(pair.durable, pair.hot, progress=watched)
        if done.stopped:
            return Rebuilt(done.entities, done.rows, known, epoch.name, finished=False)
        if not done.verified or done.conflicts:
            raise _incomplete(pair, done)
        check()
        pair.stream.set_epoch(epoch.name)
        pair.stream.end_joining()
    whole = Epoch(epoch.name, Phase.DONE)
    if not pair.ledger.change_epoch(epoch, whole) and pair.ledger.epoch() != whole:
        raise _overtaken(pair)
    return Rebuilt(done.entities, done.rows, known, epoch.name, finished=True)


def _overtaken(pair: Pair) -> ReplicationError:
    return ReplicationError(
        f"{pair.durable.url}: somebody else brings these stores together at this moment; when that"
        " has ended, connect, and see whether this is still needed",
        context={"durable": pair.durable.url, "written": False},
    )


def _lacking(pair: Pair, entity_id: str, machine: str) -> ReplicationError:
    """The error of a hot store that is not to be adopted."""
    return ReplicationError(
        f"{pair.hot.url} is not adopted: it lacks {entity_id!r} of machine {machine!r}, which"
        f" {pair.durable.url} has: it was emptied, has lost it, or is another one, and would serve"
        " without it. Run this with --rebuild (rebuild() of the store), which copies the durable"
        " store into the hot one",
        context={
            "hot": pair.hot.url,
            "durable": pair.durable.url,
            "entity_id": entity_id,
            "machine_name": machine,
            "helps": "rebuild",
            "written": False,
        },
    )


def _incomplete(pair: Pair, done: Copied) -> ReplicationError:
    """The error of a copy that is none."""
    if done.conflicts:
        first = done.conflicts[0]
        more = f", and {len(done.conflicts) - 1} more" if len(done.conflicts) > 1 else ""
        what = f"{first.entity_id!r} of machine {first.machine_name!r}: {first.why}{more}"
    else:
        what = "somebody writes meanwhile: stop all writers, and run it again"
    return ReplicationError(
        f"{pair.hot.url} and {pair.durable.url} were not brought together: {what}",
        context={"hot": pair.hot.url, "durable": pair.durable.url, "behind": done.behind},
    )
