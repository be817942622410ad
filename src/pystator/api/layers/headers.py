"""What every answer says to browsers and caches, and which sites' pages may call."""

from typing import Final

from pystator.api.asgi import App, Header, Message, Receive, Scope, Send

__all__ = ["SecurityHeaders"]

ALWAYS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

DEFAULTS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Of answers that do not say it themselves."""

DOCS_POLICY: Final[Header] = (
    b"content-security-policy",
    (
        b"default-src 'none'; connect-src 'self'; "
        b"img-src 'self' data: https://fastapi.tiangolo.com; "
        b"script-src https://cdn.jsdelivr.net 'unsafe-inline'; "
        b"style-src https://cdn.jsdelivr.net 'unsafe-inline'; frame-ancestors 'none'"
    ),
)
"""The page of the documentation loads its program from where FastAPI's page says."""

OF_DOCS: Final = (DEFAULTS[0], DOCS_POLICY)

DOCS: Final = frozenset({"/docs", "/redoc"})


class SecurityHeaders:
    """ASGI middleware: the headers of every answer, of refusals too.

    Args:
        app: What answers.
        shared: Other sites' pages may read the answers (CORS): they are not kept to our own.
    """

    def __init__(self, app: App, *, shared: bool = False) -> None:
        self._app = app
        self._always = ALWAYS[:-1] if shared else ALWAYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on, with the headers on the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = OF_DOCS if scope["path"] in DOCS else DEFAULTS

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Header] = [*message.get("headers", ())]
                said = [name for name, _ in headers]
                headers += [each for each in wanted if each[0] not in said]
                headers += self._always
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers)
