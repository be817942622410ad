"""The change feed: page by page, or followed as server-sent events."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from pystator.api.bodies import JsonRoute
from pystator.api.context import Caller, Reader, ServicesOf, named
from pystator.api.models.problems import declared
from pystator.api.models.transitions import CURSOR, TransitionsModel
from pystator.api.problems import Problem
from pystator.api.rendering import Json
from pystator.api.sse import MEDIA_TYPE, EventStream
from pystator.service.choice import Choice
from pystator.service.live import BadCursorError, NoFeedError, TooManyFollowersError
from pystator.service.views import item_view

__all__ = ["router"]

router = APIRouter(prefix="/transitions", tags=["transitions"], route_class=JsonRoute)

OfMachine = Annotated[
    str | None, Query(description="Only of this machine.", examples=["shop_order"], max_length=255)
]
OfEntity = Annotated[
    str | None,
    Query(description="Only of entities of this id.", examples=["order-123"], max_length=255),
]
OfTrigger = Annotated[
    str | None,
    Query(description="Only of this event or timer.", examples=["place"], max_length=255),
]
IntoState = Annotated[
    str | None,
    Query(
        description="Only what led into this state: an active state, or all of them joined by `+`.",
        examples=["placed"],
        max_length=500,
    ),
]
IsApplied = Annotated[
    bool | None, Query(description="Only what was applied, or only what was rejected.")
]

_EVENT: Final[dict[str, Any]] = {
    "description": "One event of the stream.",
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The cursor behind it.", "examples": [CURSOR]},
        "event": {"type": "string", "const": "transition"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "An item of `GET /transitions`.",
        },
    },
}

_NOW: Final = "`now` stands for the end of the feed."


@router.get(
    "",
    summary="Read the feed",
    responses={
        200: {"model": TransitionsModel},
        **declared(400, 401, 403, 422, 429, 501, 503),
    },
)
async def list_transitions(
    of: ServicesOf,
    who: Reader,
    cursor: Annotated[
        str | None,
        Query(
            description=f"An earlier page's `next`; without one, the feed's beginning. {_NOW}",
            examples=[CURSOR],
        ),
    ] = None,
    limit: Annotated[int, Query(description="Rows at most.", ge=1, le=1_000, examples=[100])] = 100,
    machine_name: OfMachine = None,
    entity_id: OfEntity = None,
    trigger: OfTrigger = None,
    state: IntoState = None,
    success: IsApplied = None,
) -> Response:
    """History rows of all entities, in an order in which nothing comes later before a cursor.

    The rows of one entity are in their order. Come back with `next` as often as you like: no row
    is missed, and none is given twice.
    """
    choice = _choice(who, machine_name, entity_id, trigger, state, success)
    try:
        page = await of.live.page(choice, cursor, min(limit, of.settings.most_items))
    except (BadCursorError, NoFeedError) as error:
        raise _problem(error) from error
    items = [item_view(row) for row in page.items]
    return Json({"items": items, "next": page.next, "end": page.end})


@router.get(
    "/stream",
    summary="Follow the feed",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events. Each row is an `event: transition` whose `data` is"
            " one line of JSON, an item of `GET /transitions`, and whose `id` is the cursor behind"
            " it. Comments in between are signs of life.",
            "content": {
                MEDIA_TYPE: {
                    "schema": _EVENT,
                    "example": f"id: {CURSOR}\nevent: transition\n"
                    'data: {"entity_id":"order-123","trigger":"place","target_state":"placed"}\n\n',
                }
            },
        },
        **declared(400, 401, 403, 422, 429, 501, 503),
    },
)
async def follow_transitions(
    of: ServicesOf,
    who: Reader,
    after: Annotated[
        str | None,
        Query(
            description="Begin behind this cursor; without one, now.",
            examples=[CURSOR],
        ),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            description="The `id` received last, as browsers send it when they connect again; it"
            " is stronger than `after`.",
            examples=[CURSOR],
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        Query(
            description="End the stream after so many seconds; by default it goes on.",
            gt=0,
            le=86_400,
            examples=[60],
        ),
    ] = None,
    machine_name: OfMachine = None,
    entity_id: OfEntity = None,
    trigger: OfTrigger = None,
    state: IntoState = None,
    success: IsApplied = None,
) -> Response:
    """The same rows as `GET /transitions`, as they come, for as long as the connection holds.

    Connect again with the last `id`: nothing is skipped and nothing is repeated, whichever replica
    answers.
    """
    choice = _choice(who, machine_name, entity_id, trigger, state, success)
    try:
        follower = await of.live.follow(_counted_as(who), choice, last_event_id or after)
    except (BadCursorError, NoFeedError, TooManyFollowersError) as error:
        raise _problem(error) from error
    return EventStream(follower, of.live.stopping, is_valid=who.is_valid, seconds=seconds)


def _choice(
    who: Caller,
    machine_name: str | None,
    entity_id: str | None,
    trigger: str | None,
    state: str | None,
    success: bool | None,  # a filter of three values
) -> Choice:
    """What the caller asks for, of what the caller may see."""
    if named(who, machine_name) is not None:
        names: list[str] | None = [machine_name] if machine_name else [""]
    else:
        names = None if who.machines is None else sorted(who.machines)
    return Choice(names, entity_id, trigger, state, success)


def _counted_as(who: Caller) -> str:
    """What a caller's streams are counted by."""
    return who.key or who.name


def _problem(error: Exception) -> Problem:
    if isinstance(error, BadCursorError):
        return Problem("invalid_cursor", str(error))
    if isinstance(error, NoFeedError):
        return Problem("not_supported", str(error))
    own = isinstance(error, TooManyFollowersError) and error.own
    whose = "this key has" if own else "this process has"
    return Problem(
        "too_many_requests" if own else "too_many_streams",
        f"{whose} as many open streams as it may, {getattr(error, 'most', '')}: end one, or try"
        " again later",
        headers={"Retry-After": "5"},
    )
