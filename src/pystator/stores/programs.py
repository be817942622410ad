"""What the public methods of a store decide, once for both faces.

A program is a generator: it yields a request and is sent the answer. `StoreFacade` has the two
drivers that answer requests with ``load`` or ``await aload``, and so on; no decision is written
twice, and none does I/O.
"""

import random
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from time import monotonic, time_ns
from typing import Any, Final, Protocol, TypeVar, cast

from pystator.errors import (
    AmbiguousEntityError,
    EntityNotFoundError,
    FSMError,
    IdempotencyConflictError,
    InvalidValueError,
    StaleVersionError,
    StoreUnavailableError,
)
from pystator.records import (
    BEGINNING,
    Commit,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    record,
)
from pystator.stores.codec import copy
from pystator.stores.columns import make_patch
from pystator.stores.keys import (
    check_entity_id,
    check_event_id,
    check_machine_name,
    check_state,
    check_text,
    new_commit_id,
    request_hash,
)
from pystator.stores.refusals import kind_of

__all__ = [
    "Load",
    "Machines",
    "Pause",
    "Program",
    "Request",
    "Settings",
    "Write",
    "checked_version",
    "long_ago",
    "read",
    "set_context",
    "set_state",
    "the_machine",
    "wall_clock",
]

PATIENCE: Final = 10.0
"""Seconds for which an unversioned write tries again when others write the same entity."""

T = TypeVar("T")


@record
class Load:
    """Answered with the `Loaded` of each lookup."""

    lookups: Sequence[Lookup]


@record
class Write:
    """Answered with the `Outcome` of each commit."""

    commits: Sequence[Commit]


@record
class Machines:
    """Answered with the names of the machines that have an entity of this id."""

    entity_id: str


@record
class Pause:
    """Answered after so many seconds."""

    seconds: float


Request = Load | Write | Machines | Pause
Program = Generator[Request, Any, T]


class Settings(Protocol):
    """What a program asks of its store besides the requests."""

    machine_name: str | None
    context_limit: int

    now: Callable[[], int]


@record
class _Facts:
    """The ``metadata`` of a write, checked."""

    context: dict[str, Any] | None
    machine_version: str | None
    fingerprint: str | None
    trigger: str | None
    source_state: str | None
    event_id: str | None
    actor: str | None


def the_machine(entity_id: str, names: Iterable[str]) -> str | None:
    """The one machine among the names; None when there is none.

    Raises:
        AmbiguousEntityError: There are several.
    """
    found = list(names)
    if len(found) > 1:
        raise AmbiguousEntityError(
            f"the machines {', '.join(map(repr, found))} each have an entity {entity_id!r}: "
            "say which one with machine_name=",
            context={"entity_id": entity_id, "machines": found},
        )
    return found[0] if found else None


def _machine(settings: Settings, entity_id: str, named: str | None) -> Program[str | None]:
    check_entity_id(entity_id)
    machine = settings.machine_name if named is None else named
    if machine is not None:
        return check_machine_name(machine)
    return the_machine(entity_id, (yield Machines(entity_id)))


def read(settings: Settings, entity_id: str, machine_name: str | None) -> Program[Entity | None]:
    """The entity; None when there is none."""
    machine = yield from _machine(settings, entity_id, machine_name)
    if machine is None:
        return None
    loaded: list[Loaded] = yield Load((Lookup(entity_id, machine),))
    return loaded[0].entity


def set_context(
    settings: Settings, entity_id: str, context: Any, machine_name: str | None
) -> Program[int]:
    """Replace the context of an entity that exists; the new version."""
    kept = _checked_context(context, settings.context_limit)
    machine = yield from _machine(settings, entity_id, machine_name)
    facts = _Facts(kept, None, None, None, None, None, None)
    version = yield from _write(settings, entity_id, machine or "", None, facts, None)
    return version


