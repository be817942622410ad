"""Events: the route that is called most, and what became of an event."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import Scope

from pystator.api.answers import response_of
from pystator.api.bodies import JsonRoute, check_query, parsed
from pystator.api.conditions import asked_in
from pystator.api.context import Reader, Services, ServicesOf, authorized, named
from pystator.api.documents import CONDITIONS, INCLUDE, answered, body_documented
from pystator.api.models.events import EventBody
from pystator.api.models.fields import MachineQuery, OneEntity
from pystator.api.models.history import RowModel
from pystator.api.models.problems import declared
from pystator.api.problems import Problem, invalid
from pystator.api.rendering import Json
from pystator.service.entities import Order
from pystator.service.views import item_view

__all__ = ["PATH", "Services", "answer_event", "router"]

router = APIRouter(tags=["events"], route_class=JsonRoute)

PATH: Final = "/entities/{entity_id:segment}/events"

_read: Final = EventBody.model_validate


@router.post(
    PATH,
    operation_id="send_event",
    summary="Send an event",
    openapi_extra={
        **body_documented("EventBody"),
        "parameters": [*CONDITIONS, INCLUDE],
    },
    responses={
        200: answered("The event was applied, or ignored on purpose.", "get_entity", "get_history"),
        **declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def send_event(request: Request, entity_id: OneEntity) -> Response:
    """Apply an event to an entity; a missing one is started first.

    The answer comes when everything is written, and its actions have run. With `If-Match` the event
    is applied only at that version of the entity. With an `Idempotency-Key` it is applied once,
    however often it is sent, and answered with the same words each time.
    """
    of: Services = request.app.state.services
    return await answer_event(request.scope, await request.body(), of, entity_id)


async def answer_event(scope: Scope, body: bytes, of: Services, entity_id: str) -> Response:
    """`send_event`, without a framework around it.

    Raises:
        FSMError, Problem: As handlers turn them into answers.
    """
    who = authorized(scope, "send")
    asked = asked_in(scope)
    try:
        event = _read(parsed(body))
    except ValidationError as error:
        return invalid(error.errors(), scope["path"], "body")
    order = Order(
        entity_id,
        named(who, event.machine_name),
        who.machines,
        who.name,
        asked.event_id,
        asked.versions,
        event.occurred_at,
        asked.trace,
        with_context=bool(scope["query_string"]) and _wants_context(scope),
    )
    answer = await of.entities.event(order, event.trigger, event.context)
    return response_of(answer, scope["path"])


def _wants_context(scope: Scope) -> bool:
    """The query says ``include=context``.

    Raises:
        Problem: It says something else.
    """
    query = QueryParams(scope["query_string"])
    check_query(query, ("include",))
    wanted = query.getlist("include")
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
