"""Events: the route that is called most, and what became of an event."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from pystator.api.answers import response_of
from pystator.api.bodies import JsonRoute, check_json, parsed
from pystator.api.conditions import key_of, trace_of, versions_of
from pystator.api.context import Reader, Services, ServicesOf, authorized, named
from pystator.api.documents import CONDITIONS, INCLUDE, body_documented, links
from pystator.api.models.events import EventAnswer, EventBody
from pystator.api.models.fields import MachineQuery, OneEntity
from pystator.api.models.history import RowModel
from pystator.api.models.problems import declared
from pystator.api.problems import Problem, instance_of, invalid
from pystator.api.rendering import Json
from pystator.service.entities import Order
from pystator.service.views import item_view

__all__ = ["router"]

router = APIRouter(tags=["events"], route_class=JsonRoute)

_read: Final = EventBody.model_validate


@router.post(
    "/entities/{entity_id:segment}/events",
    operation_id="send_event",
    summary="Send an event",
    openapi_extra={
        **body_documented("EventBody"),
        "parameters": [*CONDITIONS, INCLUDE],
    },
    responses={
        200: {
            "model": EventAnswer,
            "description": "The event was applied, or ignored on purpose.",
            **links("get_entity", "get_history"),
        },
        **declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def send_event(request: Request, entity_id: OneEntity) -> Response:
    """Apply an event to an entity; a missing one is started first.

    The answer comes when everything is written, and its actions have run. With `If-Match` the event
    is applied only at that version of the entity. With an `Idempotency-Key` it is applied once,
    however often it is sent, and answered with the same words each time.
    """
    who = authorized(request.scope, "send")
    headers = request.headers
    check_json(request)
    try:
        body = _read(parsed(await request.body()))
    except ValidationError as error:
        return invalid(error.errors(), instance_of(request), "body")
    of: Services = request.app.state.services
    order = Order(
        entity_id,
        named(who, body.machine_name),
        who.machines,
        who.name,
        key_of(headers),
        versions_of(headers),
        body.occurred_at,
        trace_of(headers),
        with_context=wants_context(request),
    )
    answer = await of.entities.event(order, body.trigger, body.context)
    return response_of(answer, instance_of(request))


def wants_context(request: Request) -> bool:
    """The query says ``include=context``.

    Raises:
        Problem: It says something else.
    """
    if not request.scope["query_string"]:
        return False
    wanted = request.query_params.getlist("include")
    if any(each != "context" for each in wanted):
        raise Problem("invalid_request", "include: there is only include=context")
    return bool(wanted)


@router.get(
    "/events/{event_id:segment}",
    operation_id="get_event",
    summary="Read what became of an event",
    responses={
        200: {"model": RowModel, "description": "The event's row of history."},
        **declared(401, 403, 404, 409, 422, 429, 500, 503),
    },
)
async def get_event(
    of: ServicesOf,
    who: Reader,
    event_id: Annotated[
        str,
        Path(
            description="The idempotency key that the event was sent with.",
            examples=["checkout-77"],
            json_schema_extra={"minLength": 1, "maxLength": 255},
        ),
    ],
    entity_id: Annotated[
        str, Query(description="The entity that it was sent to.", examples=["order-123"])
    ],
    machine_name: MachineQuery = None,
) -> Response:
    """Read the row of an event that was sent with a key: applied, or rejected and why."""
    name = named(who, machine_name)
    row = await of.entities.recorded(entity_id, event_id, name, who.machines)
    if row is None:
        raise Problem(
            "event_not_found",
            f"entity {entity_id!r} has no event that was sent with the key {event_id!r}, or none"
            " that is still known",
        )
    return Json(item_view(row))
