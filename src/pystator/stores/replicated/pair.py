"""A hot store and its durable one: whether they belong together, and what to do when they do not.

::

    durable's epoch   hot's epoch    what it means                              what helps
    none              none           both are empty: they are joined            -
    none              none           one of them has data                       rebuild or adopt
    E                 E              all is well, if neither has lost anything  -
    E                 none           the hot store was emptied                  rebuild
    E                 another        another store, or one that lost data       rebuild
    none              E              the durable store was emptied              adopt
    E rebuilding      any            a rebuild was interrupted                  rebuild

Law: nobody guesses. Two stores that may differ are refused until somebody decides.
"""

from typing import Final, Protocol

from pystator.errors import ReplicationError
from pystator.stores.keys import new_commit_id
from pystator.stores.protocols import MachineStore
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated.answers import Known, Lag
from pystator.stores.replicated.places import (
    START,
    Epoch,
    Ledger,
    Phase,
    Seen,
    in_order,
    known_of,
    milliseconds,
)
from pystator.stores.replicated.stream import Head, Stream
from pystator.stores.upkeep import MarkedStore, PrunableStore

__all__ = ["LOST", "Durable", "Pair"]

LOST: Final = "lost"
"""Stands behind the epoch of a hot store that was found to have lost data: nothing is written."""


class Durable(MarkedStore, PrunableStore, MachineStore, Protocol):
    """What a durable store has to be: the SQLite and the PostgreSQL store are."""

    url: str


