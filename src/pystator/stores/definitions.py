"""Definitions of machines as every store keeps them: their columns, their checks, their cursors.

A version of a machine never changes. So whoever stores one asks the store to add it unless it is
there, and what is there decides the answer.
"""

import json
from typing import Any, Final

from pystator.errors import ConfigurationError, InvalidValueError
from pystator.records import Page, StoredMachine
from pystator.stores.keys import check_machine_name, check_text, page_of, read_cursor, write_cursor

__all__ = [
    "MACHINE_COLUMNS",
    "age",
    "check_deletion",
    "check_machine",
    "is_same",
    "machine_page",
    "machines_after",
    "values_of",
]

MACHINE_COLUMNS: Final = "name, version, fingerprint, description, definition, created_at"
"""The columns of a machine, in the order of `StoredMachine`."""

_LARGEST: Final = 2**63 - 1


def values_of(machine: StoredMachine) -> tuple[Any, ...]:
    """What `MACHINE_COLUMNS` tells."""
    return (
        machine.name,
        machine.version,
        machine.fingerprint,
        machine.description,
        machine.definition,
        machine.created_at,
    )


def check_machine(machine: StoredMachine) -> None:
    """What can be said about a machine without looking at the store.

    Raises:
        InvalidValueError: It cannot be stored.
    """
    if not check_machine_name(machine.name):
        raise InvalidValueError("a machine without a name cannot be stored", context={"name": ""})
    check_text(machine.version, "version")
    check_text(machine.fingerprint, "fingerprint")
    shown = f"{machine.name}@{machine.version}"
    for text in (machine.description, machine.definition):
        if text is not None and not _is_text(text):
            raise InvalidValueError(
                f"the machine {shown} cannot be stored: a text has a NUL or a lone surrogate",
                context={"machine": shown},
            )
    if not -_LARGEST <= machine.created_at <= _LARGEST:
        raise InvalidValueError(
            f"the machine {shown} cannot be stored: its created_at has more than 64 bits",
            context={"machine": shown},
        )
    try:
        found = json.loads(machine.definition)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidValueError(
            f"the machine {shown} cannot be stored: its definition is no JSON object",
            context={"machine": shown},
        )


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def is_same(machine: StoredMachine, fingerprint: str) -> bool:
    """False, for `save_machine` to return: this version is there, and is the same machine.

    Args:
        machine: Who was to be stored.
        fingerprint: Of the one that is there.

    Raises:
        ConfigurationError: It is another one.
    """
    if fingerprint == machine.fingerprint:
        return False
    raise ConfigurationError(
        f"{machine.name}@{machine.version} is stored already, and is another machine: a version"
        " never changes; give the changed machine a new version",
        context={
            "machine": machine.name,
            "version": machine.version,
            "stored": fingerprint,
            "given": machine.fingerprint,
        },
    )


def age(machine: StoredMachine) -> tuple[int, str]:
    """By which the newest version is found: the one that was stored last."""
    return machine.created_at, machine.version


def check_deletion(name: str, version: str | None, live: int) -> None:
    """See that no entity needs what is to be deleted.

    Args:
        name: The machine.
        version: The version that is to go; None for all of them.
        live: Entities that are not archived: those written last by this version where there is a
            newer one, otherwise all of this machine.

    Raises:
        ConfigurationError: There are such entities.
    """
    if not live:
        return
    shown = name if version is None else f"{name}@{version}"
    entities = "1 live entity uses" if live == 1 else f"{live} live entities use"
    raise ConfigurationError(
        f"{shown} is not deleted: {entities} it; archive them first",
        context={"machine": name, "version": version, "live": live},
    )


def machines_after(cursor: str | None) -> tuple[str, str]:
    """The place from which a page of machines goes on: ``(name, version)``; ``("", "")`` first.

    Raises:
        InvalidValueError: It is no cursor of this read.
    """
    if cursor is None:
        return ("", "")
    name, version = read_cursor("machines", cursor, str, str)
    return name, version


def machine_page(found: list[StoredMachine], limit: int) -> Page[StoredMachine]:
    """A page of the found, see `page_of`."""
    return page_of(found, limit, lambda last: write_cursor("machines", last.name, last.version))
