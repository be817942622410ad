"""Whole events over SQLite, every answer durable (``synchronous=FULL``), beside a bare UPDATE."""

import sqlite3
import tempfile
from pathlib import Path

import events
from floors import Row
from pystator import SQLiteStateStore

UPDATE = (
    "UPDATE entity_states SET version = ?, state = ?, context = ?"
    " WHERE entity_id = ? AND machine_name = ? AND version = ?"
)


class Bare:
    """The floor."""

    def __init__(self, folder: Path) -> None:
        path = folder / "bare.db"
        with SQLiteStateStore(f"sqlite:///{path}") as store:
            events.fill(store)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = FULL")
        self.turn = events.doors()

    def update(self) -> None:
        name, version, state, context = self.turn()
        row = (version + 1, state, context, name, "door", version)
        assert self.connection.execute(UPDATE, row).rowcount == 1


def run() -> list[Row]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="pystator-bench-") as folder:
        bare = Bare(Path(folder))
        floor = events.Floor(bare)
        with SQLiteStateStore(f"sqlite:///{folder}/store.db") as store:
            events.fill(store)
            try:
                return [
                    *events.of_the_store("sqlite", store, floor, one=0.6, many=8),
                    *events.of_events("sqlite", store, floor, many=6, many_ids=None, callers=3),
                ]
            finally:
                bare.connection.close()


if __name__ == "__main__":
    from floors import table

    print(table(run()))
