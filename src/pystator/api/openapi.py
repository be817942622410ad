"""The OpenAPI document: what FastAPI finds, with one shape for all errors."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pystator.api.models.problems import ProblemDocument

__all__ = ["describe"]

_REF = "#/components/schemas/{model}"


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
            app.openapi_schema = made
        return app.openapi_schema

    return document


def _take_problems(made: dict[str, Any]) -> None:
    """Errors are problem documents: FastAPI's own shape of a 422 is answered nowhere."""
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = ProblemDocument.model_json_schema(ref_template=_REF)
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDocument"] = problem
    for operations in made.get("paths", {}).values():
        for operation in operations.values():
            invalid = operation.get("responses", {}).get("422")
            if invalid is not None and "application/json" in invalid.get("content", {}):
                del operation["responses"]["422"]
