"""Reading all of a paged read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from pystator.cli.backends import Backend
    from pystator.records import Entity, HistoryEntry
    from pystator.stores.protocols import NativeStore

__all__ = ["MOST", "all_entities", "all_history"]

PAGE = 500

MOST = 1_000_000
"""The most items a command is asked for at once: they are held in memory."""


def all_history(
    store: "NativeStore", entity_id: str, machine_name: str | None
) -> "Iterator[HistoryEntry]":
    """Every history row of an entity, oldest first."""
    after: str | None = None
    while True:
        page = store.history(entity_id, machine_name=machine_name, after=after, limit=PAGE)
        yield from page.items
        after = page.next
        if after is None:
            return


def all_entities(
    backend: "Backend",
    *,
    state: str | None,
    machine_name: str | None,
    in_state_longer_than: "timedelta | None" = None,
    archived: bool = False,
) -> "Iterator[Entity]":
    """Every entity that is not archived, or every one that is, in the order of ids."""
    after: str | None = None
    while True:
        page = backend.entities(
            state=state,
            machine_name=machine_name,
            in_state_longer_than=in_state_longer_than,
            archived=archived,
            after=after,
            limit=PAGE,
        )
        yield from page.items
        after = page.next
        if after is None:
            return
