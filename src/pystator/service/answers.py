"""What became of an event, as a caller is told: today, and when the event is sent again.

Law: the answer is told from the event's row and from the outcomes of its actions, which the store
keeps both. So an event that is sent again, to any process, is answered with the same words.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pystator.engine.result import TransitionResult
from pystator.errors import FSMError, StoreUnavailableError
from pystator.records import Entry, EntryKind, HistoryEntry, record
from pystator.service.machines import Served
from pystator.service.views import event_view
from pystator.stores.keys import write_cursor

if TYPE_CHECKING:
    from pystator.stores.prunable import CompleteStore

__all__ = ["Answer", "answer_of", "failed_actions"]


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
    store: "CompleteStore", entity_id: str, served: Served, result: TransitionResult
) -> Answer:
    """The answer that a result is.

    Raises:
        FSMError: The event could not be decided.
    """
    row = result.row or _unwritten(result)
    errors: Any = ()
    if row.actions and result.replayed:
        errors = await failed_actions(store, entity_id, served.name, row)
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
    store: "CompleteStore", entity_id: str, machine_name: str, row: Entry | HistoryEntry
) -> list[Mapping[str, Any]]:
    """The outcomes of an event's actions that failed, as far as they are known."""
    await _flush(store)
    place = row.id if isinstance(row, HistoryEntry) else 0
    after: str | None = write_cursor("history", row.version, place)
    while after is not None:
        page = await store.ahistory(entity_id, machine_name=machine_name, after=after, limit=10)
        for each in page.items:
            if each.version != row.version:
                return []
            if each.kind is EntryKind.ACTION and each.ref == row.version:
                return [outcome for outcome in each.actions if not outcome["ok"]]
        after = page.next
    return []
