"""The replicator: it applies the hot store's stream to the durable one, in order, exactly once.

::

    hot: P:replication --read--> parcels --restore_marked--> durable: rows and place, at once
                       <--trim--                             (the entry applied last stays)

Laws:

- The place is changed in the transaction of what is applied, by compare-and-set: an entry is
  applied once, however often this is killed and however many run. One of them works, the others
  find the place changed, and wait.
- A side that is down is waited for. Two sides that do not agree stop it; nothing is skipped.
- What it holds is bounded: `COUNT` entries, and fewer when they are large.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from pystator.errors import (
    InvalidValueError,
    ReplicationError,
    StaleVersionError,
    StoreUnavailableError,
)
from pystator.records import Lookup
from pystator.stores.parcels import ROW_VALUES, RawParcel
from pystator.stores.replicated.answers import Applied
from pystator.stores.replicated.pair import Pair, waiting_of
from pystator.stores.replicated.stream import Batch, parcels_of

__all__ = ["Progress", "Replicator"]

Progress = Callable[[Applied], None]
"""Told after each step what was done so far."""

COUNT: Final = 1_000
"""Entries of a partition that are read at once, at most."""

SIZE: Final = 4_000_000
"""Characters of contexts, payloads and patches that are read at once, about."""

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
        self._count = COUNT
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
        wait = FIRST
        while not self._stop.is_set():
            try:
                if not self._epoch:
                    self._begin()
                pause = self._step(once=once)
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
        return self.applied

    def _begin(self) -> None:
        """See that the sides agree, and how far this is."""
        epoch = self._pair.join(make=True)
        self._places = self._pair.places(epoch)
        self._looked = 0.0
        self._epoch = epoch
        self._pair.stream.trim(self._places)  # who was here last may have been killed before it

    def _step(self, *, once: bool) -> float | None:
        """Read and apply; seconds until the next one is due, None at the end."""
        self._look()
        batches = self._pair.stream.read(self._places, self._count)
        changed: dict[int, str] = {}
        for batch in batches:
            if batch.epoch != self._epoch:
                self._pair.verify(self._epoch)  # says it
            if batch.entries:
                if not self._apply(batch):
                    self._epoch = ""
                    return STANDBY
                changed[batch.partition] = batch.last
        if changed:
            self._pair.stream.trim(changed)
            self._pause = SOON
            return 0.0
        if once:
            self._look(now=True)
            return None if not self._waiting else 0.0
        self._pause = min(self._pause * 2, IDLE)
        return self._pause

    def _apply(self, batch: Batch) -> bool:
        parcels = parcels_of(batch.entries)
        try:
            try:
                done = self._write(batch, parcels)
            except StaleVersionError:
                if not self._forgets(parcels):
                    raise
                done = self._write(batch, parcels)
        except (StaleVersionError, InvalidValueError) as error:
            raise self._refused(error, batch) from error
        if done:
            self._places[batch.partition] = batch.last
            self._entries += len(batch.entries)
            self._rows += sum([len(parcel.rows) for parcel in parcels])
            self._adapt(sum([parcel.size for parcel in parcels]), len(batch.entries))
        return done

    def _write(self, batch: Batch, parcels: Sequence[RawParcel]) -> bool:
        before = self._places[batch.partition]
        return self._pair.ledger.apply(parcels, batch.partition, self._epoch, before, batch.last)

    def _forgets(self, parcels: Sequence[RawParcel]) -> bool:
        """Every entity is as it should be, so it is event ids that are there already.

        The hot store has them no more, or it would have refused them: it was pruned. What the
        durable one has of them, which was not, stays, and gives up its id.
        """
        durable = self._pair.durable
        found = durable.load([Lookup(*parcel.key) for parcel in parcels])
        for parcel, loaded in zip(parcels, found, strict=True):
            if parcel.base != (0 if loaded.entity is None else loaded.entity.version):
                return False
        durable.forget_events(
            [
                (*parcel.key, row[EVENT_ID])
                for parcel in parcels
                for row in parcel.rows
                if row[EVENT_ID] is not None
            ]
        )
        return True

    def _adapt(self, size: int, entries: int) -> None:
        """Read as many next time as are `SIZE` characters, when they are as large."""
        fitting = SIZE * entries // (size + 1)
        self._count = max(1, min(fitting, self._count * 2, COUNT))

    def _look(self, *, now: bool = False) -> None:
        """Now and then, see that nothing was lost, and keep in the durable store what there is."""
        moment = time.monotonic()
        if not now and self._looked and moment < self._looked + LOOK:
            return
        pair = self._pair
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
