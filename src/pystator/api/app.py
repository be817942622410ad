"""The application: routers, errors, and a lifespan that opens and closes the store.

A router is one line of `ROUTERS`, a middleware one of `create_app`: from the outside in numbers,
traces, the layers of `pystator.api.layers.protect`, HEAD, paths as they were sent, and the shortcut
of events.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, cast

from fastapi import APIRouter, FastAPI

from pystator._version import __version__
from pystator.api.context import Services
from pystator.api.layers.heads import Heads
from pystator.api.layers.protect import protect
from pystator.api.layers.shortcut import Shortcut
from pystator.api.metrics import Measured
from pystator.api.openapi import describe, operation_of
from pystator.api.paths import RawPaths
from pystator.api.problems import handle_problems
from pystator.api.routes import (
    admin,
    bulk,
    entities,
    events,
    health,
    machines,
    metrics,
    process,
    transitions,
)
from pystator.api.settings import ApiSettings
from pystator.db.resolve import find_store
from pystator.service.application import Application
from pystator.stores.prunable import CompleteStore
from pystator.stores.registry import create_state_store

__all__ = ["PREFIX", "create_app"]

PREFIX: Final = "/api/v1"

ROUTERS: Final[tuple[tuple[APIRouter, str], ...]] = (
    (health.router, ""),
    (health.router, PREFIX),
    (metrics.router, ""),
    (bulk.router, PREFIX),  # before an entity's own routes: its path is one of theirs
    (events.router, PREFIX),
    (entities.router, PREFIX),
    (admin.router, PREFIX),
    (transitions.router, PREFIX),
    (machines.router, PREFIX),
    (process.router, PREFIX),
)
"""Each router and what its paths begin with."""

_ABOUT: Final = (
    "Persistent state machines over HTTP: send events to entities, and read where they are and what"
    " happened to them."
)


def create_app(
    application: object = None, *, store: object = None, settings: ApiSettings | None = None
) -> FastAPI:
    """An ASGI application that serves the entities of a store.

    Args:
        application: An `Application`, a `StateMachine` or a list of them; the machines that the
            store keeps are served without it.
        store: A store or its URL; by default the one that environment and ``pystator.cfg`` say. One
            that is given is connected when the application starts; one that was made from a URL is
            also closed in the end.
        settings: By default what environment and ``pystator.cfg`` say.

    Raises:
        ConfigurationError: Something is not what it has to be.

    Example:
        >>> app = create_app(store="memory://")
        >>> app.title
        'PyStator'
    """
    own = store is None or isinstance(store, str)
    used = cast(
        "CompleteStore",
        create_state_store(find_store(cast("str | None", store)).url) if own else store,
    )
    services = Services(used, Application.of(application), settings or ApiSettings.load())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await services.open()
        try:
            yield
        finally:
            await services.close(disconnect=own)

    app = FastAPI(
        title="PyStator",
        summary="The persistent state machine",
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=f"{PREFIX}/openapi.json",
        generate_unique_id_function=operation_of,
    )
    app.state.services = services
    app.openapi = describe(app)  # type: ignore[method-assign] # as its manual does it
    handle_problems(app)
    for router, prefix in ROUTERS:
        app.include_router(router, prefix=prefix)
    app.add_middleware(Shortcut, services=services, prefix=PREFIX)
    app.add_middleware(RawPaths)
    app.add_middleware(Heads)
    protect(app, services.settings)
    if services.exporting is not None:
        from pystator.api.layers.traces import TraceState  # the extra otel

        app.add_middleware(TraceState)
    app.add_middleware(Measured, metrics=services.metrics)
    return app
