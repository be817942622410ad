"""Whole events over PostgreSQL, every answer durable (``synchronous_commit=on``), beside an UPDATE.

The server is one of its own, in a temporary folder, with its own settings; nothing else uses it.
The floor is psycopg's own prepared statement, as one would write it without PyStator.
"""

import os
import sys
from pathlib import Path

import psycopg

import events
from floors import Row
from pystator import PostgresStateStore

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import Databases, Server  # the server that the tests start

UPDATE = (
    "UPDATE entity_states SET version = %s, state = %s, context = %s"
    " WHERE entity_id = %s AND machine_name = %s AND version = %s"
)


class Bare:
    """The floor."""

    def __init__(self, url: str) -> None:
        with PostgresStateStore(url) as store:
            events.fill(store)
        self.connection = psycopg.connect(url, autocommit=True)
        self.turn = events.doors()

    def update(self) -> None:
        name, version, state, context = self.turn()
        row = (version + 1, state, context, name, "door", version)
        assert self.connection.execute(UPDATE, row, prepare=True).rowcount == 1


def run() -> list[Row]:
    """The rows of this benchmark."""
    with Server(os.getpid()) as server:
        databases = Databases(server.url)
        bare = Bare(databases.database())
        floor = events.Floor(bare)
        with PostgresStateStore(databases.database()) as store:
            events.fill(store)
            try:
                return [
                    *events.of_the_store("postgres", store, floor, one=0.6, many=8),
                    *events.of_events("postgres", store, floor, many=5, many_ids=5, callers=5),
                ]
            finally:
                bare.connection.close()


if __name__ == "__main__":
    from floors import table

    print(table(run()))
