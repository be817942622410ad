"""The async face of a store that never waits: each twin calls the blocking method."""

from collections.abc import Sequence
from datetime import timedelta

from pystator.records import Commit, Entity, HistoryEntry, Key, Loaded, Lookup, Outcome, Page
from pystator.stores.protocols import NativeStore

__all__ = ["ImmediateAsync"]


class ImmediateAsync(NativeStore):
    """Twins for a store whose blocking methods return at once."""

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return self.load(lookups)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return self.commit(commits)

    async def aflush(self) -> None:
        """`flush` for asyncio."""
        self.flush()

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return self.machines(entity_id)

    async def ahistory(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """`history` for asyncio."""
        return self.history(
            entity_id,
            machine_name=machine_name,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )

    async def aentities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """`entities` for asyncio."""
        return self.entities(
            state=state,
            machine_name=machine_name,
            in_state_longer_than=in_state_longer_than,
            after=after,
            limit=limit,
        )

    async def acount_by_state(self, *, machine_name: str | None = None) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        return self.count_by_state(machine_name=machine_name)

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return self.due(now, limit, machine_name=machine_name)

    async def afeed(self, cursor: str | None = None, limit: int = 100) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return self.feed(cursor, limit)
