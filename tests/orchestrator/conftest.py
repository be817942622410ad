"""The machine most tests here send events to, and how its stores and history are looked at."""

from collections.abc import Callable
from typing import Any

import pytest

from pystator import InMemoryStateStore, Orchestrator, StateMachine
from pystator.orchestrator.replay import replay
from pystator.testing import FakeClock

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
