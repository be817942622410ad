"""Who waits, by entity: the queue that callers of shared commits stand in.

::

    ready ---> o-7      o-2      o-9          entities whose turn it is, in the order they came
               |        |        |
               case     case     case         each with its events, in the order they came
               case
    busy       o-1, o-4                       on their way; what comes for them waits behind

Laws:

- An entity is on its way at most once.
- An entity that was served, and has more, stands behind those that came meanwhile: however much
  waits for one, the others get their turn.
- A first batch is sent at once. A second one, where the store works on several, is sent when it is
  worth a round trip of its own, and leaves to the next what the others would have to spare: else
  one of two would be of all callers and the other of one, for ever.
- A batch that does not come back (somebody has locked one of its entities) holds up only its own:
  when none has come back for a while, some more are sent.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pystator.orchestrator.cases import Case
from pystator.stores.protocols import NativeStore

__all__ = [
    "LATE",
    "MOST",
    "MOST_OF_ONE",
    "SPARE",
    "WORTH",
    "Batch",
    "Groups",
    "Lines",
    "batches_of",
]

MOST: Final = 256
"""Events of one batch."""

MOST_OF_ONE: Final = 64
"""Events of one entity in one batch."""

WORTH: Final = 8
"""Events that are worth a batch while another one is on its way."""

LATE: Final = 0.5
"""Seconds without a batch that comes back until another one is sent all the same."""

SPARE: Final = 2
"""Batches that are sent beyond what the store works on at once, while others are late."""

Groups = dict[str, list[Case]]
"""Cases by entity, each entity's in order."""


def batches_of(store: NativeStore) -> int:
    """How many batches the store works on at once."""
    number: int = getattr(store, "in_flight", 1)  # a native store of a user's need not say
    return number


class Batch:
    """Cases on their way.

    Attributes:
        size: How many they were when they were sent.
        left: Those that are still open when it has come back; None until then.
    """

    __slots__ = ("groups", "left", "size")

    def __init__(self, groups: Groups, size: int) -> None:
        self.groups = groups
        self.size = size
        self.left: Groups | None = None

    @property
    def cases(self) -> list[Case]:
        """All of them; of one entity in order."""
        return [case for group in self.groups.values() for case in group]


class Lines:
    """Cases that wait, and how much is on its way.

    Args:
        in_flight: Batches that the store works on at once.

    Attributes:
        waiting: How many wait, those behind busy entities included.
        landed: Batches that have come back so far.
    """

    __slots__ = ("_busy", "_flying", "_in_flight", "_lines", "_ready", "_sent", "landed", "waiting")

    def __init__(self, in_flight: int) -> None:
        self._lines: dict[str, dict[Case, None]] = {}  # whoever leaves is found at once
        self._ready: OrderedDict[str, None] = OrderedDict()  # whoever leaves is found at once
        self._busy: set[str] = set()
        self._in_flight = in_flight
        self._flying = 0
        self._sent = 0
        self.waiting = 0
        self.landed = 0

    @property
    def ready(self) -> bool:
        """Somebody waits who is not behind a busy entity."""
        return bool(self._ready)

    def put(self, case: Case) -> None:
        """Stand behind those of the same entity."""
        self.waiting += 1
        entity_id = case.entity_id
        line = self._lines.get(entity_id)
        if line is not None:
            line[case] = None
            return
        self._lines[entity_id] = {case: None}
        if entity_id not in self._busy:
            self._ready[entity_id] = None

    def remove(self, case: Case) -> bool:
        """Leave; False when it does not wait (any more)."""
        entity_id = case.entity_id
        line = self._lines.get(entity_id)
        if line is None or case not in line:
            return False
        del line[case]
        self.waiting -= 1
        if not line:
            del self._lines[entity_id]
            if entity_id not in self._busy:
                del self._ready[entity_id]
        return True

    def next(self, *, late: bool = False) -> Batch | None:
        """The batch to send now, if there is one; its entities are busy until they are freed.

        Args:
            late: No batch has come back for a while.
        """
        if not self._ready or self._flying >= self._in_flight + (SPARE if late else 0):
            return None
        share = -(-(self.waiting + self._sent) // self._in_flight)
        if self._flying and self.waiting < min(share, WORTH) and not late:
            return None
        batch = self._take(min(max(share, WORTH), MOST))
        self._flying += 1
        self._sent += batch.size
        return batch

    def _take(self, most: int) -> Batch:
        groups: Groups = {}
        ready, lines = self._ready, self._lines
        size = 0
        while ready and size < most:
            entity_id, _ = ready.popitem(last=False)
            line = lines.pop(entity_id)
            group = list(line)
            if len(group) > 1 and len(group) > (room := min(most - size, MOST_OF_ONE)):
                del group[room:]
                for case in group:
                    del line[case]
                lines[entity_id] = line
            groups[entity_id] = group
            size += len(group)
        self.waiting -= size
        self._busy.update(groups)
        return Batch(groups, size)

    def end(self, batch: Batch) -> None:
        """A batch has come back."""
        self.landed += 1
        self._flying -= 1
        self._sent -= batch.size

    def free(self, entities: Iterable[str]) -> None:
        """They have come back: what waits for them is in turn."""
        self._busy.difference_update(entities)
        if self._lines:
            for entity_id in entities:
                if entity_id in self._lines:
                    self._ready[entity_id] = None
