"""Values that cross seams: between engine, orchestrator, stores and faces.

Laws of these records:

- They are frozen to the type checkers and plain at run time: a really frozen dataclass costs four
  times as much to make.
- Times are integers: microseconds since 1970-01-01 UTC. ``None`` means "not known", never zero.
- An entity is named by its key ``(entity_id, machine_name)``, in this order, everywhere.
- ``context`` is the user's mapping of plain values (see the context codec for what a store can
  hold); the reserved data of the engine lives beside it, never in it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar, dataclass_transform

__all__ = [
    "BEGINNING",
    "EPOCH",
    "HISTORY",
    "UNARCHIVE",
    "Commit",
    "Context",
    "Cut",
    "Entity",
    "Entry",
    "EntryKind",
    "EventRequest",
    "HistoryEntry",
    "Key",
    "Loaded",
    "Lookup",
    "Outcome",
    "OutcomeKind",
    "Page",
    "Parcel",
    "Patch",
    "Pruned",
    "StoredMachine",
    "Timers",
    "from_datetime",
    "record",
    "to_datetime",
]

T = TypeVar("T")
_C = TypeVar("_C", bound=type)

Context = dict[str, Any]
"""An entity's data. Values are the user's own."""

Key = tuple[str, str]
"""``(entity_id, machine_name)``."""

Timers = dict[str, tuple[int, int]]
"""Armed timers: id -> (deadline in microseconds, version of the entity that armed it)."""

HISTORY: Final = "_history"
"""The reserved key of a context under which a step finds and leaves recorded history states."""

Patch = tuple[Mapping[str, Any], tuple[str, ...]]
"""What a change did to the context's top-level keys: (set to these values, removed)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC) - EPOCH
BEGINNING: Final = (_FIRST.days * 86_400 + _FIRST.seconds) * 1_000_000
"""The first moment of the year 1, before which nothing is, in microseconds since the epoch."""
_LAST = datetime.max.replace(tzinfo=UTC) - EPOCH

UNARCHIVE: Final = -1
"""`Commit.archived_at` of a commit that takes an entity back from the archive."""


@dataclass_transform(frozen_default=True)
def record(cls: _C) -> _C:
    """A slotted dataclass, frozen to the type checkers only.

    Text and comparison are shared by all records, not generated for each: there are seventy, and
    generating them costs ten milliseconds of every start.
    """
    make: Callable[[Any], Any] = dataclass(slots=True, repr=False, eq=False)
    made: _C = make(cls)
    for name, method in _SHARED.items():
        setattr(made, name, method)
    return made


