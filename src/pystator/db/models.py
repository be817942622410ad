"""SQLAlchemy models of the tables: for migrations, and for users' own queries.

The stores do not use them; a migration and these classes describe the same tables, and a test
compares them. Times are integers, microseconds since 1970-01-01 UTC (PostgreSQL's tables have
``timestamptz``). Contexts, payloads and patches are text of the context codec.

PostgreSQL has besides: ``transition_history.txid``, the transaction that wrote a row, which orders
the feed; the id in the index of an entity's rows, which is in every index of SQLite; and indexes
that long states and event ids fit into (`pystator.db.index_rows`). It has not ``archived_at`` in
indexes of which it is known.

::

    machines --- (name, version) --- entity_states --- (entity_id, machine_name)
                                                          |--- transition_history
                                                          `--- worker_events
"""

from sqlalchemy import BigInteger, Boolean, Index, Integer, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pystator.db.column_types import BIG_ID, EPOCH, NAME, Time
from pystator.db.index_rows import (
    ALIVE,
    ARCHIVED,
    SHORT_EVENT_ID,
    SHORT_STATE,
    SHORT_STATE_SINCE,
)

__all__ = [
    "EntityStateModel",
    "MachineModel",
    "MetaModel",
    "Model",
    "TransitionHistoryModel",
    "WorkerEventModel",
]


