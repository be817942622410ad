"""Events, as bodies and answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pystator.api.models.fields import (
    MOMENT,
    ORDER,
    Body,
    Context,
    EntityId,
    EventId,
    MachineName,
    Moment,
    Trigger,
)
from pystator.api.models.problems import ProblemDocument

__all__ = [
    "BulkAnswer",
    "BulkBody",
    "BulkItem",
    "DataBody",
    "DryRunBody",
    "EventAnswer",
    "EventBody",
]


class EventBody(Body):
    """An event."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"trigger": "place", "context": ORDER}]}
    )

    trigger: Trigger
    context: Context | None = Field(
        default=None,
        description="The event's data: merged into the entity's context, key by key.",
        examples=[ORDER],
    )
    machine_name: MachineName = None
    occurred_at: Moment | None = Field(
        default=None, description="When it happened; kept in history.", examples=[MOMENT]
    )


class DryRunBody(Body):
    """An event that is not to happen."""

    trigger: Trigger
    context: Context | None = Field(default=None, description="The event's data.", examples=[ORDER])
    machine_name: MachineName = None


class DataBody(Body):
    """Data without an event."""

    data: Context = Field(
        description="Merged into the entity's context, key by key; then transitions whose `when`"
        " holds are taken.",
        examples=[{"customer": "grace"}],
    )
    machine_name: MachineName = None
    occurred_at: Moment | None = Field(
        default=None, description="When it happened; kept in history.", examples=[MOMENT]
    )


class BulkItem(Body):
    """One event of many."""

    entity_id: EntityId
    trigger: Trigger
    context: Context | None = Field(default=None, description="The event's data.", examples=[ORDER])
    event_id: EventId | None = Field(default=None, description="Its idempotency key.")
    machine_name: MachineName = None
    occurred_at: Moment | None = Field(
        default=None, description="When it happened; kept in history.", examples=[MOMENT]
    )
    expected_version: int | None = Field(
        default=None,
        description="The version that the entity has to have before it, 0 for none yet.",
        examples=[1],
        ge=0,
        le=2**62,
    )


class BulkBody(Body):
    """Many events."""

    events: list[BulkItem] = Field(
        description="The events; those of one entity in their order.", max_length=1_000
    )


class EventAnswer(BaseModel):
    """What became of an event: the facts of its row in history."""

    entity_id: str = Field(description="The entity.", examples=["order-123"])
    machine_name: str = Field(description="Its machine.", examples=["shop_order"])
    machine_version: str = Field(
        description="The version of the machine that decided.", examples=["2.0"]
    )
    kind: str = Field(
        description="What the row tells: `event`, `created`, `rejected`, `forced`, `archived` or"
        " `unarchived`.",
        examples=["event"],
    )
    trigger: str | None = Field(
        description="The event, as the machine reads it; null of data and of what is done by hand.",
        examples=["place"],
    )
    success: bool = Field(description="It was applied, or ignored on purpose.", examples=[True])
    source_state: str | None = Field(
        description="The active states before, joined by `+`.", examples=["draft"]
    )
    target_state: str | None = Field(
        description="The active states after it; null of a rejection.",
        examples=["queued+unpaid"],
    )
    version: int = Field(
        description="The entity's version after it: the number in the `ETag`.", examples=[2]
    )
    reason: str | None = Field(
        description="Why it was rejected, for programs; `ignored` where there was nothing to do.",
        examples=[None],
    )
    actions: list[dict[str, Any]] = Field(
        description="The actions that were planned, in order.",
        examples=[[{"name": "send_receipt"}]],
    )
    changed: dict[str, Any] = Field(
        description="Keys of the context that it set, with their values.", examples=[ORDER]
    )
    removed: list[str] = Field(
        description="Keys of the context that it took away.", examples=[list[str]()]
    )
    event_id: str | None = Field(
        description="The idempotency key it was sent with.", examples=["checkout-77"]
    )
    now: datetime | None = Field(
        description="The time that it was decided with.", examples=[MOMENT]
    )
    action_errors: list[dict[str, Any]] = Field(
        description="What became of the actions that failed. The event stays applied.",
        examples=[list[Any]()],
    )
    context: dict[str, Any] | None = Field(
        default=None,
        description="The entity's context, with `?include=context`; of an event that is replayed,"
        " as it is now.",
        examples=[ORDER],
    )


class BulkResult(BaseModel):
    """What became of one event of many; of one that could not be decided, only some is known."""

    model_config = ConfigDict(extra="allow")

    status: int = Field(
        description="The status it would have been answered with alone.", examples=[200]
    )
    etag: str | None = Field(
        description="The `ETag` it would have been answered with.", examples=['"2"']
    )
    replayed: bool = Field(description="It had been answered before.", examples=[False])
    entity_id: str = Field(description="The entity.", examples=["order-123"])
    trigger: str | None = Field(description="The event.", examples=["place"])
    success: bool = Field(description="It was applied, or ignored on purpose.", examples=[True])
    error: ProblemDocument | None = Field(description="Why it failed.", examples=[None])


class BulkAnswer(BaseModel):
    """What became of many events."""

    items: list[BulkResult] = Field(description="In the order of the events.")


Include = Literal["context"]
"""What an answer can tell besides."""
