"""What a route is given: the services of the process, and who calls."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from pystator.api.feed import follow_feed
from pystator.api.metrics import Metrics
from pystator.api.problems import Problem
from pystator.api.security.callers import ANONYMOUS, CALLER, NOBODY, Caller
from pystator.api.settings import ApiSettings
from pystator.service.application import Application
from pystator.service.counted import counted
from pystator.service.entities import EntityService
from pystator.service.exporting import Exporting, is_wanted
from pystator.service.machine_admin import MachineAdmin
from pystator.service.machines import Machines
from pystator.service.process import Trials
from pystator.service.workroom.pool import Workroom
from pystator.stores.prunable import CompleteStore

__all__ = [
    "ANONYMOUS",
    "CALLER",
    "Admin",
    "Caller",
    "Reader",
    "Sender",
    "Services",
    "ServicesOf",
    "authorized",
    "caller",
    "named",
    "require",
    "services",
]


class Services:
    """What a process serves with; made with the app, opened and closed by its lifespan."""

    def __init__(
        self, store: CompleteStore, application: Application, settings: ApiSettings
    ) -> None:
        self.store = store
        self.application = application
        self.settings = settings
        self.metrics = Metrics()
        self.exporting = Exporting(store) if settings.otel or is_wanted() else None
        telemetry = None if self.exporting is None else self.exporting.telemetry
        written = counted(store, self.metrics.committed)
        self.machines = Machines(written, application, telemetry=telemetry)
        self.entities = EntityService(store, self.machines, self.metrics.settled)
        self.workroom = Workroom()
        self.admin = MachineAdmin(store, application, self.machines, self.workroom)
        self.trials = Trials(application, self.machines, self.admin, self.workroom)
        self.live = follow_feed(store, settings, self.metrics.streams)

    async def open(self) -> None:
        """Connect the store."""
        await cast("Any", self.store).aconnect()

    async def close(self, *, disconnect: bool) -> None:
        """End everything; the store's connections, too, where they are the process's own."""
        self.stop()
        self.workroom.close()
        await self.machines.close()
        if disconnect:
            await cast("Any", self.store).adisconnect()
        if self.exporting is not None:
            await asyncio.to_thread(self.exporting.close)

    def stop(self) -> None:
        """End what would go on for ever: the process is asked to end."""
        self.live.stop()


async def services(request: Request) -> Services:
    """The services of this process."""
    found: Services = request.app.state.services
    return found


async def caller(request: Request) -> Caller:
    """Who calls."""
    found: Caller = request.scope.get(CALLER, NOBODY)
    return found


def authorized(scope: Mapping[str, Any], wanted: str) -> Caller:
    """The caller of an ASGI scope, who has this right.

    Raises:
        Problem: The caller has not.
    """
    found: Caller = scope.get(CALLER, NOBODY)
    if not found.may(wanted):
        raise Problem(
            "forbidden",
            f"{found.name} lacks the scope {wanted!r}: ask for a key that has it",
            scope=wanted,
        )
    return found


def require(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope."""

    async def found(request: Request) -> Caller:
        return authorized(request.scope, scope)

    return found


def named(who: Caller, machine_name: str | None) -> str | None:
    """A machine's name that a request says, if the caller may see that machine.

    Raises:
        Problem: The caller may not.
    """
    if machine_name is not None and not who.sees(machine_name):
        raise Problem(
            "forbidden",
            f"{who.name} may not see the machine {machine_name!r}",
            machine=machine_name,
        )
    return machine_name


ServicesOf = Annotated[Services, Depends(services)]
Reader = Annotated[Caller, Depends(require("read"))]
Sender = Annotated[Caller, Depends(require("send"))]
Admin = Annotated[Caller, Depends(require("admin"))]
