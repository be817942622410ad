"""What a store of three methods cannot be asked: it says so, and names who can."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from pystator.records import Entity, HistoryEntry, Page
from pystator.stores.immediate import ImmediateAsync

__all__ = ["UnlistedStore"]


class UnlistedStore(ImmediateAsync):
    """Queries that have no answer."""

    name: str
    """Whose store it is, for messages."""

    def machines(self, entity_id: str) -> list[str]:
        """A `TypeError`: the store cannot be asked."""
        del entity_id
        self._lacks("its entities by id")

    def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """A `TypeError`: the store keeps no history."""
        del entity_id, machine_name, after, limit, newest_first
        self._lacks("history")

    def entities(
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
        """A `TypeError`: the store cannot list its entities."""
        del state, machine_name, machine_names, in_state_longer_than, archived, after, limit
        self._lacks("a list of its entities")

    def count_by_state(
        self,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        archived: bool = False,
    ) -> dict[str, int]:
        """A `TypeError`: the store cannot count its entities."""
        del machine_name, machine_names, archived
        self._lacks("a count of its entities")

    def feed(
        self,
        cursor: str | None = None,
        limit: int = 100,
        *,
        machine_names: Sequence[str] | None = None,
        entity_id: str | None = None,
    ) -> Page[HistoryEntry]:
        """A `TypeError`: the store keeps no history."""
        del cursor, limit, machine_names, entity_id
        self._lacks("a change feed")

    def _lacks(self, what: str) -> NoReturn:
        raise TypeError(
            f"{self.name} does not offer {what}: the stores of PyStator do, and so does a store of"
            " the native protocol (pystator.stores.author)"
        )
