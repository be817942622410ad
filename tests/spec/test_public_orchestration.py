"""The public names of orchestrators, stores and the command line, as programs that are already written use them."""

import asyncio
import inspect
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from pystator import (
    AmbiguousEntityError,
    AsyncStateStore,
    EntityExistsError,
    EntityNotFoundError,
    Event,
    EventRequest,
    IdempotencyConflictError,
    LoggingHook,
    MetricsCollector,
    Orchestrator,
    StaleVersionError,
    StateMachine,
    StateStore,
    TransitionHook,
    VersionedStateStore,
    create_state_store,
)
from pystator.db.models import (
    EntityStateModel,
    MachineModel,
    TransitionHistoryModel,
    WorkerEventModel,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "2.1"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "paid", "timeout": {"seconds": 5, "destination": "late"}},
        {"name": "late", "type": "error"},
        {"name": "done", "type": "terminal"},
    ],
    "transitions": [
        {
            "trigger": "pay",
            "source": "open",
            "dest": "paid",
            "guards": ["has_amount"],
            "actions": [{"increment": "payments"}, {"name": "book", "params": {"to": "ledger"}}],
        },
        {"trigger": "ship", "source": ["paid", "late"], "dest": "done"},
        {"trigger": "note", "source": "*", "internal": True},
    ],
}

GUARDS = {"has_amount": lambda ctx: ctx.get("amount", 0) > 0}
ACTIONS = {"book": lambda ctx, **params: None}


@pytest.fixture
def machine() -> StateMachine:
    return StateMachine.from_dict(ORDER)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"
    with create_state_store(url) as opened:
        yield opened


@pytest.fixture
def orders(machine: StateMachine, store: Any) -> Orchestrator:
    return Orchestrator(machine, store, GUARDS, ACTIONS)


