"""HEAD: what GET would be answered with, without the body. ``curl -I`` shows an entity's ``ETag``.

Routes know nothing of it: within this layer a HEAD is a GET, and outside of it a HEAD again.
"""

from pystator.api.asgi import App, Message, Receive, Scope, Send
from pystator.api.paths import ENDLESS

__all__ = ["Heads"]


class Heads:
    """A middleware: a HEAD is answered as a GET, but for the body."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].endswith(ENDLESS):
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            scope["method"] = "HEAD"  # the server looks at it to know that no body follows
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_head)
        finally:
            scope["method"] = "HEAD"
