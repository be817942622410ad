"""Parts of the OpenAPI document that several routes share."""

from typing import Any, Final

from pystator.api.conditions import TAGS
from pystator.api.models.events import EventAnswer

__all__ = [
    "CONDITIONS",
    "IDEMPOTENCY",
    "INCLUDE",
    "KNOWN",
    "MATCH",
    "TRACE",
    "answered",
    "body_documented",
    "links",
]

_SCHEMAS: Final = "#/components/schemas/"


def _header(name: str, description: str, example: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
        "example": example,
    }


MATCH: Final = _header(
    "If-Match",
    "The `ETag` that the entity has to have, or several, or `*`: there has to be an entity. At"
    " another version the answer is 412, and nothing is done.",
    '"1"',
    pattern=f"^{TAGS}$",
)
IDEMPOTENCY: Final = _header(
    "Idempotency-Key",
    "Makes the request safe to send again: it is carried out once, and answered with the same words"
    " each time. Another request under the same key is refused with 422.",
    "checkout-77",
    pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,253}[^\x00-\x20\x7f])?$",
)
TRACE: Final = _header(
    "traceparent",
    "The W3C trace that the request belongs to; kept in history, and passed on to actions.",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
KNOWN: Final = _header(
    "If-None-Match",
    "The `ETag` that the caller has: 304 where the entity still has it.",
    '"1"',
    pattern=f"^{TAGS}$",
)
CONDITIONS: Final = (MATCH, IDEMPOTENCY, TRACE)

INCLUDE: Final[dict[str, Any]] = {
    "name": "include",
    "in": "query",
    "required": False,
    "description": "`context`: tell the entity's context, too.",
    "schema": {"type": "string", "enum": ["context"]},
}


def body_documented(model: str) -> dict[str, Any]:
    """The body of a route that reads it by itself."""
    schema = {"$ref": f"{_SCHEMAS}{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def answered(description: str, *operations: str) -> dict[str, Any]:
    """What becomes of an event, as the answer of a route, with links to other operations."""
    return {"model": EventAnswer, "description": description, **links(*operations)}


def links(*operations: str) -> dict[str, Any]:
    """From an answer to other operations on the same entity."""
    parameters = {"entity_id": "$response.body#/entity_id"}
    return {
        "links": {
            operation: {"operationId": operation, "parameters": parameters}
            for operation in operations
        }
    }
