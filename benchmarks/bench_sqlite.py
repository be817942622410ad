"""Whole events over SQLite, every answer durable (``synchronous=FULL``), beside a bare UPDATE.

The floor is the least that could be called durable: one prepared compare-and-set UPDATE of state,
context and version, in a transaction of its own, on a file with the same tables and indexes. It
loads nothing, decides nothing and writes no history.
"""

import asyncio
import sqlite3
import tempfile
from itertools import cycle
from pathlib import Path

from floors import Row, compare
from pystator import Orchestrator, SQLiteStateStore, StateMachine
from pystator.records import Commit, Entry, EntryKind, Lookup
from pystator.stores.keys import new_commit_id

ENTITIES = 2_000
MACHINE = {
    "meta": {"machine_name": "door", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut", "actions": [{"increment": "n"}]},
        {"trigger": "turn", "source": "shut", "dest": "open", "actions": [{"increment": "n"}]},
        {"trigger": "lock", "source": "shut", "dest": "shut", "guards": [{"expr": "n < 0"}]},
    ],
}
NAMES = [f"door-{n}" for n in range(ENTITIES)]
DOES = "one compare-and-set UPDATE in its own durable transaction, same tables"
UPDATE = (
    "UPDATE entity_states SET version = ?, state = ?, context = ?"
    " WHERE entity_id = ? AND machine_name = ? AND version = ?"
)


class Bare:
    """The floor."""

    def __init__(self, folder: Path) -> None:
        path = folder / "bare.db"
        with SQLiteStateStore(f"sqlite:///{path}") as store:
            fill(store)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = FULL")
        self.versions = dict.fromkeys(NAMES, 1)
        self.names = cycle(NAMES[::7])

    def update(self) -> None:
        name = next(self.names)
        version = self.versions[name]
        state = "shut" if version & 1 else "open"
        cursor = self.connection.execute(
            UPDATE, (version + 1, state, f'{{"n":{version}}}', name, "door", version)
        )
        assert cursor.rowcount == 1
        self.versions[name] = version + 1


def fill(store: SQLiteStateStore) -> None:
    store.commit([change(name, 0, "open") for name in NAMES])


def change(name: str, version: int, state: str) -> Commit:
    entry = Entry(
        version + 1, EntryKind.EVENT, "turn", None, 1, ({"n": version}, ()), "open", state
    )
    return Commit(
        name, "door", version, version + 1, state, {"n": version}, None, None, "1.0", "f", 1,
        (entry,), new_commit_id(),
    )  # fmt: skip


def write(store: SQLiteStateStore, names: list[str]) -> None:
    """Load, decide next to nothing, commit."""
    commits = []
    for loaded in store.load([Lookup(name, "door") for name in names]):
        entity = loaded.entity
        state = "shut" if entity.version & 1 else "open"
        commits.append(change(entity.entity_id, entity.version, state))
    assert all(outcome.kind == "applied" for outcome in store.commit(commits))


def run() -> list[Row]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="pystator-bench-") as folder:
        bare = Bare(Path(folder))
        with SQLiteStateStore(f"sqlite:///{folder}/store.db") as store:
            fill(store)
            try:
                return [*of_the_store(store, bare), *of_events(store, bare)]
            finally:
                bare.connection.close()


def of_the_store(store: SQLiteStateStore, bare: Bare) -> list[Row]:
    names = cycle(NAMES[::7])
    thousand = NAMES[:1_000]
    one = {"floor": bare.update, "does": DOES, "rounds": 7}
    return [
        compare(
            "sqlite: load + commit",
            lambda: write(store, [next(names)]),
            number=150,
            goal=0.6,
            **one,
        ),
        per_event(
            "sqlite: load + commit of 1,000", lambda: write(store, thousand), bare, 1_000, goal=8
        ),
    ]


def of_events(store: SQLiteStateStore, bare: Bare) -> list[Row]:
    machine = StateMachine.from_dict(MACHINE)
    orchestrator = Orchestrator(machine, store)
    names = cycle(NAMES[::7])
    numbers = iter(range(10**9))
    items = [(name, "turn") for name in NAMES[:1_000]]
    one = {"floor": bare.update, "does": DOES, "rounds": 7, "number": 150}
    loop = asyncio.new_event_loop()

    def concurrent(of: Orchestrator):
        async def callers() -> None:
            async def caller(start: int) -> None:
                for name in NAMES[start : start + 10]:
                    await of.async_process_event(name, "turn")

            await asyncio.gather(*(caller(10 * n) for n in range(64)))

        return lambda: loop.run_until_complete(callers())

    try:
        return [
            compare(
                "sqlite: event",
                lambda: orchestrator.process_event(next(names), "turn"),
                goal=0.6,
                **one,
            ),
            compare(
                "sqlite: event with event id",
                lambda: orchestrator.process_event(
                    next(names), "turn", event_id=f"e-{next(numbers)}"
                ),
                **one,
            ),
            compare(
                "sqlite: event rejected",
                lambda: orchestrator.process_event(next(names), "lock"),
                **one,
            ),
            per_event(
                "sqlite: process_events of 1,000",
                lambda: orchestrator.process_events(items),
                bare,
                1_000,
                goal=6,
            ),
            per_event("sqlite: 64 async callers", concurrent(orchestrator), bare, 640, goal=3),
        ]
    finally:
        loop.close()


def per_event(name: str, call, bare: Bare, events: int, *, goal: float) -> Row:
    """A case of many events in one call, beside a round of single updates."""
    updates = 150
    row = compare(
        name,
        call,
        lambda: [bare.update() for _ in range(updates)],
        does=DOES,
        goal=goal,
        number=1,
        rounds=7,
    )
    row.case_ns /= events
    row.floor_ns /= updates
    return row


if __name__ == "__main__":
    from floors import table

    print(table(run()))
