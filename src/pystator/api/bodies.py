"""Bodies of requests: JSON as the standard has it, and nothing else under its name."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from pystator.api.problems import Problem
from pystator.service.jsons import parse

__all__ = ["JsonRoute", "check_json", "parsed"]


def parsed(body: bytes) -> Any:
    """The value of a body.

    Raises:
        Problem: It is not JSON, is not UTF-8, is nested too deeply, or says NaN.
    """
    try:
        return parse(body.decode())
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


class JsonRoute(APIRoute):
    """A route whose body, where it takes one, is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def checked(request: Request) -> Response:
            strict = _Strict(request.scope, request.receive)
            if has_body and await strict.body():
                check_json(strict.headers.get("content-type", ""))
            return await handle(strict)

        return checked