def set_state(
    settings: Settings,
    entity_id: str,
    state: str,
    metadata: Mapping[str, Any] | None,
    machine_name: str | None,
    expected: int | None,
) -> Program[int]:
    """Place an entity in a state, making it if need be; the new version.

    Args:
        settings: The store's.
        entity_id: The entity.
        state: Its new configuration; timers of the old one are cancelled.
        metadata: ``context`` (whole), ``machine_name``, ``machine_version``, ``fingerprint``,
            ``trigger``, ``source_state``, ``event_id``, ``actor``; other keys mean nothing here.
        machine_name: Before the metadata's and the store's own.
        expected: The version it must have, 0 for none; None for any.
    """
    check_state(state)
    given = _checked_metadata(metadata)
    facts = _facts(given, settings.context_limit)
    named = given.get("machine_name") if machine_name is None else machine_name
    machine = yield from _machine(settings, entity_id, named)
    version = yield from _write(settings, entity_id, machine or "", state, facts, expected)
    return version


def _facts(given: Mapping[str, Any], limit: int) -> _Facts:
    context = given.get("context")
    event_id = given.get("event_id")
    return _Facts(
        None if context is None else _checked_context(context, limit),
        _checked_text(given, "machine_version"),
        _checked_text(given, "fingerprint"),
        given.get("trigger"),
        given.get("source_state"),
        None if event_id is None else check_event_id(event_id),
        given.get("actor"),
    )


def checked_version(version: object) -> int:
    """The version a write expects.

    Raises:
        InvalidValueError: It is no whole number from 0; in particular None, which would mean any.
    """
    if type(version) is not int or version < 0:
        raise InvalidValueError(
            "expected_version= is the version the entity was read with, 0 for one that does not"
            f" exist yet, not {version!r:.80}; set_state writes whatever the version is",
            context={"expected_version": repr(version)},
        )
    return version


