"""Trials: what an event would do, without an entity."""

from fastapi import APIRouter
from starlette.responses import Response

from pystator.api.bodies import JsonRoute
from pystator.api.context import Caller, Reader, Services, ServicesOf, named
from pystator.api.models.problems import declared
from pystator.api.models.process import TrialBody, TrialModel
from pystator.api.rendering import Json
from pystator.errors import InvalidValueError
from pystator.service.trial import Trial

__all__ = ["router"]

router = APIRouter(tags=["machines"], route_class=JsonRoute)


@router.post(
    "/process",
    summary="Try an event",
    operation_id="process",
    responses={
        200: {"model": TrialModel},
        **declared(400, 401, 403, 404, 413, 415, 422, 503),
    },
)
async def process(body: TrialBody, of: ServicesOf, who: Reader) -> Response:
    """Say what an event would do, with a machine that is sent along or one that is served.

    Nothing is stored, and no action is run. A rejection is a 200 with `success: false`. A machine
    that is sent along has no guards of the application; a trial that would take more than two
    seconds, or too much memory, is given up with a 422.
    """
    trial = Trial(body.state, body.trigger, body.context, body.payload, body.now)
    if body.machine is not None:
        if body.machine_name is not None or body.version is not None:
            raise InvalidValueError(
                "a machine is sent along and one is named: send one of machine and machine_name",
                context={"what": "machine"},
            )
        return Json(await of.trials.sent(body.machine, trial))
    name = await _name(of, who, body.machine_name)
    return Json(await of.trials.named(name, body.version, trial, who.machines))


async def _name(of: Services, who: Caller, given: str | None) -> str:
    """The machine that is named; else the only one the caller may see."""
    found = named(who, given)
    if found is not None:
        return found
    visible = await of.machines.visible(who.machines)
    if len(visible) == 1:
        return visible[0]
    if visible:
        raise InvalidValueError(
            "send a machine along, or say with machine_name which one is meant:"
            f" {', '.join(visible[:20])}",
            context={"what": "machine_name", "machines": list(visible[:20])},
        )
    raise InvalidValueError(
        "no machine is served: send one along, as machine", context={"what": "machine"}
    )
