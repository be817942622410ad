"""Entities, as bodies and answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from pystator.api.models.fields import MOMENT, ORDER, Body, Context, MachineName

__all__ = [
    "CountsModel",
    "CreateBody",
    "EntitiesModel",
    "EntityDetail",
    "EntityModel",
    "ForceBody",
    "ReasonBody",
    "VerdictModel",
]


class CreateBody(Body):
    """How an entity starts."""

    context: Context = Field(
        default_factory=dict[str, Any], description="Its first context.", examples=[ORDER]
    )
    machine_name: MachineName = None


class ReasonBody(Body):
    """Why something is done by hand."""

    reason: str = Field(
        description="Why; kept in history.",
        examples=["the customer called"],
        min_length=1,
        json_schema_extra={"pattern": r"\S"},
    )
    machine_name: MachineName = None


class ForceBody(ReasonBody):
    """Where an entity is put by hand."""

    state: str = Field(
        description="The state; several active ones are joined by `+`.",
        examples=["on_hold"],
        min_length=1,
    )


class EntityModel(BaseModel):
    """An entity as it is stored."""

    entity_id: str = Field(description="Its id.", examples=["order-123"])
    machine_name: str = Field(description="Its machine.", examples=["shop_order"])
    machine_version: str = Field(
        description="The version of the machine that wrote it last.", examples=["2.0"]
    )
    state: str = Field(
        description="The active states, joined by `+` where there are several.", examples=["draft"]
    )
    version: int = Field(
        description="How many changes it has seen, from 1: the number in its `ETag`.", examples=[1]
    )
    context: dict[str, Any] = Field(description="Its data.", examples=[ORDER])
    history_states: dict[str, list[str]] = Field(
        description="What its history states remember.", examples=[{}]
    )
    timers: dict[str, datetime] = Field(
        description="Armed timers, each with the time at which it is due.", examples=[{}]
    )
    created_at: datetime = Field(description="When it was made.", examples=[MOMENT])
    updated_at: datetime = Field(description="When it changed last.", examples=[MOMENT])
    state_since: datetime = Field(description="Since when it is in this state.", examples=[MOMENT])
    archived_at: datetime | None = Field(
        description="When it was archived; null while it lives.", examples=[None]
    )


class VerdictModel(BaseModel):
    """What the machine says about an event without data."""

    trigger: str = Field(description="The event.", examples=["place"])
    allowed: bool = Field(description="It would be applied now.", examples=[False])
    reason: str | None = Field(description="Why not, for programs.", examples=["guard_rejected"])
    message: str | None = Field(
        description="Why not, for people.",
        examples=["event 'place' in state 'draft': guard 'total > 0' said no"],
    )


class EntityDetail(EntityModel):
    """An entity, and what can happen to it."""

    triggers: list[str] | None = Field(
        description="The events that its machine declares for its state, whatever guards say; null"
        " where its machine is not served.",
        examples=[["place", "cancel"]],
    )
    verdicts: list[VerdictModel] | None = Field(
        default=None,
        description="With `?verdicts=true`: what guards say about each of them now, without data.",
    )


class EntitiesModel(BaseModel):
    """A page of entities."""

    items: list[EntityModel] = Field(description="In the order of their ids.")
    next: str | None = Field(
        description="The cursor of the next page; null at the end.", examples=[None]
    )


class CountsModel(BaseModel):
    """How many entities there are."""

    total: int = Field(description="All of them.", examples=[3])
    by_state: dict[str, int] = Field(
        description="In each state, most first.", examples=[{"draft": 2, "cancelled": 1}]
    )
