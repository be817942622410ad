"""The machines that a process serves, by name.

Laws:

- A machine of the application stands before a stored one of its name.
- A stored machine is known for `FRESH` seconds. Then its next use lets one look-up start, and goes
  on with what is known; nobody waits for it before `STALE` seconds are over. So a new version is
  used everywhere within two seconds, and an event pays for none of it.
- An event that has begun with one version ends with it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pystator.definition.load import load_config
from pystator.engine.machine import StateMachine
from pystator.errors import ConfigurationError, FSMError, MachineNotFoundError
from pystator.orchestrator import Orchestrator
from pystator.records import StoredMachine, record
from pystator.service.application import Application
from pystator.stores.keys import write_cursor
from pystator.stores.named import configuration

if TYPE_CHECKING:
    from pystator.orchestrator.tracing import Telemetry
    from pystator.stores.protocols import MachineStore

__all__ = ["FRESH", "STALE", "Machines", "Served", "Sight", "compiled", "missing"]

Sight = Collection[str] | None
"""Names of the machines that a caller may see; None: all."""

FRESH: Final = 1.0
"""Seconds for which what a store said is taken as it is."""

STALE: Final = 1.5
"""Seconds after which it is not taken any more."""

_NAMES: Final = 10
"""Machines that are read at once for their names: they come with their definitions."""

_LAST: Final = "\U0010ffff"
"""Sorts behind every version: the others of a machine are passed over, and there may be many."""

_SHOWN: Final = 20
"""Names that an error lists."""


@record
class Served:
    """A machine that is served, with its orchestrator.

    Attributes:
        fingerprint: Of what the store keeps; None for a machine of the application.
    """

    name: str
    machine: StateMachine
    orchestrator: Orchestrator
    fingerprint: str | None


@record
class _Known:
    """What the store said, and when: None when it has no such machine."""

    served: Served | None
    since: float


class Machines:
    """Machines by name: those of the application, then those of the store.

    Args:
        store: Keeps entities, and definitions of machines.
        application: The user's machines and code.
        telemetry: Is told of the spans of events.
        clock: Monotonic seconds, for tests.
    """

    def __init__(
        self,
        store: Any,
        application: Application,
        *,
        telemetry: "Telemetry | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._kept: MachineStore | None = store if hasattr(store, "astored_machine") else None
        self._application = application
        self._telemetry = telemetry
        self._clock = clock
        self._own = {name: self._serve(made) for name, made in application.machines.items()}
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[Served | None]] = {}
        self._changes: Counter[str] = Counter()
        """How often this process changed what the store says."""
        self._names: tuple[str, ...] | None = None
        self._names_since = 0.0
        self._listing: asyncio.Task[tuple[str, ...]] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    # One ----------------------------------------------------------------------------------------

    def known(self, name: str) -> Served | None:
        """The machine, if nobody has to be asked for it."""
        own = self._own.get(name)
        if own is not None:
            return own
        known = self._known.get(name)
        if known is None or known.served is None:
            return None
        age = self._clock() - known.since
        if age < FRESH:
            return known.served
        if age >= STALE:
            return None
        self._looked_up(name)
        return known.served

    async def served(self, name: str, sight: Sight = None) -> Served:
        """The machine; the newest version of a stored one.

        Args:
            name: Its name.
            sight: The machines that the caller may see; no others are there.

        Raises:
            MachineNotFoundError: There is none of this name; the message lists what there is.
        """
        found: Served | None = None
        if sight is None or name in sight:
            found = self.known(name) or await asyncio.shield(self._looked_up(name))
        if found is None:
            raise missing(name, await self.visible(sight))
        return found

    def _looked_up(self, name: str) -> "asyncio.Task[Served | None]":
        """The look-up that is under way, or a new one."""
        task = self._looking.get(name)
        if task is None:
            task = self._looking[name] = asyncio.create_task(self._find(name))
            task.add_done_callback(partial(self._done, name))
        return task

    def _done(self, name: str, task: "asyncio.Task[Served | None]") -> None:
        if self._looking.get(name) is task:
            del self._looking[name]
        _noticed(task)

    async def _find(self, name: str) -> Served | None:
        """Ask the store; an answer from before a change of ours is not kept."""
        began, changes = self._clock(), self._changes[name]
        stored = None if self._kept is None else await self._kept.astored_machine(name)
        before = self._known.get(name)
        served = None if before is None else before.served
        if stored is None:
            if changes == self._changes[name]:
                self._known.pop(name, None)
            return None
        if served is None or _is_other(served, stored):
            made = await asyncio.to_thread(compiled, stored)
            if changes == self._changes[name]:
                self._retire(served)
            served = self._serve(made, stored.fingerprint)
        if changes == self._changes[name]:
            self._known[name] = _Known(served, began)
        return served

    def _serve(self, machine: StateMachine, fingerprint: str | None = None) -> Served:
        application = self._application
        orchestrator = Orchestrator(
            machine,
            self._store,
            application.guards,
            application.actions,
            context_validator=application.context_validator,
            hooks=application.hooks,
            telemetry=self._telemetry,
        )
        return Served(machine.name, orchestrator.machine, orchestrator, fingerprint)

    def _retire(self, served: Served | None) -> None:
        """Let a version that is used no more finish what it has begun."""
        if served is not None:
            task = asyncio.create_task(_closed(served))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def forget(self, name: str) -> None:
        """Ask the store for it the next time: it was just written, or deleted."""
        self._changes[name] += 1
        self._looking.pop(name, None)
        known = self._known.get(name)
        if known is not None:
            self._known[name] = _Known(known.served, float("-inf"))
        self._names = self._listing = None

    # All ----------------------------------------------------------------------------------------

    async def names(self) -> tuple[str, ...]:
        """The names of all machines, sorted."""
        found = self._names
        age = self._clock() - self._names_since
        if found is None or age >= STALE:
            return await asyncio.shield(self._listed())
        if age >= FRESH:
            self._listed()
        return found

    async def visible(self, sight: Sight) -> tuple[str, ...]:
        """The names of all machines that the caller may see."""
        names = await self.names()
        return names if sight is None else tuple(name for name in names if name in sight)

    def only(self) -> str | None:
        """The name of the only machine there is, if that is known without asking anybody."""
        found = self._names
        if found is None or len(found) != 1:
            return None
        age = self._clock() - self._names_since
        if age >= STALE:
            return None
        if age >= FRESH:
            self._listed()
        return found[0]

    def _listed(self) -> "asyncio.Task[tuple[str, ...]]":
        task = self._listing
        if task is None or task.done():
            task = self._listing = asyncio.create_task(self._find_names())
            task.add_done_callback(_noticed)
        return task

    async def _find_names(self) -> tuple[str, ...]:
        began, changes = self._clock(), self._changes.total()
        names = set(self._own)
        after: str | None = None
        while self._kept is not None:
            page = await self._kept.astored_machines(after=after, limit=_NAMES)
            names.update(each.name for each in page.items)
            if page.next is None or not page.items:
                break
            after = write_cursor("machines", page.items[-1].name, _LAST)
        found = tuple(sorted(names))
        if changes == self._changes.total():
            self._names, self._names_since = found, began
        return found

    async def close(self) -> None:
        """Wait for what is under way."""
        for task in [*self._looking.values(), *([self._listing] if self._listing else [])]:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        known = [each.served for each in self._known.values() if each.served is not None]
        for served in [*self._own.values(), *known]:
            await served.orchestrator.close()


def missing(name: str, known: tuple[str, ...]) -> MachineNotFoundError:
    """There is no machine of this name; these are there."""
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    there = f"there are {', '.join(known[:_SHOWN])}{more}" if known else "none is served"
    return MachineNotFoundError(
        f"there is no machine {name!r}: {there}",
        context={"machine": name, "machines": list(known[:_SHOWN])},
    )


def _is_other(served: Served, stored: StoredMachine) -> bool:
    """A new version may mean the same, and is another one to history all the same."""
    return (served.machine.version, served.fingerprint) != (stored.version, stored.fingerprint)


def compiled(stored: StoredMachine) -> StateMachine:
    """The machine that a store keeps.

    Raises:
        FSMError: This release cannot load it.
    """
    try:
        return StateMachine.from_definition(load_config(configuration(stored)))
    except ConfigurationError as error:  # no mistake of the caller's
        raise FSMError(
            f"version {stored.version!r} of machine {stored.name!r} is stored, and this release"
            f" cannot load it: {error.message}; store a version that it can load",
            context={"machine": stored.name, "version": stored.version},
        ) from error


def _noticed(task: "asyncio.Task[Any]") -> None:
    """Those who waited for it have its error; if nobody did, nobody has to."""
    if not task.cancelled():
        task.exception()


async def _closed(served: Served) -> None:
    await served.orchestrator.close()
