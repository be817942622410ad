"""What became of an event, as a caller is told: today, and when the event is sent again.

Law: the answer is told from the event's row and from the outcomes of its actions, which the store
keeps both. So an event that is sent again, to any process, is answered with the same words. Where
its actions still run, that is waited for, as the first one waits; but not for ever: who ran them
may be gone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from pystator.engine.result import TransitionResult
from pystator.errors import FSMError, StoreUnavailableError
from pystator.records import Entry, EntryKind, HistoryEntry, record
from pystator.service.machines import Served
from pystator.service.views import event_view
from pystator.stores.keys import write_cursor

if TYPE_CHECKING:
    from pystator.stores.prunable import CompleteStore

__all__ = ["PATIENCE", "Answer", "answer_of", "failed_actions"]

PATIENCE: Final = 2.0
"""Seconds for which the outcomes of actions are waited for that another request runs."""

_YOUNG: Final = 10_000_000
"""Microseconds after which nobody runs them any more, as far as it matters here."""


@record
class Answer:
    """What became of an event.

    Attributes:
        facts: As `pystator.service.views.event_view` tells them.
        version: The entity's version after it; 0 when there is no entity.
        error: Why it was rejected.
        replayed: It had been answered before.
        context: The entity's context now, where it was asked for.
    """

    facts: Mapping[str, Any]
    version: int
    error: FSMError | None
    replayed: bool
    context: Mapping[str, Any] | None = None


async def answer_of(
    store: "CompleteStore",
    entity_id: str,
    served: Served,
    result: TransitionResult,
    *,
    waits: bool = True,
) -> Answer:
    """The answer that a result is.

    Args:
        store: Where the entity is.
        entity_id: The entity.
        served: Its machine.
        result: The result.
        waits: For actions that another request runs.

    Raises:
        FSMError: The event could not be decided.
    """
    row = result.row or _unwritten(result)
    errors: Any = ()
    if row.actions and result.replayed:
        patience = PATIENCE if waits else 0.0
        errors = await failed_actions(store, entity_id, served.name, row, patience)
    elif row.actions:
        errors = result.metadata.get("action_errors", ())
        if errors:  # what is told now is what every other process will find
            await _flush(store)
    version = row.machine_version if isinstance(row, HistoryEntry) else served.machine.version
    facts = event_view(entity_id, served.name, version, row, errors)
    return Answer(facts, row.version, result.error, result.replayed)


async def _flush(store: "CompleteStore") -> None:
    """Write outcomes of actions that wait; the event is written, whatever becomes of them."""
    with suppress(StoreUnavailableError):
        await store.aflush()


def _unwritten(result: TransitionResult) -> Entry:
    """A row for what was ignored and left none.

    Raises:
        FSMError: It could not be decided.
    """
    if not result.success:
        raise result.error or FSMError("the event was not decided")
    state = result.source_state
    version, now = result.version or 0, result.now or 0
    return Entry(version, EntryKind.REJECTED, result.trigger, None, now, None, state, state)


async def failed_actions(
    store: "CompleteStore",
    entity_id: str,
    machine_name: str,
    row: Entry | HistoryEntry,
    patience: float = 0.0,
) -> list[Mapping[str, Any]]:
    """The outcomes of an event's actions that failed, as far as they are known.

    Args:
        store: Where they are.
        entity_id: The entity.
        machine_name: Its machine.
        row: The event's row.
        patience: Seconds for which they are waited for, where the event is young.
    """
    until = monotonic() + patience
    pause = 0.01
    while True:
        outcomes = await _outcomes(store, entity_id, machine_name, row)
        if outcomes is not None:
            return [outcome for outcome in outcomes if not outcome["ok"]]
        if monotonic() >= until or not _is_young(row):
            return []
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.2)


def _is_young(row: Entry | HistoryEntry) -> bool:
    return not isinstance(row, HistoryEntry) or time() * 1e6 - row.recorded_at < _YOUNG


async def _outcomes(
    store: "CompleteStore", entity_id: str, machine_name: str, row: Entry | HistoryEntry
) -> Sequence[Mapping[str, Any]] | None:
    """What became of an event's actions; None while it is not recorded."""
    await _flush(store)
    place = row.id if isinstance(row, HistoryEntry) else 0
    after: str | None = write_cursor("history", row.version, place)
    while after is not None:
        page = await store.ahistory(entity_id, machine_name=machine_name, after=after, limit=10)
        for each in page.items:
            if each.version != row.version:
                return None
            if each.kind is EntryKind.ACTION and each.ref == row.version:
                return each.actions
        after = page.next
    return None
