"""Answers of a service as our records and results.

A service does not tell everything that a store holds: the internal number, request hash, commit id
and fingerprint of a row or an entity, and which version armed a timer. These are empty, or zero.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from pystator.client.calls import Answer
from pystator.client.problems import error_from, error_in, parsed, problem_of
from pystator.engine.actions import spec_of
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError, error_of
from pystator.records import (
    Context,
    Entity,
    EntryKind,
    HistoryEntry,
    Page,
    StoredMachine,
    from_datetime,
)

__all__ = [
    "Facts",
    "counts",
    "entities",
    "entity",
    "entries",
    "entry",
    "failed",
    "json_of",
    "machine",
    "machines",
    "nothing",
    "page_of",
    "reading",
    "result",
    "result_in",
    "results",
    "row_of",
    "text",
    "trial",
]

T = TypeVar("T")

Facts = Mapping[str, Any]


def json_of(answer: Answer) -> Any:
    """What a successful answer says.

    Raises:
        FSMError: It is none, or what is there is no service of ours.
    """
    if not 200 <= answer.status < 300:
        raise error_from(answer)
    found = parsed(answer.body)
    if found is None:
        raise error_from(answer)
    return found


def reading(make: Callable[[Facts], T]) -> Callable[[Answer], T]:
    """A reader of successful answers whose JSON object is made into something."""
    return lambda answer: _made(make, json_of(answer))


def _made(make: Callable[[Facts], T], told: Any) -> T:
    try:
        return make(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FSMError(
            "the service's answer cannot be read: is it of another release than this client?"
            f" ({type(error).__name__}: {error})"
        ) from error


# Records ----------------------------------------------------------------------------------------


def entity_in(facts: Facts) -> Entity:
    """An entity."""
    return Entity(
        entity_id=facts["entity_id"],
        machine_name=facts["machine_name"],
        version=facts["version"],
        state=facts["state"],
        context=facts["context"],
        history=facts.get("history_states") or None,
        timers={name: (_time(at), 0) for name, at in facts["timers"].items()},
        machine_version=facts["machine_version"],
        fingerprint="",
        created_at=_time(facts["created_at"]),
        updated_at=_time(facts["updated_at"]),
        commit_id="",
        state_since=_time(facts["state_since"]),
        archived_at=_maybe(facts.get("archived_at")),
    )


def entry_in(facts: Facts) -> HistoryEntry:
    """A history row."""
    changed, removed = facts["changed"], tuple(facts["removed"])
    return HistoryEntry(
        id=0,
        entity_id=facts["entity_id"],
        machine_name=facts["machine_name"],
        version=facts["version"],
        kind=EntryKind(facts["kind"]),
        trigger=facts["trigger"],
        payload=facts["payload"],
        now=_time(facts["now"]),
        patch=(changed, removed) if changed or removed else None,
        source_state=facts["source_state"],
        target_state=facts["target_state"],
        actions=tuple(facts["actions"]),
        success=facts["success"],
        error_code=facts["error_code"],
        error_message=facts["error_message"],
        event_id=facts["event_id"],
        request_hash=None,
        actor=facts["actor"],
        occurred_at=_maybe(facts["occurred_at"]),
        duration_us=facts["duration_us"],
        ref=facts["ref"],
        commit_id="",
        machine_version=facts["machine_version"],
        fingerprint="",
        recorded_at=_time(facts["recorded_at"]),
        trace=facts.get("trace"),
    )


def page_of(make: Callable[[Facts], T]) -> Callable[[Answer], Page[T]]:
    """A reader of one page of a list."""
    return reading(lambda facts: Page([make(each) for each in facts["items"]], facts["next"]))


def _time(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text))


def _maybe(text: str | None) -> int | None:
    return None if text is None else _time(text)


entity = reading(entity_in)
entry = reading(entry_in)


def machine_in(facts: Facts) -> StoredMachine:
    """A machine; in a list, without its definition."""
    definition = facts.get("definition")
    return StoredMachine(
        facts["name"],
        facts["version"],
        facts["fingerprint"],
        facts["description"],
        "" if definition is None else json.dumps(definition, ensure_ascii=False),
        _maybe(facts.get("created_at")) or 0,
    )


machine = reading(machine_in)
machines = page_of(machine_in)
entities = page_of(entity_in)
entries = page_of(entry_in)


def row_of(told: Any) -> HistoryEntry:
    """A row of the stream."""
    return _made(entry_in, told)


def counts(answer: Answer) -> dict[str, int]:
    """Numbers by state."""
    return _made(lambda facts: dict(facts["by_state"]), json_of(answer))


def text(answer: Answer) -> str:
    """An answer that is no JSON."""
    if not 200 <= answer.status < 300:
        raise error_from(answer)
    return answer.body.decode("utf-8", "replace")


def nothing(answer: Answer) -> None:
    """An answer that says no more than that it is done."""
    text(answer)


# Results ----------------------------------------------------------------------------------------


def result_in(facts: Facts, error: FSMError | None, *, replayed: bool) -> TransitionResult:
    """What became of an event; its context only where the service was asked for it.

    A replay has none: what the entity holds now is not what it held then.
    """
    context = None if replayed else facts.get("context")
    made = TransitionResult.from_parts(
        success=facts["success"],
        source_state=facts.get("source_state"),
        target_state=facts.get("target_state"),
        trigger=facts["trigger"],
        context=cast("Context", context),
        now=_maybe(facts.get("now")),
        actions=[spec_of(each) for each in facts.get("actions") or ()],
        error=error,
        reason=facts.get("reason") or (None if error is None else error.code.value),
        metadata=_metadata(facts, replayed=replayed),
        replayed=replayed,
    )
    version = facts.get("version")
    if version is not None:
        made.written = version
    return made


def _metadata(facts: Facts, *, replayed: bool) -> dict[str, Any]:
    told = ("entity_id", "machine_name", "machine_version", "event_id", "action_errors")
    found = {name: facts[name] for name in told if facts.get(name)}
    return {**found, "replayed": True} if replayed else found


def rejected(facts: Facts, error: FSMError, *, replayed: bool) -> TransitionResult:
    """The result of an event that was rejected: its error has the facts that history keeps."""
    error.context = {
        "entity_id": facts["entity_id"],
        "state": facts["source_state"],
        "trigger": facts["trigger"],
        "reason": facts["reason"],
    }
    return result_in(facts, error, replayed=replayed)


def result(answer: Answer, *, own_key: bool = False) -> TransitionResult:
    """What became of an event: a rejection is a result, too.

    Args:
        answer: The service's.
        own_key: The key was made by the client for this call alone: that an earlier attempt had
            been carried out is no replay to the caller.
    """
    replayed = answer.headers.get("idempotency-replayed") == "true" and not own_key
    if 200 <= answer.status < 300:
        return _made(lambda told: result_in(told, None, replayed=replayed), json_of(answer))
    facts, error = problem_of(answer), error_from(answer)
    if facts.get("success") is not False:
        raise error
    return _made(lambda told: rejected(told, error, replayed=replayed), facts)


def result_of_item(facts: Facts, *, own_key: bool) -> TransitionResult:
    """What became of one event of many; of one that could not be decided, little is known."""
    replayed = bool(facts["replayed"]) and not own_key
    problem = facts["error"]
    if problem is None:
        return result_in(facts, None, replayed=replayed)
    error = error_in(problem)
    if "source_state" in facts:
        return rejected(facts, error, replayed=replayed)
    return result_in(facts, error, replayed=replayed)


def results(answer: Answer, own_keys: Sequence[bool]) -> list[TransitionResult]:
    """What became of many events, in their order."""

    def read(facts: Facts) -> list[TransitionResult]:
        items = zip(facts["items"], own_keys, strict=True)
        return [result_of_item(each, own_key=own) for each, own in items]

    return _made(read, json_of(answer))


def failed(trigger: str | None, error: FSMError) -> TransitionResult:
    """The result of an event that could not be decided or written."""
    facts = {"success": False, "source_state": None, "target_state": None, "trigger": trigger}
    return result_in({**facts, "reason": error.code.value}, error, replayed=False)


def trial(answer: Answer) -> TransitionResult:
    """What an event would do: a rejection is no problem of the request."""
    facts = json_of(answer)
    told = facts.get("error")
    error = None if told is None else error_of(told["code"], told["message"], told["context"])
    return _made(lambda each: result_in(each, error, replayed=False), facts)
