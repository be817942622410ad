"""The shapes of ASGI, and the answer of a middleware that lets nothing through."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Final

from pystator.api.problems import MEDIA_TYPE, document
from pystator.api.rendering import render

__all__ = [
    "CLOSE",
    "App",
    "Header",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "header_of",
    "refuse",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

CLOSE: Final[Header] = (b"connection", b"close")
"""What is left of the request is not read: the connection cannot be used again."""

_LONGEST: Final = 255
"""Characters of a path that an answer repeats."""


_HEADERS: Final = "pystator.headers"
"""The key under which a scope keeps its headers by name."""


async def refuse(
    scope: Scope,
    send: Send,
    code: str,
    detail: str,
    headers: Iterable[Header] = (),
) -> None:
    """Answer the request with a problem document; the code says the status."""
    told = document(code, detail, str(scope["path"])[:_LONGEST], {})
    body = render(told)
    await send(
        {
            "type": "http.response.start",
            "status": told["status"],
            "headers": [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def header_of(scope: Scope, name: bytes) -> Sequence[bytes]:
    """All values of a header; names are in lower case. The head is looked through once."""
    found: dict[bytes, list[bytes]] | None = scope.get(_HEADERS)
    if found is None:
        found = scope[_HEADERS] = {}
        for each, value in scope["headers"]:
            if each in found:
                found[each].append(value)
            else:
                found[each] = [value]
    return found.get(name, ())
