"""The HTTP API, the extra ``api``: ``create_app()`` makes an ASGI application of any store.

from pystator.api import Application, create_app

app = create_app(Application(machines=[order]), store="postgresql:///shop")
"""

from typing import TYPE_CHECKING

from pystator.db.extras import from_extra

if TYPE_CHECKING:
    from pystator.api.app import create_app
    from pystator.api.settings import ApiSettings
    from pystator.service.application import Application

__all__ = ["ApiSettings", "Application", "create_app"]

_HOMES = {
    "ApiSettings": "pystator.api.settings",
    "Application": "pystator.service.application",
    "create_app": "pystator.api.app",
}

if not TYPE_CHECKING:  # they know every name already

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for; say what to install if it cannot be."""
        home = _HOMES.get(name)
        if home is None:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        from importlib import import_module

        with from_extra("api", "fastapi", "starlette", "uvicorn", "jwt", "prometheus_client"):
            return getattr(import_module(home), name)