class Pair:
    """Two connected stores.

    Args:
        hot: The store that serves.
        durable: The store that keeps.
    """

    def __init__(self, hot: RedisStateStore, durable: Durable) -> None:
        self.hot = hot
        self.durable = durable
        self.ledger = Ledger(durable)
        self.stream = Stream(hot.parts[0])

    # Belonging together ---------------------------------------------------------------------------

    def join(self, *, make: bool) -> str:
        """The epoch to which both belong.

        Args:
            make: Join them, when both are empty; any number of processes may do so at once.

        Raises:
            ReplicationError: They do not belong together, or one of them has lost something.
        """
        while True:
            epoch = self.ledger.epoch()
            found = self.stream.epochs()
            if epoch is not None and epoch.phase is Phase.DONE and found == {epoch.name}:
                self.verify(epoch.name)
                return epoch.name
            if epoch is None:
                wrong = self._why_not_begin(found, make=make)
                if wrong is None:
                    self.ledger.change_epoch(None, Epoch(new_commit_id(), Phase.MAKING))
            elif epoch.phase is Phase.MAKING and found <= {None, epoch.name}:
                wrong = None
                self._make(epoch)
            else:
                wrong = self._stranger(epoch, found)
            if wrong is not None and self.ledger.epoch() == epoch:
                raise wrong  # or else somebody joined them between two looks

    def _why_not_begin(self, found: set[str | None], *, make: bool) -> ReplicationError | None:
        """Why two stores that belong to no epoch are not joined; None when they are."""
        if found != {None}:
            return self._error(
                "the durable store belongs to no epoch, and the hot one does: the durable store"
                " was emptied, or is another one",
                "adopt",
            )
        if not self.stream.is_empty():
            return self._error("the hot store has entities that were never replicated", "adopt")
        if not self._durable_is_empty():
            return self._error(
                "the durable store has entities, and the hot one is empty", "rebuild"
            )
        return None if make else self._error("the two stores were never joined", None)

    def _make(self, epoch: Epoch) -> None:
        """Go on with what this process began, or another one."""
        self.ledger.begin_places(epoch.name, self.stream.partitions)
        self.stream.set_epoch(epoch.name, unless_there=True)
        self.ledger.change_epoch(epoch, Epoch(epoch.name, Phase.DONE))

    def _durable_is_empty(self) -> bool:
        return not self.durable.prune_keys(None, 1) and not any(
            self.durable.entities(archived=archived, limit=1).items for archived in (False, True)
        )

    # Having lost nothing --------------------------------------------------------------------------

    def verify(self, epoch: str) -> dict[int, Head]:
        """See that both stores have what was replicated under this epoch; the streams' heads.

        A hot store that has lost something is fenced: nobody writes to it any more.

        Raises:
            ReplicationError: One of them has lost something.
        """
        while True:
            places = self.places(epoch)
            heads = self.stream.heads(places)
            others = {head.epoch for head in heads.values()} - {epoch}
            if others:
                raise self._stranger(Epoch(epoch, Phase.DONE), others)
            suspects = [
                number
                for number, place in places.items()
                if place != START and not heads[number].anchored
            ]
            if not suspects:
                return heads
            if self.places(epoch) == places:  # or else it was trimmed in between
                raise self._lost(epoch, places[suspects[0]], heads[suspects[0]])

    def places(self, epoch: str) -> dict[int, str]:
        """How far each partition is applied.

        Raises:
            ReplicationError: The durable store does not know, or knows of others.
        """
        places = self.ledger.places(epoch)
        if places.keys() != set(self.stream.partitions):
            found = self.ledger.epoch()
            if found is None or found.name != epoch or found.phase is not Phase.DONE:
                raise self._stranger(found, self.stream.epochs())
            raise self._error(
                f"the durable store follows {len(places)} partitions, and the hot one has"
                f" {len(self.stream.partitions)}: one is a cluster, the other was none",
                "rebuild",
            )
        return places

    def _lost(self, epoch: str, place: str, head: Head) -> ReplicationError:
        trimmed = START if head.trimmed is None else head.trimmed
        if in_order(trimmed) >= in_order(place):
            return self._error(
                "the durable store is behind what was removed from the hot store's stream: it has"
                " lost commits (was it restored from a backup?), or somebody else cut the stream",
                "adopt",
            )
        self.stream.fence(epoch, f"{epoch} {LOST}")
        return self._error(
            "the hot store has lost commits that were replicated already: it came back with older"
            " data",
            "rebuild",
        )

    def _stranger(self, epoch: Epoch | None, found: set[str | None]) -> ReplicationError:
        if epoch is not None and epoch.phase is Phase.REBUILDING:
            return self._error("a rebuild was interrupted, or is under way", "rebuild")
        if epoch is not None and epoch.phase is Phase.ADOPTING:
            return self._error("the hot store's adoption was interrupted, or is under way", "adopt")
        if epoch is None:
            return self._error("the durable store was emptied, or is another one", "adopt")
        if found == {None}:
            return self._error("the hot store was emptied, or is another one", "rebuild")
        if any(each is not None and each.endswith(f" {LOST}") for each in found):
            return self._error(
                "the hot store has lost commits that were replicated already", "rebuild"
            )
        return self._error(
            f"the hot store belongs to epoch {_shown(found)}, the durable one to {epoch.name}:"
            " they are of different pairs, or the hot store lost part of its data",
            "rebuild",
        )

    def _error(self, what: str, helps: str | None) -> ReplicationError:
        known = self.known()
        words = f"pystator replicate --hot {self.hot.url} --durable {self.durable.url}"
        advice = {
            "rebuild": "`{0} --rebuild` copies the durable store into the emptied hot one"
            " (rebuild() of the store does the same)",
            "adopt": "`{0} --adopt` copies the hot store into the durable one, while nobody writes",
            None: "`{0} --once` joins them",
        }[helps]
        return ReplicationError(
            f"{self.hot.url} (hot) and {self.durable.url} (durable) do not belong together: {what};"
            f" {known}. {advice.format(words)}",
            context={
                "hot": self.hot.url,
                "durable": self.durable.url,
                "helps": helps,
                "replicated": known.replicated,
                "seen": known.seen,
                "head": known.head,
                "waiting": known.waiting,
                "written": False,
            },
        )

    # Knowing --------------------------------------------------------------------------------------

    def known(self) -> Known:
        """What the durable store knows of the hot one."""
        epoch = self.ledger.epoch()
        if epoch is not None and epoch.phase in {Phase.REBUILDING, Phase.ADOPTING}:
            return self.ledger.kept_known()  # of the epoch before: this one knows nothing yet
        places = {} if epoch is None else self.ledger.places(epoch.name)
        return known_of(places, self.ledger.seen())

    def note_seen(self, heads: dict[str, str], waiting: int) -> None:
        """Keep in the durable store how far the hot one is."""
        self.ledger.note_seen(Seen(self.hot.now(), heads, waiting))

    def lag(self, epoch: str) -> Lag:
        """How far the durable store is behind."""
        places = self.places(epoch)
        heads = self.stream.heads(places)
        now = self.stream.now()
        waiting = sum(waiting_of(places[number], head) for number, head in heads.items())
        oldest = [milliseconds(head.oldest) for head in heads.values() if head.oldest is not None]
        age = max(0, now - min(oldest)) / 1_000 if oldest else 0.0
        return Lag(waiting, age, known_of(places, None).replicated)


def waiting_of(place: str, head: Head) -> int:
    """Entries that are not applied: all but the anchor, and what is about to be trimmed."""
    if head.oldest is None:
        return 0
    return max(1, head.length - (place != START))


def _shown(epochs: set[str | None]) -> str:
    return ", ".join(sorted(each or "none" for each in epochs))
