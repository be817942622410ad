"""The feed of the process's store, and how its rows are shown."""

from collections.abc import Callable
from typing import Any

from pystator.api.rendering import render
from pystator.api.settings import ApiSettings
from pystator.records import HistoryEntry
from pystator.service.live import Live
from pystator.service.views import entry_view
from pystator.stores.protocols import NativeStore

__all__ = ["follow_feed", "transition_text", "transition_view"]


def follow_feed(
    store: NativeStore, settings: ApiSettings, notice: Callable[[int], None] | None = None
) -> Live:
    """The feed of a process's store; ``notice`` is told how many streams there are."""
    return Live(
        store,
        transition_text,
        most=settings.most_streams,
        most_each=settings.most_streams_each,
        notice=notice,
    )


def transition_view(row: HistoryEntry) -> dict[str, Any]:
    """A row of the feed as plain data."""
    shown = entry_view(row)
    return {
        "entity_id": row.entity_id,
        "machine_name": row.machine_name,
        "timestamp": shown["recorded_at"],
        **shown,
    }


def transition_text(row: HistoryEntry) -> str:
    """The same as one line of JSON."""
    return render(transition_view(row)).decode().rstrip("\n")
