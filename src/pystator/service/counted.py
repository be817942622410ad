"""A store that says how much is written at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from pystator.records import Commit, Outcome
from pystator.stores.protocols import AheadStore, NativeStore

__all__ = ["counted"]


class _Counted:
    """The store itself, but for what it says of its commits."""

    def __init__(self, store: NativeStore, observe: Callable[[int], None]) -> None:
        self._store = store
        self._observe = observe
        self.aload = store.aload  # what every event asks is not looked up twice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        outcomes = await self._store.acommit(commits)
        self._observe(len(commits))
        return outcomes

    async def acommit_ahead(self, commits: Iterable[Commit]) -> list[Outcome]:
        outcomes = await cast("AheadStore", self._store).acommit_ahead(commits)
        self._observe(len(outcomes))
        return outcomes


def counted(store: NativeStore, observe: Callable[[int], None]) -> NativeStore:
    """The store, telling how many entities each commit of its async face was for.

    A store that is no native one is given back as it is: it writes one entity at a time.
    """
    if not hasattr(store, "acommit"):
        return store
    return cast("NativeStore", _Counted(store, observe))
