"""The async twins, async guards, and calls that share commits."""

import asyncio
import threading
from collections import Counter

import pytest

from pystator import (
    FSMError,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    StoreUnavailableError,
)


class Counting(InMemoryStateStore):
    """A memory store whose async calls take a turn of the loop, and are counted."""

    combines = True

    def __init__(self):
        super().__init__()
        self.loads, self.commits, self.stuck = [], [], None
        self.fail = None

    async def aload(self, lookups):
        self.loads.append(len(lookups))
        if self.stuck is not None:
            await self.stuck.wait()
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        return self.load(lookups)

    async def acommit(self, commits):
        self.commits.append(len(commits))
        await asyncio.sleep(0)
        return self.commit(commits)


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def shared(machine, counting, actions, clock):
    """An orchestrator whose concurrent calls share commits."""
    return Orchestrator(machine, counting, actions=actions, clock=clock)


async def until(condition) -> None:
    """Give the loop turns until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of other code
            await asyncio.sleep(0)


@pytest.mark.parametrize("batching", [False, True])
def test_every_call_has_a_twin(machine, store, actions, clock, batching, audit):
    orders = Orchestrator(machine, store, actions=actions, clock=clock, batching=batching)

    async def life():
        created = await orders.async_create_entity("o-1", {"amount": 20})
        assert created.version == 1
        assert (await orders.async_process_event("o-1", "submit")).version == 2
        assert not (await orders.async_process_event("o-1", "submit")).success
        paid = await orders.async_process_event("o-1", "pay", event_id="p-1")
        again = await orders.async_process_event("o-1", "pay", event_id="p-1")
        assert (paid.version, again.replayed) == (3, True)
        results = await orders.async_process_events([("o-1", "note"), ("o-2", "note")])
        assert [r.version for r in results] == [4, 1]
        forced = await orders.async_force_state("o-1", "open", reason="x", actor="y")
        assert forced.target_state == "open"
        assert (await orders.async_get_entity("o-1")).state == "open"
        assert await orders.async_fire_due() == []
        with pytest.raises(InvalidValueError):
            await orders.async_process_event("o-1", "note", {"x": object()})
        await orders.close()

    asyncio.run(life())
    audit(store, "o-1")


def test_a_blocking_call_on_an_async_store_is_a_type_error_and_the_other_way_round(machine):
    class Async:
        async def aget_state(self, entity_id):
            return "open"

        async def aset_state(self, entity_id, state, *, metadata=None):
            self.state = state

        async def aget_context(self, entity_id):
            return {}

    store = Async()
    orders = Orchestrator(machine, store)
    with pytest.raises(TypeError, match="async"):
        orders.process_event("o-1", "cancel")
    with pytest.raises(TypeError, match="async"):
        orders.get_entity("o-1")
    assert asyncio.run(orders.async_process_event("o-1", "cancel")).success
    assert store.state == "cancelled"


# Async guards -------------------------------------------------------------------------------------


@pytest.fixture
def guarded(machine_of):
    """A machine whose ``pay`` asks an async guard, and whose ``open`` state times out with one."""
    return machine_of(
        transitions=[
            {"trigger": "pay", "source": "draft", "dest": "paid", "guards": ["first", "funded"]},
            {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
        ]
    )


@pytest.mark.parametrize("batching", [False, True])
@pytest.mark.parametrize("verdict", [True, False])
def test_an_async_guard_is_awaited_once(guarded, store, batching, verdict, audit):
    asked = []

    async def funded(ctx):
        await asyncio.sleep(0)
        asked.append(ctx)
        return verdict

    guards = {"first": lambda ctx: True, "funded": funded}
    orders = Orchestrator(guarded, store, guards=guards, batching=batching)
    result = asyncio.run(orders.async_process_event("o-1", "pay", {"amount": 3}))
    assert result.success is verdict
    assert asked == [{"amount": 3}]
    audit(store, "o-1")


@pytest.mark.parametrize("batching", [False, True])
def test_an_async_guard_that_raises_fails_the_event(guarded, store, rows, batching):
    async def funded(ctx):
        raise LookupError("no such account")

    guards = {"first": lambda ctx: True, "funded": funded}
    orders = Orchestrator(guarded, store, guards=guards, batching=batching)
    result = asyncio.run(orders.async_process_event("o-1", "pay"))
    assert result.reason == "evaluation_failed"
    assert "no such account" in result.error.message
    assert [row.kind for row in rows(store, "o-1")] == ["rejected"]


def test_an_async_guard_under_a_blocking_call_names_the_twin(guarded, store, rows):
    async def funded(ctx):
        raise AssertionError

    guards = {"first": lambda ctx: True, "funded": funded}
    orders = Orchestrator(guarded, store, guards=guards)
    with pytest.raises(FSMError, match="async_process_event"):
        orders.process_event("o-1", "pay")
    bad, good = orders.process_events([("o-1", "pay"), ("o-2", "note")])
    assert (bad.success, good.success) == (False, True)
    assert rows(store, "o-1") == []


def test_async_guards_work_in_timers_and_at_the_start(machine_of, store, clock, audit):
    """A guard that raises in a timer uses the timer up: else it would bar the entity for ever."""
    answers = {"a": True, "b": False}

    async def ready(ctx):
        await asyncio.sleep(0)
        return answers[ctx["id"]]

    machine = machine_of(
        states=[{"name": "new", "type": "initial"}, {"name": "hot"}, {"name": "cold"}],
        transitions=[
            {"source": "new", "dest": "hot", "auto": True, "guards": ["ready"]},
            {"source": "new", "dest": "cold", "after": "1s", "guards": ["ready"]},
        ],
    )
    orders = Orchestrator(machine, store, guards={"ready": ready}, clock=clock)

    async def life():
        hot = await orders.async_create_entity("e-a", {"id": "a"})
        assert hot.target_state == "hot"
        for name in ("b", "c"):
            answers[name] = False
            await orders.async_create_entity(f"e-{name}", {"id": name})
        answers["b"] = True
        del answers["c"]
        clock.advance(2)
        return await orders.async_fire_due()

    fired = asyncio.run(life())
    assert [(r.metadata["entity_id"], r.success) for r in fired] == [("e-b", True), ("e-c", False)]
    assert orders.get_entity("e-c").timers == {}
    for name in "abc":
        audit(store, f"e-{name}")


# Shared commits -----------------------------------------------------------------------------------


def test_concurrent_callers_share_one_load_and_one_commit(shared, counting, audit):
    async def calls():
        return await asyncio.gather(
            *[shared.async_process_event(f"o-{n}", "note") for n in range(64)]
        )

    results = asyncio.run(calls())
    assert all(result.success for result in results)
    assert (counting.loads, counting.commits) == ([64], [64])
    for n in range(64):
        audit(counting, f"o-{n}")


def test_callers_that_come_during_a_batch_make_the_next_one(shared, counting):
    async def calls():
        counting.stuck = asyncio.Event()
        first = asyncio.ensure_future(shared.async_process_event("o-0", "note"))
        await until(lambda: counting.loads == [1])
        rest = [
            asyncio.ensure_future(shared.async_process_event(f"o-{n}", "note")) for n in range(9)
        ]
        await asyncio.sleep(0)
        counting.stuck.set()
        await asyncio.gather(first, *rest)

    asyncio.run(calls())
    assert counting.loads == [1, 9]
    assert shared.get_entity("o-0").context == {"notes": 2}


def test_a_batch_is_bounded(shared, counting):
    async def calls():
        await asyncio.gather(*[shared.async_process_event(f"o-{n}", "note") for n in range(600)])

    asyncio.run(calls())
    assert sum(counting.loads) == 600
    assert max(counting.loads) <= 256


def test_callers_of_one_entity_are_one_commit_in_the_order_they_came(shared, counting, rows, audit):
    async def calls():
        names = ["submit", "pay", "ship"]
        return await asyncio.gather(
            *[shared.async_process_event("o-1", name, {"amount": 10}) for name in names]
        )

    results = asyncio.run(calls())
    assert [r.target_state for r in results] == ["open", "paid", "shipped"]
    assert counting.commits == [1]
    audit(counting, "o-1")


def test_one_failure_does_not_touch_its_neighbours(shared, counting, audit):
    async def calls():
        counting.set_state("o-bad", "lost", metadata={"machine_name": "order"})
        return await asyncio.gather(
            shared.async_process_event("o-1", "note"),
            shared.async_process_event("o-1", "note", {"x": {1}}),
            shared.async_process_event("o-bad", "note"),
            shared.async_process_event("o-1", "note"),
            shared.async_process_event("o-2", "ship"),
            return_exceptions=True,
        )

    first, unstorable, lost, second, refused = asyncio.run(calls())
    assert (first.version, second.version, refused.success) == (1, 2, False)
    assert isinstance(unstorable, InvalidValueError)
    assert lost.code == "undefined_state"
    audit(counting, "o-1")


def test_a_store_that_is_down_tells_every_caller(shared, counting):
    async def calls():
        counting.fail = StoreUnavailableError("down", context={"written": False})
        answers = await asyncio.gather(
            *[shared.async_process_event(f"o-{n}", "note") for n in range(5)],
            return_exceptions=True,
        )
        counting.fail = None
        assert (await shared.async_process_event("o-0", "note")).success
        return answers

    assert {type(answer) for answer in asyncio.run(calls())} == {StoreUnavailableError}


def test_a_caller_cancelled_before_its_batch_has_sent_nothing(shared, counting):
    async def calls():
        counting.stuck = asyncio.Event()
        first = asyncio.ensure_future(shared.async_process_event("o-0", "note"))
        await until(lambda: counting.loads == [1])
        waiting = asyncio.ensure_future(shared.async_process_event("o-1", "note"))
        other = asyncio.ensure_future(shared.async_process_event("o-2", "note"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        counting.stuck.set()
        await asyncio.gather(first, other)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(calls())
    assert shared.get_entity("o-1") is None
    assert shared.get_entity("o-2").version == 1


def test_an_event_whose_caller_is_cancelled_in_flight_takes_its_course(
    shared, counting, done, audit
):
    """Its actions were promised by the commit; nobody else would run them."""

    async def calls():
        await shared.async_process_event("o-1", "submit", {"amount": 10})
        counting.stuck = asyncio.Event()
        caller = asyncio.ensure_future(shared.async_process_event("o-1", "pay"))
        await until(lambda: len(counting.loads) == 2)
        caller.cancel()
        await asyncio.sleep(0)
        counting.stuck.set()
        await until(lambda: done == ["receipt"])

    asyncio.run(calls())
    assert shared.get_entity("o-1").state == "paid"
    audit(counting, "o-1")


def test_a_slow_guard_holds_up_its_own_entity_only(guarded, counting, audit):
    async def calls():
        gate = asyncio.Event()

        async def funded(ctx):
            await gate.wait()
            return True

        guards = {"first": lambda ctx: True, "funded": funded}
        orders = Orchestrator(guarded, counting, guards=guards)
        slow = asyncio.ensure_future(orders.async_process_event("o-1", "pay"))
        behind = asyncio.ensure_future(orders.async_process_event("o-1", "note"))
        for n in range(2, 6):
            assert (await orders.async_process_event(f"o-{n}", "note")).success
        assert not slow.done()
        assert not behind.done()
        later = asyncio.ensure_future(orders.async_process_event("o-1", "note"))
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(slow, behind, later)
        assert [r.version for r in results] == [1, 2, 3]

    asyncio.run(calls())
    audit(counting, "o-1")


def test_a_slow_action_holds_up_its_own_caller_only(machine, counting):
    async def calls():
        gate = asyncio.Event()

        async def receipt(ctx):
            await gate.wait()

        orders = Orchestrator(machine, counting, actions={"receipt": receipt})
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        slow = asyncio.ensure_future(orders.async_process_event("o-1", "pay"))
        await until(lambda: counting.get_state("o-1") == "paid")
        assert (await orders.async_process_event("o-1", "note")).version == 3
        assert not slow.done()
        gate.set()
        assert (await slow).success

    asyncio.run(calls())


def test_other_writers_are_met_by_going_on_alone(shared, machine, counting, audit):
    other = Orchestrator(machine, counting)
    meddle = iter(range(5))

    async def aload(lookups):
        loaded = await Counting.aload(counting, lookups)
        for _ in meddle:
            other.process_event("o-1", "note")
            break
        return loaded

    counting.aload = aload

    async def calls():
        events = [shared.async_process_event(f"o-{n % 3}", "note") for n in range(30)]
        await asyncio.gather(*events)

    asyncio.run(calls())
    assert shared.get_entity("o-1").context == {"notes": 15}
    for n in range(3):
        audit(counting, f"o-{n}")


def test_each_loop_has_batches_of_its_own(machine, audit):
    """An orchestrator may be used from several threads, each with a loop."""
    store = Counting()
    orders = Orchestrator(machine, store)
    failures = []

    def serve(number):
        async def calls():
            for _ in range(5):
                await asyncio.gather(*[orders.async_process_event("o-1", "note") for _ in range(4)])

        try:
            asyncio.run(calls())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert orders.get_entity("o-1").context == {"notes": 60}
    audit(store, "o-1")


def test_a_loop_that_closes_leaves_nobody_waiting(shared, counting):
    async def calls():
        counting.stuck = asyncio.Event()
        task = asyncio.ensure_future(shared.async_process_event("o-1", "note"))
        await until(lambda: counting.loads == [1])
        return task

    task = asyncio.run(calls())
    assert task.cancelled()
    assert asyncio.run(shared_again(shared, counting)).success


async def shared_again(shared, counting):
    counting.stuck = None
    return await shared.async_process_event("o-1", "note")


def test_tasks_on_one_entity_lose_nothing(shared, counting, rows, audit):
    async def calls():
        async def send():
            for _ in range(50):
                await shared.async_process_event("o-1", "note")

        await asyncio.gather(*[send() for _ in range(8)])

    asyncio.run(calls())
    assert shared.get_entity("o-1").context == {"notes": 400}
    runs = Counter(row.commit_id for row in rows(counting, "o-1"))
    assert max(runs.values()) == 8
    audit(counting, "o-1")
