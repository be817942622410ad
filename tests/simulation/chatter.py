"""Guards and actions that send events themselves, through the orchestrator that they belong to."""

import asyncio
from typing import Any

from pystator.errors import FSMError
from simulation.loop import OWNER
from simulation.plan import Item

__all__ = ["send_on"]


async def send_on(world: Any, tag: str, kind: str) -> None:
    """Send an event on behalf of another; what is sent so sends nothing on.

    Args:
        tag: Of the event whose guard or action this is.
        kind: ``"guard"`` or ``"action"``.
    """
    journal, process = world.journal, OWNER.get()
    if journal.notes[tag].kind in {"guard", "action"}:
        return
    name, number = world.label(f"{tag}{kind[0]}")
    own = f"{name}{number}"
    trigger = "note" if world.plan.machine == "chart" else "add"
    event_id = own if kind == "action" else None
    item = Item(f"e{len(journal.notes) % 3}", own, trigger, {"tag": own}, event_id)
    note = journal.sent(item, tag, kind, world.steps, alone=True)
    note.home = process
    world.tell(f"{tag}'s {kind}", f"calls event {item}", None)
    try:
        answer: Any = await process.orchestrator.async_process_event(
            item.entity, trigger, {**item.data}, event_id=event_id
        )
    except FSMError as error:
        answer = error
    except asyncio.CancelledError as error:
        note.left = True
        note.told(error, world.steps)
        note.done = True
        raise
    note.told(answer, world.steps)
    note.done = True
