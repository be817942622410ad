"""Many events in one request."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from pystator.api.answers import item_of
from pystator.api.bodies import JsonRoute
from pystator.api.conditions import refuse_headers, trace_of
from pystator.api.context import Caller, Sender, ServicesOf
from pystator.api.documents import TRACE
from pystator.api.models.events import BulkAnswer, BulkBody, BulkItem
from pystator.api.models.problems import declared
from pystator.api.problems import instance_of
from pystator.api.rendering import Json
from pystator.records import EventRequest
from pystator.service.entities import Item

__all__ = ["router"]

router = APIRouter(tags=["events"], route_class=JsonRoute)

MOST: Final = 1_000
"""Events of one request: they are written together."""


@router.post(
    "/entities/bulk/events",
    operation_id="send_events",
    summary="Send many events",
    openapi_extra={"parameters": [TRACE]},
    responses={
        200: {"model": BulkAnswer, "description": "Each event's own status and answer."},
        **declared(400, 401, 403, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def send_events(request: Request, of: ServicesOf, who: Sender, body: BulkBody) -> Response:
    """Apply many events, written together where they can be; what fails leaves the others alone.

    The events of one entity are applied in their order. (An entity with the id `bulk` is reached
    as `%62ulk`.) Each has its own `event_id` and `expected_version`; the headers that say so of one
    event are refused.
    """
    refuse_headers(
        request.headers,
        "each of many events has its own event_id and expected_version, in the body",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
    )
    trace = trace_of(request.headers)
    items = [_item(each, who, trace) for each in body.events]
    answers = await of.entities.events(items, who.machines)
    here = instance_of(request)
    told = [
        item_of(answer, each.entity_id, each.trigger, here)
        for each, answer in zip(body.events, answers, strict=True)
    ]
    return Json({"items": told})


def _item(one: BulkItem, who: Caller, trace: str | None) -> Item:
    request = EventRequest(
        one.entity_id,
        one.trigger,
        one.context,
        one.event_id,
        one.occurred_at,
        None,
        who.name,
        one.expected_version,
        trace,
    )
    return Item(request, one.machine_name)
