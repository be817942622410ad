"""The OpenAPI document: what FastAPI finds, with one shape for all errors."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from pystator.api.models.events import EventBody
from pystator.api.models.problems import ProblemDocument, declared
from pystator.api.security.callers import OPEN

__all__ = ["describe", "operation_of"]

_REF = "#/components/schemas/{model}"


def operation_of(route: APIRoute) -> str:
    """The id of an operation: the name of its function; of a second path of it, with the version.

    Only health is at two paths.
    """
    is_second = route.name in {"health", "ready"} and route.path_format.count("/") > 1
    return f"{route.name}_v1" if is_second else route.name


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The function that gives the application's document, made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            _take_problems(made)
            _add_what_layers_answer(made, asks=bool(app.state.asks_for_keys))
            app.openapi_schema = made
        return app.openapi_schema

    return document


def _take_problems(made: dict[str, Any]) -> None:
    """Errors are problem documents: FastAPI's own shape of a 422 is answered nowhere."""
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for model in (ProblemDocument, EventBody):  # the routes that have them refer to them by name
        schema = model.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for operations in made.get("paths", {}).values():
        for operation in operations.values():
            invalid = operation.get("responses", {}).get("422")
            if invalid is not None and "application/json" in invalid.get("content", {}):
                del operation["responses"]["422"]


_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`pst_...`), or a JWT.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}


def _add_what_layers_answer(made: dict[str, Any], *, asks: bool) -> None:
    """Every route may be refused before it is reached: by who asks, by size, by time."""
    for path, operations in made.get("paths", {}).items():
        for operation in operations.values():
            is_open = path in OPEN
            statuses = [400, 414, 422, 431, 500]
            statuses += [] if is_open else [401, 403, 429]
            statuses += [408, 413] if "requestBody" in operation else []
            for status, answer in declared(*statuses).items():
                operation["responses"].setdefault(str(status), answer)
            if asks:
                operation["security"] = [] if is_open else [{each: []} for each in _SCHEMES]
    if asks:
        made["components"]["securitySchemes"] = _SCHEMES
