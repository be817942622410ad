"""What the durable store knows of a replication: its epoch, how far it has come, what it has seen.

::

    pystator_meta   replication.epoch      "0193...": both stores belong together
                                           "0193... making": they are being brought together
                    replication.place.07   "0193... 1700000000000-3": what is applied of partition 7
                    replication.run        who brings them together: the last who began
                    replication.seen       how far the hot store was when it was last looked at
                    replication.known      what was known of the hot store that was given up last

An id of a stream's entry is ``milliseconds-number``, by the clock of the hot store.
"""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from pystator.records import record
from pystator.stores.keys import new_commit_id
from pystator.stores.parcels import RawParcel
from pystator.stores.replicated.answers import Known
from pystator.stores.upkeep import MarkedStore

__all__ = ["START", "Epoch", "Ledger", "Phase", "Seen", "in_order", "known_of", "milliseconds"]

START: Final = "0-0"
"""The place before the first entry of a stream."""

EPOCH: Final = "replication.epoch"
PLACE: Final = "replication.place."
OVER: Final = "over"
"""The place of a partition that is no more: the hot store was a cluster."""
RUN: Final = "replication.run"
SEEN: Final = "replication.seen"
KNOWN: Final = "replication.known"


class Phase(StrEnum):
    """How far two stores are with belonging together."""

    MAKING = "making"
    """Both were empty when this began."""
    REBUILDING = "rebuilding"
    """The durable store is being copied into the hot one."""
    ADOPTING = "adopting"
    """The hot store is being copied into the durable one."""
    DONE = ""


@record
class Epoch:
    """Which hot and durable stores belong together, and since when."""

    name: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.name} {self.phase}".rstrip()


@record
class Seen:
    """What the replicator saw of the hot store when it looked last.

    Attributes:
        at: When it looked, in microseconds, by the clock of the durable side's process.
        heads: Partition -> the id of the newest entry that was there.
        entries: Entries that waited then.
    """

    at: int
    heads: dict[str, str]
    entries: int


def milliseconds(place: str) -> int:
    """The time of an entry."""
    return int(place.partition("-")[0])


def in_order(place: str) -> tuple[int, int]:
    """A place as a number that can be compared."""
    first, _, second = place.partition("-")
    return int(first), int(second)


class Ledger:
    """The marks of a replication in the durable store.

    Args:
        durable: The store.
    """

    def __init__(self, durable: MarkedStore) -> None:
        self._durable = durable

    def epoch(self) -> Epoch | None:
        """The epoch; None when there never was one."""
        text = self._durable.marks(EPOCH).get(EPOCH)
        if text is None:
            return None
        name, _, phase = text.partition(" ")
        return Epoch(name, Phase(phase))

    def change_epoch(self, before: Epoch | None, after: Epoch) -> bool:
        """Put another one in its place; False when somebody else was first."""
        was = None if before is None else str(before)
        return self._durable.restore_marked((), EPOCH, was, str(after))

    def begin_run(self) -> str:
        """Be who brings the stores together, in the place of whoever does; the run's name."""
        name = new_commit_id()
        while not self._durable.restore_marked((), RUN, self.run(), name):
            pass
        return name

    def run(self) -> str | None:
        """Who brings the stores together, or did so last."""
        return self._durable.marks(RUN).get(RUN)

    def places(self, epoch: str) -> dict[int, str]:
        """Partition -> how far it is applied, of this epoch."""
        found = self._durable.marks(PLACE)
        return {
            int(name.removeprefix(PLACE)): text.removeprefix(f"{epoch} ")
            for name, text in found.items()
            if text.startswith(f"{epoch} ")
        }

    def begin_places(self, epoch: str, partitions: range) -> None:
        """Set the places to the start of an epoch, unless they are of it already.

        From then on nothing of another epoch is applied; of partitions that are no more, too.
        """
        wanted = [mark_of(partition) for partition in partitions]
        for mark in {*self._durable.marks(PLACE), *wanted}:
            after = f"{epoch} {START}" if mark in wanted else OVER
            while True:
                before = self._durable.marks(mark).get(mark)
                if before is not None and before.partition(" ")[0] == after.partition(" ")[0]:
                    break
                self._durable.restore_marked((), mark, before, after)

    def apply(
        self, parcels: Sequence[RawParcel], partition: int, epoch: str, before: str, after: str
    ) -> bool:
        """Apply entries up to a place; False when somebody else has come further.

        Raises:
            StaleVersionError: The durable store has something else than they go on from.
        """
        return self._durable.restore_marked(
            parcels, mark_of(partition), f"{epoch} {before}", f"{epoch} {after}"
        )

    def seen(self) -> Seen | None:
        """What was seen last."""
        text = self._durable.marks(SEEN).get(SEEN)
        return None if text is None else Seen(**json.loads(text))

    def note_seen(self, seen: Seen) -> None:
        """Keep what was seen, unless somebody else does at this moment."""
        before = self._durable.marks(SEEN).get(SEEN)
        text = json.dumps({"at": seen.at, "heads": seen.heads, "entries": seen.entries})
        self._durable.restore_marked((), SEEN, before, text)

    def keep_known(self, known: Known) -> None:
        """Keep what was known when a hot store was given up, for who has to tell it."""
        before = self._durable.marks(KNOWN).get(KNOWN)
        facts = {name: getattr(known, name) for name in known.__dataclass_fields__}
        self._durable.restore_marked((), KNOWN, before, json.dumps(facts))

    def kept_known(self) -> Known:
        """What `keep_known` kept."""
        return Known(**json.loads(self._durable.marks(KNOWN)[KNOWN]))


def known_of(places: dict[int, str], seen: Seen | None) -> Known:
    """What the marks tell."""
    replicated = _newest(places.values())
    if seen is None:
        return Known(replicated, None, None, 0)
    return Known(replicated, seen.at, _newest(seen.heads.values()), seen.entries)


def _newest(places: Iterable[str]) -> int | None:
    times = [milliseconds(place) * 1_000 for place in places if place != START]
    return max(times, default=None)


def mark_of(partition: int) -> str:
    """The name of a partition's mark."""
    return f"{PLACE}{partition:02}"
