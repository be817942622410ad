"""What is done to entities by hand; history says who did it and why."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from pystator.api.answers import response_of
from pystator.api.bodies import JsonRoute
from pystator.api.conditions import refuse_headers
from pystator.api.context import Admin, Caller, ServicesOf
from pystator.api.documents import MATCH, TRACE, answered
from pystator.api.models.entities import ForceBody, ReasonBody
from pystator.api.models.fields import OneEntity
from pystator.api.models.problems import declared
from pystator.api.problems import instance_of
from pystator.api.routes.entities import ONE, order_of
from pystator.service.entities import Order

__all__ = ["router"]

router = APIRouter(tags=["by hand"], route_class=JsonRoute)

_EXTRA = {"parameters": [MATCH, TRACE]}
_ERRORS = declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503, 504)


@router.post(
    f"{ONE}/force-state",
    operation_id="force_state",
    summary="Put an entity into a state",
    openapi_extra=_EXTRA,
    responses={
        200: answered("It is there.", "get_entity", "get_history"),
        **_ERRORS,
    },
)
async def force_state(
    request: Request, entity_id: OneEntity, of: ServicesOf, who: Admin, body: ForceBody
) -> Response:
    """Put it there by hand: no guard is asked, no action runs, its context stays."""
    order = _order(request, who, entity_id, body.machine_name)
    answer = await of.entities.force_state(order, body.state, body.reason)
    return response_of(answer, instance_of(request))


@router.post(
    f"{ONE}/archive",
    operation_id="archive_entity",
    summary="Archive an entity",
    openapi_extra=_EXTRA,
    responses={
        200: answered("It is archived.", "get_entity", "get_history", "unarchive_entity"),
        **_ERRORS,
    },
)
async def archive_entity(
    request: Request, entity_id: OneEntity, of: ServicesOf, who: Admin, body: ReasonBody
) -> Response:
    """Put it away: it stays readable with its history, takes no events, and its timers stop."""
    order = _order(request, who, entity_id, body.machine_name)
    return response_of(await of.entities.archive(order, body.reason), instance_of(request))


@router.post(
    f"{ONE}/unarchive",
    operation_id="unarchive_entity",
    summary="Take an entity back from the archive",
    openapi_extra=_EXTRA,
    responses={
        200: answered("It lives again.", "get_entity", "get_history"),
        **_ERRORS,
    },
)
async def unarchive_entity(
    request: Request, entity_id: OneEntity, of: ServicesOf, who: Admin, body: ReasonBody
) -> Response:
    """Let it live again, as it was; timers that became due meanwhile fire."""
    order = _order(request, who, entity_id, body.machine_name)
    answer = await of.entities.archive(order, body.reason, back=True)
    return response_of(answer, instance_of(request))


def _order(request: Request, who: Caller, entity_id: str, machine_name: str | None) -> Order:
    """What is to be done by hand."""
    refuse_headers(
        request.headers,
        'what is done by hand has no key; to do it once, send If-Match: "VERSION" with the ETag of'
        " the entity",
        "Idempotency-Key",
    )
    return order_of(request, who, entity_id, machine_name)
