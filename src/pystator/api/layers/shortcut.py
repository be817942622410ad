"""The way of the most frequent request, ``POST .../entities/{id}/events``, past the router.

A router tries one route after the other, and the framework makes a frame for dependencies that this
route does not have; both together cost as much as the event. The route is among the others all the
same, for the document, and for every request that does not look exactly like this one.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from pystator.api.problems import Problem, response_to
from pystator.api.routes.events import PATH, Services, answer_event
from pystator.errors import FSMError

__all__ = ["Shortcut"]


@dataclass(frozen=True, slots=True)
class _Route:
    """What is known of a route in a scope, for logs and metrics."""

    path: str
    path_format: str


class Shortcut:
    """A middleware, the innermost one: answers events, and passes on everything else.

    Args:
        app: The router.
        services: Of the process.
        prefix: What paths begin with.
    """

    def __init__(self, app: ASGIApp, services: Services, prefix: str) -> None:
        self._app = app
        self._services = services
        before, _, after = f"{prefix}{PATH}".partition("{entity_id:segment}")
        self._before: Final = before
        self._after: Final = after
        self._route: Final = _Route(f"{prefix}{PATH}", f"{before}{{entity_id}}{after}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        segment = self._segment(scope)
        if segment is None:
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return  # nobody is there any more
        scope["route"] = self._route
        try:
            entity_id = unquote(segment, errors="surrogateescape")
            response = await answer_event(scope, body, self._services, entity_id)
        except (FSMError, Problem) as error:
            response = response_to(error, scope["method"], scope["path"])
        await response(scope, receive, send)

    def _segment(self, scope: Scope) -> str | None:
        """The entity id in the path of an event; None for any other request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
            return None
        path: str = scope["path"]
        if not (path.startswith(self._before) and path.endswith(self._after)):
            return None
        segment = path[len(self._before) : -len(self._after)]
        return segment if segment and "/" not in segment and segment != "bulk" else None


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the client has gone before its end."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)
