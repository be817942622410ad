"""The relay: rows of history on their way from an entity's document to ``transition_history``.

::

    commit --> tail of the entity's document --> transition_history --> out of the tail
               (one atomic write)                (with a number of the feed)

Laws:

- A row is filed first and leaves the tail afterwards, so that at every moment it is in one of the
  two, or in both with the same ``_id``. Who reads both looks at the tail first and drops what it
  meets twice: it sees every row exactly once, whoever relays meanwhile and wherever it is killed.
- Whatever a relay does may be done again, by itself or by others at the same time: a row that is
  filed already is refused by its ``_id``, and a tail is cut by number, to the rows behind the last
  one that is known to be filed.
- ``feed`` numbers are given without gaps: a row gets the next one after the greatest there is, and
  of two relays that want the same number the unique index refuses one, which looks again. So a
  number appears only when all smaller ones are there, and what appears later has a greater one. An
  entity's rows are filed in their order.
- Of two rows with one event id the first that is filed keeps it. The other one stays, as what was
  done or refused then, without the id: the commits of both had seen neither, which takes hundreds
  of events of one entity between a load and its commit.
- What is filed, and what leaves a tail because it is, was read as safe as it was written: of rows
  that a new primary does not have, none is filed, and none is taken to be.
- Rows that are pruned leave ``_id`` and number behind for an hour: a relay that slept since before
  they were filed cannot bring them back.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from math import inf
from typing import Any, Final

from pystator.errors import StoreUnavailableError
from pystator.stores.mongodb.documents import (
    HISTORY,
    STATES,
    Document,
    filed,
    first_number,
    size_of,
)
from pystator.stores.mongodb.errors import LEAVING, Unanswered
from pystator.stores.mongodb.link import LOCAL, OWN, Operation, Request, Rows

__all__ = ["Numbers", "cut_to", "insist", "relay", "relay_waiting"]

TAILS: Final = 50
"""Documents whose tails are relayed together."""

MOST: Final = 1_000
"""Rows of one insert."""

LARGEST: Final = 4_000_000
"""Bytes of one insert, about; the driver takes four times as many. A single row may have more."""

_IDS: Final = 200
"""Event ids that a document keeps beyond those of its tail; it forgets as many at a time."""

_TRIES: Final = 5
"""How often a write is sent whose answer is lost, and that may be sent twice."""

_PATIENCE: Final = 20
"""Refusals in a row that nobody else's rows explain."""

_DUPLICATE: Final = 11000

_TAIL: Final[Document] = {"entity_id": 1, "machine_name": 1, "seq": 1, "tail": 1}


class Numbers:
    """What a store remembers of the feed.

    Attributes:
        last: The greatest number it has met: where to look for greater ones.
        swept: When it removed what pruned rows leave behind, on the monotonic clock.
    """

    __slots__ = ("last", "swept")

    def __init__(self) -> None:
        self.last = 0
        self.swept = -inf


def relay(keys: Sequence[str], numbers: Numbers | None = None) -> Operation[None]:
    """Relay what is in the tails of these documents now.

    Args:
        keys: Their ``_id``s.
        numbers: The store's.
    """
    numbers = numbers or Numbers()
    for start in range(0, len(keys), TAILS):
        some = list(keys[start : start + TAILS])
        yield from _relay({"_id": {"$in": some}, "waiting": True}, numbers)


def relay_waiting(numbers: Numbers, enough: int | None = None) -> Operation[None]:
    """Relay what waits in any tail, at least as of now.

    Args:
        numbers: The store's.
        enough: So many rows are enough.
    """
    after = ""
    moved = 0
    while enough is None or moved < enough:
        documents = yield from _relay({"waiting": True, "_id": {"$gt": after}}, numbers)
        if len(documents) < TAILS:
            return
        moved += sum([len(document.get("tail", ())) for document in documents])
        after = documents[-1]["_id"]


def _relay(which: Document, numbers: Numbers) -> Operation[list[Document]]:
    """Relay tails of the first documents that are meant; the documents as they were before."""
    found: list[Document] = yield Rows(
        {
            "find": STATES,
            "filter": which,
            "projection": _TAIL,
            "sort": {"_id": 1},
            "limit": TAILS,
            "readConcern": OWN,
        }
    )
    if found:
        yield from _file(list(_in_order(found)), numbers)
        updates = [
            {"q": {"_id": document["_id"]}, "u": cut_to(document["seq"])} for document in found
        ]
        yield from insist({"update": STATES, "ordered": False, "updates": updates})
    return found


def _in_order(documents: Sequence[Mapping[str, Any]]) -> Iterator[Document]:
    """Their rows, as they are filed: about in the order of time, and each key's in their own."""
    tails = [
        [
            filed(document, row, number)
            for number, row in enumerate(document.get("tail", ()), first_number(document))
        ]
        for document in documents
    ]
    return merge(*tails, key=_recorded_at)


def _recorded_at(row: Document) -> int:
    recorded_at: int = row["recorded_at"]
    return recorded_at


