"""Definitions of machines in MongoDB, as operations: a document a version, which never changes."""

from collections.abc import Mapping
from typing import Any, Final

from pystator.errors import StoreUnavailableError
from pystator.records import Page, StoredMachine
from pystator.stores.definitions import is_same, machine_page, machines_after
from pystator.stores.keys import is_storable, rows_asked
from pystator.stores.mongodb.documents import MACHINES, Document, id_of
from pystator.stores.mongodb.encode import next_rev
from pystator.stores.mongodb.link import OWN, Operation, Rows
from pystator.stores.mongodb.relay import insist

__all__ = ["save_machine", "stored_machine", "stored_machines"]

_FIELDS: Final[Document] = {
    "_id": 0, "name": 1, "version": 1, "fingerprint": 1, "description": 1, "definition": 1,
    "created_at": 1,
}  # fmt: skip

_DUPLICATE: Final = 11000


def save_machine(machine: StoredMachine) -> Operation[bool]:
    """Keep a version that was checked; False when it was there already.

    Raises:
        ConfigurationError: This version was there with another fingerprint.
    """
    key = id_of(machine.name, machine.version)
    mark = next_rev()  # by which it is known again, should the answer be lost
    document: Document = {
        "_id": key,
        "name": machine.name,
        "version": machine.version,
        "fingerprint": machine.fingerprint,
        "definition": machine.definition,
        "created_at": machine.created_at,
        "rev": mark,
    }
    if machine.description is not None:
        document["description"] = machine.description
    reply = yield from insist({"insert": MACHINES, "documents": [document]})
    errors = reply.get("writeErrors")
    if not errors:
        return True
    if errors[0].get("code") != _DUPLICATE:
        raise StoreUnavailableError(
            f"the server does not store {machine.name}@{machine.version}:"
            f" {errors[0].get('errmsg', '')}",
            context={"machine": machine.name, "version": machine.version},
        )
    found: list[Document] = yield Rows(
        {"find": MACHINES, "filter": {"_id": key}, "readConcern": OWN}
    )
    return found[0]["rev"] == mark or is_same(machine, found[0]["fingerprint"])


def stored_machine(name: str, version: str | None) -> Operation[StoredMachine | None]:
    """This version, or the one that was stored last."""
    if not is_storable(name, version):
        return None
    which: Document = {"name": name} if version is None else {"_id": id_of(name, version)}
    command: Document = {"find": MACHINES, "filter": which, "projection": _FIELDS, "limit": 1}
    if version is None:
        command["sort"] = {"created_at": -1, "version": -1}
    found = yield Rows(command)
    return _machine(found[0]) if found else None


def stored_machines(after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
    """All versions in the order ``(name, version)``."""
    place = machines_after(after)
    limit = rows_asked(limit)
    which: Document = {} if after is None else {"_id": {"$gt": id_of(*place)}}
    found = yield Rows(
        {
            "find": MACHINES,
            "filter": which,
            "projection": _FIELDS,
            "sort": {"_id": 1},
            "limit": limit + 1,
        }
    )
    return machine_page([_machine(each) for each in found], limit)


def _machine(document: Mapping[str, Any]) -> StoredMachine:
    return StoredMachine(
        document["name"],
        document["version"],
        document["fingerprint"],
        document.get("description"),
        document["definition"],
        document["created_at"],
    )
