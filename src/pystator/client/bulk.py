"""Many events in few requests: cut into portions that a service takes, each event with its key."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pystator.client import reading
from pystator.client.bodies import a_key, body_of, stamp
from pystator.client.calls import Answer, Call
from pystator.client.routes import API, JSON
from pystator.engine.result import TransitionResult
from pystator.records import EventRequest

__all__ = ["portions"]

MOST: Final = 500
"""Events of one request."""

LARGEST: Final = 500_000
"""Bytes of one request, unless one event is larger."""

_DOUBT: Final = (
    "some of the events may have been done: those with an event_id of yours can all be sent again,"
    " of the others history tells"
)


def portions(
    events: Iterable[EventRequest], machine_name: str | None
) -> Iterator[Call[list[TransitionResult]]]:
    """The calls for these events, in their order."""
    portion: list[bytes] = []
    own: list[bool] = []
    size = 0
    for event in events:
        item = body_of(_item(event, machine_name))
        if portion and (len(portion) == MOST or size + len(item) > LARGEST):
            yield _call(portion, own)
            portion, own, size = [], [], 0
        portion.append(item)
        own.append(event.event_id is None)
        size += len(item)
    if portion:
        yield _call(portion, own)


def _item(event: EventRequest, machine_name: str | None) -> dict[str, Any]:
    return {
        "entity_id": event.entity_id,
        "trigger": event.trigger,
        "context": event.context,
        "event_id": a_key() if event.event_id is None else event.event_id,
        "machine_name": machine_name,
        "occurred_at": stamp(event.occurred_at),
        "expected_version": event.expected_version,
    }


def _call(portion: list[bytes], own: list[bool]) -> Call[list[TransitionResult]]:
    def read(answer: Answer) -> list[TransitionResult]:
        return reading.results(answer, own)

    body = b'{"events":[' + b",".join(portion) + b"]}"
    path = f"{API}/entities/bulk/events"
    return Call("POST", path, read, (), body, JSON, again=True, doubt=_DOUBT)
