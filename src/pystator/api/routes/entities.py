"""Entities: start them, read them."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from pystator.api.bodies import JsonRoute
from pystator.api.context import Reader, Sender, ServicesOf, named
from pystator.api.models.entities import MACHINE_NAME, CreateBody, EntityModel
from pystator.api.models.problems import declared
from pystator.api.rendering import Json
from pystator.service.views import entity_view

__all__ = ["router"]

router = APIRouter(prefix="/entities", tags=["entities"], route_class=JsonRoute)

ONE: Final = "/{entity_id:segment}"

EntityId = Annotated[
    str,
    Path(
        description="The entity's id: 1 to 255 characters, percent-encoded where it has to be.",
        examples=["order-123"],
    ),
]
MachineName = Annotated[str | None, Query(description=MACHINE_NAME, examples=["shop_order"])]


@router.post(
    f"{ONE}/create",
    summary="Start an entity",
    status_code=201,
    responses={201: {"model": EntityModel}, **declared(400, 401, 403, 404, 409, 415, 422, 503)},
)
async def create_entity(
    entity_id: EntityId, of: ServicesOf, who: Sender, body: CreateBody | None = None
) -> Response:
    """Enter the initial state, with everything that follows from it."""
    asked = body or CreateBody()
    name = named(who, asked.machine_name)
    served, result = await of.entities.create(
        entity_id,
        asked.context,
        machine_name=name,
        event_id=None,
        actor=who.name,
        scope=who.machines,
    )
    result.raise_for_error()
    entity = await of.entities.get(entity_id, served.name, None)
    return Json(entity_view(entity), 201, _etag(entity.version))


@router.get(
    ONE,
    summary="Read an entity",
    responses={200: {"model": EntityModel}, **declared(401, 403, 404, 409, 422, 503)},
)
async def get_entity(
    entity_id: EntityId, of: ServicesOf, who: Reader, machine_name: MachineName = None
) -> Response:
    """Its state, its context and its version."""
    entity = await of.entities.get(entity_id, named(who, machine_name), who.machines)
    return Json(entity_view(entity), 200, _etag(entity.version))


def _etag(version: Any) -> dict[str, str]:
    return {"ETag": f'"{version}"'}
