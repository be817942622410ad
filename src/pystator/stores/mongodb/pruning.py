"""Pruning of the MongoDB store, as operations: see `pystator.stores.mongodb.link`.

The server need not have transactions, so a cut is several writes, in an order in which a kill
between any two of them is harmless::

    relay the tails           what is to go is in one place
    look for the guard        while it is there, nobody had cut what the plan was made from
    forget the event ids      an id that is forgotten too early is still found by its row
    append the snapshot       a fact about a version: true whoever cuts afterwards, or nobody
    relay it                  who has read the tail before finds it where the rows are no more
    take the guard out        the first row that goes, so that later plans of others notice
    take the rest out         rows before a snapshot are not replayed

Laws:

- The snapshot is there before the first row goes, and its guard goes before any other row. Whoever
  saw the guard made a plan from complete rows, so that his snapshot is true even if somebody else
  has cut meanwhile; the newer one counts, and the other one goes with the next prune.
- An entity's document says which version its newest snapshot is of. A snapshot is appended and this
  is changed in one write, if it is of a later version: there are never two of one version.
- A row that goes leaves its ``_id`` and its number in the feed behind for an hour (see the relay).
  Nothing that reads rows meets it: it has no entity id any more. The greatest number of the feed
  stays, so that it is not given again.
"""

from collections.abc import Sequence
from time import monotonic, time_ns
from typing import Any, Final

from pystator.errors import StoreUnavailableError
from pystator.records import Commit, Cut, Key
from pystator.stores.mongodb.documents import (
    HISTORY,
    SNAPSHOT,
    STATES,
    Document,
    first_number,
    id_of,
    row_id,
    row_of,
)
from pystator.stores.mongodb.encode import next_rev
from pystator.stores.mongodb.link import LOCAL, Operation, Rows
from pystator.stores.mongodb.reads import row_lookup
from pystator.stores.mongodb.relay import Numbers, insist, relay
from pystator.stores.pruning import UNLIMITED

__all__ = ["prune_keys", "prune_rows"]

KEPT: Final = 3_600_000_000
"""Microseconds for which a row leaves something behind."""

SWEPT: Final = 600.0
"""Seconds in which a store removes it once."""


# Keys ---------------------------------------------------------------------------------------------


def prune_keys(after: Key | None, limit: int) -> Operation[list[tuple[Key, int | None]]]:
    """The next keys that have rows, each with the age of its oldest one; a page is one command."""
    place = "" if after is None else id_of(*after)
    found: list[tuple[Key, int | None]] = []
    while not found:
        documents: list[Document] = yield Rows(_oldest({"_id": {"$gt": place}}, limit))
        if not documents:
            break
        found = [
            ((document["entity_id"], document["machine_name"]), _age(document))
            for document in documents
            if document["any"] or document.get("tail")
        ]
        place = documents[-1]["_id"]
    return found


def _oldest(which: Document, limit: int) -> Document:
    return {
        "aggregate": STATES,
        "pipeline": [
            {"$match": which},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
            {
                "$project": {
                    "entity_id": 1,
                    "machine_name": 1,
                    "seq": 1,
                    "tail.version": 1,
                    "tail.kind": 1,
                    "tail.recorded_at": 1,
                }
            },
            row_lookup("any", {}),
            row_lookup("oldest", {"kind": {"$ne": SNAPSHOT}}),
        ],
        "cursor": {"batchSize": limit},
    }


def _age(document: Document) -> int | None:
    """When the first of the rows was recorded that is no snapshot."""
    places = [(row["version"], row["id"], row["recorded_at"]) for row in document["oldest"]]
    for number, row in enumerate(document.get("tail", ()), first_number(document)):
        if row["kind"] != SNAPSHOT:
            places.append((row["version"], number, row["recorded_at"]))
    return min(places)[2] if places else None


# Rows ---------------------------------------------------------------------------------------------


