"""Whole events over MongoDB, every answer confirmed and journaled, beside an ``update_one``.

The server is one of its own, in a temporary folder; nothing else uses it. The floor is PyMongo's
own ``update_one``, as one would write it without PyStator: a compare-and-set of state and context
in the same collection with the same indexes, with the same write concern.

Where there is no ``mongod``, the server is one that speaks its protocol; it takes as long for each
of a thousand statements as for a single one, so that a batch gains little there.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final

import pymongo
from pymongo.write_concern import WriteConcern

import events
from floors import Row
from pystator import MongoDBStateStore

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.mongodb import MongoDB, url_with  # the server that the tests start

DOES: Final = "one compare-and-set update_one, same collection, w=majority and journaled"


class Bare:
    """The floor."""

    def __init__(self, url: str) -> None:
        with MongoDBStateStore(url, database_name="bare") as store:
            events.fill(store)
        self.client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url)
        self.states = self.client["bare"].get_collection(
            "entity_states", write_concern=WriteConcern("majority", j=True)
        )
        self.turn = events.doors()

    def update(self) -> None:
        name, version, state, context = self.turn()
        done = self.states.update_one(
            {"_id": f"{name}\0door", "version": version},
            {"$set": {"state": state, "context": context}, "$inc": {"version": 1}},
        )
        assert done.modified_count == 1


def run() -> list[Row]:
    """The rows of this benchmark."""
    with MongoDB(os.getpid(), durable=True) as server:
        bare = Bare(server.url)
        floor = events.Floor(bare, DOES, updates=50, rounds=3, together=100)
        with MongoDBStateStore(url_with(server.url, "events")) as store:
            events.fill(store)
            try:
                return [
                    *events.of_the_store("mongodb", store, floor, one=0.4, many=0.5),
                    *events.of_events(
                        "mongodb", store, floor, one=0.4, many=0.5, many_ids=None, callers=None
                    ),
                ]  # fmt: skip
            finally:
                bare.client.close()


if __name__ == "__main__":
    from floors import table

    print(table(run()))
