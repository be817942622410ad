"""History rows -> the state and the context they lead to.

History is complete: replaying all rows of an entity gives what the store holds. Audits and tests
    rest on it; a store
that has been pruned begins with a snapshot row, and replays from there.
"""

from collections.abc import Iterable

from pystator.records import Context, Entry, EntryKind, HistoryEntry, Patch

__all__ = ["apply_patch", "replay"]

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
            apply_patch(context, entry.patch)
    return state, context


def apply_patch(context: Context, patch: Patch) -> None:
    """Do to the context, in place, what a change did to its top-level keys."""
    changed, removed = patch
    context.update(changed)
    for key in removed:
        context.pop(key, None)