def cut_to(number: int) -> list[Document]:
    """The update that takes rows up to this number out of a tail, whatever came after them.

    Of event ids that are many, it forgets the oldest ones, all of rows that are filed.
    """
    left: Document = {"$subtract": ["$seq", number]}
    cut: Document = {
        "$cond": [
            {"$gt": [left, 0]},
            {"$slice": [{"$ifNull": ["$tail", []]}, {"$multiply": [-1, left]}]},
            [],
        ]
    }
    waiting: Document = {"$cond": [{"$gt": [{"$size": "$tail"}, 0]}, True, "$$REMOVE"]}
    known: Document = {"$size": {"$ifNull": ["$ids", []]}}
    kept: Document = {"$max": [_IDS, {"$size": "$tail"}]}
    is_long: Document = {"$gt": [known, {"$add": [kept, _IDS]}]}
    forgotten: Document = {"$add": [{"$ifNull": ["$forgotten", 0]}, {"$subtract": [known, kept]}]}
    return [
        {"$set": {"tail": cut}},
        {"$set": {"waiting": waiting, "forgotten": _if(is_long, forgotten, "$forgotten")}},
        {"$set": {"ids": _if(is_long, {"$slice": ["$ids", {"$multiply": [-1, kept]}]}, "$ids")}},
    ]


def _if(condition: Document, then: Any, otherwise: Any) -> Document:
    """A value that is one or the other; a field that is not there stays away."""
    return {"$cond": [condition, then, {"$ifNull": [otherwise, "$$REMOVE"]}]}


# Filing -------------------------------------------------------------------------------------------


def _file(rows: list[Document], numbers: Numbers) -> Operation[None]:
    """Put rows into the collection, each with the next number of the feed."""
    before: tuple[int, Document] | None = None
    stuck = 0
    while rows:
        last = yield from _greatest(numbers)
        stuck = stuck + 1 if before == (last, rows[0]) else 0
        if stuck > _PATIENCE:
            raise StoreUnavailableError(
                "rows cannot be filed: is there a unique index on transition_history that is not"
                " PyStator's?",
                context={"row": rows[0]["_id"]},
            )
        before = (last, rows[0])
        part = [{**row, "feed": last + n} for n, row in enumerate(_first(rows), 1)]
        written = yield from _insert(part)
        numbers.last = last + written
        rows = rows[written:]
        if written < len(part):
            rows = yield from _missing(rows)


def _greatest(numbers: Numbers) -> Operation[int]:
    """The greatest number of the feed; what is known of it makes it quick."""
    while True:
        found = yield Rows(
            {
                "find": HISTORY,
                "filter": {"feed": {"$gte": numbers.last}},
                "projection": {"_id": 0, "feed": 1},
                "sort": {"feed": -1},
                "limit": 1,
                "readConcern": LOCAL,
            }
        )
        if found:
            numbers.last = found[0]["feed"]
        if found or not numbers.last:
            return numbers.last
        numbers.last = 0  # the collection was emptied


def _first(rows: Sequence[Document]) -> Sequence[Document]:
    """As many as one insert takes."""
    size = 0
    for count, row in enumerate(rows[:MOST]):
        size += size_of(row)
        if count and size > LARGEST:
            return rows[:count]
    return rows[:MOST]


def _insert(rows: list[Document]) -> Operation[int]:
    """Insert in order, up to the first that is refused; how many are surely there."""
    command: Document = {"insert": HISTORY, "ordered": True, "documents": rows}
    try:
        reply: Document = yield Request(command)
    except Unanswered as error:
        if not error.is_lost:
            raise
        return 0
    errors: list[Document] | None = reply.get("writeErrors")
    if not errors:
        return len(rows)
    index: int = errors[0]["index"]
    code: int | None = errors[0].get("code")
    if code in LEAVING:
        return 0
    if code != _DUPLICATE:
        raise StoreUnavailableError(
            f"the server refuses a row of transition_history: {errors[0].get('errmsg', '')}",
            context={"row": rows[index]["_id"], "code": code},
        )
    return index


def _missing(rows: list[Document]) -> Operation[list[Document]]:
    """Those of the rows that are not filed; the first without an event id that another one has."""
    there = yield Rows(
        {
            "find": HISTORY,
            "filter": {"_id": {"$in": [row["_id"] for row in rows[:MOST]]}},
            "projection": {"commit_id": 1, "version": 1},
            "readConcern": OWN,
        }
    )
    known = {row["_id"]: row for row in there}
    left = [row for row in rows if not _is_same(row, known.get(row["_id"]))]
    if left and "event_id" in left[0]:
        same = {name: left[0][name] for name in ("entity_id", "machine_name", "event_id")}
        holder = yield Rows(
            {"find": HISTORY, "filter": same, "projection": {"_id": 1}, "readConcern": LOCAL}
        )
        if holder and holder[0]["_id"] != left[0]["_id"]:
            left[0] = {name: value for name, value in left[0].items() if name != "event_id"}
    return left


def _is_same(row: Document, there: Document | None) -> bool:
    """The row is filed already, or was pruned since.

    Raises:
        StoreUnavailableError: Another one is filed under its number.
    """
    if there is None:
        return False
    if "commit_id" in there and any(there[name] != row[name] for name in ("commit_id", "version")):
        raise StoreUnavailableError(
            f"transition_history has another row as number {row['id']} of {row['entity_id']!r} than"
            " entity_states: were they restored from a backup that is not of one moment?",
            context={"entity_id": row["entity_id"], "machine_name": row["machine_name"]},
        )
    return True


def insist(command: Document) -> Operation[Document]:
    """The reply to a write that may be sent again when its answer is lost."""
    for last in range(_TRIES, -1, -1):
        try:
            reply: Document = yield Request(command)
        except Unanswered as error:
            if not last or not error.is_lost:
                raise
        else:
            errors: list[Document] = reply.get("writeErrors", [])
            if not last or not any(each.get("code") in LEAVING for each in errors):
                return reply
    raise AssertionError  # pragma: no cover - the last try returns or raises
