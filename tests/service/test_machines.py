"""Which machine is served under a name, and how soon a new version of it is."""

import asyncio
import json
import time
from typing import Any

import pytest

from pystator import (
    AmbiguousEntityError,
    FSMError,
    InMemoryStateStore,
    MachineNotFoundError,
    Orchestrator,
    StateMachine,
    StoreUnavailableError,
)
from pystator.definition.load import load_config
from pystator.records import StoredMachine
from pystator.service.application import Application
from pystator.service.machines import FRESH, STALE, Machines
from pystator.service.owners import Owners
from pystator.stores.registry import create_state_store


class Store(InMemoryStateStore):
    """Counts look-ups, and can be slow or away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.lists = 0
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def astored_machine(self, name, version=None):
        self.asked += 1
        await self.may_answer.wait()
        if self.is_away:
            raise StoreUnavailableError("away", context={"written": False})
        return await super().astored_machine(name, version)

    async def astored_machines(self, **options):
        self.lists += 1
        return await super().astored_machines(**options)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def config(name: str, version: str) -> dict:
    return {
        "meta": {"machine_name": name, "version": version},
        "states": [{"name": f"s{version}", "type": "initial"}],
        "transitions": [],
    }


def save(store, name: str, version: str) -> None:
    made = load_config(config(name, version))
    text = json.dumps(made.config)
    store.save_machine(StoredMachine(name, version, made.fingerprint, None, text, time.time_ns()))


def own(name: str) -> StateMachine:
    return StateMachine.from_dict(config(name, "own"))


def run(go) -> None:
    """Run a test's coroutine, which is given a store and a clock."""

    async def whole() -> None:
        await go(Store(), Clock())

    asyncio.run(whole())


def test_a_stored_machine_is_looked_up_once_while_it_is_fresh() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        found = await asyncio.gather(*[machines.served("order") for _ in range(20)])
        assert len({id(each) for each in found}) == 1
        clock.now += FRESH * 0.9
        assert machines.known("order") is found[0]
        assert store.asked == 1
        await machines.close()

    run(go)


def test_nobody_waits_for_a_look_up_until_the_copy_is_stale() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        first = await machines.served("order")
        save(store, "order", "2")
        store.may_answer.clear()
        clock.now += FRESH
        assert machines.known("order") is first
        assert machines.known("order") is first
        await asyncio.sleep(0)
        assert store.asked == 2
        clock.now += STALE - FRESH
        assert machines.known("order") is None
        waiting = asyncio.create_task(machines.served("order"))
        await asyncio.sleep(0)
        store.may_answer.set()
        assert (await waiting).machine.version == "2"
        assert store.asked == 2  # the one that was under way
        await machines.close()

    run(go)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres_url", "redis_url", "mongodb_url"])
