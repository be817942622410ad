"""Machines: store, read, draw, check, delete their definitions."""

import json
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from pystator.api.bodies import JsonRoute
from pystator.api.conditions import names_tag
from pystator.api.context import Admin, Caller, Reader, Services, ServicesOf, named
from pystator.api.machine_bodies import MACHINE_BODY, TEXT_BODY, YAML, machine_text
from pystator.api.models.machines import MachineModel, MachinePage, ValidationModel, VersionModel
from pystator.api.models.problems import declared
from pystator.api.paths import MACHINE
from pystator.api.problems import Problem
from pystator.api.rendering import Json
from pystator.errors import MachineConflictError
from pystator.records import StoredMachine
from pystator.service.machine_admin import Kept

__all__ = ["router"]

router = APIRouter(prefix="/machines", tags=["machines"], route_class=JsonRoute)

ONE: Final = f"/{{name:{MACHINE}}}"

Name = Annotated[
    str, Path(description="The machine's name.", examples=["shop_order"], max_length=255)
]
Version = Annotated[
    str | None,
    Query(
        description="One version; without it, the one that is served.",
        examples=["2.0"],
        max_length=255,
    ),
]
Cursor = Annotated[
    str | None,
    Query(
        description="An earlier page's `next`.",
        max_length=2_000,
        examples=["WyJtYWNoaW5lcyIsInNob3Bfb3JkZXIiLCIyLjAiXQ"],
    ),
]
Limit = Annotated[int, Query(description="Versions at most.", ge=1, le=1_000, examples=[100])]
Brief = Annotated[bool, Query(description="Only states and triggers, no guards and effects.")]
Highlight = Annotated[
    str | None,
    Query(
        description="Mark this state; several are joined by `+`.",
        examples=["draft"],
        max_length=1_000,
    ),
]
Whose = Annotated[
    str | None,
    Query(
        description="Mark where this entity is and has been.",
        examples=["order-123"],
        min_length=1,
        max_length=255,
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(description="An `ETag`: if it is still the same, the answer is a 304.")
]

_FORMATS: Final = {
    "svg": "image/svg+xml",
    "mermaid": "text/plain; charset=utf-8",
    "dot": "text/vnd.graphviz; charset=utf-8",
}
_INERT: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""A picture has words of strangers in it: a browser that shows it runs nothing."""

_NAMED: Final = {"name": "$response.body#/name"}
_VERSION: Final = {**_NAMED, "version": "$response.body#/version"}
_LINKS: Final[dict[str, Any]] = {
    "get": {"operationId": "get_machine", "parameters": _VERSION},
    "versions": {"operationId": "list_machine_versions", "parameters": _NAMED},
    "diagram": {"operationId": "draw_machine", "parameters": _VERSION},
    "replace": {"operationId": "put_machine", "parameters": _NAMED},
    "delete": {"operationId": "delete_machine", "parameters": _VERSION},
}
_TAGGED: Final[dict[str, Any]] = {
    "ETag": {
        "description": "Begins with the fingerprint; the same as long as the answer is.",
        "schema": {"type": "string"},
    }
}
_PLACED: Final[dict[str, Any]] = {
    "Location": {"description": "Where the version is.", "schema": {"type": "string"}},
    **_TAGGED,
}
_STORED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": VersionModel,
        "description": "This very version was there.",
        "links": _LINKS,
        "headers": _PLACED,
    },
    201: {
        "model": VersionModel,
        "description": "Stored; it is served from now on, everywhere within two seconds.",
        "links": _LINKS,
        "headers": _PLACED,
    },
    **declared(400, 401, 403, 409, 413, 415, 422, 501, 503),
}


@router.get(
    "",
    summary="List machines",
    operation_id="list_machines",
    responses={200: {"model": MachinePage}, **declared(401, 403, 422, 503)},
)
async def list_machines(
    of: ServicesOf,
    who: Reader,
    name: Annotated[
        str | None,
        Query(description="Only of this name.", examples=["shop_order"], max_length=255),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Every version of every machine: those that the store keeps, and those of the application."""
    wanted = named(who, name)
    names = who.machines if wanted is None else frozenset({wanted})
    return await _page(of, names, cursor, limit)


@router.post(
    "",
    summary="Store a machine",
    operation_id="create_machine",
    status_code=201,
    responses=_STORED,
    openapi_extra=MACHINE_BODY,
)
async def create_machine(request: Request, of: ServicesOf, who: Admin) -> Response:
    """Store a version of a machine, from YAML or JSON; it is served at once.

    A version never changes: what is changed gets a new `meta.version`. All mistakes are told, each
    with its line and column.
    """
    machine = await of.admin.prepare(await machine_text(request))
    return await _keep(request, of, who, machine)


@router.post(
    "/validate",
    summary="Check a machine",
    operation_id="validate_machine",
    responses={
        200: {"model": ValidationModel},
        **declared(400, 401, 403, 413, 415, 422, 503),
    },
    openapi_extra=TEXT_BODY,
)
async def validate_machine(
    request: Request,
    of: ServicesOf,
    who: Reader,
    strict: Annotated[bool, Query(description="Warnings make it invalid, too.")] = False,
) -> Response:
    """Say everything about a machine, and store nothing: mistakes, and what can never happen.

    The answer is a 200 for a wrong machine, too: `valid` says which it is.
    """
    del who
    return Json(await of.admin.check(await machine_text(request), strict=strict))


@router.get(
    ONE,
    summary="Read a machine",
    operation_id="get_machine",
    responses={
        200: {
            "model": MachineModel,
            "content": {YAML: {"schema": {"type": "object"}}},
            "headers": _TAGGED,
        },
        304: {"description": "It is what the client has.", "headers": _TAGGED},
        **declared(401, 403, 404, 422, 503),
    },
)
async def get_machine(
    name: Name,
    of: ServicesOf,
    who: Reader,
    version: Version = None,
    form: Annotated[
        Literal["json", "yaml"],
        Query(
            alias="format",
            description="`yaml`: the definition alone, as a file has it.",
        ),
    ] = "json",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A version with its definition."""
    kept = await of.admin.get(_seen(who, name), version, who.machines)
    headers = {"ETag": tag_of(kept, form)}
    if names_tag(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if form == "yaml":
        return Response(await of.admin.as_yaml(kept), 200, headers, YAML)
    return Json({**kept.view(), "definition": json.loads(kept.stored.definition)}, 200, headers)


@router.put(
    ONE,
    summary="Store a new version of a machine",
    operation_id="put_machine",
    responses=_STORED,
    openapi_extra=MACHINE_BODY,
)
async def put_machine(name: Name, request: Request, of: ServicesOf, who: Admin) -> Response:
    """As `POST /machines`, and the machine has the name of the path."""
    _seen(who, name)
    machine = await of.admin.prepare(await machine_text(request))
    if machine.name != name:
        raise MachineConflictError(
            f"the machine's name is {machine.name!r}, and the path says {name!r}: change"
            " meta.machine_name or the path",
            context={"machine": machine.name},
        )
    return await _keep(request, of, who, machine)


@router.delete(
    ONE,
    summary="Delete a machine",
    operation_id="delete_machine",
    status_code=204,
    responses={
        204: {"description": "Deleted."},
        **declared(401, 403, 404, 409, 422, 501, 503),
    },
)
async def delete_machine(
    name: Name, of: ServicesOf, who: Admin, version: Version = None
) -> Response:
    """Delete a version, or all of them, if no live entity uses it. History stays as it is."""
    _seen(who, name)
    _check_store(of)
    await of.admin.delete(name, version, who.machines)
    return Response(status_code=204)


@router.get(
    f"{ONE}/versions",
    summary="List a machine's versions",
    operation_id="list_machine_versions",
    responses={200: {"model": MachinePage}, **declared(401, 403, 404, 422, 503)},
)
async def list_versions(
    name: Name, of: ServicesOf, who: Reader, cursor: Cursor = None, limit: Limit = 100
) -> Response:
    """In the order of their names; the one that was stored last is served."""
    _seen(who, name)
    if cursor is None:
        await of.admin.get(name, None, who.machines)
    return await _page(of, frozenset({name}), cursor, limit)


@router.get(
    f"{ONE}/diagram",
    summary="Draw a machine",
    operation_id="draw_machine",
    response_class=Response,
    responses={
        200: {
            "description": "The picture.",
            "content": {
                "image/svg+xml": {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
                "text/vnd.graphviz": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        **declared(401, 403, 404, 422, 503),
    },
)
async def draw_machine(
    name: Name,
    of: ServicesOf,
    who: Reader,
    version: Version = None,
    form: Annotated[
        Literal["svg", "mermaid", "dot", "json"],
        Query(alias="format", description="The picture's language; `json`: facts to draw by."),
    ] = "svg",
    brief: Brief = False,
    highlight: Highlight = None,
    entity_id: Whose = None,
) -> Response:
    """States, regions and transitions as a picture."""
    picture = await of.admin.diagram(
        _seen(who, name),
        version,
        form,
        sight=who.machines,
        brief=brief,
        highlight=highlight,
        entity_id=entity_id,
    )
    if isinstance(picture, dict):
        return Json(picture)
    return Response(picture, 200, _INERT, _FORMATS[form])


# Common -------------------------------------------------------------------------------------------


def _seen(who: Caller, name: str) -> str:
    named(who, name)
    return name


def _check_store(of: Services) -> None:
    if not of.admin.can_store:
        raise Problem(
            "not_supported",
            "this store keeps no machines: bring them with --app module:factory",
        )


async def _page(
    of: Services, names: frozenset[str] | None, after: str | None, limit: int
) -> Response:
    page = await of.admin.page(names, after, min(limit, of.settings.most_items))
    return Json({"items": [each.view() for each in page.items], "next": page.next})


async def _keep(request: Request, of: Services, who: Caller, machine: StoredMachine) -> Response:
    _seen(who, machine.name)
    _check_store(of)
    kept, added = await of.admin.keep(machine)
    name = "%76alidate" if machine.name == "validate" else machine.name  # it is a route's name
    place = f"{name}?version={quote(machine.version, safe='')}"
    root: str = request.scope.get("root_path", "")
    headers = {"Location": f"{root}/api/v1/machines/{place}", "ETag": tag_of(kept, "json")}
    return Json(kept.view(), 201 if added else 200, headers)


def tag_of(kept: Kept, form: str) -> str:
    """Fingerprint, and what else the answer depends on: a version may mean what another does."""
    rest = blake2b(f"{form} {kept.stored.version}".encode(), digest_size=4).hexdigest()
    return f'"{kept.stored.fingerprint}-{rest}"'