def _text(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({fields})"


def _equals(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    names: Iterable[str] = self.__dataclass_fields__
    return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]


_SHARED: dict[str, Any] = {"__repr__": _text, "__eq__": _equals, "__hash__": None}


def to_datetime(microseconds: int) -> datetime:
    """Microseconds since the epoch -> aware UTC datetime."""
    return EPOCH + timedelta(microseconds=microseconds)


def _zone(moment: object) -> tzinfo | None:
    if not isinstance(moment, datetime):
        raise TypeError(
            "a time is an aware datetime, e.g. datetime.now(timezone.utc),"
            f" not {type(moment).__name__}: {moment!r:.80}"
        )
    return moment.tzinfo


def from_datetime(moment: datetime) -> int:
    """Aware datetime -> microseconds since the epoch.

    Raises:
        TypeError: It is no datetime.
        ValueError: The datetime is naive; a deadline without a zone would mean another moment on
            another machine. Or it could not be given back as a datetime in UTC.
    """
    if _zone(moment) is None:
        raise ValueError(
            f"{moment!r} has no time zone: use an aware datetime, e.g. datetime.now(timezone.utc)"
        )
    delta = moment - EPOCH
    if not _FIRST <= delta <= _LAST:
        raise ValueError(f"{moment.isoformat()} is not in the years 1 to 9999 of UTC")
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


class EntryKind(StrEnum):
    """What a history row tells."""

    EVENT = "event"
    REJECTED = "rejected"
    CREATED = "created"
    SET = "set"
    TIMER = "timer"
    ACTION = "action"
    MIGRATED = "migrated"
    FORCED = "forced"
    SNAPSHOT = "snapshot"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"


@record
class Entity:
    """One entity as stored.

    Attributes:
        version: Applied changes so far, from 1, contiguous.
        state: The active leaves in document order joined by ``+``.
        history: Recorded history states, ``{parent: [leaves]}``; None when the machine has none.
        machine_version: Version of the machine that wrote it last; ``""`` when written without a
            machine.
        updated_at: The step time of the last change; never before an earlier one.
        commit_id: Id of the last commit, to resolve an answer that was lost.
        state_since: The step time of the change that led into ``state``; one that ends where it
            began does not move it.
        archived_at: When it was archived; None for an entity that lives. An archived one keeps its
            history and takes no events; its timers do not fire.
    """

    entity_id: str
    machine_name: str
    version: int
    state: str
    context: Context
    history: dict[str, list[str]] | None
    timers: Timers
    machine_version: str
    fingerprint: str
    created_at: int
    updated_at: int
    commit_id: str
    state_since: int
    archived_at: int | None = None

    @property
    def key(self) -> Key:
        """``(entity_id, machine_name)``."""
        return (self.entity_id, self.machine_name)

    @property
    def engine_context(self) -> Context:
        """The context with the recorded history states in it, as a machine takes it.

        ``machine.process(entity.state, trigger, entity.engine_context)`` says what an event would
        do.
        """
        return self.context if not self.history else {**self.context, HISTORY: self.history}


@record
class Entry:
    """One history row as a commit appends it; what its rows share stands in the `Commit`.

    Attributes:
        version: The version this row made, or, for a row that changes nothing, the version it saw.
        payload: The event's data as it was sent.
        now: The time the step was computed with.
        patch: What the change did to the context, so that a replay gives the context; None when it
            did nothing.
        actions: Planned actions, or for ``kind=action`` their outcomes: plain values.
        request_hash: Hash of trigger and payload; tells a retry from another event under the same
            id.
        occurred_at: When the event happened, if the sender said so.
        duration_us: Time from load to commit request, in microseconds.
        ref: For ``kind=action``, the version whose actions these are.
        trace: The W3C ``traceparent`` of the event, if it came with one.
    """

    version: int
    kind: EntryKind
    trigger: str | None
    payload: Mapping[str, Any] | None
    now: int
    patch: Patch | None
    source_state: str | None
    target_state: str | None
    actions: tuple[Mapping[str, Any], ...] = ()
    success: bool = True
    error_code: str | None = None
    error_message: str | None = None
    event_id: str | None = None
    request_hash: str | None = None
    actor: str | None = None
    occurred_at: int | None = None
    duration_us: int | None = None
    ref: int | None = None
    trace: str | None = None


@record
class Commit:
    """All that one decision writes to one entity: together or not at all.

    ``new_version == expected_version`` means that only ``entries`` are appended (rejections, action
    outcomes): no entity is touched or created and the version is not compared. ``expected_version
    == 0`` creates the entity.

    Attributes:
        state, context, history, timers: The entity's final values; ``None`` leaves the stored value
            as it is (a new entity always brings its state and context).
        now: Becomes the entity's ``updated_at``; what becomes of its ``state_since`` is told by
            `pystator.stores.columns.state_since`.
        entries: History rows, in order.
        commit_id: UUIDv7 as text; on the entity and on every row.
        archived_at: Archives the entity at this time; `UNARCHIVE` takes it back; None leaves it as
            it is.
    """

    entity_id: str
    machine_name: str
    expected_version: int
    new_version: int
    state: str | None
    context: Context | None
    history: dict[str, list[str]] | None
    timers: Timers | None
    machine_version: str
    fingerprint: str
    now: int
    entries: tuple[Entry, ...]
    commit_id: str
    archived_at: int | None = None


class OutcomeKind(StrEnum):
    """What became of a commit."""

    APPLIED = "applied"
    STALE = "stale"
    """The version was another one: nothing of this commit was written."""
    DUPLICATE = "duplicate"
    """An event id was there already: nothing was written; load it again to get its row."""
    REFUSED = "refused"
    """The commit cannot be stored; ``error`` says why. Nothing of it was written."""


@record
class Outcome:
    """The answer to one `Commit`."""

    kind: OutcomeKind
    error: Exception | None = None


@record
class Lookup:
    """What to load: an entity and, in the same round trip, the rows of known event ids."""

    entity_id: str
    machine_name: str
    event_ids: tuple[str, ...] = ()


@record
class HistoryEntry:
    """One history row as readers get it; rows are in order of ``(version, id)``, never time.

    Attributes:
        id: A number that no other row of this entity has; those of others may.
    """

    id: int
    entity_id: str
    machine_name: str
    version: int
    kind: EntryKind
    trigger: str | None
    payload: Mapping[str, Any] | None
    now: int
    patch: Patch | None
    source_state: str | None
    target_state: str | None
    actions: tuple[Mapping[str, Any], ...]
    success: bool
    error_code: str | None
    error_message: str | None
    event_id: str | None
    request_hash: str | None
    actor: str | None
    occurred_at: int | None
    duration_us: int | None
    ref: int | None
    commit_id: str
    machine_version: str
    fingerprint: str
    recorded_at: int
    trace: str | None = None


@record
class Loaded:
    """The answer to one `Lookup`: the entity if there is one, and the rows of known event ids."""

    entity: Entity | None
    known: Mapping[str, HistoryEntry]


@dataclass(slots=True)
class Page(Generic[T]):
    """One page of a keyset-paged read.

    Attributes:
        items: The rows, in the read's order.
        next: Opaque cursor for the next page; None at the end.
        cursors: Of the feed: the cursor after each of the items.
    """

    items: list[T]
    next: str | None = None
    cursors: Sequence[str] = ()


@record
class Cut:
    """Rows of one entity's history to delete, with the snapshot that stands for them from then on.

    Attributes:
        ids: The rows; those that are gone already are no mistake.
        snapshot: Appends the snapshot row, unless there is one of this version or a later one; None
            when nothing goes that a replay needs.
        replaced: Earlier snapshot rows, which go with the new one.
        guard: The row that the snapshot builds on, among ``ids`` or ``replaced``. When it is gone,
            somebody else prunes this entity, and nothing of this cut is done.
    """

    entity_id: str
    machine_name: str
    ids: Sequence[int]
    snapshot: Commit | None = None
    replaced: tuple[int, ...] = ()
    guard: int | None = None


@record
class Parcel:
    """An entity and rows of its history as they are, to be put into another store.

    Attributes:
        entity: What the entity becomes, field by field; None leaves it as it is.
        rows: History rows in the order ``(version, id)``, with everything they say but their
            ``id``, which the other store gives.
        base: The version that the entity has in the other store; 0 when it is not there.
        after: Version and commit id of the newest row, in the order ``(version, id)``, that the
            other store has of this key; None when it has none.
    """

    entity_id: str
    machine_name: str
    entity: Entity | None
    rows: tuple[HistoryEntry, ...]
    base: int
    after: tuple[int, str] | None


@record
class StoredMachine:
    """One version of a machine as a store keeps it; it never changes.

    Attributes:
        definition: The machine's configuration as JSON text.
        fingerprint: Of the machine that is made from it.
        created_at: When it was stored; the newest version is the one that was stored last.
    """

    name: str
    version: str
    fingerprint: str
    description: str | None
    definition: str
    created_at: int


@record
class Pruned:
    """What became of history, so far or in the end; of a dry run, what would.

    Attributes:
        rows: Rows that were deleted.
        entities: Entities they were of, those that never existed among them.
        snapshots: Entities that have a new snapshot row in the place of what was deleted.
        kept: Rows past their age that stay, because the ids of their events are still known.
        next: Cursor to go on with; None at the end.
    """

    rows: int = 0
    entities: int = 0
    snapshots: int = 0
    kept: int = 0
    next: str | None = None


@record
class EventRequest:
    """One event for one entity, as `process_events` takes it.

    Attributes:
        context: The event's payload: merged into the entity's context before guards.
        event_id: Makes the event idempotent: the second time the first result is given again.
        occurred_at: When it happened; kept in history.
        now: The time of the step, instead of the clock's.
        actor: Who sent it; kept in history.
        expected_version: The version that the entity has to have before the event, 0 for none yet;
            otherwise the event is not taken, with a `StaleVersionError`.
        trace: The W3C ``traceparent`` it belongs to; kept in history.
    """

    entity_id: str
    trigger: str
    context: Mapping[str, Any] | None = None
    event_id: str | None = None
    occurred_at: datetime | None = None
    now: datetime | None = None
    actor: str | None = None
    expected_version: int | None = None
    trace: str | None = None
