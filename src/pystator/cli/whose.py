"""Finding the entity that is meant, with or without its machine."""

from typing import TYPE_CHECKING

from pystator.errors import AmbiguousEntityError, EntityNotFoundError
from pystator.records import Lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystator.records import Entity
    from pystator.stores.protocols import NativeStore

__all__ = ["machine_of", "no_entity", "several", "the_entity"]


def machine_of(store: "NativeStore", entity_id: str) -> str | None:
    """The only machine that has an entity of this id; None when none has.

    Raises:
        AmbiguousEntityError: Several have.
    """
    machines = store.machines(entity_id)
    if len(machines) > 1:
        raise several(entity_id, machines)
    return machines[0] if machines else None


def the_entity(store: "NativeStore", entity_id: str, machine_name: str | None) -> "Entity":
    """The entity.

    Raises:
        EntityNotFoundError: There is none.
        AmbiguousEntityError: There are several of this id, and no machine is given.
    """
    name = machine_of(store, entity_id) if machine_name is None else machine_name
    if name is not None:
        (loaded,) = store.load([Lookup(entity_id, name)])
        if loaded.entity is not None:
            return loaded.entity
    raise no_entity(entity_id, machine_name)


def several(entity_id: str, machines: "Sequence[str]") -> AmbiguousEntityError:
    """Several machines have an entity of this id."""
    return AmbiguousEntityError(
        f"several machines have an entity {entity_id!r}: {', '.join(machines)}; "
        "say which with --machine",
        context={"entity_id": entity_id, "machines": list(machines)},
    )


def no_entity(entity_id: str, machine_name: str | None) -> EntityNotFoundError:
    """There is no entity of this id."""
    whose = "" if machine_name is None else f" of machine {machine_name!r}"
    return EntityNotFoundError(
        f"there is no entity {entity_id!r}{whose}; `pystator entities` lists what there is",
        context={"entity_id": entity_id},
    )
