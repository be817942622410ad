"""Entities, as bodies and answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MACHINE_NAME", "CreateBody", "EntityModel"]

_ORDER: dict[str, Any] = {"customer": "ada", "total": 120, "paid": 0}

MACHINE_NAME = (
    "The machine, where several are served and the entity is new or several have one of this id."
)


class Body(BaseModel):
    """A body of a request: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CreateBody(Body):
    """How an entity starts."""

    context: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Its first context.", examples=[_ORDER]
    )
    machine_name: str | None = Field(
        default=None, description=MACHINE_NAME, examples=["shop_order"]
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
        description="How many changes it has seen, from 1; the number in its `ETag`.", examples=[1]
    )
    context: dict[str, Any] = Field(description="Its data.", examples=[_ORDER])
    history_states: dict[str, list[str]] = Field(
        description="What its history states remember.", examples=[{}]
    )
    timers: dict[str, datetime] = Field(
        description="Armed timers, each with the time at which it is due.", examples=[{}]
    )
    created_at: datetime = Field(
        description="When it was made.", examples=["2026-03-02T08:00:00+00:00"]
    )
    updated_at: datetime = Field(
        description="When it changed last.", examples=["2026-03-02T08:00:00+00:00"]
    )
    state_since: datetime = Field(
        description="Since when it is in this state.", examples=["2026-03-02T08:00:00+00:00"]
    )
