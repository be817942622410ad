"""Definitions of machines in MongoDB, as operations: a document a version, which never changes."""

from collections.abc import Mapping
from typing import Any, Final

from pystator.errors import StoreUnavailableError
from pystator.records import Page, StoredMachine
from pystator.stores.definitions import (
    age,
    check_deletion,
    is_same,
    machine_page,
    machines_after,
)
from pystator.stores.keys import is_storable, rows_asked
from pystator.stores.mongodb.documents import MACHINES, STATES, Document, id_of
from pystator.stores.mongodb.encode import next_rev
from pystator.stores.mongodb.link import LOCAL, OWN, Operation, Rows
from pystator.stores.mongodb.relay import insist

__all__ = ["delete_machine", "save_machine", "stored_machine", "stored_machines"]

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


def delete_machine(name: str, version: str | None) -> Operation[int]:
    """Delete a version, or all of them; how many there were.

    The server need not have transactions. So entities are counted before and after: when one came
    in between, the versions are put back. Who is killed there has deleted them.

    Raises:
        ConfigurationError: Entities of this machine are alive.
    """
    if not is_storable(name, version):
        return 0
    command: Document = {"find": MACHINES, "filter": {"name": name}, "readConcern": LOCAL}
    there: list[Document] = yield Rows(command)
    gone = [each for each in there if version in {None, each["version"]}]
    if not gone:
        return 0
    newest = max(map(_machine, there), key=age)
    last = version if version != newest.version else None
    check_deletion(name, version, (yield from _alive(name, last)))
    which = {"_id": {"$in": [each["_id"] for each in gone]}}
    yield from insist({"delete": MACHINES, "deletes": [{"q": which, "limit": 0}]})
    alive = yield from _alive(name, last)
    if alive:
        yield from insist({"insert": MACHINES, "documents": gone, "ordered": False})
    check_deletion(name, version, alive)
    return len(gone)


def _alive(name: str, version: str | None) -> Operation[int]:
    """Entities of a machine that are not archived; of a version, those that it wrote last."""
    which: Document = {"machine_name": name, "state": {"$gt": ""}}
    if version is not None:
        which["machine_version"] = version
    found: list[Document] = yield Rows(
        {
            "aggregate": STATES,
            "pipeline": [{"$match": which}, {"$count": "count"}],
            "cursor": {},
            "readConcern": LOCAL,
        }
    )
    number: int = found[0]["count"] if found else 0
    return number


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
