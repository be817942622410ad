"""The pure machine, stepped through the rows of an entity: it has to come where the entity is.

Replaying the patches of history gives state and context (`pystator.orchestrator.replay`). This goes
further: each row's event is decided again, with its data and its time, so that what rows do not
tell - what compound states remember - is checked as well::

    assert retrace(machine, store.history("e").items) == (entity.state, entity.engine_context)
"""

from collections.abc import Iterable

from pystator.engine.machine import StateMachine
from pystator.engine.result import TransitionResult
from pystator.records import HISTORY, Context, EntryKind, HistoryEntry
from pystator.stores.columns import apply_patch

__all__ = ["retrace"]

_BY_HAND = frozenset(
    {
        EntryKind.SET,
        EntryKind.FORCED,
        EntryKind.MIGRATED,
        EntryKind.SNAPSHOT,
        EntryKind.ARCHIVED,
        EntryKind.UNARCHIVED,
    }
)


def retrace(machine: StateMachine, rows: Iterable[HistoryEntry]) -> tuple[str | None, Context]:
    """Where the machine comes to, and the context a step would take there.

    Args:
        machine: Blocking guards only, and those that the entity was processed with.
        rows: All rows of an entity, in order.

    Raises:
        AssertionError: The machine goes another way than a row tells.
    """
    state: str | None = None
    context: Context = {}
    for row in _replayed(rows):
        if row.kind is EntryKind.SNAPSHOT and row.payload is not None:
            # Of the version that was the entity's own: it tells what compound states remember.
            context = {HISTORY: row.payload["history"]}
        if row.kind in {EntryKind.REJECTED, EntryKind.ACTION}:
            continue
        if row.kind in _BY_HAND or not row.success:  # nothing was decided: it was put there
            state = row.target_state or state
            context = apply_patch(context, row.patch)
            continue
        if state is None and row.kind is not EntryKind.CREATED:
            begun = machine.begin({}, row.now, alone=False)
            state, context = begun.target_state, begun.context
        result = _again(machine, row, state or "", context)
        taken = (result.source_state, result.target_state)
        assert taken == (row.source_state, row.target_state), (row, result)
        state, context = result.target_state, result.context
    return state, context


def _replayed(rows: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    """Rows from the last snapshot on; those before it lack what was pruned between them."""
    found = list(rows)
    snapshots = [place for place, row in enumerate(found) if row.kind is EntryKind.SNAPSHOT]
    return found[snapshots[-1] :] if snapshots else found


def _again(
    machine: StateMachine, row: HistoryEntry, state: str, context: Context
) -> TransitionResult:
    data = dict(row.payload or {})
    if row.kind is EntryKind.CREATED:
        return machine.begin(data, row.now)
    if row.kind is EntryKind.TIMER:
        return machine.fire(state, row.trigger or "", context, row.now)
    if row.trigger is None:
        return machine.merge(state, data, context, row.now)
    return machine.step(state, row.trigger, data, context, row.now)