def test_names_are_found_without_reading_every_version(kind, request, tmp_path) -> None:
    """It is done every second, and each version comes with its whole definition."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/shop.db"}
    store: Any = create_state_store(urls[kind] if kind in urls else request.getfixturevalue(kind))
    read = []

    class Counted:
        async def astored_machine(self, name, version=None):
            return await store.astored_machine(name, version)

        async def astored_machines(self, **options):
            page = await store.astored_machines(**options)
            read.extend(page.items)
            return page

    names = ["a", "a-b", "a.b", "order", "order-2", "order_2"]

    store.connect()
    for number, name in enumerate(names):
        for version in range(15 if number % 2 else 1):
            save(store, name, str(version))
    if kind != "memory":
        store.disconnect()

    async def go() -> None:
        await store.aconnect()
        machines = Machines(Counted(), Application())
        assert await machines.names() == tuple(sorted(names))
        assert len(read) <= 30
        await machines.close()
        await store.adisconnect()

    asyncio.run(go())


def test_a_machine_that_did_not_change_stays_the_same_object() -> None:
    """Its orchestrator shares commits among callers: a new one would not."""

    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        first = await machines.served("order")
        clock.now += STALE
        assert await machines.served("order") is first
        assert store.asked == 2
        await machines.close()

    run(go)


def test_a_deleted_machine_is_served_no_more() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        await machines.served("order")
        store.delete_machine("order")
        clock.now += STALE
        with pytest.raises(MachineNotFoundError, match="none is served"):
            await machines.served("order")
        await machines.close()

    run(go)


def test_what_was_just_written_is_looked_up_at_once() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        await machines.served("order")
        assert await machines.names() == ("order",)
        save(store, "order", "2")
        save(store, "parcel", "1")
        machines.forget("order")
        assert (await machines.served("order")).machine.version == "2"
        assert await machines.names() == ("order", "parcel")
        await machines.close()

    run(go)


def test_a_look_up_from_before_a_change_is_not_kept() -> None:
    """Who stored a version is served by it, though the store was being asked when it came."""

    class Late(Store):
        """Answers what was there when it was asked."""

        async def astored_machine(self, name, version=None):
            found = await InMemoryStateStore.astored_machine(self, name, version)
            await super().astored_machine(name, version)
            return found

    async def go(_, clock) -> None:
        store = Late()
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        for version in ("2", "3"):
            store.may_answer.clear()
            early = asyncio.ensure_future(machines.served("order"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            save(store, "order", version)
            machines.forget("order")
            late = asyncio.ensure_future(machines.served("order"))
            store.may_answer.set()
            assert (await late).machine.version == version
            await early
            assert (await machines.served("order")).machine.version == version
            machines.forget("order")  # so that the next round asks
        await machines.close()

    run(go)


def test_a_store_that_is_away_for_a_moment_harms_nobody() -> None:
    """Only who needs a copy that is stale is told, and the next one asks again."""

    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        save(store, "order", "1")
        first = await machines.served("order")
        store.is_away = True
        clock.now += FRESH
        assert machines.known("order") is first
        await asyncio.sleep(0.01)
        clock.now += STALE
        with pytest.raises(StoreUnavailableError):
            await machines.served("order")
        store.is_away = False
        assert await machines.served("order") is first
        await machines.close()

    run(go)


def test_a_machine_of_the_application_stands_before_a_stored_one() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application([own("order")]), clock=clock)
        save(store, "order", "1")
        assert (await machines.served("order")).machine.version == "own"
        assert store.asked == 0
        await machines.close()

    run(go)


def test_a_misspelt_name_is_answered_with_what_there_is() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application([own("order")]), clock=clock)
        save(store, "parcel", "1")
        with pytest.raises(MachineNotFoundError, match="there are order, parcel"):
            await machines.served("oder")
        await machines.close()

    run(go)


# Owners -------------------------------------------------------------------------------------------


def test_entities_of_the_only_machine_are_asked_for_once() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application([own("order")]), clock=clock)
        owners = Owners(store, machines, clock=clock)
        assert owners.known("o-1", None, None) is None
        served = await owners.machine_of("o-1", None, None)  # it may be started
        assert owners.known("o-1", None, None) is None, "somebody else may have started it"
        await served.orchestrator.async_create_entity("o-1")
        assert await owners.machine_of("o-1", None, None) is served
        assert owners.known("o-1", None, None) is served
        clock.now += 60
        asks, store.amachines = store.amachines, None
        assert await owners.owner("o-1", None) == "order"
        store.amachines = asks
        save(store, "parcel", "1")
        clock.now += STALE
        assert owners.known("o-1", None, None) is None
        with pytest.raises(MachineNotFoundError, match="say with machine_name"):
            await owners.machine_of("o-2", None, None)
        await machines.close()

    run(go)


def test_an_entity_of_a_machine_that_is_not_served_is_not_started_again() -> None:
    async def go(store, clock) -> None:
        await Orchestrator(own("parcel"), store).async_create_entity("e")
        machines = Machines(store, Application([own("order")]), clock=clock)
        owners = Owners(store, machines, clock=clock)
        with pytest.raises(MachineNotFoundError, match="no machine 'parcel'"):
            await owners.machine_of("e", None, None)
        assert (await owners.machine_of("e", "order", None)).name == "order"
        await machines.close()

    run(go)


def test_a_limited_caller_sees_no_other_machines() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application([own("one"), own("two")]), clock=clock)
        owners = Owners(store, machines, clock=clock)
        for name in ("one", "two"):
            await (await machines.served(name)).orchestrator.async_create_entity("e")
        assert (await owners.machine_of("e", None, {"one"})).name == "one"
        assert await owners.owner("e", {"one", "other"}) == "one"
        assert await owners.owner("e", {"other"}) is None
        with pytest.raises(AmbiguousEntityError):
            await owners.owner("e", None)
        with pytest.raises(MachineNotFoundError, match=r"there are one$"):
            await owners.machine_of("e", "two", {"one"})
        with pytest.raises(MachineNotFoundError, match="no machine is served"):
            await owners.machine_of("e", None, set())
        assert owners.known("e", "two", {"one"}) is None
        await machines.close()

    run(go)


def test_whose_an_entity_is_is_remembered_for_a_moment() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application([own("one"), own("two")]), clock=clock)
        owners = Owners(store, machines, clock=clock)
        assert await owners.owner("e", None) is None
        await (await machines.served("one")).orchestrator.async_create_entity("e")
        assert await owners.owner("e", None) == "one"
        await (await machines.served("two")).orchestrator.async_create_entity("e")
        assert await owners.owner("e", None) == "one"
        clock.now += 2
        with pytest.raises(AmbiguousEntityError):
            await owners.owner("e", None)
        await machines.close()

    run(go)


def test_a_stored_machine_that_cannot_be_loaded_is_no_mistake_of_the_caller() -> None:
    async def go(store, clock) -> None:
        machines = Machines(store, Application(), clock=clock)
        store.save_machine(StoredMachine("order", "1", "f", None, '{"states": []}', 1))
        with pytest.raises(FSMError, match="this release cannot load it") as told:
            await machines.served("order")
        assert told.value.code == "fsm_error"
        await machines.close()

    run(go)
