"""Whose an entity is: the machine that an event or a look-up means.

Laws:

- The machine of an entity is the one that is given; else the only one there is, if it has an entity
  of this id or nobody has; else the one that has. A new entity needs one of the first two.
- Entities do not go away: which of them the only machine has is asked once.
- A caller who is limited to some machines sees no others: for such a caller they are not there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pystator.errors import AmbiguousEntityError, MachineNotFoundError
from pystator.service.machines import Machines, Served, Sight

if TYPE_CHECKING:
    from pystator.stores.prunable import CompleteStore

__all__ = ["Owners", "Sight"]

_REMEMBERED: Final = 2.0
"""Seconds for which it is known which machines have an entity of an id."""

_MOST: Final = 10_000
"""Ids of which that is known."""

_MOST_OWN: Final = 100_000
"""Ids that are known to be of the only machine."""


class Owners:
    """The machines of entities.

    Args:
        store: Where entities are.
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
        self._known: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._own: dict[str, str] = {}

    def known(self, entity_id: str, machine_name: str | None, sight: Sight) -> Served | None:
        """The machine, if that takes no question: most events need no more."""
        if sight is not None:
            return None
        name = machine_name
        if name is None:
            name = self._machines.only()
            if name is None or self._own.get(entity_id) != name:
                return None
        return self._machines.known(name)

    async def machine_of(self, entity_id: str, machine_name: str | None, sight: Sight) -> Served:
        """The machine of an entity that may be new.

        Raises:
            MachineNotFoundError: There is none of this name; or the entity is new and there are
                several: the message lists the choices.
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        known = self.known(entity_id, machine_name, sight)
        if known is not None:
            return known
        name = machine_name or await self.owner(entity_id, sight)
        if name is None:
            raise _choose(entity_id, await self.visible(sight))
        return await self.served(name, sight)

    async def served(self, name: str, sight: Sight) -> Served:
        """A machine that the caller may see.

        Raises:
            MachineNotFoundError: There is none.
        """
        return await self._machines.served(name, sight)

    async def visible(self, sight: Sight) -> tuple[str, ...]:
        """The names of all machines that the caller may see."""
        return await self._machines.visible(sight)

    async def owner(self, entity_id: str, sight: Sight) -> str | None:
        """The machine's name where none is given; None when it cannot be known.

        It may be one that is served no longer.

        Raises:
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        visible = await self.visible(sight)
        only = visible[0] if len(visible) == 1 else None
        if only is not None and self._own.get(entity_id) == only:
            return only
        owners = await self._seen(entity_id, sight)
        if only is not None and (not owners or only in owners):
            if owners:
                self._settle(entity_id, only)
            return only
        if len(owners) > 1:
            raise AmbiguousEntityError(
                f"several machines have an entity {entity_id!r}: {', '.join(owners)}; "
                "say which with machine_name",
                context={"entity_id": entity_id, "machines": list(owners)},
            )
        return owners[0] if owners else None

    def _settle(self, entity_id: str, name: str) -> None:
        if len(self._own) >= _MOST_OWN:
            self._own.clear()
        self._own[entity_id] = name

    async def _seen(self, entity_id: str, sight: Sight) -> tuple[str, ...]:
        """The machines that have an entity of this id, those that the caller may see."""
        owners = await self._owners(entity_id)
        return owners if sight is None else tuple(name for name in owners if name in sight)

    async def _owners(self, entity_id: str) -> tuple[str, ...]:
        now = self._clock()
        known = self._known.get(entity_id)
        if known is not None and now - known[0] < _REMEMBERED:
            return known[1]
        owners = tuple(await self._store.amachines(entity_id))
        if owners:  # a new entity may come any moment
            self._known[entity_id] = (now, owners)
            self._known.move_to_end(entity_id)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return owners


def _choose(entity_id: str, names: tuple[str, ...]) -> MachineNotFoundError:
    """The entity is new, and it is not clear which machine it is to have."""
    facts = {"entity_id": entity_id, "machines": list(names)}
    if not names:
        return MachineNotFoundError(
            "no machine is served: store one with POST /api/v1/machines or `pystator machines"
            " create FILE`, or bring one with --app",
            context=facts,
        )
    return MachineNotFoundError(
        f"there is no entity {entity_id!r} yet: say with machine_name which machine it is to have:"
        f" {', '.join(names)}",
        context=facts,
    )
