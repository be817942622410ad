"""Pruning of the store in memory: rows leave its entities, and leave a gap in its feed."""

import threading
from abc import abstractmethod
from collections.abc import Sequence

from pystator.records import Commit, Cut, Key, Outcome
from pystator.stores.immediate import ImmediateAsync
from pystator.stores.memory.slots import Line, Slot, forget, has_snapshot, oldest
from pystator.stores.prunable import CompleteStore

__all__ = ["PrunableMemory"]


class PrunableMemory(ImmediateAsync, CompleteStore):
    """The two methods, over what `InMemoryStateStore` keeps."""

    _lock: threading.Lock
    _slots: dict[Key, Slot]
    _machines: dict[str, list[str]]
    _feed: list[Line | None]

    @abstractmethod
    def _commit(self, commit: Commit, recorded_at: int) -> Outcome:
        """Write, with the lock held."""

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """All keys at once: it is sorting them that takes time."""
        del limit
        with self._lock:
            found = [
                (key, oldest(slot))
                for key, slot in self._slots.items()
                if slot.lines and (after is None or key > after)
            ]
        found.sort()
        return found

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        with self._lock:
            return [self._prune(cut) for cut in cuts]

    def _prune(self, cut: Cut) -> int | None:
        key = (cut.entity_id, cut.machine_name)
        slot = self._slots.get(key)
        if slot is None:
            return 0 if cut.guard is None else None
        there = {line[1] for line in slot.lines}
        if cut.guard is not None and cut.guard not in there:
            return None
        if cut.snapshot is not None and not has_snapshot(slot, cut.snapshot.new_version):
            outcome = self._commit(cut.snapshot, self.now())
            if outcome.error is not None:
                raise outcome.error
        gone = there.intersection(cut.ids)
        forgotten = gone.union(cut.replaced)
        forget(slot, forgotten)
        for number in forgotten:
            self._feed[number - 1] = None
        if not slot.lines and not slot.version:
            names = self._machines[key[0]]
            if key[1] in names:  # else interrupted here
                names.remove(key[1])
            del self._slots[key]
        return len(gone)

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        return self.prune_keys(after, limit)

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return self.prune_rows(cuts)
