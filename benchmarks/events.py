"""Whole events over a durable store, beside the least that could be called durable.

The floor is one prepared compare-and-set UPDATE of state, context and version, in a transaction of
its own, on a database with the same tables and indexes. It loads nothing, decides nothing and
writes no history.
"""

import asyncio
from collections.abc import Callable
from itertools import cycle
from typing import Protocol

from floors import Row, compare
from pystator import Orchestrator, StateMachine
from pystator.records import Commit, Entry, EntryKind, EventRequest, Lookup
from pystator.stores.keys import new_commit_id
from pystator.stores.protocols import NativeStore

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
UPDATES = 150
"""Bare updates in a round."""


class Bare(Protocol):
    """The floor of a store."""

    def update(self) -> None:
        """One durable compare-and-set of the next door."""


def doors() -> Callable[[], tuple[str, int, str, str]]:
    """Gives the next door to turn: ``(id, version, new state, new context)``."""
    versions = dict.fromkeys(NAMES, 1)
    names = cycle(NAMES[::7])

    def turn() -> tuple[str, int, str, str]:
        name = next(names)
        version = versions[name]
        versions[name] = version + 1
        return name, version, "shut" if version & 1 else "open", f'{{"n":{version}}}'

    return turn


def fill(store: NativeStore) -> None:
    """Every door once."""
    store.commit([change(name, 0, "open") for name in NAMES])


def change(name: str, version: int, state: str) -> Commit:
    entry = Entry(
        version + 1, EntryKind.EVENT, "turn", None, 1, ({"n": version}, ()), "open", state
    )
    return Commit(
        name, "door", version, version + 1, state, {"n": version}, None, None, "1.0", "f", 1,
        (entry,), new_commit_id(),
    )  # fmt: skip


def write(store: NativeStore, names: list[str]) -> None:
    """Load, decide next to nothing, commit."""
    commits = []
    for loaded in store.load([Lookup(name, "door") for name in names]):
        entity = loaded.entity
        state = "shut" if entity.version & 1 else "open"
        commits.append(change(entity.entity_id, entity.version, state))
    assert all(outcome.kind == "applied" for outcome in store.commit(commits))


def of_the_store(
    of: str, store: NativeStore, bare: Bare, one: float, many: float, *, does: str = DOES
) -> list[Row]:
    """Loads and commits alone; the goals of one and of a thousand."""
    names = cycle(NAMES[::7])
    thousand = NAMES[:1_000]
    return [
        single(
            f"{of}: load + commit", lambda: write(store, [next(names)]), bare, goal=one, does=does
        ),
        per_event(
            f"{of}: load + commit of 1,000",
            lambda: write(store, thousand),
            bare,
            1_000,
            goal=many,
            does=does,
        ),
    ]


def of_events(
    of: str,
    store: NativeStore,
    bare: Bare,
    *,
    one: float = 0.6,
    many: float,
    many_ids: float | None,
    callers: float | None,
    does: str = DOES,
) -> list[Row]:
    """Events of an orchestrator; the goals of one, of a thousand, with ids, and of 64 callers."""
    orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
    names = cycle(NAMES[::7])
    numbers = iter(range(10**9))
    items = [(name, "turn") for name in NAMES[:1_000]]
    event = orchestrator.process_event
    loop = asyncio.new_event_loop()

    def with_ids() -> None:
        requests = [
            EventRequest(name, "turn", event_id=f"b-{next(numbers)}") for name in NAMES[:1_000]
        ]
        orchestrator.process_events(requests)

    async def call_64_times() -> None:
        async def caller(start: int) -> None:
            for name in NAMES[start : start + 10]:
                await orchestrator.async_process_event(name, "turn")

        await asyncio.gather(*(caller(10 * n) for n in range(64)))

    try:
        return [
            single(f"{of}: event", lambda: event(next(names), "turn"), bare, goal=one, does=does),
            single(
                f"{of}: event with event id",
                lambda: event(next(names), "turn", event_id=f"e-{next(numbers)}"),
                bare,
                does=does,
            ),
            single(f"{of}: event rejected", lambda: event(next(names), "lock"), bare, does=does),
            per_event(
                f"{of}: process_events of 1,000",
                lambda: orchestrator.process_events(items),
                bare,
                1_000,
                goal=many,
                does=does,
            ),
            per_event(
                f"{of}: process_events of 1,000 with ids",
                with_ids,
                bare,
                1_000,
                goal=many_ids,
                does=does,
            ),
            per_event(
                f"{of}: 64 async callers",
                lambda: loop.run_until_complete(call_64_times()),
                bare,
                640,
                goal=callers,
                does=does,
            ),
        ]
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def single(
    name: str,
    call: Callable[[], object],
    bare: Bare,
    *,
    goal: float | None = None,
    does: str = DOES,
) -> Row:
    """A case of one event."""
    return compare(name, call, bare.update, does=does, goal=goal, number=UPDATES, rounds=7)


def per_event(
    name: str,
    call: Callable[[], object],
    bare: Bare,
    events: int,
    *,
    goal: float | None,
    does: str = DOES,
) -> Row:
    """A case of many events in one call, beside a round of single updates."""

    def updates() -> None:
        for _ in range(UPDATES):
            bare.update()

    row = compare(name, call, updates, does=does, goal=goal, number=1, rounds=7)
    row.case_ns /= events
    row.floor_ns /= UPDATES
    return row