class Model(DeclarativeBase):
    """What the models share."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class MachineModel(Model):
    """One version of a machine; a row is never changed.

    Attributes:
        definition: The machine's configuration as JSON text.
    """

    __tablename__ = "machines"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[str] = mapped_column(NAME, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(NAME)
    description: Mapped[str | None] = mapped_column(Text)
    definition: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(Time)


class EntityStateModel(Model):
    """An entity: its state, its context, its timers.

    Attributes:
        version: Applied changes so far, from 1.
        state: The active leaves in document order joined by ``+``.
        history: Recorded history states, JSON text.
        timers: Armed timers, JSON text ``{id: [deadline, armed_version]}``.
        next_due: The earliest deadline in ``timers``.
        updated_at: The step time of the last change.
        state_since: The step time of the change that led into ``state``.
        archived_at: When it was archived; NULL for an entity that lives.
    """

    __tablename__ = "entity_states"

    entity_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    machine_name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(NAME)
    context: Mapped[str] = mapped_column(Text)
    history: Mapped[str | None] = mapped_column(Text)
    timers: Mapped[str | None] = mapped_column(Text)
    next_due: Mapped[int | None] = mapped_column(Time)
    machine_version: Mapped[str] = mapped_column(NAME)
    fingerprint: Mapped[str] = mapped_column(NAME)
    created_at: Mapped[int] = mapped_column(Time)
    updated_at: Mapped[int] = mapped_column(Time)
    commit_id: Mapped[str] = mapped_column(NAME)
    state_since: Mapped[int] = mapped_column(Time, server_default=EPOCH)
    archived_at: Mapped[int | None] = mapped_column(Time)

    __table_args__ = (
        Index(
            "ix_entity_states_state",
            "machine_name",
            "state",
            "entity_id",
            "archived_at",
            sqlite_where=text(ALIVE),
            postgresql_where=text(f"{SHORT_STATE} AND {ALIVE}"),
        ),
        Index(
            "ix_entity_states_archived",
            "machine_name",
            "state",
            "entity_id",
            "archived_at",
            sqlite_where=text(ARCHIVED),
            postgresql_where=text(f"{SHORT_STATE} AND {ARCHIVED}"),
        ),
        Index(
            "ix_entity_states_since",
            "machine_name",
            "state",
            "state_since",
            "entity_id",
            "archived_at",
            sqlite_where=text(ALIVE),
            postgresql_where=text(f"{SHORT_STATE_SINCE} AND {ALIVE}"),
        ),
        Index(
            "ix_entity_states_due",
            "next_due",
            "entity_id",
            "machine_name",
            "archived_at",
            sqlite_where=text(f"next_due IS NOT NULL AND {ALIVE}"),
            postgresql_where=text(f"next_due IS NOT NULL AND {ALIVE}"),
        ),
    )


class TransitionHistoryModel(Model):
    """One change of an entity, or one rejected event; rows are only ever appended.

    The order of an entity's rows is ``(version, id)``; the order of all rows is ``id``.

    Attributes:
        version: The version the row made, or, when it changed nothing, the one it saw.
        now: The time the step was computed with.
        context_patch: What the change did to the context: text of ``{"set": {...}, "unset":
            [...]}``.
        actions: Planned actions, or for ``kind = 'action'`` their outcomes, JSON text.
        ref: For ``kind = 'action'``, the version whose actions these are.
        recorded_at: When the row was written.
        trace: The W3C ``traceparent`` of the event.
    """

    __tablename__ = "transition_history"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    entity_id: Mapped[str] = mapped_column(NAME)
    machine_name: Mapped[str] = mapped_column(NAME)
    version: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(NAME)
    trigger: Mapped[str | None] = mapped_column(NAME)
    payload: Mapped[str | None] = mapped_column(Text)
    now: Mapped[int] = mapped_column(Time)
    context_patch: Mapped[str | None] = mapped_column(Text)
    source_state: Mapped[str | None] = mapped_column(NAME)
    target_state: Mapped[str | None] = mapped_column(NAME)
    actions: Mapped[str | None] = mapped_column(Text)
    success: Mapped[bool] = mapped_column(Boolean)
    error_code: Mapped[str | None] = mapped_column(NAME)
    error_message: Mapped[str | None] = mapped_column(Text)
    event_id: Mapped[str | None] = mapped_column(NAME)
    request_hash: Mapped[str | None] = mapped_column(NAME)
    actor: Mapped[str | None] = mapped_column(NAME)
    occurred_at: Mapped[int | None] = mapped_column(Time)
    duration_us: Mapped[int | None] = mapped_column(BigInteger)
    ref: Mapped[int | None] = mapped_column(BigInteger)
    commit_id: Mapped[str] = mapped_column(NAME)
    machine_version: Mapped[str] = mapped_column(NAME)
    fingerprint: Mapped[str] = mapped_column(NAME)
    recorded_at: Mapped[int] = mapped_column(Time)
    trace: Mapped[str | None] = mapped_column(NAME)

    __table_args__ = (
        Index("ix_transition_history_entity", "entity_id", "machine_name", "version"),
        Index(
            "uq_transition_history_event",
            "entity_id",
            "machine_name",
            "event_id",
            unique=True,
            sqlite_where=text("event_id IS NOT NULL"),
            postgresql_where=text(SHORT_EVENT_ID),
        ),
        {"sqlite_autoincrement": True},
    )


class WorkerEventModel(Model):
    """A queued event, an alarm of a timer, or the actions of a commit that wait to be run.

    Attributes:
        seq: The order of an entity's events among those that are due.
        event_id: The submitter's id, or the alarm's ``timer:armed_version``; unique for an entity.
        kind: ``event``, ``timer`` or ``actions``.
        status: ``ready`` or ``dead``; a row that is done is deleted.
        priority: Ranks entities against each other, the higher first; never reorders one entity's
            events.
        fires_at: Not before this time.
        retry_at: After a failure, not before this time.
        attempts: Failures so far.
        progress: For ``actions``, how many of them are done.
        lease_until, lease_token: Who works on it, and until when.
    """

    __tablename__ = "worker_events"

    seq: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(NAME)
    entity_id: Mapped[str] = mapped_column(NAME)
    machine_name: Mapped[str] = mapped_column(NAME)
    kind: Mapped[str] = mapped_column(NAME)
    status: Mapped[str] = mapped_column(NAME)
    trigger: Mapped[str | None] = mapped_column(NAME)
    payload: Mapped[str | None] = mapped_column(Text)
    request_hash: Mapped[str | None] = mapped_column(NAME)
    priority: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    fires_at: Mapped[int] = mapped_column(Time)
    retry_at: Mapped[int | None] = mapped_column(Time)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    progress: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error_message: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str | None] = mapped_column(NAME)
    occurred_at: Mapped[int | None] = mapped_column(Time)
    created_at: Mapped[int] = mapped_column(Time)
    lease_until: Mapped[int | None] = mapped_column(Time)
    lease_token: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index(
            "uq_worker_events_event",
            "entity_id",
            "machine_name",
            "event_id",
            unique=True,
            postgresql_where=text(SHORT_EVENT_ID),
        ),
        Index("ix_worker_events_due", "status", "fires_at", "seq"),
        Index("ix_worker_events_entity", "entity_id", "machine_name", "seq"),
        {"sqlite_autoincrement": True},
    )


class MetaModel(Model):
    """A cursor or a mark of a service."""

    __tablename__ = "pystator_meta"

    key: Mapped[str] = mapped_column(NAME, primary_key=True)
    value: Mapped[str] = mapped_column(Text)
