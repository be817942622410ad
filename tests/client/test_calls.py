"""Every call, of both clients: what it gives is what an orchestrator and a store give."""

import asyncio
import inspect
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pystator import (
    ConfigurationError,
    EntityArchivedError,
    EntityExistsError,
    EntityNotFoundError,
    EventRequest,
    FSMError,
    GuardRejectedError,
    IdempotencyConflictError,
    InvalidValueError,
    StaleVersionError,
    StateMachine,
    UndefinedTriggerError,
)
from pystator.api import create_app
from pystator.api.settings import ApiSettings
from pystator.client import AsyncClient, Client
from pystator.client.machines import AsyncMachines, Machines
from pystator.errors import MachineConflictError, MachineNotFoundError
from pystator.service.keyfile import create_key
from servers.service import Service

DOOR = {
    "meta": {"machine_name": "door", "version": "1"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [{"trigger": "shut", "source": "open", "dest": "shut", "actions": ["log"]}],
}


def a_name() -> str:
    return f"counter-{uuid.uuid4().hex[:8]}"


class Waited:
    """An `AsyncClient` as a `Client`: each call is awaited, so that one test is for both."""

    def __init__(self, made: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._made = made
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, name)
        if name == "machines":
            return Waited(found, self._loop)
        return lambda *given, **named: self._loop.run_until_complete(found(*given, **named))


@pytest.fixture(params=["sync", "async"])
def either(request: pytest.FixtureRequest, service: Service) -> Any:
    if request.param == "sync":
        with Client(service.url) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        made = AsyncClient(service.url)
        yield Waited(made, runner.get_loop())
        runner.run(made.aclose())


def test_both_have_the_same_calls() -> None:
    """But for the words that begin and end one."""
    for one, other in ((Client, AsyncClient), (Machines, AsyncMachines)):
        first = {name for name in vars(one) if not name.startswith("_")}
        second = {name for name in vars(other) if not name.startswith("_")}
        assert first ^ second <= {"close", "aclose"}
        for name in sorted(first & second - {"url"}):
            ours, theirs = (
                inspect.signature(getattr(one, name)),
                inspect.signature(getattr(other, name)),
            )
            assert ours.parameters == theirs.parameters, name


def test_events(either: Any) -> None:
    name = a_name()
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    begun = either.create_entity(name, {"note": "ü"}, machine_name="counter")
    assert (begun.success, begun.target_state, begun.version) == (True, "open", 1)
    assert begun.context == {"note": "ü"}
    with pytest.raises(EntityExistsError):
        either.create_entity(name)

    added = either.process_event(
        name, "add", {"by": 3}, occurred_at=at, expected_version=1, event_id="e-1"
    )
    assert (added.source_state, added.target_state, added.version, added.context) == (
        "open",
        "open",
        2,
        None,
    )
    again = either.process_event(
        name, "add", {"by": 3}, occurred_at=at, event_id="e-1", with_context=True
    )
    assert (again.replayed, again.version, again.context) == (True, 2, None)
    with pytest.raises(IdempotencyConflictError):
        either.process_event(name, "add", {"by": 4}, event_id="e-1")
    with pytest.raises(StaleVersionError) as stale:
        either.process_event(name, "add", {"by": 4}, expected_version=1)
    assert stale.value.context["actual"] == 2
    with pytest.raises(StaleVersionError):
        either.process_event(name, "add", {"by": 4}, expected_version=0)

    refused = either.process_event(name, "add", {"by": 0})
    assert (refused.success, refused.reason, refused.target_state) == (
        False,
        "guard_rejected",
        None,
    )
    with pytest.raises(GuardRejectedError):
        refused.raise_for_error()
    assert isinstance(either.process_event(name, "nonsense").error, UndefinedTriggerError)
    tried = either.dry_run(name, "close")
    assert (tried.success, tried.target_state) == (True, "closed")
    kept = either.apply_data(name, {"more": [1, {"a": None}]}, with_context=True)
    assert kept.context == {"note": "ü", "by": 3, "total": 3, "more": [1, {"a": None}]}

    entity = either.get_entity(name)
    assert (entity.state, entity.version, entity.context) == ("open", 3, kept.context)
    row = either.event(name, "e-1")
    assert (row.trigger, row.payload, row.occurred_at) == ("add", {"by": 3}, 1_772_438_400_000_000)
    assert either.event(name, "e-2") is None
    assert either.event("nobody", "e-1") is None
    rows = either.history(name, newest_first=True, limit=2)
    assert [each.version for each in rows.items] == [3, 2]
    assert rows.next is not None
    assert either.history(name, newest_first=True, after=rows.next).items


def test_many_events(either: Any) -> None:
    name = a_name()
    results = either.process_events(
        [
            (name, "add", {"by": 1}),
            [name, "add", {"by": 0}],
            EventRequest(name, "add", {"by": 2}, "b-1"),
            EventRequest(name, "add", {"by": 2}, "b-1"),
            EventRequest(name, "add", {"by": 2}, expected_version=9),
            (name, "close"),
        ]
    )
    assert [result.success for result in results] == [True, False, True, True, False, True]
    assert results[3].replayed
    assert isinstance(results[1].error, GuardRejectedError)
    assert isinstance(results[4].error, StaleVersionError)
    assert either.process_events([]) == []
    for wrong in ("text", (name,), EventRequest(name, "add", actor="ada")):
        with pytest.raises(InvalidValueError):
            either.process_events([wrong])


def test_by_hand(either: Any) -> None:
    name = a_name()
    with pytest.raises(EntityNotFoundError):
        either.force_state(name, "closed", reason="a test")
    either.create_entity(name)
    forced = either.force_state(name, "closed", reason="a test", expected_version=1)
    assert (forced.target_state, forced.version) == ("closed", 2)
    either.archive(name, reason="old")
    assert either.get_entity(name).archived_at is not None
    assert isinstance(either.process_event(name, "add", {"by": 1}).error, EntityArchivedError)
    assert name in [each.entity_id for each in either.entities(archived=True, limit=1_000).items]
    either.unarchive(name, reason="needed")
    assert either.get_entity(name).archived_at is None
    assert [row.kind for row in either.history(name).items][-1] == "unarchived"


def test_lists(either: Any) -> None:
    assert either.get_entity(a_name()) is None
    with pytest.raises(EntityNotFoundError):
        either.history(a_name())
    names = sorted(a_name() for _ in range(3))
    for name in names:
        either.process_event(name, "close")
    found: list[str] = []
    after = None
    while True:
        page = either.entities(state="closed", machine_name="counter", limit=2, after=after)
        found += [each.entity_id for each in page.items]
        after = page.next
        if after is None:
            break
    assert set(names) <= set(found)
    assert found == sorted(set(found))
    assert either.entities(in_state_longer_than=timedelta(days=1)).items == []
    assert either.count_by_state(machine_name="counter")["closed"] >= 3
    assert len(either.transitions(limit=2).items) == 2


def test_machines(either: Any, tmp_path: Path) -> None:
    name = f"door-{uuid.uuid4().hex[:8]}"
    config = {**DOOR, "meta": {"machine_name": name, "version": "1"}}
    made, added = either.machines.create(config)
    assert (made.name, made.version, added) == (name, "1", True)
    file = tmp_path / "door.json"
    file.write_text(httpx.Response(200, json=config).text)
    assert either.machines.create(file)[1] is False
    with pytest.raises(MachineConflictError):
        either.machines.create({**config, "states": [*DOOR["states"], {"name": "new"}]})
    with pytest.raises(ConfigurationError) as told:
        either.machines.create(
            f"meta: {{machine_name: {name}}}\nstates: [{{nam: a}}]\ntransitions: []\n"
        )
    assert told.value.context["issues"]
    assert either.machines.get(name).definition
    assert either.machines.get(name, "1").fingerprint == made.fingerprint
    assert [each.version for each in either.machines.list(name=name).items] == ["1"]
    assert "stateDiagram" in either.machines.diagram(name)
    assert "<svg" in either.machines.diagram(name, form="svg")
    assert either.machines.validate(config)["valid"]
    assert not either.machines.validate("states: []")["valid"]
    either.machines.delete(name)
    with pytest.raises(MachineNotFoundError):
        either.machines.get(name)
    with pytest.raises(MachineNotFoundError):
        either.machines.delete(name)


def test_trials(either: Any) -> None:
    tried = either.process("shut", machine=DOOR, state="open")
    assert (tried.success, tried.target_state) == (True, "shut")
    assert [spec.name for spec in tried.all_actions] == ["log"]
    refused = either.process("add", {"total": 1}, machine_name="counter", payload={"by": 0})
    assert isinstance(refused.error, GuardRejectedError)


# Keys ---------------------------------------------------------------------------------------------


def in_process(work: Callable[[Any], Any], folder: Path, **settings: Any) -> None:
    """Run it with a service in this process."""

    async def run() -> None:
        app = create_app(
            StateMachine.from_dict(DOOR),
            store="memory://",
            settings=ApiSettings.load({}, folder, folder, **settings),
        )
        async with app.router.lifespan_context(app):
            await work(httpx.ASGITransport(app))

    asyncio.run(run())


def test_a_key_opens_the_door_and_is_the_actor(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    text, _ = create_key(file, "front-desk", scopes=["read", "send"], machines=None, now=0)

    async def work(transport: httpx.ASGITransport) -> None:
        async with AsyncClient("http://test", api_key=text, transport=transport) as client:
            assert (await client.process_event("d", "shut")).success
            assert (await client.history("d")).items[0].actor == "front-desk"
            with pytest.raises(FSMError) as refused:
                await client.force_state("d", "open", reason="x")
            assert refused.value.context["code"] == "forbidden"
        for key in (None, "pst_wrong"):
            async with AsyncClient("http://test", api_key=key, transport=transport) as client:
                with pytest.raises(FSMError) as unknown:
                    await client.get_entity("d")
                assert unknown.value.context["code"] == "unauthorized"

    in_process(work, tmp_path, keys_file=str(file))
