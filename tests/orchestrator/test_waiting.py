"""Async guards that send events themselves: to others they may, and what would wait for ever is told so."""

import asyncio

import pytest

from pystator import EvaluationError, Orchestrator


@pytest.fixture(params=[True, False])
def sending(machine_of, slow_store, request):
    """An orchestrator whose guard ``asks`` does what a test puts into ``ask[0]``."""
    transitions = [
        {
            "trigger": "go",
            "source": "draft",
            "dest": "open",
            "guards": ["asks"],
            "actions": ["tell"],
        },
        {"trigger": "note", "source": "*", "internal": True},
    ]
    ask = []

    async def asks(context):
        return await ask[0](context)

    async def tell(context):
        if len(ask) > 1:
            await ask[1](context)

    orders = Orchestrator(
        machine_of(transitions=transitions),
        slow_store(),
        guards={"asks": asks},
        actions={"tell": tell},
        batching=request.param,
    )
    return orders, ask


def run(coroutine):
    async def main():
        async with asyncio.timeout(20):
            return await coroutine

    return asyncio.run(main())


def test_a_guard_that_waits_for_its_own_entity_is_told_so(sending, rows):
    """In a shared commit each waited for the other; alone, the event went first, again and again."""
    orders, ask = sending

    async def itself(_):
        return (await orders.async_process_event("o-1", "note")).success

    ask.append(itself)
    result = run(orders.async_process_event("o-1", "go"))
    assert (result.success, result.error.code) == (False, "evaluation_failed")
    assert "it would wait for ever" in result.error.message
    assert result.error.context["waits_for"] == "o-1"
    assert [row.kind for row in rows(orders.state_store, "o-1")] == ["rejected"]


def test_whichever_way_it_sends(sending, rows):
    """In bulk its item fails; data and starts are told as events are."""
    orders, ask = sending
    told = []

    async def itself(_):
        results = await orders.async_process_events([("o-1", "note"), ("o-2", "note")])
        told.extend(result.success for result in results)
        for call in (
            orders.async_apply_data("o-1", {"n": 1}),
            orders.async_create_entity("o-1"),
            orders.async_force_state("o-1", "open", reason="test", actor="test"),
        ):
            with pytest.raises(EvaluationError, match="for ever"):
                await call
        return True

    ask.append(itself)
    assert run(orders.async_process_event("o-1", "go")).success
    assert told == [False, True]
    assert orders.get_entity("o-1").version == 1


def test_the_same_id_elsewhere_is_another_entity(sending, machine, slow_store):
    orders, ask = sending
    elsewhere = Orchestrator(machine, slow_store())

    async def other(_):
        return (await elsewhere.async_process_event("o-1", "note")).success

    ask.append(other)
    assert run(orders.async_process_event("o-1", "go")).success


def test_what_one_guard_has_sent_is_nothing_to_the_next(sending):
    """Batches are sent for everybody, also when a guard was the first to ask for one."""
    orders, ask = sending
    waiting = asyncio.Event()
    asked = []

    async def first_and_second(context):
        asked.append(context["me"])
        if context["me"] == "o-1":
            assert (await orders.async_process_event("o-3", "note")).success
            waiting.set()
            while len(asked) < 2:  # noqa: ASYNC110 - of the other guard
                await asyncio.sleep(0)
        return True

    ask.append(first_and_second)

    async def main():
        one = asyncio.create_task(orders.async_process_event("o-1", "go", {"me": "o-1"}))
        await waiting.wait()
        two = asyncio.create_task(orders.async_process_event("o-2", "go", {"me": "o-2"}))
        return await one, await two

    assert [result.success for result in run(main())] == [True, True]


@pytest.mark.parametrize("late", [False, True])
def test_guards_that_wait_for_each_other_are_told_so(sending, rows, late):
    """Whichever comes second closes the circle, however long the way round is."""
    orders, ask = sending
    following = {"o-1": "o-2", "o-2": "o-3", "o-3": "o-1"}

    async def another(context):
        if late:
            for _ in range(5):
                await asyncio.sleep(0)
        result = await orders.async_process_event(
            following[context["me"]], "go", {"me": following[context["me"]]}
        )
        return result.success

    ask.append(another)

    async def main():
        calls = [orders.async_process_event(each, "go", {"me": each}) for each in following]
        return await asyncio.gather(*calls)

    assert not any(result.success for result in run(main()))
    told = [row for each in following for row in rows(orders.state_store, each)]
    assert any("it would wait for ever" in row.error_message for row in told)


def test_a_guard_may_wait_for_another_entity_and_an_action_for_its_own(sending):
    orders, ask = sending

    async def other(_):
        return (await orders.async_process_event("o-2", "note")).success

    async def itself(_):
        assert (await orders.async_process_event("o-1", "note")).version == 2

    ask += [other, itself]
    result = run(orders.async_process_event("o-1", "go"))
    assert result.success
    assert "action_errors" not in result.metadata
    assert orders.get_entity("o-1").version == 2
    assert orders.get_entity("o-2").version == 1


def test_what_a_guard_has_begun_may_send_to_its_entity_when_that_is_decided(sending):
    """A task keeps the context of the guard that made it, for as long as it lives."""
    orders, ask = sending
    tasks = []

    async def later():
        while orders.get_entity("o-1") is None:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0)
        return await orders.async_process_event("o-1", "note")

    async def begins(_):
        tasks.append(asyncio.create_task(later()))
        return True

    ask.append(begins)

    async def main():
        await orders.async_process_event("o-1", "go")
        return await tasks[0]

    assert run(main()).version == 2
