"""The routes of a service, as calls. No I/O."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pystator.client import reading
from pystator.client.bodies import a_key, body_of, key_header, query, segment, stamp
from pystator.client.calls import Answer, Call
from pystator.client.problems import problem_of
from pystator.engine.result import TransitionResult
from pystator.errors import EntityNotFoundError
from pystator.records import Entity, EventRequest, HistoryEntry, Page

__all__ = [
    "API",
    "JSON",
    "LOOK",
    "apply_data",
    "by_hand",
    "counts",
    "create_entity",
    "dry_run",
    "entities",
    "event",
    "get_entity",
    "history",
    "process",
    "process_event",
    "transitions",
]

API: Final = "/api/v1"
_NONE: Final = frozenset({"event_not_found", "entity_not_found"})
"""Codes that say there is no row of an event."""

_BULK: Final = "%62ulk"
"""An entity of this id, which the route for many events would hide."""

LOOK: Final = "it may have been done or not: look before you send it again"
"""Of what is not done once when it is sent twice."""

JSON: Final = {"Content-Type": "application/json"}


def _of(entity_id: str, what: str = "") -> str:
    quoted = segment(entity_id, "an entity id")
    return f"{API}/entities/{_BULK if quoted == 'bulk' else quoted}{what}"


def _keyed(
    path: str,
    facts: Mapping[str, Any],
    event_id: str | None,
    expected_version: int | None = None,
    *,
    with_context: bool = False,
) -> Call[TransitionResult]:
    """A call that is done once, however often it is sent."""
    key = a_key() if event_id is None else event_id
    headers = {**JSON, "Idempotency-Key": key_header(key), **_version(expected_version)}
    own = event_id is None

    def read(answer: Answer) -> TransitionResult:
        return reading.result(answer, own_key=own)

    return Call(
        "POST",
        path,
        read,
        query(include="context" if with_context else None),
        body_of(facts),
        headers,
        again=True,
        key=key,
        doubt=f"it may have been done: sent again with event_id={key!r} it is done once",
    )


def _version(expected: int | None) -> dict[str, str]:
    """What the request says of the version that the entity has to have; 0: there is no entity."""
    if expected is None:
        return {}
    return {"If-Match": f'"{expected}"'} if expected else {"If-None-Match": "*"}


# Events -----------------------------------------------------------------------------------------


def create_entity(
    entity_id: str,
    context: Mapping[str, Any] | None,
    machine_name: str | None,
    event_id: str | None,
) -> Call[TransitionResult]:
    """Start an entity."""
    facts = {"context": context, "machine_name": machine_name}
    return _keyed(_of(entity_id, "/create"), facts, event_id, with_context=True)


def process_event(
    event: EventRequest,
    machine_name: str | None,
    expected_version: int | None,
    *,
    with_context: bool,
) -> Call[TransitionResult]:
    """Process one event."""
    facts = {
        "trigger": event.trigger,
        "context": event.context,
        "machine_name": machine_name,
        "occurred_at": stamp(event.occurred_at),
    }
    path = _of(event.entity_id, "/events")
    return _keyed(path, facts, event.event_id, expected_version, with_context=with_context)


def apply_data(
    entity_id: str,
    data: Mapping[str, Any],
    machine_name: str | None,
    event_id: str | None,
    expected_version: int | None,
    occurred_at: datetime | None,
    *,
    with_context: bool,
) -> Call[TransitionResult]:
    """Merge data into an entity's context."""
    facts = {"data": data, "machine_name": machine_name, "occurred_at": stamp(occurred_at)}
    path = _of(entity_id, "/apply-data")
    return _keyed(path, facts, event_id, expected_version, with_context=with_context)


def dry_run(
    entity_id: str, trigger: str, context: Mapping[str, Any] | None, machine_name: str | None
) -> Call[TransitionResult]:
    """Say what an event would do."""
    facts = {"trigger": trigger, "context": context, "machine_name": machine_name}
    path, include = _of(entity_id, "/dry-run"), query(include="context")
    return Call("POST", path, reading.result, include, body_of(facts), JSON, again=True)


def by_hand(
    entity_id: str,
    what: str,
    facts: Mapping[str, Any],
    expected_version: int | None,
) -> Call[TransitionResult]:
    """Force a state, archive, take back from the archive."""
    headers = {**JSON, **_version(expected_version)}
    path = _of(entity_id, what)
    return Call("POST", path, reading.result, (), body_of(facts), headers, doubt=LOOK)


def process(
    trigger: str | None,
    machine: Mapping[str, Any] | None,
    named: tuple[str | None, str | None],
    state: str | None,
    data: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    now: datetime | None,
) -> Call[TransitionResult]:
    """Say what an event would do, without an entity."""
    facts = {
        "machine": machine,
        "machine_name": named[0],
        "version": named[1],
        "state": state,
        "trigger": trigger,
        "context": data[0],
        "payload": data[1],
        "now": stamp(now),
    }
    return Call("POST", f"{API}/process", reading.trial, (), body_of(facts), JSON, again=True)


# Reads ------------------------------------------------------------------------------------------


def get_entity(entity_id: str, machine_name: str | None) -> Call[Entity | None]:
    """Read an entity."""

    def read(answer: Answer) -> Entity | None:
        try:
            return reading.entity(answer)
        except EntityNotFoundError:
            return None

    return Call("GET", _of(entity_id), read, query(machine_name=machine_name), again=True)


def entities(
    state: str | None,
    machine_name: str | None,
    in_state_longer_than: timedelta | None,
    after: str | None,
    limit: int,
    *,
    archived: bool,
) -> Call[Page[Entity]]:
    """One page of entities."""
    params = query(
        state=state,
        machine_name=machine_name,
        in_state_longer_than=in_state_longer_than,
        archived=archived or None,
        cursor=after,
        limit=limit,
    )
    return Call("GET", f"{API}/entities", reading.entities, params, again=True)


def counts(machine_name: str | None, *, archived: bool) -> Call[dict[str, int]]:
    """How many entities are in each state."""
    params = query(machine_name=machine_name, archived=archived or None)
    return Call("GET", f"{API}/counts", reading.counts, params, again=True)


def history(
    entity_id: str, machine_name: str | None, after: str | None, limit: int, *, newest_first: bool
) -> Call[Page[HistoryEntry]]:
    """One page of an entity's rows."""
    params = query(
        machine_name=machine_name, cursor=after, limit=limit, newest_first=newest_first or None
    )
    return Call("GET", _of(entity_id, "/history"), reading.entries, params, again=True)


def event(entity_id: str, event_id: str, machine_name: str | None) -> Call[HistoryEntry | None]:
    """The row of an event."""
    path = f"{API}/events/{segment(event_id, 'an event id')}"
    params = query(entity_id=entity_id, machine_name=machine_name)

    def read(answer: Answer) -> HistoryEntry | None:
        if answer.status == 404 and problem_of(answer).get("code") in _NONE:
            return None
        return reading.entry(answer)

    return Call("GET", path, read, params, again=True)


def transitions(
    after: str | None, limit: int, wanted: tuple[tuple[str, str], ...]
) -> Call[Page[HistoryEntry]]:
    """One page of the feed."""
    params = (*query(cursor=after, limit=limit), *wanted)
    return Call("GET", f"{API}/transitions", reading.entries, params, again=True)
