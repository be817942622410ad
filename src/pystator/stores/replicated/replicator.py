"""The replicator: it applies the hot store's stream to the durable one, in order, exactly once.

::

    hot: P:replication --read--> parcels --restore_marked--> durable: rows and place, at once
                       <--trim--                             (the entry applied last stays)

Laws:

- The place is changed in the transaction of what is applied, by compare-and-set: an entry is
  applied once, however often this is killed and however many run. One of them works, the others
  find the place changed, and wait.
- A side that is down is waited for. Two sides that do not agree stop it; nothing is skipped.
- What it holds is bounded: `COUNT` entries that are being written and as many that were read
  meanwhile, and fewer when they are large.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pystator.errors import (
    InvalidValueError,
    ReplicationError,
    StaleVersionError,
    StoreUnavailableError,
)
from pystator.records import Lookup, record
from pystator.stores.parcels import ROW_VALUES, HistoryRow, RawParcel
from pystator.stores.replicated.answers import Applied
from pystator.stores.replicated.pair import Pair, waiting_of
from pystator.stores.replicated.stream import Batch, parcels_of

__all__ = ["Progress", "Replicator"]

Progress = Callable[[Applied], None]
"""Told after each step what was done so far."""

COUNT: Final = 1_000
"""Entries of a partition that are read at once, at most."""

FEW: Final = 16
"""Entries that are read at first, when nobody knows yet how large they are."""

SIZE: Final = 4_000_000
"""Characters of entries that are read at once, about."""

LOOK: Final = 1.0
"""Seconds between two looks at the streams as a whole."""

NOTE: Final = 10.0
"""Seconds after which what was seen is kept again, though it is the same."""

SOON: Final = 0.001
IDLE: Final = 0.05
"""Seconds to wait for new entries: at first, and at most."""

STANDBY: Final = 1.0
"""Seconds to wait for another replicator that works."""

EVENT_ID: Final = ROW_VALUES.index("event_id")

FIRST: Final = 0.1
LONGEST: Final = 5.0
"""Seconds to wait for a side that is down: at first, and at most."""


@record
class _Read:
    """What was read of one partition.

    Attributes:
        is_full: It is as much as was asked for: there may be more.
    """

    batch: Batch
    parcels: Sequence[RawParcel]
    is_full: bool


class Replicator:
    """Applies what waits, and what comes.

    Args:
        pair: The stores, connected.
        stop: Set, it ends after the step under way.
        progress: Told after each step.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._pair = pair
        self._stop = threading.Event() if stop is None else stop
        self._progress = progress
        self._epoch = ""
        self._places: dict[int, str] = {}
        self._ahead: list[_Read] | None = None
        self._changes = -1
        self._count = FEW
        self._looked = 0.0
        self._pause = SOON
        self._seen: tuple[dict[str, str], int] = ({}, 0)
        self._noted = 0.0
        self._entries = 0
        self._rows = 0
        self._waiting = 0
        self._trouble: str | None = None

    @property
    def applied(self) -> Applied:
        """What was done so far."""
        return Applied(self._entries, self._rows, self._waiting, self._trouble)

    def run(self, *, once: bool = False) -> Applied:
        """Apply until it is told to stop.

        Args:
            once: End when nothing waits; a side that is down is an error.

        Raises:
            ReplicationError: The sides do not agree: somebody has to decide.
            StoreUnavailableError: A side is down, and ``once`` was asked for.
        """
        with ThreadPoolExecutor(1, "pystator replication") as pool:
            self._run(pool, once=once)
        return self.applied

    def _run(self, pool: ThreadPoolExecutor, *, once: bool) -> None:
        wait = FIRST
        while not self._stop.is_set():
            try:
                if not self._epoch:
                    self._begin()
                pause = self._step(pool, once=once)
            except StoreUnavailableError as error:
                if once:
                    raise
                self._epoch = ""  # what was under way may be done: look again
                self._tell(error.message)
                self._stop.wait(wait * (0.5 + random.random()))  # noqa: S311 - spreads those who wait
                wait = min(wait * 2, LONGEST)
                continue
            wait = FIRST
            self._tell(None)
            if pause is None:
                break
            self._stop.wait(pause)

    def _begin(self) -> None:
        """See that the sides agree, and how far this is."""
        epoch = self._pair.join(make=True)
        self._places = self._pair.places(epoch)
        self._ahead = None
        self._changes = -1
        self._epoch = epoch
        self._pair.stream.trim(self._places)  # who was here last may have been killed before it

    def _step(self, pool: ThreadPoolExecutor, *, once: bool) -> float | None:
        """Apply what was read, and read on; seconds until the next step, None at the end."""
        self._look()
        found = self._read(self._places) if self._ahead is None else self._ahead
        self._ahead = None
        if any(each.batch.epoch != self._epoch for each in found):
            self._pair.verify(self._epoch)  # says it
            self._epoch = ""
            return SOON
        waiting = [each for each in found if each.batch.entries]
        if not waiting:
            return self._idle(once=once)
        places = self._places | {each.batch.partition: each.batch.last for each in waiting}
        work = pool.submit(self._apply, waiting)
        try:
            if any(each.is_full for each in waiting):
                self._ahead = self._read(places)
        finally:
            is_mine = work.result()
        if not is_mine:
            self._epoch = ""
            return STANDBY
        self._pair.stream.trim({each.batch.partition: each.batch.last for each in waiting})
        self._pause = SOON
        return 0.0

    def _idle(self, *, once: bool) -> float | None:
        if once:
            self._look(now=True)
            return None if not self._waiting else 0.0
        self._pause = min(self._pause * 2, IDLE)
        return self._pause

    def _read(self, places: dict[int, str]) -> list[_Read]:
        """The next entries of each partition, as parcels."""
        count = self._count
        found = [
            _Read(batch, parcels_of(batch.entries), len(batch.entries) >= count)
            for batch in self._pair.stream.read(places, count)
        ]
        most = max([len(each.batch.entries) for each in found])
        if most:  # as many next time as are `SIZE` characters, when they are as large
            size = sum([each.batch.size for each in found])
            self._count = max(1, min(SIZE * most // size, count * 2, COUNT))
        return found

    def _apply(self, found: Sequence[_Read]) -> bool:
        """Write what was read; False when somebody else has."""
        for each in found:
            batch, parcels = each.batch, each.parcels
            try:
                try:
                    is_mine = self._write(batch, parcels)
                except StaleVersionError:
                    others = self._forget(parcels)
                    if others is None:
                        raise
                    is_mine = self._write(batch, others)
            except (StaleVersionError, InvalidValueError) as error:
                raise self._refused(error, batch) from error
            if not is_mine:
                return False
            self._places[batch.partition] = batch.last
            self._entries += len(batch.entries)
            self._rows += sum([len(parcel.rows) for parcel in parcels])
        return True

    def _write(self, batch: Batch, parcels: Sequence[RawParcel]) -> bool:
        before = self._places[batch.partition]
        return self._pair.ledger.apply(parcels, batch.partition, self._epoch, before, batch.last)

    def _forget(self, parcels: Sequence[RawParcel]) -> list[RawParcel] | None:
        """Every entity is as it should be, so it is event ids that are there already; else None.

        The hot store has them no more, or it would have refused them: it was pruned. The older
        row, which the durable one keeps, or which is among those that wait, gives up its id.
        """
        durable = self._pair.durable
        found = durable.load([Lookup(*parcel.key) for parcel in parcels])
        for parcel, loaded in zip(parcels, found, strict=True):
            if parcel.base != (0 if loaded.entity is None else loaded.entity.version):
                return None
        durable.forget_events(_ids_of(parcels))
        return [_without_twins(parcel) for parcel in parcels]

    def _look(self, *, now: bool = False) -> None:
        """Now and then, see that nothing was lost, and keep in the durable store what there is."""
        moment = time.monotonic()
        pair = self._pair
        changes = pair.stream.changes
        if not now and changes == self._changes and moment < self._looked + LOOK:
            return
        if changes != self._changes:
            self._ahead = None  # a server that was started again may have lost it since
        self._changes = changes
        heads = pair.verify(self._epoch)
        self._looked = moment
        places = self._places
        waiting = sum(waiting_of(places[number], head) for number, head in heads.items())
        self._waiting = waiting
        last = {str(number): head.last for number, head in heads.items() if head.last is not None}
        if (last, waiting) != self._seen or moment > self._noted + NOTE:
            pair.note_seen(last, waiting)
            self._seen = (last, waiting)
            self._noted = moment

    def _refused(self, error: Exception, batch: Batch) -> ReplicationError:
        return ReplicationError(
            f"{self._pair.durable.url} refuses entries {batch.entries[0][0]} to {batch.last} of"
            f" {self._pair.hot.url}'s stream: {error}. Somebody else has written to one of them:"
            " see what (`pystator history` of both), and bring them together again with"
            " --adopt or --rebuild; until then nothing is replicated, and nothing is lost",
            context={**getattr(error, "context", {}), "written": False},
        )

    def _tell(self, trouble: str | None) -> None:
        self._trouble = trouble
        if self._progress is not None:
            self._progress(self.applied)


def _without_twins(parcel: RawParcel) -> RawParcel:
    """Of two rows with the same event id, the later keeps it."""
    seen: set[str] = set()
    rows: list[HistoryRow] = []
    for row in reversed(parcel.rows):
        event_id = row[EVENT_ID]
        is_twin = event_id in seen
        rows.append((*row[:EVENT_ID], None, *row[EVENT_ID + 1 :]) if is_twin else row)
        if event_id is not None:
            seen.add(event_id)
    rows.reverse()
    return RawParcel(*parcel.key, parcel.entity, rows, parcel.base)


def _ids_of(parcels: Sequence[RawParcel]) -> list[tuple[str, str, str]]:
    """The event ids of their rows."""
    return [
        (*parcel.key, row[EVENT_ID])
        for parcel in parcels
        for row in parcel.rows
        if row[EVENT_ID] is not None
    ]
