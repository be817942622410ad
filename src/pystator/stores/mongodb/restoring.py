"""Parcels of another store into MongoDB, as operations: see `pystator.stores.mongodb.link`.

Laws:

- A parcel is one write of one document: its rows go into the tail, together with the entity, and
  leave it like all others. What is there is looked at first, and the write is guarded by the
  document's `rev`: if anybody wrote in between, it is looked at again.
- A parcel that is too large for that (`LARGEST`) is written in parts, each of whole commits, the
  entity with the last. Who is killed in between has put in the first rows, and goes on behind the
  newest one; if somebody else writes this key meanwhile, the answer is `STALE` all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pystator.errors import InvalidValueError, StoreUnavailableError
from pystator.records import Outcome, OutcomeKind, Parcel
from pystator.stores.mongodb.documents import (
    APART,
    HISTORY,
    SNAPSHOT,
    STATES,
    Document,
    id_of,
    leaves_of,
    size_of,
)
from pystator.stores.mongodb.encode import next_rev, refusal, too_large
from pystator.stores.mongodb.errors import LEAVING, UNSENDABLE, Unanswered, refused
from pystator.stores.mongodb.link import LOCAL, OWN, Operation, Request, Rows
from pystator.stores.mongodb.reads import row_lookup
from pystator.stores.mongodb.relay import Numbers, relay
from pystator.stores.parcels import ENTITY_VALUES, ROW_VALUES, RawParcel, raw

__all__ = ["LARGEST", "restoring"]

LARGEST: Final = 4_000_000
"""Bytes of one write and of one command, about; a single row or entity may have more."""

MOST: Final = 1_000
"""Rows of one write, and parcels of one command."""

_LONG_TAIL: Final = 50
"""Rows that are relayed at once."""

_ROUNDS: Final = 20
"""How often it is looked what is there while others write."""

_TOO_LARGE: Final = frozenset({10334, 17419, 17420})
_PASSING: Final = frozenset({112, 11000})
"""Somebody else was first: it is looked at again."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)


def restoring(parcels: Sequence[Parcel], numbers: Numbers) -> Operation[list[Outcome]]:
    """Write; one `Outcome` for each, in order."""
    outcomes: dict[int, Outcome] = {}
    waiting: list[_Put] = []
    for place, parcel in enumerate(parcels):
        try:
            waiting.append(_Put(place, raw(parcel)))
        except (InvalidValueError, *UNSENDABLE) as error:
            outcomes[place] = refusal(error)
    while waiting:
        batch = _batch(waiting)
        work = _Work(batch, numbers)
        yield from work.run()
        for put in batch:
            outcome = work.outcomes[put.key]
            if outcome is not _APPLIED or not put.go_on():
                outcomes[put.place] = outcome
                waiting.remove(put)
    return [outcomes[place] for place in range(len(parcels))]


# Parts of a parcel --------------------------------------------------------------------------------


class _Part:
    """What one write takes of a parcel.

    Attributes:
        rows: As they are in a tail.
        entity: The entity's values, with the last part.
        size: Bytes, about.
    """

    __slots__ = ("entity", "rows", "size")

    def __init__(self) -> None:
        self.rows: list[Document] = []
        self.entity: Document | None = None
        self.size = 0

    @property
    def ids(self) -> list[str]:
        """Event ids of its rows."""
        return [row["event_id"] for row in self.rows if "event_id" in row]


class _Put:
    """A parcel on its way.

    Attributes:
        place: Its place in the call.
        key: ``_id`` of the document.
        part: What is to be written next.
        after: The newest row there must be.
        write: The document, if it is new, or the statement that changes it.
    """

    __slots__ = ("_parts", "after", "is_new", "key", "names", "parcel", "part", "place", "write")

    def __init__(self, place: int, parcel: RawParcel) -> None:
        self.place = place
        self.parcel = parcel
        self.key = id_of(parcel.entity_id, parcel.machine_name)
        self.names = {"entity_id": parcel.entity_id, "machine_name": parcel.machine_name}
        self.after = parcel.after
        self._parts = _parts(parcel)
        self.part = next(self._parts)
        self.write: Document = {}
        self.is_new = False

    def go_on(self) -> bool:
        """Turn to the next part; False when there is none."""
        if self.part.rows:
            newest = max(self.part.rows, key=lambda row: row["version"])
            last = [row for row in self.part.rows if row["version"] == newest["version"]][-1]
            here = (last["version"], last["commit_id"])
            if self.after is None or here[0] >= self.after[0]:
                self.after = here
        part = next(self._parts, None)
        if part is None:
            return False
        self.part = part
        return True


