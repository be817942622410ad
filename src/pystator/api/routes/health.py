"""Is it alive, and can it work?"""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from pystator._version import __version__
from pystator.api.bodies import JsonRoute
from pystator.api.context import ServicesOf
from pystator.api.models.problems import declared
from pystator.api.problems import Problem
from pystator.api.rendering import Json
from pystator.errors import FSMError

__all__ = ["router"]

router = APIRouter(tags=["health"], route_class=JsonRoute)


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = Field(description="Always `ok`: the process answers.")
    version: str = Field(description="The release that answers.", examples=[__version__])


class Readiness(BaseModel):
    """The process can work."""

    status: Literal["ready"] = Field(description="The store answers, and its schema fits.")


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Is it alive", responses={200: {"model": Health}})
async def health() -> Response:
    """Answer as long as the process can answer anything; the store is not asked."""
    return Json({"status": "ok", "version": __version__})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Can it work", responses={200: {"model": Readiness}, **declared(503)})
async def ready(of: ServicesOf) -> Response:
    """Ask the store; a load balancer sends no requests to a replica that is not ready."""
    try:
        await of.entities.ping()
    except FSMError as error:
        raise Problem("store_unavailable", f"not ready: {error.message}") from error
    return Json({"status": "ready"})
