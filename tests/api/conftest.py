"""What the tests of the API share: the application in this process, over a store that is made for a test."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pystator import StateMachine
from pystator.api import create_app


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine has a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


EXAMPLES = Path(__file__).parents[2] / "examples"

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def order() -> StateMachine:
    return StateMachine.from_yaml(EXAMPLES / "order.yaml")


@pytest.fixture
def serve() -> Serve:
    """``serve(application, store=..., settings=...)``: a client of an application that has started."""

    @asynccontextmanager
    async def served(application: Any = None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        options.setdefault("store", "memory://")
        app = create_app(application, **options)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test/api/v1"
            ) as client:
                yield client

    return served


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's URL, in memory and on a disk."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture(scope="module")
def everything():
    """One application for all examples: ``everything(coroutine function of a client)``."""
    runner = asyncio.Runner()
    app = create_app(store="memory://")
    opened = app.router.lifespan_context(app)
    runner.run(opened.__aenter__())

    async def use(go) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
            await go(client)

    yield lambda go: runner.run(use(go))
    runner.run(opened.__aexit__(None, None, None))
    runner.close()
