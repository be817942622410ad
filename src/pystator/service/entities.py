"""Entities of all machines that are served: events, data, reads, and what is done by hand.

Laws:

- The machine of an entity is the one that is given; else the only one there is; else the one that
  has an entity of this id. A new entity needs one of the first two.
- A caller who is limited to some machines sees no others: for such a caller they are not there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from pystator.errors import (
    AmbiguousEntityError,
    EntityNotFoundError,
    MachineNotFoundError,
)
from pystator.records import Lookup
from pystator.service.machines import Machines, Served, missing

if TYPE_CHECKING:
    from pystator.engine.result import TransitionResult
    from pystator.records import Entity
    from pystator.stores.prunable import CompleteStore

__all__ = ["EntityService", "Scope"]

Scope = Collection[str] | None
"""Names of the machines that a caller may see; None: all."""

_REMEMBERED: Final = 2.0
"""Seconds for which it is known which machines have an entity of an id."""

_MOST: Final = 10_000
"""Ids of which that is known."""


class EntityService:
    """What callers do with entities.

    Args:
        store: Where they are.
        machines: The machines that are served.
        clock: Monotonic seconds, for tests.
    """

    def __init__(
        self,
        store: "CompleteStore",
        machines: Machines,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._machines = machines
        self._clock = clock
        self._owners: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    # Whose --------------------------------------------------------------------------------------

    async def machine_of(self, entity_id: str, machine_name: str | None, scope: Scope) -> Served:
        """The machine of an entity that may be new.

        Raises:
            MachineNotFoundError: There is none of this name; or the entity is new and there are
                several: the message lists the choices.
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        name = machine_name or await self._owner(entity_id, scope)
        if name is None:
            raise self._choose(entity_id, await self._visible(scope))
        return await self.served(name, scope)

    async def served(self, name: str, scope: Scope) -> Served:
        """A machine that the caller may see.

        Raises:
            MachineNotFoundError: There is none.
        """
        if scope is not None and name not in scope:
            raise missing(name, await self._visible(scope))
        return self._machines.known(name) or await self._machines.served(name)

    async def _visible(self, scope: Scope) -> tuple[str, ...]:
        names = await self._machines.names()
        return names if scope is None else tuple(name for name in names if name in scope)

    async def _owner(self, entity_id: str, scope: Scope) -> str | None:
        """The machine's name where none is given; None when it cannot be known."""
        if scope is None:
            only = self._machines.only()
            if only is not None:
                return only
        visible = await self._visible(scope)
        if len(visible) == 1:
            return visible[0]
        owners = await self._owners_of(entity_id)
        if scope is not None:
            owners = tuple(name for name in owners if name in scope)
        if len(owners) > 1:
            raise AmbiguousEntityError(
                f"several machines have an entity {entity_id!r}: {', '.join(owners)}; "
                "say which with machine_name",
                context={"entity_id": entity_id, "machines": list(owners)},
            )
        return owners[0] if owners else None

    async def _owners_of(self, entity_id: str) -> tuple[str, ...]:
        now = self._clock()
        known = self._owners.get(entity_id)
        if known is not None and now - known[0] < _REMEMBERED:
            return known[1]
        owners = tuple(await self._store.amachines(entity_id))
        if owners:  # a new entity may come any moment
            self._owners[entity_id] = (now, owners)
            self._owners.move_to_end(entity_id)
            if len(self._owners) > _MOST:
                self._owners.popitem(last=False)
        return owners

    def _choose(self, entity_id: str, names: tuple[str, ...]) -> MachineNotFoundError:
        if not names:
            return MachineNotFoundError(
                "no machine is served: store one with POST /api/v1/machines or `pystator machines"
                " create FILE`, or bring one with --app",
                context={"entity_id": entity_id, "machines": []},
            )
        return MachineNotFoundError(
            f"there is no entity {entity_id!r} yet: say with machine_name which machine it is to"
            f" have: {', '.join(names)}",
            context={"entity_id": entity_id, "machines": list(names)},
        )

    # Reads --------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Ask the store something small.

        Raises:
            StoreUnavailableError: It does not answer.
        """
        await self._store.aload([Lookup("ready?", "")])

    async def get(self, entity_id: str, machine_name: str | None, scope: Scope) -> "Entity":
        """The entity as stored.

        Raises:
            EntityNotFoundError: There is none.
            AmbiguousEntityError: There are several of this id, and no machine is given.
        """
        name = machine_name or await self._owner(entity_id, scope)
        if name is not None and (scope is None or name in scope):
            (loaded,) = await self._store.aload([Lookup(entity_id, name)])
            if loaded.entity is not None:
                return loaded.entity
        whose = "" if machine_name is None else f" of machine {machine_name!r}"
        raise EntityNotFoundError(
            f"there is no entity {entity_id!r}{whose}", context={"entity_id": entity_id}
        )

    # Events -------------------------------------------------------------------------------------

    async def create(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None,
        *,
        machine_name: str | None,
        event_id: str | None,
        actor: str,
        scope: Scope,
    ) -> "tuple[Served, TransitionResult]":
        """Start an entity.

        Raises:
            EntityExistsError: There is one.
        """
        served = await self.machine_of(entity_id, machine_name, scope)
        result = await served.orchestrator.async_create_entity(
            entity_id, context, event_id=event_id, actor=actor
        )
        return served, result
