"""Numbers for Prometheus."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from pystator.api.bodies import JsonRoute
from pystator.api.context import Reader, ServicesOf
from pystator.api.models.problems import declared
from pystator.api.problems import Problem
from pystator.errors import FSMError

__all__ = ["router"]

router = APIRouter(tags=["health"], route_class=JsonRoute)

PATIENCE = 2.0
"""Seconds in which a store answers that is up."""


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "The numbers of all workers, as text or, for who accepts it,"
            " as OpenMetrics.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": 'pystator_events_total{machine="shop_order",outcome="applied",'
                    'reason=""} 42.0\n',
                },
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        },
        **declared(401, 403, 429),
    },
)
async def metrics(request: Request, of: ServicesOf, who: Reader) -> Response:
    """Requests, events, streams, and whether the store answers: of all machines."""
    if who.machines is not None:
        raise Problem(
            "forbidden",
            f"{who.name} may see some machines only, and these are the numbers of all",
        )
    numbers = of.metrics
    try:
        async with asyncio.timeout(PATIENCE):
            await of.entities.ping()
    except (FSMError, TimeoutError):
        numbers.store(up=False)
    else:
        numbers.store(up=True)
    if of.live.newest is not None:
        numbers.feed(of.live.newest)
    accept = request.headers.get("accept", "")
    if numbers.folder is None:
        text, media_type = numbers.exposition(accept)
    else:  # files of all workers are read
        text, media_type = await asyncio.to_thread(numbers.exposition, accept)
    return Response(text, headers={"Content-Type": media_type})
