"""Paged reads of the MongoDB store, as operations: see `pystator.stores.mongodb.link`.

Laws:

- Every read is bounded by an index, in that index's order.
- History is read from the entity's document first and from ``transition_history`` afterwards: what
  has left the tail by then is filed, and what is met twice is one row. When a row turns up that the
  document did not tell of yet, both are read again, so that a page is history as of one moment; a
  snapshot may, for it may stand for rows that were there at that moment.
- Names in documents are compared by their bytes of UTF-8, which is the order of code points. No
  name has a control character, so that ``_id``s, with one between their parts, are in the order of
  keys.
"""

from collections.abc import Sequence
from typing import Any, Final

from pystator.records import Entity, HistoryEntry, Key, Page
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.mongodb.documents import (
    AFTER,
    APART,
    ENTITY,
    HISTORY,
    SNAPSHOT,
    STATES,
    Document,
    entity_of,
    entry_of,
    first_number,
    id_of,
)
from pystator.stores.mongodb.link import Operation, Rows
from pystator.stores.programs import the_machine

__all__ = ["any_of", "count_by_state", "due", "entities", "history", "machines", "row_lookup"]

_LARGEST: Final = 2**63 - 1

_TRIES: Final = 50
"""Reads of a page of history, when rows are relayed every time in between."""

_Place = tuple[int, int]
"""Where a row stands in its key's history: version and number."""


# Machines -----------------------------------------------------------------------------------------


def machines(entity_id: str) -> Operation[list[str]]:
    """Names of the machines that have an entity of this id, sorted."""
    found = yield from _of_id(entity_id)
    return [document["machine_name"] for document in found if document["version"]]


def _of_id(entity_id: str) -> Operation[list[Document]]:
    """What there is of an id, by machine; of a tail only whether it has rows."""
    if not is_storable(entity_id):
        return []
    found: list[Document] = yield Rows(
        {
            "find": STATES,
            "filter": {"_id": {"$gte": id_of(entity_id, ""), "$lt": f"{entity_id}{AFTER}"}},
            "projection": {"_id": 0, "machine_name": 1, "version": 1, "waiting": 1},
            "sort": {"_id": 1},
        }
    )
    return found


def _with_rows(entity_id: str) -> Operation[list[str]]:
    """Names of the machines that have an entity or rows of this id, sorted."""
    names: list[str] = []
    for document in (yield from _of_id(entity_id)):
        machine: str = document["machine_name"]
        if document["version"] or document.get("waiting"):
            names.append(machine)
            continue
        rows = yield Rows(
            {
                "find": HISTORY,
                "filter": {"entity_id": entity_id, "machine_name": machine},
                "projection": {"_id": 1},
                "limit": 1,
            }
        )
        if rows:
            names.append(machine)
    return names


# History ------------------------------------------------------------------------------------------


def history(
    entity_id: str,
    machine_name: str | None,
    after: str | None,
    limit: int,
    *,
    newest_first: bool,
) -> Operation[Page[HistoryEntry]]:
    """Rows of one entity in the order ``(version, id)``."""
    limit = rows_asked(limit)
    place: _Place = (_LARGEST, _LARGEST) if newest_first else (-1, -1)
    if after is not None:
        version, number = read_cursor("history", after, int, int)
        place = (version, number)
    if machine_name is None:
        machine_name = the_machine(entity_id, (yield from _with_rows(entity_id)))
    if machine_name is None or not is_storable(entity_id, machine_name):
        return Page([])
    rows: _Found | None = None
    tries = _TRIES
    while rows is None:
        tries -= 1
        rows = yield from _rows(
            entity_id, machine_name, place, limit + 1, newest_first=newest_first, strict=tries > 0
        )
    items = [entry_of(row, here[1], entity_id, machine_name) for here, row in rows[:limit]]
    more = len(rows) > limit and bool(items)
    return Page(items, write_cursor("history", *rows[limit - 1][0]) if more else None)


_Found = list[tuple[_Place, Document]]


def _rows(
    entity_id: str,
    machine_name: str,
    place: _Place,
    limit: int,
    *,
    newest_first: bool,
    strict: bool,
) -> Operation[_Found | None]:
    """The next rows, of tail and collection together.

    Args:
        entity_id: Whose.
        machine_name: Whose.
        place: Where they go on.
        limit: At most so many.
        newest_first: Backwards.
        strict: None where they have to be read again.
    """
    documents = yield Rows(
        {
            "find": STATES,
            "filter": {"_id": id_of(entity_id, machine_name)},
            "projection": {"seq": 1, "tail": 1},
        }
    )
    if not documents:
        return []
    [document] = documents
    rows: dict[_Place, Document] = {}
    for number, row in enumerate(document.get("tail", ()), first_number(document)):
        here = (row["version"], number)
        if here < place if newest_first else here > place:
            rows[here] = row
    key = {"entity_id": entity_id, "machine_name": machine_name}
    filed = yield from _filed(key, place, limit, newest_first=newest_first)
    for row in filed:
        if strict and row["id"] > document["seq"] and row["kind"] != SNAPSHOT:
            return None  # it was relayed just now, and another one before it may have been missed
        rows[row["version"], row["id"]] = row
    return sorted(rows.items(), key=lambda item: item[0], reverse=newest_first)[:limit]


