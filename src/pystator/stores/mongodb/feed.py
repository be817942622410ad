"""The change feed of the MongoDB store: rows by the numbers that the relay gave them."""

from pystator.records import HistoryEntry, Page
from pystator.stores.keys import read_cursor, rows_asked, write_cursor
from pystator.stores.mongodb.documents import HISTORY, Document, entry_of
from pystator.stores.mongodb.link import Operation, Rows
from pystator.stores.mongodb.relay import Numbers, relay_waiting

__all__ = ["feed"]


def feed(cursor: str | None, limit: int, numbers: Numbers) -> Operation[Page[HistoryEntry]]:
    """Rows of all entities after the cursor; those that wait in tails are relayed if need be."""
    place: int = 0 if cursor is None else read_cursor("feed", cursor, int)[0]
    limit = rows_asked(limit)
    found: list[Document] = []
    if limit:
        found = yield from _after(place, limit)
        if len(found) < limit:
            yield from relay_waiting(numbers, limit - len(found))
            found = yield from _after(place, limit)
    items = [entry_of(row, row["id"], row["entity_id"], row["machine_name"]) for row in found]
    return Page(items, write_cursor("feed", found[-1]["feed"] if found else place))


def _after(place: int, limit: int) -> Operation[list[Document]]:
    found: list[Document] = yield Rows(
        {
            "find": HISTORY,
            "filter": {"feed": {"$gt": place}, "gone": {"$exists": False}},
            "sort": {"feed": 1},
            "limit": limit,
        }
    )
    return found
