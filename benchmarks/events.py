"""Whole events over a durable store, beside the least that could be called durable.

The floor is one prepared compare-and-set UPDATE of state, context and version, in a transaction of
its own, on a database with the same tables and indexes. It loads nothing, decides nothing and
writes no history.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
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


class Bare(Protocol):
    """The least a store could do."""

    def update(self) -> None:
        """One durable compare-and-set of the next door."""


@dataclass(slots=True)
class Floor:
    """What a store is measured beside, and how often: fewer times at a slow server.

    Attributes:
        does: What the floor does, in a sentence.
        updates: Bare updates in a round.
        together: Events of a batch.
    """

    bare: Bare
    does: str = DOES
    updates: int = 150
    rounds: int = 7
    together: int = 1_000


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


def of_the_store(of: str, store: NativeStore, floor: Floor, one: float, many: float) -> list[Row]:
    """Loads and commits alone; the goals of one and of many."""
    names = cycle(NAMES[::7])
    many_names = NAMES[: floor.together]
    return [
        single(f"{of}: load + commit", lambda: write(store, [next(names)]), floor, goal=one),
        per_event(
            f"{of}: load + commit of {floor.together:,}",
            lambda: write(store, many_names),
            floor,
            floor.together,
            goal=many,
        ),
    ]


def of_events(
    of: str,
    store: NativeStore,
    floor: Floor,
    *,
    one: float = 0.6,
    many: float,
    many_ids: float | None,
    callers: float | None,
) -> list[Row]:
    """Events of an orchestrator; the goals of one, of many, with ids, and of 64 callers."""
    orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
    names = cycle(NAMES[::7])
    numbers = iter(range(10**9))
    items = [(name, "turn") for name in NAMES[: floor.together]]
    event = orchestrator.process_event
    loop = asyncio.new_event_loop()

    def with_ids() -> None:
        requests = [
            EventRequest(name, "turn", event_id=f"b-{next(numbers)}")
            for name in NAMES[: floor.together]
        ]
        orchestrator.process_events(requests)

    async def call_64_times() -> None:
        async def caller(start: int) -> None:
            for name in NAMES[start : start + 10]:
                await orchestrator.async_process_event(name, "turn")

        await asyncio.gather(*(caller(10 * n) for n in range(64)))

    try:
        return [
            single(f"{of}: event", lambda: event(next(names), "turn"), floor, goal=one),
            single(
                f"{of}: event with event id",
                lambda: event(next(names), "turn", event_id=f"e-{next(numbers)}"),
                floor,
            ),
            single(f"{of}: event rejected", lambda: event(next(names), "lock"), floor),
            per_event(
                f"{of}: process_events of {floor.together:,}",
                lambda: orchestrator.process_events(items),
                floor,
                floor.together,
                goal=many,
            ),
            per_event(
                f"{of}: process_events of {floor.together:,} with ids",
                with_ids,
                floor,
                floor.together,
                goal=many_ids,
            ),
            per_event(
                f"{of}: 64 async callers",
                lambda: loop.run_until_complete(call_64_times()),
                floor,
                640,
                goal=callers,
            ),
        ]
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def single(
    name: str, call: Callable[[], object], floor: Floor, *, goal: float | None = None
) -> Row:
    """A case of one event."""
    return compare(
        name,
        call,
        floor.bare.update,
        does=floor.does,
        goal=goal,
        number=floor.updates,
        rounds=floor.rounds,
    )


def per_event(
    name: str, call: Callable[[], object], floor: Floor, events: int, *, goal: float | None
) -> Row:
    """A case of many events in one call, beside a round of single updates."""

    def updates() -> None:
        for _ in range(floor.updates):
            floor.bare.update()

    row = compare(name, call, updates, does=floor.does, goal=goal, number=1, rounds=floor.rounds)
    row.case_ns /= events
    row.floor_ns /= floor.updates
    return row