def _filed(
    key: Document, place: _Place, limit: int, *, newest_first: bool
) -> Operation[list[Document]]:
    """The next rows that have left the tail: of the place's version, then of those behind it."""
    version, number = place
    beyond, order = ("$lt", -1) if newest_first else ("$gt", 1)
    found: list[Document] = []
    if 0 <= version < _LARGEST:
        found = yield Rows(
            {
                "find": HISTORY,
                "filter": {**key, "version": version, "id": {beyond: number}},
                "sort": {"id": order},
                "limit": limit,
            }
        )
    if len(found) < limit:
        found += yield Rows(
            {
                "find": HISTORY,
                "filter": {**key, "version": {beyond: version}},
                "sort": {"version": order, "id": order},
                "limit": limit - len(found),
            }
        )
    return found


def row_lookup(name: str, which: Document, *, newest: bool = False) -> Document:
    """The stage that looks up the first filed row of a key, or the last, as a list.

    Args:
        name: The field it becomes.
        which: Only rows that are so.
        newest: The last one, in the order of history.
    """
    order = -1 if newest else 1
    fields = ("version", "id", "commit_id", "recorded_at")
    return {
        "$lookup": {
            "from": HISTORY,
            "localField": "entity_id",
            "foreignField": "entity_id",
            "let": {"machine": "$machine_name"},
            "pipeline": [
                {"$match": {"$expr": {"$eq": ["$machine_name", "$$machine"]}, **which}},
                {"$sort": {"version": order, "id": order}},
                {"$limit": 1},
                {"$project": dict.fromkeys(fields, 1)},
            ],
            "as": name,
        }
    }


# Entities -----------------------------------------------------------------------------------------


def entities(
    state: str | None,
    machines: Sequence[str] | None,
    since: int | None,
    after: str | None,
    limit: int,
    *,
    archived: bool,
) -> Operation[Page[Entity]]:
    """Entities in the order of their keys.

    An entity that changes while the server walks along an index may be met again: it comes once.
    """
    limit = rows_asked(limit)
    place: Any = None if after is None else read_cursor("entities", after, str, str)
    if not is_storable(state):
        return Page([])
    found = yield Rows(
        {
            "find": STATES,
            "filter": _wanted(state, machines, since, place, archived=archived),
            "projection": {**ENTITY, "_id": 1},
            "sort": {"_id": 1},
            "limit": limit + 1,
        }
    )
    documents = {document["_id"]: document for document in found[:limit]}
    items = [entity for entity in map(entity_of, documents.values()) if entity is not None]
    more = len(found) > limit and bool(items)
    return Page(items, write_cursor("entities", *items[-1].key) if more else None)


def _wanted(
    state: str | None,
    machines: Sequence[str] | None,
    since: int | None,
    place: Key | None,
    *,
    archived: bool,
) -> Document:
    wanted: Document = {}
    if state is not None:
        wanted[APART["leaves"] if archived else "leaves"] = state
    if machines is not None:
        wanted["machine_name"] = any_of(machines)
    if since is not None:
        wanted["state_since"] = {"$lt": since}
    if state is None:  # else it is an entity, for it has leaves
        wanted[APART["state"] if archived else "state"] = {"$gt": ""}
    if place is not None:
        wanted["_id"] = {"$gt": id_of(*place)}
    return wanted


def any_of(machines: Sequence[str]) -> Any:
    """What one of these machines' names fits."""
    names = [name for name in machines if is_storable(name)]
    return names[0] if len(names) == 1 else {"$in": names}


def count_by_state(machines: Sequence[str] | None, *, archived: bool) -> Operation[dict[str, int]]:
    """Configuration -> number of entities."""
    state = APART["state"] if archived else "state"
    wanted: Document = {  # of all machines, too: so that an index has all it takes
        "machine_name": {"$gte": ""} if machines is None else any_of(machines),
        state: {"$gt": ""},
    }
    found: list[Document] = yield Rows(
        {
            "aggregate": STATES,
            "pipeline": [
                {"$match": wanted},
                {"$group": {"_id": f"${state}", "count": {"$sum": 1}}},
            ],
            "cursor": {},
        }
    )
    return {document["_id"]: document["count"] for document in found}


def due(now: int, limit: int, machine_name: str | None) -> Operation[list[Key]]:
    """Keys of entities with a deadline at or before ``now``, earliest first."""
    limit = rows_asked(limit)
    if not limit or not is_storable(machine_name):
        return []
    wanted: Document = {"next_due": {"$lte": min(now, _LARGEST)}}
    if machine_name is not None:
        wanted["machine_name"] = machine_name
    found = yield Rows(
        {
            "find": STATES,
            "filter": wanted,
            "projection": {"_id": 0, "entity_id": 1, "machine_name": 1},
            "sort": {"next_due": 1, "entity_id": 1, "machine_name": 1},
            "limit": limit,
        }
    )
    return [(document["entity_id"], document["machine_name"]) for document in found]
