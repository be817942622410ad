"""Loads of the MongoDB store, as operations: see `pystator.stores.mongodb.link`.

An entity is one command, and so are a thousand. So are event ids that nobody has used yet, as long
as the entity's document has all there are; where it has not, or one of them is known, the rows are
looked for as well.

Law: an answer is of one moment, that of the first command. Rows are looked for later; those that
came meanwhile, with a number above the document's ``seq``, are not known yet.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Final

from pystator.records import Entity, HistoryEntry, Loaded, Lookup
from pystator.stores.keys import is_storable
from pystator.stores.mongodb.documents import (
    ENTITY,
    HISTORY,
    STATES,
    Document,
    entity_of,
    entry_of,
    id_of,
    tail_of,
)
from pystator.stores.mongodb.link import Operation, Request, Rows

__all__ = ["Forgotten", "load_one", "loading", "remember"]

Forgotten = MutableMapping[str, tuple[int, frozenset[str]]]
"""Key -> how many event ids its document has forgotten, and those that were looked for since then.

Most documents have forgotten none, and are not in it.
"""

_PLAIN: Final[Document] = {**ENTITY, "_id": 1}
_TAIL: Final[Document] = {"entity_id": 1, "machine_name": 1, "seq": 1, "tail": 1}
"""Projections: of an entity whose key is asked for, and of what tells rows of a tail."""

_IDS: Final = 1_000
"""Event ids that are remembered of a key."""

_MANY: Final = 1_000
"""Keys of one command."""

_SOME: Final = 100
"""Keys with event ids of one command: the server compares all of its ids with each document's."""


def load_one(entity_id: str, machine_name: str) -> Operation[Entity | None]:
    """One entity."""
    if not is_storable(entity_id, machine_name):
        return None
    reply = yield Request(_find(id_of(entity_id, machine_name), ENTITY), reads=True)
    found = reply["cursor"]["firstBatch"]
    return entity_of(found[0]) if found else None


def loading(lookups: Sequence[Lookup], forgotten: Forgotten) -> Operation[list[Loaded]]:
    """Entities and known event ids, in the order of the lookups.

    Args:
        lookups: What to load.
        forgotten: Learns how many event ids a document has forgotten.
    """
    if len(lookups) == 1 and not lookups[0].event_ids:
        entity = yield from load_one(lookups[0].entity_id, lookups[0].machine_name)
        return [Loaded(entity, {})]
    asked = _asked(lookups)
    documents = yield from _documents(asked)
    for key, found in documents.items():
        if "forgotten" in found:
            remember(forgotten, key, found["forgotten"], asked[key])
    known = yield from _known(asked, documents)
    answer: list[Loaded] = []
    for lookup in lookups:
        key = id_of(lookup.entity_id, lookup.machine_name)
        document = documents.get(key)
        rows = known.get(key, {})
        answer.append(
            Loaded(
                None if document is None else entity_of(document),
                {each: rows[each] for each in lookup.event_ids if each in rows},
            )
        )
    return answer


def remember(forgotten: Forgotten, key: str, number: int, ids: Iterable[str]) -> None:
    """Keep that these event ids were looked for when the document had forgotten so many."""
    looked_for = frozenset(ids)
    before = forgotten.get(key)
    if before is not None and before[0] == number and len(before[1]) < _IDS:
        looked_for |= before[1]  # of other threads, on their way to commit
    forgotten[key] = (number, looked_for)


def _asked(lookups: Sequence[Lookup]) -> dict[str, set[str]]:
    """The event ids of each key, of names that can be stored."""
    asked: dict[str, set[str]] = {}
    for lookup in lookups:
        if is_storable(lookup.entity_id, lookup.machine_name):
            ids = asked.setdefault(id_of(lookup.entity_id, lookup.machine_name), set())
            ids.update(each for each in lookup.event_ids if is_storable(each))
    return asked


def _find(key: str, projection: Document) -> Document:
    return {
        "find": STATES,
        "filter": {"_id": key},
        "projection": projection,
        "limit": 1,
        "singleBatch": True,
    }


def _documents(asked: dict[str, set[str]]) -> Operation[dict[str, Document]]:
    """By ``_id``; ``ids`` is there where one of the event ids may be known."""
    plain = [key for key, ids in asked.items() if not ids]
    others = [key for key, ids in asked.items() if ids]
    parts = [(plain[start : start + _MANY], _PLAIN) for start in range(0, len(plain), _MANY)]
    for start in range(0, len(others), _SOME):
        some = others[start : start + _SOME]
        wanted = sorted({each for key in some for each in asked[key]})
        met: Document = {"$elemMatch": {"$in": wanted}}
        parts.append((some, {**_PLAIN, "seq": 1, "forgotten": 1, "ids": met}))
    found: list[Document] = []
    for keys, projection in parts:
        if len(keys) == 1:
            reply = yield Request(_find(keys[0], projection), reads=True)
            found += reply["cursor"]["firstBatch"]
        else:
            query = {"_id": {"$in": keys}}
            command = {"find": STATES, "filter": query, "projection": projection}
            found += yield Rows(command | {"batchSize": len(keys)})
    return {document["_id"]: document for document in found}


def _known(
    asked: dict[str, set[str]], documents: dict[str, Document]
) -> Operation[dict[str, dict[str, HistoryEntry]]]:
    """The rows of known event ids, by key and id."""
    known: dict[str, dict[str, HistoryEntry]] = {}
    met = [key for key, found in documents.items() if found.get("ids")]
    if met:  # tails first: a row that leaves its tail meanwhile is found where it goes
        command = {"find": STATES, "filter": {"_id": {"$in": met}}, "projection": _TAIL}
        for document in (yield Rows(command)):
            key = id_of(document["entity_id"], document["machine_name"])
            known[key] = _among(tail_of(document), asked[key], documents[key]["seq"])
    left: list[Document] = []
    for key, found in documents.items():
        ids = asked[key] - known.get(key, {}).keys()
        if ids and (found.get("ids") or "forgotten" in found):
            names = {name: found[name] for name in ("entity_id", "machine_name")}
            left.append({**names, "event_id": {"$in": sorted(ids)}})
    for start in range(0, len(left), _SOME):
        some = left[start : start + _SOME]
        wanted = some[0] if len(some) == 1 else {"$or": some}
        for row in (yield Rows({"find": HISTORY, "filter": wanted})):
            entry = _entry(row)
            key = id_of(entry.entity_id, entry.machine_name)
            known.setdefault(key, {}).update(_among([entry], asked[key], documents[key]["seq"]))
    return known


def _among(rows: Iterable[HistoryEntry], ids: set[str], newest: int) -> dict[str, HistoryEntry]:
    return {
        row.event_id: row
        for row in rows
        if row.event_id is not None and row.event_id in ids and row.id <= newest
    }


def _entry(row: Any) -> HistoryEntry:
    return entry_of(row, row["id"], row["entity_id"], row["machine_name"])
