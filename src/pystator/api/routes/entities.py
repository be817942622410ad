"""Entities: start them, read them, bring them data, and ask what an event would do."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pystator.api.answers import response_of
from pystator.api.bodies import JsonRoute
from pystator.api.conditions import etag, event_id_of, is_known, trace_of, versions_of
from pystator.api.context import Caller, Reader, Sender, ServicesOf, named
from pystator.api.documents import CONDITIONS, IDEMPOTENCY, KNOWN, TRACE, answered, links
from pystator.api.models.entities import CountsModel, CreateBody, EntitiesModel, EntityDetail
from pystator.api.models.events import DataBody, DryRunBody, EventAnswer, Include
from pystator.api.models.fields import Cursor, Limit, MachineQuery, OneEntity
from pystator.api.models.history import HistoryModel
from pystator.api.models.problems import declared
from pystator.api.problems import Problem, instance_of
from pystator.api.rendering import Json
from pystator.service.entities import Order
from pystator.service.times import duration
from pystator.service.views import entity_view, item_view

__all__ = ["order_of", "router"]

router = APIRouter(tags=["entities"], route_class=JsonRoute)

ONE: Final = "/entities/{entity_id:segment}"

IncludeQuery = Annotated[
    Include | None, Query(description="`context`: tell the entity's context, too.")
]
Archived = Annotated[
    bool, Query(description="Those that were archived, instead of those that live.")
]


def order_of(
    request: Request, who: Caller, entity_id: str, machine_name: str | None, **more: Any
) -> Order:
    """What a request wants to be done, by its headers."""
    return Order(
        entity_id,
        named(who, machine_name),
        who.machines,
        who.name,
        event_id_of(request.headers),
        versions_of(request.headers),
        trace=trace_of(request.headers),
        **more,
    )


# Starting, data ---------------------------------------------------------------------------------


@router.post(
    f"{ONE}/create",
    operation_id="create_entity",
    summary="Start an entity",
    status_code=201,
    openapi_extra={"parameters": [IDEMPOTENCY, TRACE]},
    responses={
        201: answered(
            "It was started; `Location` is where it is.", "get_entity", "get_history", "send_event"
        ),
        **declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def create_entity(
    request: Request,
    entity_id: OneEntity,
    of: ServicesOf,
    who: Sender,
    body: CreateBody | None = None,
    include: IncludeQuery = None,
) -> Response:
    """Enter the initial state, with everything that follows from it; 409 where there is one."""
    asked = body or CreateBody()
    wanted = include is not None
    order = order_of(request, who, entity_id, asked.machine_name, with_context=wanted)
    if order.versions not in {None, (0,)}:
        raise Problem("invalid_header", "If-Match is for an entity that exists", header="If-Match")
    answer = await of.entities.create(order, asked.context)
    here = instance_of(request)
    return response_of(answer, here, 201, {"Location": here.removesuffix("/create")})


@router.post(
    f"{ONE}/apply-data",
    operation_id="apply_data",
    summary="Bring data without an event",
    openapi_extra={"parameters": [*CONDITIONS]},
    responses={
        200: answered("The data is kept.", "get_entity", "get_history"),
        **declared(400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def apply_data(
    request: Request,
    entity_id: OneEntity,
    of: ServicesOf,
    who: Sender,
    body: DataBody,
    include: IncludeQuery = None,
) -> Response:
    """Merge data into the context, then take transitions whose `when` holds."""
    wanted = include is not None
    order = order_of(
        request,
        who,
        entity_id,
        body.machine_name,
        occurred_at=body.occurred_at,
        with_context=wanted,
    )
    return response_of(await of.entities.apply_data(order, body.data), instance_of(request))


@router.post(
    f"{ONE}/dry-run",
    operation_id="dry_run",
    summary="Ask what an event would do",
    responses={
        200: {"model": EventAnswer, "description": "It would be applied, and do this."},
        **declared(400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503, 504),
    },
)
async def dry_run(
    request: Request,
    entity_id: OneEntity,
    of: ServicesOf,
    who: Reader,
    body: DryRunBody,
    include: IncludeQuery = None,
) -> Response:
    """Decide the event as it would be decided now, and do nothing.

    Guards are asked, no action runs, and nothing is written.
    """
    order = Order(
        entity_id,
        named(who, body.machine_name),
        who.machines,
        who.name,
        with_context=include is not None,
    )
    answer = await of.entities.dry_run(order, body.trigger, body.context)
    return response_of(answer, instance_of(request))


# Reads ------------------------------------------------------------------------------------------


@router.get(
    ONE,
    operation_id="get_entity",
    summary="Read an entity",
    openapi_extra={"parameters": [KNOWN]},
    responses={
        200: {
            "model": EntityDetail,
            "description": "The entity; its `ETag` is for `If-Match`.",
            **links("get_history"),
        },
        304: {"description": "It still has the version of `If-None-Match`."},
        **declared(400, 401, 403, 404, 409, 422, 429, 500, 503),
    },
)
async def get_entity(
    request: Request,
    entity_id: OneEntity,
    of: ServicesOf,
    who: Reader,
    machine_name: MachineQuery = None,
    verdicts: Annotated[
        bool, Query(description="Ask the guards about each declared event, as it would be now.")
    ] = False,
) -> Response:
    """Its state, its context, its version, and the events that its machine declares for it."""
    entity = await of.entities.get(entity_id, named(who, machine_name), who.machines)
    headers = {"ETag": etag(entity.version)}
    if is_known(request.headers, entity.version) and not verdicts:
        return Response(status_code=304, headers=headers)
    triggers = await of.entities.triggers(entity)
    shown = {**entity_view(entity), "triggers": triggers}
    if verdicts:
        shown["verdicts"] = [
            {
                "trigger": each.trigger,
                "allowed": each.allowed,
                "reason": each.reason,
                "message": each.message,
            }
            for each in await of.entities.verdicts(entity, triggers or ())
        ]
    return Json(shown, 200, headers)


@router.get(
    f"{ONE}/history",
    operation_id="get_history",
    summary="Read an entity's history",
    responses={
        200: {"model": HistoryModel},
        **declared(401, 403, 404, 409, 422, 429, 500, 503),
    },
)
async def get_history(
    entity_id: OneEntity,
    of: ServicesOf,
    who: Reader,
    machine_name: MachineQuery = None,
    newest_first: Annotated[bool, Query(description="The newest rows first.")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Everything that happened to it, rejected events and what became of actions among it."""
    page = await of.entities.history(
        entity_id,
        named(who, machine_name),
        who.machines,
        after=cursor,
        limit=limit,
        newest_first=newest_first,
    )
    return Json({"items": [item_view(row) for row in page.items], "next": page.next})


