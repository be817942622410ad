"""Trials: what an event would do, to a machine that is sent along or to one that is served.

A machine that is sent along is a stranger's: it is stepped in the workroom, and no code of the
application is asked. A served one is asked as events ask it, with the guards of the application;
its actions are planned and not run, and nothing is written.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from pystator.engine.machine import StateMachine
from pystator.service.application import Application
from pystator.service.machine_admin import MachineAdmin
from pystator.service.machines import Machines, Sight, compiled
from pystator.service.trial import Trial, checked, tried
from pystator.service.workroom.pool import BudgetError, Workroom

__all__ = ["SECONDS", "Trials"]

SECONDS: Final = 2.0
"""For one trial."""

_OLDER: Final = 8
"""Versions that are kept compiled beside those that are served."""


class Trials:
    """Events that are tried.

    Args:
        application: The user's guards.
        machines: Those that are served.
        admin: Finds other versions of them.
        workroom: Where machines of strangers are stepped.
    """

    def __init__(
        self,
        application: Application,
        machines: Machines,
        admin: MachineAdmin,
        workroom: Workroom,
    ) -> None:
        self._application = application
        self._machines = machines
        self._admin = admin
        self._workroom = workroom
        self._older: OrderedDict[tuple[str, str, str], StateMachine] = OrderedDict()

    async def sent(self, config: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """A trial with a machine that was sent along.

        Raises:
            ConfigurationError: The machine has mistakes, is too large, or names guards.
            BudgetError: The step took too long, or too much.
            FSMError: See `pystator.service.trial.tried`.
        """
        checked(trial)
        given = {
            "state": trial.state,
            "trigger": trial.trigger,
            "context": trial.context,
            "payload": trial.payload,
            "now": None if trial.now is None else trial.now.isoformat(),
        }
        return await self._workroom.ask(
            "attempt", json.dumps(config).encode(), given, seconds=SECONDS
        )

    async def named(
        self, name: str, version: str | None, trial: Trial, sight: Sight = None
    ) -> dict[str, Any]:
        """A trial with a machine that is served, or with another version of it.

        Raises:
            MachineNotFoundError: There is none.
            BudgetError: Its guards took too long.
            FSMError: See `pystator.service.trial.tried`.
        """
        machine = await self._machine(name, version, sight)
        try:
            async with asyncio.timeout(SECONDS):
                return await tried(machine, trial)
        except TimeoutError as error:
            raise BudgetError(
                f"the guards of machine {name!r} took longer than {SECONDS:g} s",
                context={"machine": name},
            ) from error

    async def _machine(self, name: str, version: str | None, sight: Sight) -> StateMachine:
        if version is None:
            return (await self._machines.served(name, sight)).machine
        kept = await self._admin.get(name, version, sight)
        if kept.registered:
            return (await self._machines.served(name, sight)).machine
        stored = kept.stored
        key = (stored.name, stored.version, stored.fingerprint)
        machine = self._older.get(key)
        if machine is None:
            made = await asyncio.to_thread(compiled, stored)
            machine = self._older[key] = made.with_guards(self._application.guards)
            while len(self._older) > _OLDER:
                self._older.popitem(last=False)
        return machine
