"""Machines that a store keeps, by name: ``order`` is the newest version, ``order@1.0`` that one."""

import json
from collections.abc import Iterator
from typing import Any, Protocol, cast

from pystator.errors import ConfigurationError
from pystator.records import Page, StoredMachine
from pystator.stores.definitions import age

__all__ = ["KeptMachines", "all_machines", "configuration", "find_machine", "newest_machines"]

_SHOWN = 20
"""Versions that are listed where the one that was asked for is not there."""


class KeptMachines(Protocol):
    """The reads of a `MachineStore`, or of a service."""

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """The newest version, or the one that is named; None when there is none."""
        ...

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """One page of all versions in the order ``(name, version)``."""
        ...


def all_machines(store: KeptMachines) -> Iterator[StoredMachine]:
    """All versions in the order ``(name, version)``."""
    after: str | None = None
    while True:
        page: Page[StoredMachine] = store.stored_machines(after=after)
        yield from page.items
        after = page.next
        if after is None:
            return


def find_machine(store: KeptMachines, name: str, shown: str) -> StoredMachine:
    """The machine that is named.

    Args:
        store: Where it is kept.
        name: ``order`` or ``order@1.0``.
        shown: The store's URL, for the error.

    Raises:
        ConfigurationError: Nothing of this name is stored; the message lists what is.
    """
    wanted, _, version = name.partition("@")
    found = store.stored_machine(wanted, version or None)
    if found is not None:
        return found
    known = [f"{each.name}@{each.version}" for each in all_machines(store)]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    stored = (
        f"stored are {', '.join(known[:_SHOWN])}{more}" if known else "no machine is stored there"
    )
    raise ConfigurationError(
        f"no machine {name!r} in {shown}: {stored}; or name a file, e.g. {wanted}.yaml",
        context={"machine": name, "stored": known},
    )


def newest_machines(store: KeptMachines) -> dict[str, StoredMachine]:
    """The newest version of every machine, by name."""
    found: dict[str, StoredMachine] = {}
    for machine in all_machines(store):
        there = found.get(machine.name)
        if there is None or age(there) < age(machine):
            found[machine.name] = machine
    return found


def configuration(machine: StoredMachine) -> dict[str, Any]:
    """What the machine is made from."""
    return cast("dict[str, Any]", json.loads(machine.definition))
