"""What a native store may do for the upkeep of its data: have it pruned, take another store's.

The protocols of stores stand in `pystator.stores.protocols`; these go on from there.
"""

from collections.abc import Sequence
from typing import Protocol

from pystator.records import Cut, Key, Outcome, Parcel
from pystator.stores.parcels import RawParcel
from pystator.stores.protocols import NativeStore

__all__ = ["MarkedStore", "PrunableStore", "RestorableStore"]


class PrunableStore(NativeStore, Protocol):
    """A `NativeStore` whose history can be pruned; `pystator.stores.pruning` decides what goes."""

    def prune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """The next keys that have history rows, in key order; empty at the end.

        About ``limit`` of them, each with the time at which the first of its rows that is no
        snapshot was recorded, in the order of history; None when there are only snapshots.
        """
        ...

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts, each of them whole; for each, how many of its ``ids`` were there.

        None for a cut whose guard is gone: nothing of it was done. A snapshot is left out where
        there is one of its version or of a later one.
        """
        ...

    async def aprune_keys(self, after: Key | None, limit: int) -> Sequence[tuple[Key, int | None]]:
        """`prune_keys` for asyncio."""
        ...

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        ...


class RestorableStore(NativeStore, Protocol):
    """A `NativeStore` that takes entities and rows of another store as they are."""

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put each parcel in, whole, if the store has what its ``base`` and ``after`` say.

        Every field is kept: versions, times, commit ids, the time of recording. At most one parcel
        of a call is of one key. `STALE`: the store has something else, and nothing of this parcel
        was written. `REFUSED`: it cannot be stored here.
        """
        ...

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        ...


class MarkedStore(RestorableStore, Protocol):
    """A `RestorableStore` that keeps marks, and changes them together with what it restores.

    A mark is a short text under a name: how far somebody has come.
    """

    def marks(self, prefix: str) -> dict[str, str]:
        """The marks whose names begin so."""
        ...

    def restore_marked(
        self, parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
    ) -> bool:
        """Put all parcels in and change the mark, in one transaction, or do nothing.

        Only the ``base`` of a parcel is compared, not its ``after``. False: the mark is not
        ``before`` (None: there is none).

        Raises:
            StaleVersionError: The store has something else than the parcels go on from.
            InvalidValueError: Something cannot be stored here.
        """
        ...

    def forget_events(self, ids: Sequence[tuple[str, str, str]]) -> None:
        """Forget event ids (entity, machine, event id): their rows stay, without them."""
        ...
