"""Entities that wait, and the stores that keep their deadlines."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pystator import InMemoryStateStore, SQLiteStateStore, StateMachine

LOAN: dict[str, Any] = {
    "meta": {"machine_name": "loan", "version": "1"},
    "states": [
        {"name": "offered", "type": "initial", "timeout": {"seconds": 14 * 86_400, "destination": "lapsed"}},
        {"name": "asked", "timeout": {"seconds": 0.02, "destination": "reminded"}},
        {"name": "reminded", "on_enter": [{"increment": "reminders"}, "remind"]},
        {"name": "lapsed", "type": "terminal", "on_enter": [{"timestamp": "lapsed_at"}]},
    ],
    "transitions": [
        {"trigger": "ask", "source": ["offered", "reminded"], "dest": "asked"},
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
    ],
}  # fmt: skip


@pytest.fixture(scope="session")
def loan() -> StateMachine:
    return StateMachine.from_dict(LOAN)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield InMemoryStateStore()
    else:
        with SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as opened:
            yield opened


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """``await until(lambda: ...)``: poll with a deadline."""
    return _until


async def _until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not holds():
        assert loop.time() < end, "it did not come true"
        await asyncio.sleep(0.002)
