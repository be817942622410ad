"""The machine most tests here send events to, and how its stores and history are looked at."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystator import InMemoryStateStore, Orchestrator, StateMachine
from pystator.orchestrator.replay import replay
from pystator.testing import FakeClock, retrace

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "1.0"},
    "states": [
        {"name": "draft", "type": "initial"},
        {"name": "open"},
        {"name": "paid"},
        {"name": "shipped", "type": "terminal"},
        {"name": "cancelled", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "submit", "source": "draft", "dest": "open"},
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
        {
            "trigger": "pay",
            "source": "open",
            "dest": "paid",
            "guards": [{"expr": "amount >= 10"}],
            "actions": [{"set": {"paid": True}}, "receipt"],
        },
        {"trigger": "ship", "source": "paid", "dest": "shipped", "actions": ["label", "mail"]},
        {"trigger": "cancel", "source": "*", "dest": "cancelled"},
        {"trigger": "forget", "source": "*", "internal": True, "actions": [{"clear": "notes"}]},
    ],
}


COUNTER: dict[str, Any] = {
    "meta": {"machine_name": "counter", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "odd", "timeout": {"seconds": 5, "destination": "open"}},
    ],
    "transitions": [
        {
            "trigger": "add",
            "source": source,
            "dest": dest,
            "actions": [{"increment": "n"}, "tell"],
        }
        for source, dest in (("open", "odd"), ("odd", "open"))
    ],
}


class Slow(InMemoryStateStore):
    """A memory store whose async calls take a turn of the loop."""

    combines = True

    async def aload(self, lookups):
        await asyncio.sleep(0)
        return self.load(lookups)

    async def acommit(self, commits):
        await asyncio.sleep(0)
        outcomes = self.commit(commits)
        await asyncio.sleep(0)
        return outcomes


@pytest.fixture(scope="session")
def machine_of() -> Callable[..., StateMachine]:
    """The order machine, with other top-level keys."""
    return lambda **changes: StateMachine.from_dict({**ORDER, **changes})


@pytest.fixture(scope="session")
def machine() -> StateMachine:
    return StateMachine.from_dict(ORDER)


@pytest.fixture
def store() -> InMemoryStateStore:
    return InMemoryStateStore()


@pytest.fixture(scope="session")
def counter() -> StateMachine:
    """A machine whose only trigger goes back and forth, with a timer on one side."""
    return StateMachine.from_dict(COUNTER)


@pytest.fixture(scope="session")
def slow_store() -> type[InMemoryStateStore]:
    """``slow_store()`` makes a store whose async calls take a turn of the loop."""
    return Slow


@pytest.fixture(scope="session")
def settle() -> Callable[[], Awaitable[None]]:
    """``await settle()`` lets everything that runs in the background come to its end."""
    return _settle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def done() -> list[str]:
    """Names of the actions that ran."""
    return []


@pytest.fixture
def actions(done: list[str]) -> dict[str, Callable[..., Any]]:
    return {name: lambda ctx, name=name: done.append(name) for name in ("receipt", "label", "mail")}


@pytest.fixture
def orders(machine, store, actions, clock) -> Orchestrator:
    return Orchestrator(machine, store, actions=actions, clock=clock)


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[Any]]:
    """``rows(store, entity_id, *kinds)``: all history rows of an entity, or those of some kinds."""
    return _rows


@pytest.fixture(scope="session")
def audit() -> Callable[..., None]:
    """``audit(store, entity_id)``: versions are contiguous, and history replays to what is stored."""
    return _audit


@pytest.fixture(scope="session")
def refold() -> Callable[..., None]:
    """``refold(machine, store, entity_id)``: stepping through its rows leads to what is stored."""
    return _refold


def _refold(machine: StateMachine, store, entity_id: str) -> None:
    rows = _rows(store, entity_id, machine_name=machine.name)
    entity = store.load_one(entity_id, machine.name)
    assert retrace(machine, rows) == (entity.state, entity.engine_context)


async def _settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def _rows(store, entity_id: str, *kinds: str, machine_name: str | None = None) -> list[Any]:
    found = store.history(entity_id, machine_name=machine_name, limit=10_000).items
    return [row for row in found if not kinds or row.kind in kinds]


def _audit(store, entity_id: str, machine_name: str = "order") -> None:
    entity = next(
        (
            each
            for each in store.entities(machine_name=machine_name, limit=100_000).items
            if each.entity_id == entity_id
        ),
        None,
    )
    history = _rows(store, entity_id, machine_name=machine_name)
    changes = [row.version for row in history if row.kind not in {"rejected", "action"}]
    assert changes == list(range(1, len(changes) + 1))
    if entity is None:
        assert changes == []
        return
    assert entity.version == len(changes)
    assert replay(history) == (entity.state, entity.context)