def long_ago(now: Callable[[], int], longer: object) -> int | None:
    """The moment before which an entity came into its state, if it is there longer than this.

    Args:
        now: The clock, in microseconds since the epoch.
        longer: ``in_state_longer_than=``; None does not ask.

    Raises:
        InvalidValueError: It is no duration.
    """
    if longer is None:
        return None
    if not isinstance(longer, timedelta):
        raise InvalidValueError(
            "in_state_longer_than= is a duration, e.g. timedelta(hours=2),"
            f" not {type(longer).__name__}: {longer!r:.80}",
            context={"in_state_longer_than": repr(longer)[:80]},
        )
    if longer < timedelta():
        raise InvalidValueError(
            f"in_state_longer_than= is a duration from 0, not {longer}: nothing is in its state"
            " since a moment that is still to come",
            context={"in_state_longer_than": str(longer)},
        )
    return max(now() - longer // timedelta(microseconds=1), BEGINNING)


def _checked_metadata(metadata: object) -> Mapping[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidValueError(
            'metadata= must be a mapping, e.g. {"context": {...}},'
            f" not {type(metadata).__name__}: {metadata!r:.80}",
            context={"type": type(metadata).__name__},
        )
    return cast("Mapping[str, Any]", metadata)


def _checked_text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if value is None else check_text(value, name.replace("_", " "))


def _checked_context(context: Any, limit: int) -> dict[str, Any]:
    kept = copy(context, limit=limit)
    if kind_of(kept) is not dict:
        raise InvalidValueError(
            f"context: it is of type {type(context).__name__}; a context is a dictionary",
            context={"path": "context", "reason": "not_a_dictionary"},
        )
    return kept  # type: ignore[no-any-return] # kind_of says so


def _write(
    settings: Settings,
    entity_id: str,
    machine: str,
    state: str | None,
    facts: _Facts,
    expected: int | None,
) -> Program[int]:
    """Load, decide, commit; again when somebody else was first and no version was asked for."""
    event_ids = () if facts.event_id is None else (facts.event_id,)
    digest = None if facts.event_id is None else _digest(state, facts)
    lookup = Lookup(entity_id, machine, event_ids)
    patience = monotonic() + PATIENCE
    attempt = 0
    while True:
        loaded: list[Loaded] = yield Load((lookup,))
        entity = loaded[0].entity
        if facts.event_id is not None and facts.event_id in loaded[0].known:
            return _replayed(loaded[0].known[facts.event_id], digest)
        found = 0 if entity is None else entity.version
        if expected is not None and expected != found:
            raise _stale(entity_id, expected, found)
        commit = _commit(settings, entity_id, machine, entity, state, facts, digest)
        outcomes: list[Outcome] = yield Write((commit,))
        if outcomes[0].kind is OutcomeKind.APPLIED:
            return commit.new_version
        if outcomes[0].kind is OutcomeKind.REFUSED:
            raise outcomes[0].error or FSMError(f"the store refused {entity_id!r}")
        if outcomes[0].kind is OutcomeKind.STALE and expected is not None:
            raise _stale(entity_id, expected, None)
        if monotonic() > patience:
            raise StoreUnavailableError(
                f"others kept changing {entity_id!r} for {PATIENCE:g} seconds; try again",
                context={"entity_id": entity_id, "machine_name": machine, "written": False},
            )
        attempt += 1
        yield Pause(random.random() * min(0.001 * attempt, 0.05))  # noqa: S311 - spreads retries


def _commit(
    settings: Settings,
    entity_id: str,
    machine: str,
    entity: Entity | None,
    state: str | None,
    facts: _Facts,
    digest: str | None,
) -> Commit:
    if entity is None and state is None:
        raise EntityNotFoundError(
            f"there is no entity {entity_id!r}: give it a state first, with set_state",
            context={"entity_id": entity_id, "machine_name": machine},
        )
    context = facts.context
    if entity is None and context is None:
        context = {}
    now = settings.now() if entity is None else max(settings.now(), entity.updated_at)
    version = 0 if entity is None else entity.version
    before = None if entity is None else entity.state
    entry = Entry(
        version=version + 1,
        kind=EntryKind.SET,
        trigger=facts.trigger,
        payload=None,
        now=now,
        patch=None if context is None else make_patch(entity.context if entity else {}, context),
        source_state=before if facts.source_state is None else facts.source_state,
        target_state=before if state is None else state,
        event_id=facts.event_id,
        request_hash=digest,
        actor=facts.actor,
    )
    return Commit(
        entity_id=entity_id,
        machine_name=machine,
        expected_version=version,
        new_version=version + 1,
        state=None if state == before else state,
        context=context,
        history=None,
        timers=None if state is None else {},  # nobody entered that state: it armed nothing
        machine_version=_first(facts.machine_version, entity.machine_version if entity else ""),
        fingerprint=_first(facts.fingerprint, entity.fingerprint if entity else ""),
        now=now,
        entries=(entry,),
        commit_id=new_commit_id(),
    )


def _first(given: str | None, stored: str) -> str:
    return stored if given is None else given


def _digest(state: str | None, facts: _Facts) -> str:
    return request_hash(facts.trigger, {"state": state, "context": facts.context})


def _replayed(row: HistoryEntry, digest: str | None) -> int:
    if row.request_hash != digest:
        raise IdempotencyConflictError(
            f"the event id {row.event_id!r} of {row.entity_id!r} was used for something else",
            context={
                "entity_id": row.entity_id,
                "machine_name": row.machine_name,
                "event_id": row.event_id,
                "version": row.version,
            },
        )
    return row.version


def _stale(entity_id: str, expected: int, found: int | None) -> StaleVersionError:
    now = "changed in this moment" if found is None else f"is at version {found}"
    return StaleVersionError(
        f"{entity_id!r} {now}, not at {expected}: load it again and decide again",
        context={"entity_id": entity_id, "expected_version": expected, "version": found},
    )


def wall_clock() -> int:
    """Microseconds since the epoch."""
    return time_ns() // 1_000
