"""Rows of the feed, as answers."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

__all__ = ["CURSOR", "TransitionModel", "TransitionsModel"]

CURSOR: Final = "WyJmZWVkIiwxN10"
"""A cursor as one looks."""

_MOMENT: Final = "2026-03-02T08:00:00+00:00"


class TransitionModel(BaseModel):
    """One row of an entity's history: an event that was applied or rejected, or another change."""

    entity_id: str = Field(description="The entity.", examples=["order-123"])
    machine_name: str = Field(description="Its machine.", examples=["shop_order"])
    timestamp: datetime = Field(
        description="When the row was recorded, by the store's clock.", examples=[_MOMENT]
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
    source_state: str | None = Field(description="The state before.", examples=["draft"])
    target_state: str | None = Field(
        description="The state after it; null of a rejection.", examples=["placed"]
    )
    success: bool = Field(description="It was applied.", examples=[True])
    error_code: str | None = Field(
        description="Of a rejection: why, for programs.", examples=[None]
    )
    error_message: str | None = Field(
        description="Of a rejection: why, for people.", examples=[None]
    )
    event_id: str | None = Field(
        description="The idempotency key it was sent with.", examples=["payment-77"]
    )
    payload: dict[str, Any] | None = Field(
        description="The event's data as it was sent.", examples=[{"paid": 120}]
    )
    changed: dict[str, Any] = Field(
        description="Keys of the context that it set, with their values.", examples=[{"paid": 120}]
    )
    removed: list[str] = Field(
        description="Keys of the context that it took away.", examples=[list[str]()]
    )
    actions: list[dict[str, Any]] = Field(
        description="Actions that were planned; of a row of kind `action`, what became of them.",
        examples=[[{"name": "send_receipt"}]],
    )
    ref: int | None = Field(
        description="Of a row of kind `action`: the version whose actions these are.",
        examples=[None],
    )
    actor: str | None = Field(description="Who sent it.", examples=["shop"])
    machine_version: str = Field(description="The machine's version.", examples=["2.0"])
    occurred_at: datetime | None = Field(
        description="When it happened, if the sender said so.", examples=[None]
    )
    now: datetime = Field(description="The time that it was decided with.", examples=[_MOMENT])
    recorded_at: datetime = Field(description="The same as `timestamp`.", examples=[_MOMENT])
    duration_us: int | None = Field(
        description="Microseconds from the load to the commit.", examples=[850]
    )
    trace: str | None = Field(
        default=None,
        description="The W3C `traceparent` of the event.",
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    )


class TransitionsModel(BaseModel):
    """One page of the feed."""

    items: list[TransitionModel] = Field(description="The rows, in the feed's order.")
    next: str = Field(
        description="The cursor to go on with, never null: what comes later is behind it.",
        examples=[CURSOR],
    )
    end: bool = Field(
        description="There was nothing more. A page may have no items and not be the end, where"
        " rows that the filters leave out were passed over.",
        examples=[True],
    )