def _parts(parcel: RawParcel) -> Iterator[_Part]:
    """A parcel's parts, of whole commits; mostly one."""
    part = _Part()
    before: str | None = None
    for values in parcel.rows:
        row = _document(ROW_VALUES, values)
        size = size_of(row)
        commit: str = row["commit_id"]
        is_full = len(part.rows) >= MOST or part.size + size > LARGEST
        if part.rows and is_full and commit != before:
            yield part
            part = _Part()
        part.rows.append(row)
        part.size += size
        before = commit
    if parcel.entity is not None:
        part.entity = dict(zip(ENTITY_VALUES, parcel.entity, strict=True))
        part.size += size_of(part.entity)
    yield part


def _document(names: Sequence[str], values: Sequence[Any]) -> Document:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _batch(waiting: Sequence[_Put]) -> list[_Put]:
    """As many as one command takes."""
    size = 0
    for count, put in enumerate(waiting[:MOST]):
        size += put.part.size
        if count and size > LARGEST:
            return list(waiting[:count])
    return list(waiting[:MOST])


# Writing ------------------------------------------------------------------------------------------


class _Work:
    """One part of each of several parcels.

    Attributes:
        outcomes: By key.
    """

    def __init__(self, puts: Sequence[_Put], numbers: Numbers) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._pending: list[_Put] = list(puts)
        self._numbers = numbers
        self._relayed: set[str] = set()
        self._revs: dict[str, int] = {}

    def run(self) -> Operation[None]:
        """Until all have their outcomes."""
        long = [put.key for put in self._pending if len(put.part.rows) > _LONG_TAIL]
        for _ in range(_ROUNDS):
            yield from self._decide()
            for puts in (
                [put for put in self._pending if put.is_new],
                [put for put in self._pending if not put.is_new],
            ):
                if puts:
                    yield from self._send(puts)
            if not self._pending:
                break
        if self._pending:
            names = ", ".join(repr(put.parcel.entity_id) for put in self._pending[:3])
            raise StoreUnavailableError(f"others keep writing {names}; try again")
        yield from relay([key for key in long if self.outcomes[key] is _APPLIED], self._numbers)

    def _decide(self) -> Operation[None]:
        """Look at what is there; leaves those pending that fit, with what is to be written."""
        found = yield from _look([put.key for put in self._pending])
        pending = self._pending
        self._pending = []
        for put in pending:
            document = found.get(put.key)
            if not _fits(put, document) or (yield from _knows(put, document)):
                self.outcomes[put.key] = _STALE
            elif put.part.rows or put.part.entity is not None:
                # Always the same, so that a write whose answer was lost is known if it comes late.
                rev = self._revs.setdefault(put.key, next_rev())
                put.is_new = document is None
                put.write = _made(put, rev) if document is None else _update(put, document, rev)
                self._pending.append(put)
            else:
                self.outcomes[put.key] = _APPLIED

    def _send(self, puts: Sequence[_Put]) -> Operation[None]:
        """Write; leaves those pending that were not applied."""
        reply: Document = {"n": 0}
        writes = [put.write for put in puts]
        command: Document = {"update": STATES, "updates": writes, "ordered": False}
        if puts[0].is_new:
            command = {"insert": STATES, "documents": writes, "ordered": False}
        try:
            reply = yield Request(command)
        except Unanswered as error:
            if not error.is_lost:
                raise
        except UNSENDABLE as error:
            self._end({put.key: refusal(error) for put in puts})
            return
        if reply["n"] == len(puts):
            self._end(dict.fromkeys([put.key for put in puts], _APPLIED))
            return
        full = self._errors(puts, reply)
        yield from self._find_applied()
        yield from relay(full, self._numbers)

    def _errors(self, puts: Sequence[_Put], reply: Document) -> list[str]:
        """Take what the server refuses; the keys of those that may fit when tails are relayed."""
        full: list[str] = []
        outcomes: dict[str, Outcome] = {}
        errors: list[Document] = reply.get("writeErrors", [])
        for error in errors:
            index: int = error["index"]
            put = puts[index]
            code = error.get("code")
            if code in LEAVING or code in _PASSING:
                continue
            if code not in _TOO_LARGE:
                outcomes[put.key] = refusal(refused(error))
                continue
            if put.is_new or put.key in self._relayed:
                outcomes[put.key] = too_large(put.part.size)
            self._relayed.add(put.key)
            full.append(put.key)
        self._end(outcomes)
        return full

    def _find_applied(self) -> Operation[None]:
        """Look for what those left that were applied."""
        revs = {put.key: self._revs[put.key] for put in self._pending}
        if not revs:
            return
        for field in ("rev", "tail.rev"):
            which = {"_id": {"$in": list(revs)}, field: {"$in": list(revs.values())}}
            found = yield Rows(
                {
                    "find": STATES,
                    "filter": which,
                    "projection": {"_id": 1},
                    "readConcern": OWN,
                }
            )
            self._end(dict.fromkeys([document["_id"] for document in found], _APPLIED))
        for put in list(self._pending):
            if put.part.rows:
                which = {**put.names, "version": put.part.rows[0]["version"], "rev": revs[put.key]}
                command: Document = {"find": HISTORY, "filter": which, "limit": 1}
                if (yield Rows({**command, "readConcern": OWN})):
                    self._end({put.key: _APPLIED})

    def _end(self, outcomes: Mapping[str, Outcome]) -> None:
        self.outcomes |= outcomes
        self._pending = [put for put in self._pending if put.key not in outcomes]