@router.get(
    "/entities",
    operation_id="list_entities",
    summary="List entities",
    responses={200: {"model": EntitiesModel}, **declared(401, 403, 422, 429, 500, 503)},
)
async def list_entities(
    of: ServicesOf,
    who: Reader,
    machine_name: MachineQuery = None,
    state: Annotated[
        str | None,
        Query(
            description="Only those in this state: an active one, or all of them joined by `+`.",
            examples=["draft"],
            max_length=2_000,
        ),
    ] = None,
    in_state_longer_than: Annotated[
        str | None,
        Query(
            description="Only those that have been in their state for longer than this: a whole"
            " number with `ms`, `s`, `m`, `h` or `d`.",
            examples=["2h"],
            json_schema_extra={"pattern": "^[1-9][0-9]{0,3}(ms|s|m|h|d)$"},
        ),
    ] = None,
    archived: Archived = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Entities in the order of their ids, page by page."""
    try:
        longer = None if in_state_longer_than is None else duration(in_state_longer_than)
    except ValueError as error:
        raise Problem("invalid_request", f"in_state_longer_than {error}") from error
    page = await of.entities.entities(
        named(who, machine_name),
        who.machines,
        state=state,
        in_state_longer_than=longer,
        archived=archived,
        after=cursor,
        limit=limit,
    )
    return Json({"items": [entity_view(each) for each in page.items], "next": page.next})


@router.get(
    "/counts",
    operation_id="count_entities",
    summary="Count entities by state",
    responses={200: {"model": CountsModel}, **declared(401, 403, 422, 429, 500, 503)},
)
async def count_entities(
    of: ServicesOf, who: Reader, machine_name: MachineQuery = None, archived: Archived = False
) -> Response:
    """How many entities there are in each state, most first."""
    name = named(who, machine_name)
    states = await of.entities.counts(name, who.machines, archived=archived)
    ranked = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    return Json({"total": sum(states.values()), "by_state": dict(ranked)})
