"""Fields that several bodies and answers have, described once."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pystator.engine.public import check_payload
from pystator.service.times import aware
from pystator.stores.keys import is_storable

__all__ = [
    "MOMENT",
    "ORDER",
    "Body",
    "Context",
    "Cursor",
    "EntityId",
    "EventId",
    "Limit",
    "MachineName",
    "MachineQuery",
    "Moment",
    "OneEntity",
    "Trigger",
]

MOMENT: Final = "2026-03-02T08:00:00+00:00"

ORDER: Final[dict[str, Any]] = {"customer": "ada", "total": 120}
"""The context of an order in examples."""

_NAME: Final[dict[str, Any]] = {"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"}
"""What a name is to a schema: no control characters."""

_KEYS: Final[dict[str, Any]] = {"propertyNames": {"pattern": "^([^_]|$)"}}
"""Keys that begin with an underscore are the engine's."""


class Body(BaseModel):
    """A body of a request: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid")


Moment = Annotated[
    datetime,
    BeforeValidator(aware),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time with its zone."""


def _storable(text: str) -> str:
    """No store takes control characters and halves of characters."""
    if not is_storable(text):
        raise ValueError("a name has no control characters")
    return text


def _own_keys(context: dict[str, Any]) -> dict[str, Any]:
    check_payload(context)
    return context


EntityId = Annotated[
    str,
    AfterValidator(_storable),
    Field(
        description="The entity: 1 to 255 characters.",
        examples=["order-123"],
        min_length=1,
        max_length=255,
        json_schema_extra=_NAME,
    ),
]

Trigger = Annotated[
    str,
    AfterValidator(_storable),
    Field(
        description="The event's name.",
        examples=["place"],
        min_length=1,
        max_length=255,
        json_schema_extra=_NAME,
    ),
]

Context = Annotated[dict[str, Any], AfterValidator(_own_keys), Field(json_schema_extra=_KEYS)]
"""An event's data."""

EventId = Annotated[
    str,
    AfterValidator(_storable),
    Field(
        description="Its idempotency key.",
        examples=["checkout-77"],
        min_length=1,
        max_length=255,
        json_schema_extra=_NAME,
    ),
]

_MACHINE: Final = (
    "The machine, where several are served and the entity is new, or several have one of this id."
)

MachineName = Annotated[
    str | None,
    Field(
        description=_MACHINE,
        examples=["shop_order"],
        max_length=255,
    ),
]

OneEntity = Annotated[
    str,
    Path(
        description="The entity's id: 1 to 255 characters, percent-encoded where it has to be.",
        examples=["order-123"],
        json_schema_extra={"minLength": 1, "maxLength": 255, **_NAME},
    ),
]

MachineQuery = Annotated[
    str | None, Query(description=_MACHINE, examples=["shop_order"], max_length=255)
]

Cursor = Annotated[
    str | None,
    Query(description="Where to go on: an earlier page's `next`.", max_length=4_000),
]

Limit = Annotated[int, Query(description="At most so many items.", ge=1, le=1_000)]