# What is there ------------------------------------------------------------------------------------


def _look(keys: list[str]) -> Operation[dict[str, Document]]:
    """The documents, each with the newest of its rows that have left the tail."""
    fields = dict.fromkeys(
        ("entity_id", "machine_name", "version", "rev", "seq", SNAPSHOT, "forgotten"), 1
    ) | {"tail.version": 1, "tail.commit_id": 1}
    found: list[Document] = yield Rows(
        {
            "aggregate": STATES,
            "pipeline": [
                {"$match": {"_id": {"$in": keys}}},
                {"$project": fields},
                row_lookup("newest", {}, newest=True),
            ],
            "cursor": {"batchSize": len(keys)},
            "readConcern": LOCAL,
        }
    )
    return {document["_id"]: document for document in found}


def _newest(document: Document) -> tuple[int, str] | None:
    """Version and commit id of the newest row, in the order of history."""
    tail: list[Document] = document.get("tail", [])
    newest: Document | None = None
    for row in [*document["newest"], *tail]:
        if newest is None or row["version"] >= newest["version"]:
            newest = row
    return None if newest is None else (newest["version"], newest["commit_id"])


def _fits(put: _Put, document: Document | None) -> bool:
    """There is what the parcel goes on from."""
    if document is None:
        return put.parcel.base == 0 and put.after is None
    return bool(document["version"] == put.parcel.base and _newest(document) == put.after)


def _knows(put: _Put, document: Document | None) -> Operation[bool]:
    """An event id of the part is known already."""
    ids = put.part.ids
    if not ids or document is None:
        return False
    found = yield Rows(
        {
            "find": STATES,
            "filter": {"_id": put.key, "ids": {"$in": ids}},
            "projection": {"_id": 1},
            "readConcern": LOCAL,
        }
    )
    if not found and document.get("forgotten"):
        which = {**put.names, "event_id": {"$in": ids}}
        command: Document = {"find": HISTORY, "filter": which, "projection": {"_id": 1}}
        found = yield Rows({**command, "limit": 1, "readConcern": LOCAL})
    return bool(found)


def _values(put: _Put, rev: int, before: int) -> tuple[Document, Document]:
    """What is set, and what is taken away, besides rows.

    Args:
        put: The parcel.
        rev: The write's.
        before: The version that the newest snapshot is of.
    """
    part = put.part
    values: Document = {"rev": rev}
    gone: Document = {}
    if part.entity is not None:
        entity = {**part.entity, "leaves": leaves_of(part.entity["state"])}
        gone = dict.fromkeys(APART.values(), "")
        if entity.get("archived_at") is not None:
            entity = {APART.get(name, name): value for name, value in entity.items()}
            gone = dict.fromkeys(APART, "")
        for name, value in entity.items():
            if value is None:
                gone[name] = ""
            else:
                values[name] = value
    if part.rows:
        values["waiting"] = True
    snapshots = [row["version"] for row in part.rows if row["kind"] == SNAPSHOT]
    if snapshots:
        values[SNAPSHOT] = max(*snapshots, before)
    return values, gone


def _rows(part: _Part, rev: int) -> list[Document]:
    return [{**row, "rev": rev} if number == 0 else row for number, row in enumerate(part.rows)]


def _made(put: _Put, rev: int) -> Document:
    """The document of a key that has none."""
    values, _ = _values(put, rev, 0)
    rows = _rows(put.part, rev)
    appended = {"seq": len(rows), "tail": rows, "ids": put.part.ids}
    return {"_id": put.key, "version": 0, **put.names, **values, **appended}


def _update(put: _Put, document: Document, rev: int) -> Document:
    """The statement that changes the document as it was found."""
    part = put.part
    query: Document = {"_id": put.key}
    for name in ("rev", "forgotten"):
        query[name] = document.get(name, {"$exists": False})
    values, gone = _values(put, rev, document.get(SNAPSHOT, 0))
    update: Document = {"$set": values, "$inc": {"seq": len(part.rows)}}
    if gone:
        update["$unset"] = gone
    push: Document = {}
    if part.rows:
        push["tail"] = {"$each": _rows(part, rev)}
    if part.ids:
        query["ids"] = {"$nin": part.ids}
        push["ids"] = {"$each": part.ids}
    if push:
        update["$push"] = push
    return {"q": query, "u": update}
