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
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from pystator.orchestrator.cases import Case

__all__ = ["MOST", "MOST_OF_ONE", "Groups", "Lines"]

MOST: Final = 256
"""Events of one batch."""

MOST_OF_ONE: Final = 64
"""Events of one entity in one batch."""

Groups = dict[str, list[Case]]
"""Cases by entity, each entity's in order."""


class Lines:
    """Cases that wait.

    Attributes:
        waiting: How many wait, those behind busy entities included.
    """

    __slots__ = ("_busy", "_lines", "_ready", "waiting")

    def __init__(self) -> None:
        self._lines: Groups = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()
        self.waiting = 0

    def put(self, case: Case) -> None:
        """Stand behind those of the same entity."""
        self.waiting += 1
        entity_id = case.entity_id
        line = self._lines.get(entity_id)
        if line is not None:
            line.append(case)
            return
        self._lines[entity_id] = [case]
        if entity_id not in self._busy:
            self._ready.append(entity_id)

    def remove(self, case: Case) -> bool:
        """Leave; False when it does not wait (any more)."""
        entity_id = case.entity_id
        line = self._lines.get(entity_id)
        if line is None or case not in line:
            return False
        line.remove(case)
        self.waiting -= 1
        if not line:
            del self._lines[entity_id]
            if entity_id not in self._busy:
                self._ready.remove(entity_id)
        return True

    def first(self) -> Case | None:
        """The case that is next; None when nobody's turn has come."""
        return self._lines[self._ready[0]][0] if self._ready else None

    def take(self, most: int = MOST) -> Groups:
        """The next batch of at most so many events; its entities are busy until they are freed."""
        groups: Groups = {}
        ready, lines = self._ready, self._lines
        size = 0
        while ready and size < most:
            entity_id = ready.popleft()
            line = lines.pop(entity_id)
            if len(line) > 1:
                room = min(most - size, MOST_OF_ONE)
                if len(line) > room:
                    lines[entity_id] = line[room:]
                    del line[room:]
            groups[entity_id] = line
            size += len(line)
        self.waiting -= size
        self._busy.update(groups)
        return groups

    def free(self, entities: Iterable[str]) -> None:
        """They have come back: what waits for them is in turn."""
        self._busy.difference_update(entities)
        if self._lines:
            for entity_id in entities:
                if entity_id in self._lines:
                    self._ready.append(entity_id)
