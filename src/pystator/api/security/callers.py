"""Who calls: a request's credentials -> a caller, or 401; and what the caller may do, or 403.

Laws:

- Every path asks for credentials but those that are listed here: a route that is forgotten is
  closed.
- What is wrong with a key is not said; what is wrong with a token is said in general.
- A caller is as good as its key or token is at this moment: what takes long asks again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pystator.api.asgi import App, Header, Message, Receive, Scope, Send, header_of, refuse
from pystator.api.security.keys import Keys
from pystator.api.security.origins import Origins
from pystator.api.security.tokens import TokenError, Tokens
from pystator.records import record
from pystator.service.keyfile import SCOPES, ApiKey

__all__ = [
    "ANONYMOUS",
    "CALLER",
    "NOBODY",
    "OPEN",
    "Authentication",
    "Authenticator",
    "Caller",
    "RefusedError",
]

OPEN: Final = frozenset(
    {
        "/health",
        "/ready",
        "/api/v1/health",
        "/api/v1/ready",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/api/v1/openapi.json",
    }
)
"""Paths that answer anybody: what a load balancer asks, and what every installation says alike."""

CALLER: Final = "pystator.caller"
"""The key under which authentication leaves the caller in an ASGI scope."""

_ALL: Final = frozenset(SCOPES)


def _always() -> bool:
    return True


@record
class Caller:
    """Who calls, and what it may do.

    Attributes:
        name: History's actor.
        scopes: Some of ``read``, ``send`` and ``admin``, which implies the others.
        machines: The machines whose entities it sees; None for all.
        key: What its requests are counted by; no secret.
        is_valid: Its key or token is still good: asked again by what takes long.
    """

    name: str
    scopes: frozenset[str]
    machines: frozenset[str] | None = None
    key: str = ""
    is_valid: Callable[[], bool] = _always

    def may(self, scope: str) -> bool:
        """It has the scope."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, machine_name: str) -> bool:
        """It may know of this machine's entities."""
        return self.machines is None or machine_name in self.machines


ANONYMOUS: Final = Caller("anonymous", _ALL, None, "anonymous")
"""Anybody, where no authentication is configured."""

NOBODY: Final = Caller("anonymous", frozenset(), frozenset(), "anonymous")
"""Anybody at an open path, where it is."""


class RefusedError(Exception):
    """The request has no valid credentials; the message may be shown."""

    def __init__(self, detail: str, challenge: str = 'Bearer realm="pystator"') -> None:
        super().__init__(detail)
        self.detail = detail
        self.challenge = challenge


def _invalid(detail: str) -> RefusedError:
    return RefusedError(detail, 'Bearer realm="pystator", error="invalid_token"')


class Authenticator:
    """Finds the caller of a request.

    Args:
        keys: The file of API keys; None where there is none.
        tokens: Whose tokens are taken; None for nobody's.
    """

    def __init__(self, keys: Keys | None, tokens: Tokens | None) -> None:
        self._keys = keys
        self._tokens = tokens

    @property
    def is_on(self) -> bool:
        """Somebody is asked for credentials."""
        return self._keys is not None or self._tokens is not None

    def caller(self, scope: Scope) -> Caller:
        """Who sent the request.

        Raises:
            RefusedError: It does not say so, or not rightly.
        """
        if not self.is_on:
            return ANONYMOUS
        said = header_of(scope, b"authorization")
        keys = header_of(scope, b"x-api-key")
        if not said and not keys:
            raise RefusedError(
                "this service asks for a key: send it as `Authorization: Bearer KEY` or as"
                " `X-API-Key: KEY`; `pystator keys create` makes one"
            )
        if len(said) + len(keys) > 1:
            raise _invalid("send one key or token, once")
        if keys:
            return self._by_key(keys[0].decode("latin-1").strip())
        kind, _, value = said[0].decode("latin-1").strip().partition(" ")
        value = value.strip()
        if kind.lower() != "bearer" or not value:
            raise _invalid("write `Authorization: Bearer KEY`")
        if value.startswith("pst_") or self._tokens is None:
            return self._by_key(value)
        return self._by_token(value, self._tokens)

    def _by_key(self, text: str) -> Caller:
        key = None if self._keys is None else self._keys.find(text)
        if key is None or self._keys is None:
            raise _invalid("the key is not valid: it is unknown, revoked or expired")
        return _of_key(key, self._keys)

    def _by_token(self, text: str, tokens: Tokens) -> Caller:
        try:
            claims = tokens.verify(text)
        except TokenError as error:
            raise _invalid(str(error)) from None
        return Caller(
            claims.subject,
            frozenset(claims.scopes) & _ALL,
            _machines(claims.machines),
            f"token:{claims.subject}",
            lambda: tokens.is_valid(text),
        )


def _machines(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _of_key(key: ApiKey, keys: Keys) -> Caller:
    return Caller(
        key.name,
        frozenset(key.scopes),
        _machines(key.machines),
        f"key:{key.id}",
        lambda: keys.is_valid(key.id, key.digest),
    )


class Authentication:
    """ASGI middleware: ``scope[CALLER]`` is who calls, or the answer is 401."""

    def __init__(
        self,
        app: App,
        authenticator: Authenticator,
        origins: Origins,
        *,
        open_paths: Iterable[str] = OPEN,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._origins = origins
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the caller, then go on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_open = scope["path"] in self._open and scope["method"] in {"GET", "HEAD"}
        try:
            caller = NOBODY if is_open else self._authenticator.caller(scope)
        except RefusedError as refused:
            challenge: Sequence[Header] = [(b"www-authenticate", refused.challenge.encode())]
            await refuse(scope, send, "unauthorized", refused.detail, challenge)
            return
        if caller is ANONYMOUS and (why := self._origins.refusal(scope)):
            await refuse(scope, send, "forbidden", why)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, send if caller is ANONYMOUS else _While(caller, send))


class _While:
    """Sends an answer for as long as its caller's key is good: a stream ends with it."""

    __slots__ = ("_caller", "_ended", "_send", "_streams")

    def __init__(self, caller: Caller, send: Send) -> None:
        self._caller = caller
        self._send = send
        self._streams = False
        self._ended = False

    async def __call__(self, message: Message) -> None:
        """Send it; instead of the next part of a stream, the end."""
        if self._ended:
            return
        if self._streams and not self._caller.is_valid():
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        self._streams = self._streams or bool(message.get("more_body"))
        await self._send(message)