def prune_rows(
    cuts: Sequence[Cut], recorded_at: int, numbers: Numbers
) -> Operation[list[int | None]]:
    """Do the cuts; for each, how many of its ``ids`` were there."""
    snapshots = [(_key(cut), _snapshot(cut.snapshot, recorded_at)) for cut in cuts if cut.snapshot]
    yield from relay(sorted({_key(cut) for cut in cuts}), numbers)
    there = yield from _there([each for cut in cuts for each in _every_id(cut)])
    answers: list[int | None] = [
        None
        if cut.guard is not None and _row_id(cut, cut.guard) not in there
        else len([each for each in cut.ids if _row_id(cut, each) in there])
        for cut in cuts
    ]
    done = [cut for cut, answer in zip(cuts, answers, strict=True) if answer is not None]
    keys = {_key(cut) for cut in done}
    yield from _forget(done, there)
    snapshots = [(key, row) for key, row in snapshots if key in keys]
    yield from _append(snapshots)
    yield from relay([key for key, _ in snapshots], numbers)
    yield from _remove([_row_id(cut, cut.guard) for cut in done if cut.guard is not None])
    yield from _remove([each for cut in done for each in _every_id(cut) if each in there])
    yield from _sweep(numbers)
    return answers


def _key(cut: Cut) -> str:
    return id_of(cut.entity_id, cut.machine_name)


def _row_id(cut: Cut, number: int) -> str:
    return row_id(_key(cut), number)


def _every_id(cut: Cut) -> list[str]:
    key = _key(cut)
    return [row_id(key, number) for number in (*cut.ids, *cut.replaced)]


def _snapshot(commit: Commit, recorded_at: int) -> Document:
    return row_of(commit.entries[0], commit, recorded_at, UNLIMITED)


def _there(ids: list[str]) -> Operation[dict[str, str | None]]:
    """Which of the rows are there, with their event ids."""
    if not ids:
        return {}
    found = yield Rows(
        {
            "find": HISTORY,
            "filter": {"_id": {"$in": ids}, "gone": {"$exists": False}},
            "projection": {"event_id": 1},
            "readConcern": LOCAL,
        }
    )
    return {row["_id"]: row.get("event_id") for row in found}


def _forget(cuts: Sequence[Cut], there: dict[str, str | None]) -> Operation[None]:
    """Take event ids of rows that go out of the documents of their entities."""
    updates: list[Document] = []
    for cut in cuts:
        ids = [there[each] for each in _every_id(cut) if there.get(each) is not None]
        if ids:
            updates.append({"q": {"_id": _key(cut)}, "u": {"$pullAll": {"ids": ids}}})
    yield from _update(STATES, updates)


def _append(snapshots: Sequence[tuple[str, Document]]) -> Operation[None]:
    """Append snapshots to the tails, where there is none of this version or a later one."""
    updates: list[Document] = [
        {
            "q": {"_id": key, SNAPSHOT: {"$not": {"$gte": row["version"]}}},
            "u": {
                "$push": {"tail": row},
                "$inc": {"seq": 1},
                "$set": {SNAPSHOT: row["version"], "waiting": True, "rev": next_rev()},
            },
        }
        for key, row in snapshots
    ]
    yield from _update(STATES, updates)


def _remove(ids: list[str]) -> Operation[None]:
    """Leave nothing of the rows but their ``_id`` and their number in the feed, for a while."""
    left = {"_id": "$_id", "feed": "$feed", "gone": {"$literal": time_ns() // 1_000}}
    which = {"_id": {"$in": ids}, "gone": {"$exists": False}}
    updates: list[Document] = [{"q": which, "u": [{"$replaceWith": left}], "multi": True}]
    yield from _update(HISTORY, updates if ids else [])


def _update(collection: str, updates: list[Document]) -> Operation[None]:
    """Send updates that may be sent twice.

    Raises:
        StoreUnavailableError: The server refuses one.
    """
    if not updates:
        return
    reply: Any = yield from insist({"update": collection, "ordered": False, "updates": updates})
    errors = reply.get("writeErrors")
    if errors:
        raise StoreUnavailableError(
            f"the server refuses a part of a prune: {errors[0].get('errmsg', '')}",
            context={"code": errors[0].get("code")},
        )


def _sweep(numbers: Numbers) -> Operation[None]:
    """Remove what rows left behind long ago, but never the greatest number of the feed."""
    if monotonic() - numbers.swept < SWEPT:
        return
    numbers.swept = monotonic()
    old = {"$lt": time_ns() // 1_000 - KEPT}
    which = {"gone": old, "feed": {"$lt": numbers.last}}
    yield from insist({"delete": HISTORY, "deletes": [{"q": which, "limit": 0}]})
