"""The collections' indexes: made when the store connects, by any number of processes at once.

Making an index that is there does nothing, so nobody waits for a lock. A document in
``pystator_meta`` says which layout the database has; it is written last, and nothing else is asked
from then on.
"""

import warnings
from typing import Final

from pystator.db.mongodb_url import MongoURL
from pystator.errors import SchemaError
from pystator.stores.mongodb.documents import HISTORY, META, STATES, Document
from pystator.stores.mongodb.errors import Unanswered
from pystator.stores.mongodb.link import Operation, Request

__all__ = ["LAYOUT", "ensure"]

LAYOUT: Final = 1
"""What this release needs."""

_TRIES: Final = 5

_ID: Final = "layout"
"""Of the document in ``pystator_meta``."""


def _index(name: str, *fields: str, only: Document | None = None, unique: bool = False) -> Document:
    index: Document = {"name": name, "key": dict.fromkeys(fields, 1)}
    if only is not None:
        index["partialFilterExpression"] = only
    if unique:
        index["unique"] = True
    return index


def _there(field: str) -> Document:
    return {field: {"$exists": True}}


INDEXES: Final[dict[str, list[Document]]] = {
    STATES: [
        _index("leaves", "leaves", "_id", "machine_name", "state_since", only=_there("leaves")),
        _index("states", "machine_name", "_id", "state", "state_since"),
        _index("due", "next_due", "entity_id", "machine_name", only=_there("next_due")),
        _index("waiting", "waiting", "_id", only=_there("waiting")),
    ],
    HISTORY: [
        _index("history", "entity_id", "machine_name", "version", "id"),
        _index(
            "events", "entity_id", "machine_name", "event_id", only=_there("event_id"), unique=True
        ),
        _index("feed", "feed", unique=True),
        _index("gone", "gone", only=_there("gone")),
    ],
}
"""Collection -> its indexes besides that of ``_id``."""


def ensure(
    url: MongoURL, database: str, *, auto_initialize: bool, validate_schema: bool
) -> Operation[None]:
    """Make the layout fit, or say why it does not.

    Args:
        url: For messages.
        database: For messages.
        auto_initialize: Make the collections and indexes where there are none.
        validate_schema: Refuse a layout that does not fit.

    Raises:
        SchemaError: It does not fit; the message says what to do.
    """
    reply = yield Request({"find": META, "filter": {"_id": _ID}, "limit": 1}, reads=True)
    found = reply["cursor"]["firstBatch"]
    layout: int | None = found[0].get("value") if found else None
    if layout is None and auto_initialize:
        for collection, indexes in INDEXES.items():
            yield from _insist({"createIndexes": collection, "indexes": indexes})
        statement = {"q": {"_id": _ID}, "u": {"$max": {"value": LAYOUT}}, "upsert": True}
        yield from _insist({"update": META, "updates": [statement]})
        layout = LAYOUT
    if validate_schema:
        _check(layout, url, database)


def _insist(command: Document) -> Operation[None]:
    """Send what may be sent again: others do the same at this moment, and a server may object."""
    for last in range(_TRIES, -1, -1):
        try:
            yield Request(command)
        except Unanswered:
            if not last:
                raise
        else:
            return


def _check(layout: int | None, url: MongoURL, database: str) -> None:
    if layout == LAYOUT:
        return
    where = f"the database {database!r} of {url}"
    facts = {"url": str(url), "revision": layout, "needed": LAYOUT}
    if layout is None:
        raise SchemaError(
            f"{where} has no PyStator collections: connect once with auto_initialize=True, or run a"
            " command that writes, as a user who may create indexes",
            context=facts,
        )
    if layout < LAYOUT:
        raise SchemaError(
            f"{where} has layout {layout}, this release needs {LAYOUT}: copy it into a new database"
            " with `pystator stores copy`",
            context=facts,
        )
    warnings.warn(
        f"{where} has layout {layout}, which is newer than this release ({LAYOUT}): upgrade this"
        " process soon",
        stacklevel=2,
    )
