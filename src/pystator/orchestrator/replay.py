"""History rows -> the state and the context they lead to.

History is complete: replaying all rows of an entity gives what the store holds. Audits and tests
rest on it. Of an entity that was pruned, a snapshot row tells state and context of its version, and
the replay begins with it: rows that still stand before it, because the ids of their events are
known, do not count.
"""

from collections.abc import Iterable

from pystator.records import Context, Entry, EntryKind, HistoryEntry
from pystator.stores.columns import apply_patch

__all__ = ["replay"]

_SILENT = frozenset({EntryKind.REJECTED, EntryKind.ACTION})


def replay(entries: Iterable[HistoryEntry | Entry]) -> tuple[str | None, Context]:
    """Replay rows in their order ``(version, id)``.

    Returns:
        State and context; ``(None, {})`` when no row made an entity.

    Example:
        >>> replay([])
        (None, {})
    """
    state: str | None = None
    context: Context = {}
    for entry in entries:
        if entry.kind in _SILENT:
            continue
        if entry.kind is EntryKind.SNAPSHOT:
            context = {}
        if entry.target_state is not None:
            state = entry.target_state
        if entry.patch is not None:
            context = apply_patch(context, entry.patch)
    return state, context
