"""The ``tracestate`` of a request goes along with its trace, where spans are made."""

from starlette.types import ASGIApp, Receive, Scope, Send

from pystator.service.telemetry import TRACESTATE

__all__ = ["TraceState"]


class TraceState:
    """ASGI middleware: while a request is served, its ``tracestate`` is known to its spans."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on with the request."""
        given = [value for name, value in scope.get("headers", ()) if name == b"tracestate"]
        if not given:
            await self._app(scope, receive, send)
            return
        token = TRACESTATE.set(",".join(value.decode("latin-1") for value in given))
        try:
            await self._app(scope, receive, send)
        finally:
            TRACESTATE.reset(token)
