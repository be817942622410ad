"""Bodies of requests: JSON as the standard has it, and nothing else under its name."""

import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

from pystator.api.problems import Problem
from pystator.service.jsons import parse

__all__ = ["JsonRoute", "check_json", "check_query", "parsed"]


def parsed(body: bytes, *, once: bool = True) -> Any:
    """The value of a body; see `pystator.service.jsons.parse`.

    Raises:
        Problem: It is not JSON, is not UTF-8, is nested too deeply, or says NaN or a key twice.
    """
    try:
        return parse(body.decode(), once=once)
    except UnicodeDecodeError as error:
        raise Problem("invalid_json", "the body is not JSON: it is not UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("invalid_json", f"the body is not JSON: {error.msg} ({where})") from error
    except ValueError as error:
        raise Problem("invalid_json", f"the body is not JSON: {error}") from error


def check_json(said: str) -> None:
    """The body's media type is that of JSON.

    Raises:
        Problem: It is another, or none: a page of another site can send that, too.
    """
    kind = said.partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise Problem(
            "unsupported_media_type",
            f"the body's media type is {said[:60] or 'not given'}; send JSON with the header"
            " Content-Type: application/json (curl --json does)",
        )


class _Strict(Request):
    async def json(self) -> Any:
        """The body's value."""
        return parsed(await self.body())


def check_query(given: Iterable[str], known: Collection[str]) -> None:
    """The parameters of a query are known: one that is misspelt would be a filter that is not.

    Raises:
        Problem: One of them is not.
    """
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    close = get_close_matches(unknown[0], known, n=1)
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    hint = f"did you mean {close[0]}?" if close else there
    issues = [
        {"pointer": None, "parameter": name, "in": "query", "message": "is not known"}
        for name in unknown
    ]
    raise Problem(
        "invalid_request",
        f"there is no query parameter {unknown[0][:40]!r}; {hint}",
        issues=issues,
    )


class JsonRoute(APIRoute):
    """A route whose body, where it takes one, is JSON.

    A query parameter that it does not know is a mistake.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handle = super().get_route_handler()
        has_body = self.body_field is not None
        queries = _queries(self.dependant) | _extra_queries(self.openapi_extra)

        async def checked(request: Request) -> Response:
            if request.scope["query_string"]:
                check_query(request.query_params, queries)
            strict = _Strict(request.scope, request.receive)
            if has_body and await strict.body():
                check_json(strict.headers.get("content-type", ""))
            return await handle(strict)

        return checked


def _queries(dependant: Dependant) -> set[str]:
    """The names of a route's query parameters, those of its dependencies among them."""
    names = {field.alias for field in dependant.query_params}
    for each in dependant.dependencies:
        names |= _queries(each)
    return names


def _extra_queries(extra: Mapping[str, Any] | None) -> set[str]:
    """Those that a route reads by itself, and declares."""
    declared: list[dict[str, Any]] = (extra or {}).get("parameters", [])
    return {each["name"] for each in declared if each["in"] == "query"}
