"""A process that dies at a chosen moment, without a process.

::

    store = CrashingStore(InMemoryStateStore(), at=3, after=True)
    with pytest.raises(Crash):
        for event in events:
            Orchestrator(machine, store).process_event(...)     # the third commit is written,
                                                                # and nobody hears of it
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from pystator.records import Commit, Entity, Loaded, Lookup, Outcome
from pystator.stores.protocols import NativeStore

__all__ = ["Crash", "CrashingStore", "crash_points"]

T = TypeVar("T")


class Crash(BaseException):
    """The process died here. No handler for `Exception` can catch it, as none would run."""


class CrashingStore:
    """A native store whose user dies at the n-th load or commit.

    Args:
        store: The store that survives.
        at: The number of the call, from 1; 0 for never.
        after: Die after the call did its work, before the answer; else before it.
    """

    def __init__(self, store: NativeStore, at: int, *, after: bool) -> None:
        self.store = store
        self.at = at
        self.after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def _call(self, call: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls != self.at:
            return call()
        if self.after:
            call()
        raise Crash

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`NativeStore.load`, unless the process dies."""
        return self._call(lambda: self.store.load(lookups))

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`NativeStore.load_one`, unless the process dies."""
        return self._call(lambda: self.store.load_one(entity_id, machine_name))

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`NativeStore.commit`, unless the process dies."""
        return self._call(lambda: self.store.commit(commits))

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        self.calls += 1
        if self.calls != self.at:
            return await self.store.aload(lookups)
        if self.after:
            await self.store.aload(lookups)
        raise Crash

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        self.calls += 1
        if self.calls != self.at:
            return await self.store.acommit(commits)
        if self.after:
            await self.store.acommit(commits)
        raise Crash


def crash_points(run: Callable[[NativeStore], None], make: Callable[[], NativeStore]) -> list[int]:
    """Run a scenario once on a fresh store and count its calls: every point at which it can die.

    Args:
        run: The scenario.
        make: A fresh store.
    """
    store = CrashingStore(make(), 0, after=False)
    run(cast("NativeStore", store))
    return list(range(1, store.calls + 1))
