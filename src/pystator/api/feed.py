"""The feed of the process's store, and how its rows are shown."""

from collections.abc import Callable

from pystator.api.rendering import render
from pystator.api.settings import ApiSettings
from pystator.records import HistoryEntry
from pystator.service.live import Live
from pystator.service.views import item_view
from pystator.stores.protocols import NativeStore

__all__ = ["follow_feed", "transition_text"]


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


def transition_text(row: HistoryEntry) -> str:
    """A row of the feed as one line of JSON."""
    return render(item_view(row)).decode().rstrip("\n")
