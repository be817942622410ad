"""The async face of a store that has only a blocking driver, or none."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from pystator.records import Commit, Entity, HistoryEntry, Key, Loaded, Lookup, Outcome, Page
from pystator.stores.protocols import NativeStore

__all__ = ["AsideAsync", "ImmediateAsync"]

T = TypeVar("T")


class AsideAsync(NativeStore):
    """Twins that call the blocking methods aside: in threads."""

    async def _aside(self, call: Callable[[], T]) -> T:
        import asyncio  # blocking programs never pay for it

        return await asyncio.to_thread(call)

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return await self._aside(lambda: self.load(lookups))

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return await self._aside(lambda: self.commit(commits))

    async def aflush(self) -> None:
        """`flush` for asyncio."""
        await self._aside(self.flush)

    async def amachines(self, entity_id: str) -> list[str]:
        """`machines` for asyncio."""
        return await self._aside(lambda: self.machines(entity_id))

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
        return await self._aside(
            lambda: self.history(
                entity_id,
                machine_name=machine_name,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )
        )

    async def aentities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """`entities` for asyncio."""
        return await self._aside(
            lambda: self.entities(
                state=state,
                machine_name=machine_name,
                machine_names=machine_names,
                in_state_longer_than=in_state_longer_than,
                archived=archived,
                after=after,
                limit=limit,
            )
        )

    async def acount_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """`count_by_state` for asyncio."""
        return await self._aside(
            lambda: self.count_by_state(
                machine_name=machine_name, machine_names=machine_names, archived=archived
            )
        )

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """`due` for asyncio."""
        return await self._aside(lambda: self.due(now, limit, machine_name=machine_name))

    async def afeed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """`feed` for asyncio."""
        return await self._aside(
            lambda: self.feed(cursor, limit, machine_names=machine_names, entity_id=entity_id)
        )

    async def afeed_end(self) -> str:
        """`feed_end` for asyncio."""
        return await self._aside(self.feed_end)


class ImmediateAsync(AsideAsync):
    """Twins for a store whose blocking methods return at once: nothing is worth a thread."""

    async def _aside(self, call: Callable[[], T]) -> T:
        return call()

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        return self.load(lookups)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        return self.commit(commits)