class Three:
    """A user's store: the three methods and a dictionary."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.contexts: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def get_state(self, entity_id):
        self.calls.append("get_state")
        return self.states.get(entity_id)

    def get_context(self, entity_id):
        self.calls.append("get_context")
        return self.contexts.get(entity_id, {})

    def set_state(self, entity_id, state, *, metadata=None):
        self.calls.append("set_state")
        self.states[entity_id] = state
        self.contexts[entity_id] = (metadata or {}).get("context", self.contexts.get(entity_id))


class AsyncThree:
    """The same for asyncio, and nothing else."""

    def __init__(self) -> None:
        self.inner = Three()

    async def aget_state(self, entity_id):
        return self.inner.get_state(entity_id)

    async def aget_context(self, entity_id):
        return self.inner.get_context(entity_id)

    async def aset_state(self, entity_id, state, *, metadata=None):
        self.inner.set_state(entity_id, state, metadata=metadata)


# Orchestrators ------------------------------------------------------------------------------------


def test_an_order_lives(orders: Orchestrator, store: Any) -> None:
    created = orders.create_entity("o-1", {"amount": 0})
    assert (created.success, created.source_state, created.target_state) == (True, None, "open")
    with pytest.raises(EntityExistsError):
        orders.create_entity("o-1")
    refused = orders.process_event("o-1", "pay")
    assert (refused.metadata["reason"], refused.metadata["guard_name"]) == ("guard_rejected", "has_amount")  # fmt: skip
    paid = orders.process_event(entity_id="o-1", trigger="pay", context={"amount": 5})
    assert (paid.source_state, paid.target_state, paid.metadata["version"]) == ("open", "paid", 2)
    assert paid.context == {"amount": 5, "payments": 1}
    entity = orders.get_entity("o-1")
    assert entity is not None
    assert (entity.state, entity.version, entity.context) == ("paid", 2, paid.context)
    assert (entity.machine_name, entity.machine_version) == ("order", "2.1")
    assert orders.get_entity("o-2") is None
    forced = orders.force_state("o-1", "open", reason="paid by mistake", actor="ada")
    assert forced.target_state == "open"
    assert store.get_state_versioned("o-1") == ("open", 3)
    orders.close()
    rows = store.history("o-1", machine_name="order").items
    kinds = [(row.kind.value, row.actor) for row in rows if row.kind != "action"]
    assert kinds == [("created", None), ("rejected", None), ("event", None), ("forced", "ada")]  # fmt: skip
    assert [row.ref for row in rows if row.kind == "action"] == [2]


def test_twins_do_the_same(orders: Orchestrator, store: Any) -> None:
    async def life() -> None:
        await orders.async_create_entity("o-1", {"amount": 5}, event_id="c-1")
        assert (await orders.async_process_event("o-1", "pay", event_id="e-1")).success
        assert (await orders.async_process_event("o-1", "pay", event_id="e-1")).metadata["replayed"]
        entity = await orders.async_get_entity("o-1")
        assert entity is not None
        assert entity.state == "paid"
        (fired,) = await orders.async_fire_due(datetime.now(UTC) + timedelta(hours=1))
        assert (fired.target_state, fired.metadata["entity_id"]) == ("late", "o-1")
        await orders.async_force_state("o-1", "open", reason="again", actor="ada")
        results = await orders.async_process_events(
            [("o-1", "note"), ("o-1", "pay", {"amount": 1})]
        )
        assert [each.success for each in results] == [True, True]
        await orders.close()

    asyncio.run(life())
    assert store.get_state("o-1") == "paid"


@pytest.mark.parametrize("name", ["process_event", "process_events", "create_entity", "get_entity", "force_state", "fire_due"])  # fmt: skip
def test_a_call_and_its_twin_take_the_same(name: str) -> None:
    call, twin = getattr(Orchestrator, name), getattr(Orchestrator, f"async_{name}")
    assert inspect.signature(call) == inspect.signature(twin)
    assert inspect.iscoroutinefunction(twin)


def test_many_events_in_one_call(orders: Orchestrator) -> None:
    items = [
        ("o-1", "pay", {"amount": 1}),
        ("o-2", "ship"),
        EventRequest("o-1", "ship", event_id="e-1", actor="ada", occurred_at=NOW),
        ("o-3", Event("pay", {"amount": 2})),
        ("o-3", "note", None),
    ]
    results = orders.process_events(iter(items))
    assert [each.target_state for each in results] == ["paid", None, "done", "paid", "paid"]


def test_an_event_id_makes_an_event_idempotent(orders: Orchestrator, store: Any) -> None:
    first = orders.process_event("o-1", "pay", {"amount": 1}, event_id="e-1")
    again = orders.process_event("o-1", "pay", {"amount": 1}, event_id="e-1")
    assert (again.success, again.target_state, again.context) == (True, first.target_state, None)
    assert again.metadata["replayed"] is True
    with pytest.raises(IdempotencyConflictError):
        orders.process_event("o-1", "pay", {"amount": 2}, event_id="e-1")
    assert orders.create_entity("o-2", event_id="c").metadata["version"] == 1
    assert orders.create_entity("o-2", event_id="c").metadata["replayed"] is True
    assert store.get_state_versioned("o-1")[1] == 1


def test_a_missing_entity_is_started_unless_told_otherwise(
    machine: StateMachine, store: Any
) -> None:
    strict = Orchestrator(machine, store, GUARDS, use_initial_state_when_missing=False)
    result = strict.process_event("o-1", "note")
    assert (result.success, type(result.error)) == (False, EntityNotFoundError)
    assert Orchestrator(machine, store, GUARDS).process_event("o-1", "note").success


def test_the_validator_and_the_hooks(machine: StateMachine, store: Any, caplog) -> None:
    calls: list[Any] = []

    class Recorder(TransitionHook):
        def on_before_process(self, entity_id, trigger, context):
            calls.append(("before", entity_id, trigger, context))

        def on_transition_start(self, entity_id, result):
            calls.append(("start", entity_id, result.target_state))

        def on_transition_complete(self, entity_id, result):
            calls.append(("complete", entity_id, result.target_state))

        def on_transition_error(self, entity_id, trigger, error):
            calls.append(("error", entity_id, trigger, error.code.value))

    def validator(entity_id, state, trigger, ctx):
        calls.append((entity_id, state, trigger, ctx["amount"]))
        return ctx["amount"] < 10, ["too much"]

    metrics = MetricsCollector()
    orders = Orchestrator(
        machine, store, GUARDS, ACTIONS, context_validator=validator,
        hooks=[Recorder(), LoggingHook(), metrics],
    )  # fmt: skip
    with caplog.at_level(logging.INFO, logger="pystator.events"):
        orders.process_event("o-1", "pay", {"amount": 9})
        refused = orders.process_event("o-1", "ship", {"amount": 11})
    assert refused.metadata == {"reason": "context_invalid", "errors": ["too much"], "version": 1}
    assert calls == [
        ("before", "o-1", "pay", {"amount": 9}),
        ("o-1", "open", "pay", 9),
        ("start", "o-1", "paid"),
        ("complete", "o-1", "paid"),
        ("before", "o-1", "ship", {"amount": 11}),
        ("o-1", "paid", "ship", 11),
        ("error", "o-1", "ship", "context_invalid"),
    ]
    assert (metrics.snapshot()["applied"], metrics.snapshot()["failed"]) == (1, 1)
    assert len(caplog.messages) == 2


# Users' stores ------------------------------------------------------------------------------------


def test_three_methods_are_called_once_for_each_event(machine: StateMachine) -> None:
    store = Three()
    orders = Orchestrator(machine, store, GUARDS, ACTIONS)
    assert orders.process_event("o-1", "pay", {"amount": 1}).success
    assert store.calls == ["get_state", "get_context", "set_state"]
    orders.process_event("o-1", "pay")
    assert store.calls[3:] == ["get_state", "get_context"]


@pytest.mark.parametrize(
    "call",
    [
        lambda orders: orders.process_event("o-1", "note", event_id="e-1"),
        lambda orders: orders.process_event("o-1", Event("note", event_id="e-1")),
        lambda orders: orders.process_events([EventRequest("o-1", "note", event_id="e-1")]),
        lambda orders: orders.create_entity("o-1", event_id="e-1"),
    ],
)
def test_event_ids_need_a_store_that_keeps_them(machine: StateMachine, call: Any) -> None:
    store = Three()
    with pytest.raises(TypeError, match="Three does not"):
        call(Orchestrator(machine, store))
    assert store.states == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda orders: orders.process_event("o-1", "note"),
        lambda orders: orders.process_events([("o-1", "note")]),
        lambda orders: orders.create_entity("o-1"),
        lambda orders: orders.get_entity("o-1"),
        lambda orders: orders.force_state("o-1", "open", reason="x", actor="y"),
        lambda orders: orders.fire_due(),
    ],
)
def test_a_blocking_call_on_an_async_store_is_a_type_error(
    machine: StateMachine, call: Any
) -> None:
    orders = Orchestrator(machine, AsyncThree(), GUARDS, ACTIONS)
    with pytest.raises(TypeError, match="AsyncThree has only async methods"):
        call(orders)
    assert asyncio.run(orders.async_process_event("o-1", "pay", {"amount": 1})).success


def test_protocols_can_be_asked_for(store: Any) -> None:
    assert isinstance(Three(), StateStore)
    assert not isinstance(Three(), AsyncStateStore | VersionedStateStore)
    assert isinstance(AsyncThree(), AsyncStateStore)
    assert not isinstance(AsyncThree(), StateStore)
    assert all(isinstance(store, each) for each in (StateStore, AsyncStateStore, VersionedStateStore))  # fmt: skip


# Stores -------------------------------------------------------------------------------------------


def test_a_store_by_itself(store: Any) -> None:
    assert (store.get_state("o-1"), store.get_context("o-1")) == (None, {})
    store.set_state("o-1", "open", metadata={"context": {"a": 1}})
    store.set_state("o-1", "paid", metadata={"trigger": "pay"})
    assert store.get_context("o-1") == {"a": 1}
    store.set_context("o-1", {"b": 2})
    assert store.get_context("o-1") == {"b": 2}
    assert store.get_state_versioned("o-1") == ("paid", 3)
    assert store.set_state_versioned("o-1", "done", expected_version=3) == 4
    with pytest.raises(StaleVersionError):
        store.set_state_versioned("o-1", "open", expected_version=3)
    store.set_state("o-2", "open")
    assert [each.entity_id for each in store.list_entities()] == ["o-1", "o-2"]
    assert [each.entity_id for each in store.list_entities(state="open", limit=1)] == ["o-2"]
    assert store.count_by_state() == {"done": 1, "open": 1}
    with pytest.raises(EntityNotFoundError):
        store.set_context("o-3", {})


def test_the_twins_of_a_store(store: Any) -> None:
    async def use() -> None:
        await store.aset_state("o-1", "open", metadata={"context": {"a": 1}})
        assert await store.aget_state("o-1") == "open"
        assert await store.aget_context("o-1") == {"a": 1}
        assert await store.aset_state_versioned("o-1", "paid", expected_version=1) == 2
        assert await store.aget_state_versioned("o-1") == ("paid", 2)
        await store.aset_context("o-1", {"b": 2})
        assert [each.context for each in await store.alist_entities(state="paid")] == [{"b": 2}]
        assert await store.acount_by_state() == {"paid": 1}

    asyncio.run(use())


def test_one_id_in_two_machines_has_to_be_told_apart(store: Any) -> None:
    store.set_state("o-1", "open", machine_name="a")
    store.set_state("o-1", "paid", metadata={"machine_name": "b"})
    for call in (store.get_state, store.get_context, store.get_state_versioned):
        with pytest.raises(AmbiguousEntityError, match="'a', 'b'"):
            call("o-1")
    with pytest.raises(AmbiguousEntityError):
        store.set_state("o-1", "done")
    assert store.get_state("o-1", machine_name="b") == "paid"
    assert [each.state for each in store.list_entities(machine_name="a")] == ["open"]
    assert store.count_by_state(machine_name="b") == {"paid": 1}


def test_a_store_of_one_machine(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with create_state_store(url, machine_name="a") as first, create_state_store(url, machine_name="b") as second:  # fmt: skip
        first.set_state("o-1", "open")
        second.set_state("o-1", "paid")
        assert (first.get_state("o-1"), second.get_state("o-1")) == ("open", "paid")


def test_models_are_for_users_own_queries(machine: StateMachine, tmp_path: Path) -> None:
    with create_state_store(f"sqlite:///{tmp_path}/a.db") as store:
        Orchestrator(machine, store, GUARDS, ACTIONS).process_event("o-1", "pay", {"amount": 1})
        store.flush()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    with Session(engine) as session:
        entity = session.scalars(select(EntityStateModel)).one()
        assert (entity.entity_id, entity.state, json.loads(entity.context)["payments"]) == ("o-1", "paid", 1)  # fmt: skip
        row = session.scalars(select(TransitionHistoryModel).where(TransitionHistoryModel.kind == "event")).one()  # fmt: skip
        assert (row.trigger, row.source_state, row.target_state) == ("pay", "open", "paid")
        for model in (MachineModel, WorkerEventModel):
            assert session.scalar(select(func.count()).select_from(model)) == 0
    engine.dispose()


# The command line ---------------------------------------------------------------------------------


def test_commands_by_their_names(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        environment = {**os.environ, "PYSTATOR_DATABASE_URL": f"sqlite:///{tmp_path}/b.db"}
        done = subprocess.run(
            [sys.executable, "-m", "pystator", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    run("db", "init")
    assert (tmp_path / "b.db").exists()
    run("db", "init", f"sqlite:///{tmp_path}/c.db")
    assert (tmp_path / "c.db").exists()
    assert "states" in json.loads(run("schema"))["properties"]
