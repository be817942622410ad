"""History, as answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from pystator.api.models.fields import MOMENT, ORDER

__all__ = ["HistoryModel", "RowModel"]


class RowModel(BaseModel):
    """One row of an entity's history."""

    entity_id: str = Field(description="The entity.", examples=["order-123"])
    machine_name: str = Field(description="Its machine.", examples=["shop_order"])
    timestamp: datetime = Field(
        description="When the row was recorded, by the store's clock.", examples=[MOMENT]
    )
    version: int = Field(
        description="The version that the row made; of a rejection, the one that it met.",
        examples=[2],
    )
    kind: str = Field(
        description="`event`, `rejected`, `created`, `set`, `timer`, `action` (what became of"
        " actions), `migrated`, `forced`, `archived`, `unarchived` or `snapshot`.",
        examples=["event"],
    )
    trigger: str | None = Field(
        description="The event, or the timer that fired; null where there was none.",
        examples=["place"],
    )
    source_state: str | None = Field(
        description="The active states before, joined by `+`.", examples=["draft"]
    )
    target_state: str | None = Field(
        description="The active states after it; null of a rejection.",
        examples=["queued+unpaid"],
    )
    success: bool = Field(description="It was applied.", examples=[True])
    error_code: str | None = Field(
        description="Of a rejection: why, for programs.", examples=[None]
    )
    error_message: str | None = Field(
        description="Of a rejection: why, for people.", examples=[None]
    )
    event_id: str | None = Field(
        description="The idempotency key it was sent with.", examples=["checkout-77"]
    )
    payload: dict[str, Any] | None = Field(
        description="The event's data, as it was sent.", examples=[ORDER]
    )
    changed: dict[str, Any] = Field(
        description="Keys of the context that it set, with their values.", examples=[ORDER]
    )
    removed: list[str] = Field(
        description="Keys of the context that it took away.", examples=[list[str]()]
    )
    actions: list[dict[str, Any]] = Field(
        description="The actions that were planned; of a row of kind `action`, what became of"
        " them.",
        examples=[[{"name": "send_receipt"}]],
    )
    ref: int | None = Field(
        description="Of a row of kind `action`: the version whose actions these are.",
        examples=[None],
    )
    actor: str | None = Field(description="Who sent it.", examples=["checkout"])
    machine_version: str = Field(description="The machine's version.", examples=["2.0"])
    occurred_at: datetime | None = Field(
        description="When it happened, where the sender said so.", examples=[None]
    )
    now: datetime = Field(description="The time that it was decided with.", examples=[MOMENT])
    recorded_at: datetime = Field(description="The same as `timestamp`.", examples=[MOMENT])
    duration_us: int | None = Field(
        description="Microseconds from the load to the commit.", examples=[850]
    )
    trace: str | None = Field(
        description="The W3C `traceparent` that the event was sent with.",
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    )


class HistoryModel(BaseModel):
    """A page of an entity's history."""

    items: list[RowModel] = Field(description="The rows, in the order of versions.")
    next: str | None = Field(
        description="The cursor of the next page; null at the end.", examples=[None]
    )
