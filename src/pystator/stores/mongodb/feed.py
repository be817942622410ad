"""The change feed of the MongoDB store: rows by the numbers that the relay gave them."""

from collections.abc import Sequence

from pystator.records import HistoryEntry, Page
from pystator.stores.cursors import Cursors
from pystator.stores.keys import is_storable, read_cursor, rows_asked, write_cursor
from pystator.stores.mongodb.documents import HISTORY, Document, entry_of
from pystator.stores.mongodb.link import Operation, Rows
from pystator.stores.mongodb.reads import any_of
from pystator.stores.mongodb.relay import Numbers, relay_waiting

__all__ = ["feed", "feed_end"]


def feed(
    cursor: str | None,
    limit: int,
    machines: Sequence[str] | None,
    entity_id: str | None,
    numbers: Numbers,
) -> Operation[Page[HistoryEntry]]:
    """Rows after the cursor; those that wait in tails are relayed if need be.

    Args:
        cursor: Where to go on.
        limit: At most so many.
        machines: Only rows of these machines.
        entity_id: Only rows of entities of this id.
        numbers: The store's, for the relay.
    """
    place: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
    limit = rows_asked(limit)
    which: Document = {} if machines is None else {"machine_name": any_of(machines)}
    if entity_id is not None:
        which["entity_id"] = entity_id
    found: list[Document] = []
    last = place
    if limit and is_storable(entity_id):
        found = yield from _after(place, limit, which)
        if len(found) < limit:
            # Of those that wait, nobody knows whether they are asked for.
            yield from relay_waiting(numbers, None if which else limit - len(found))
            if which:
                last = max(last, (yield from _greatest()))
            found = yield from _after(place, limit, which)
    if len(found) == limit:
        last = place
    items = [entry_of(row, row["id"], row["entity_id"], row["machine_name"]) for row in found]
    after = [(row["feed"],) for row in found]
    return Page(items, write_cursor("feed", max([(last,), *after])[0]), Cursors("feed", after))


def feed_end(numbers: Numbers) -> Operation[str]:
    """The cursor after everything that is there now; what waits in tails is relayed."""
    yield from relay_waiting(numbers)
    return write_cursor("feed", (yield from _greatest()))


def _after(place: int, limit: int, which: Document) -> Operation[list[Document]]:
    found: list[Document] = yield Rows(
        {
            "find": HISTORY,
            "filter": {"feed": {"$gt": place}, "gone": {"$exists": False}, **which},
            "sort": {"feed": 1},
            "limit": limit,
        }
    )
    return found


def _greatest() -> Operation[int]:
    """The greatest number that is as safe as what readers are given."""
    found: list[Document] = yield Rows(
        {"find": HISTORY, "projection": {"_id": 0, "feed": 1}, "sort": {"feed": -1}, "limit": 1}
    )
    number: int = found[0]["feed"] if found else 0
    return number
