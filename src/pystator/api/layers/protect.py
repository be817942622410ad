"""The layers around the routes, from the outside in.

::

    security headers
     `- access log, last word on errors
         `- CORS (where origins are allowed)
             `- path, query, headers: sizes and encoding
                 `- who calls
                     `- how often
                         `- the body: time, size, encoding, depth
                             `- the routes: what the caller may do
"""

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from pystator.api.layers.access import AccessLog
from pystator.api.layers.headers import SecurityHeaders
from pystator.api.layers.limits import BodyLimits, HeadLimits, Limits
from pystator.api.security.callers import Authentication, Authenticator
from pystator.api.security.keys import Keys
from pystator.api.security.origins import Origins
from pystator.api.security.rate import RateLimit, parse_rate
from pystator.api.security.tokens import JwtSettings, Tokens
from pystator.api.settings import ApiSettings
from pystator.service.keyfile import DEFAULT_FILE

__all__ = ["authenticator_of", "protect"]


def authenticator_of(settings: ApiSettings) -> Authenticator:
    """Whose keys and tokens are taken.

    Raises:
        ConfigurationError: A file is missing or broken, or a secret is none.
    """
    named = settings.keys_file
    if named is None and Path(DEFAULT_FILE).exists():
        named = DEFAULT_FILE
    jwt = JwtSettings(
        settings.jwt_secret,
        _path(settings.jwt_secret_file),
        _path(settings.jwt_public_key_file),
        _path(settings.jwt_jwks_file),
        settings.jwt_issuer,
        settings.jwt_audience,
    )
    return Authenticator(
        None if named is None else Keys(Path(named)),
        None if jwt == JwtSettings() else Tokens(jwt),
    )


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def protect(app: FastAPI, settings: ApiSettings) -> None:
    """Put the layers around an application; the last one added is the outermost."""
    limits = Limits(body=settings.max_body, body_seconds=settings.request_seconds)
    app.add_middleware(BodyLimits, limits=limits)
    if settings.rate is not None:
        app.add_middleware(RateLimit, rate=parse_rate(settings.rate))
    origins = Origins(settings.cors_origins, settings.hosts or None)
    authenticator = authenticator_of(settings)
    app.state.asks_for_keys = authenticator.is_on
    app.add_middleware(Authentication, authenticator=authenticator, origins=origins)
    app.add_middleware(HeadLimits, limits=limits)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
                "X-API-Key",
                "X-Request-ID",
                "traceparent",
            ],
            expose_headers=["ETag", "Idempotency-Replayed", "Location", "Retry-After"],
            max_age=600,
        )
    app.add_middleware(AccessLog)
    app.add_middleware(SecurityHeaders, shared=bool(settings.cors_origins))
