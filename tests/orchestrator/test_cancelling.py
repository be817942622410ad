"""Callers that are cancelled: all of an event or nothing of it, its actions too, and nobody left waiting."""

import asyncio
import contextvars
import gc
import weakref

import pytest

from pystator import FSMError, Orchestrator


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("turns", range(12))
def test_a_caller_cancelled_at_any_moment_leaves_all_of_its_event_or_nothing(
    machine, actions, done, audit, batching, turns, slow_store, settle
):
    """The leader of a batch too: those behind it are answered as if it had stayed."""
    store = slow_store()
    orders = Orchestrator(machine, store, actions=actions, batching=batching)

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        calls = [
            asyncio.create_task(orders.async_process_event("o-1", "pay")),
            asyncio.create_task(orders.async_process_event("o-1", "note")),
            asyncio.create_task(orders.async_process_event("o-2", "note")),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[0].cancel()
        first, *others = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer.success for answer in others] == [True, True]
        await settle()
        paid = store.get_context("o-1").get("paid", False)
        assert paid or isinstance(first, asyncio.CancelledError)
        if batching:
            assert done == (["receipt"] if paid else [])

    asyncio.run(main())
    for entity_id in ("o-1", "o-2"):
        audit(store, entity_id)


def test_a_caller_cancelled_in_the_turn_of_its_answer_still_has_its_actions_run(
    machine, actions, done, slow_store, settle
):
    store = slow_store()
    orders = Orchestrator(machine, store, actions=actions)

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        combiner = orders._combine()
        fly = combiner._fly

        async def answer_and_cancel(batch):
            await fly(batch)
            caller.cancel()

        combiner._fly = answer_and_cancel
        caller = asyncio.create_task(orders.async_process_event("o-1", "pay"))
        with pytest.raises(asyncio.CancelledError):
            await caller
        await settle()

    asyncio.run(main())
    assert store.get_state("o-1") == "paid"
    assert done == ["receipt"]


def test_actions_under_way_outlive_their_caller(machine, done, rows, slow_store, settle):
    """The second action belongs to a committed event as much as the first."""
    store = slow_store()
    started = asyncio.Event()

    async def label(_):
        started.set()
        await asyncio.sleep(0.01)
        done.append("label")

    orders = Orchestrator(
        machine,
        store,
        actions={"receipt": lambda _: None, "label": label, "mail": lambda _: done.append("mail")},
    )

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        await orders.async_process_event("o-1", "pay")
        caller = asyncio.create_task(orders.async_process_event("o-1", "ship"))
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        async with asyncio.timeout(10):
            while len(done) < 2:  # noqa: ASYNC110 - of another task
                await asyncio.sleep(0)
        await settle()

    asyncio.run(main())
    assert done == ["label", "mail"]
    assert [row.ref for row in rows(store, "o-1", "action")] == [2, 3]


def test_a_sender_that_is_cancelled_leaves_nobody_waiting(machine, slow_store):
    """A program that cancels all tasks but its own goes on, and so do later callers."""
    store = slow_store()
    orders = Orchestrator(machine, store)

    async def main():
        combiner = orders._combine()
        calls = [
            asyncio.create_task(orders.async_process_event(f"o-{n}", "note")) for n in range(3)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in list(combiner._tasks):
            task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*calls, return_exceptions=True)
            assert (await orders.async_process_event("late", "note")).success

    asyncio.run(main())


def test_a_loop_is_forgotten_when_it_is_closed(machine, slow_store):
    """A web program that calls asyncio.run for each request would keep every loop it ever had."""
    orders = Orchestrator(machine, slow_store())
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await orders.async_process_event("o-1", "note")

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3


@pytest.mark.parametrize("batching", [True, False])
def test_a_cancellation_inside_of_user_code_is_its_failure_and_not_the_callers(
    machine_of, batching, slow_store
):
    """A client library that gives up cancels what its caller waits for; nobody cancelled the caller."""

    async def gives_up(_):
        lost = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost

    async def main():
        store = slow_store()
        orders = Orchestrator(machine_of(), store, actions={"receipt": gives_up}, batching=batching)
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        result = await orders.async_process_event("o-1", "pay")
        assert result.success
        assert result.metadata["action_errors"][0]["name"] == "receipt"
        transitions = [{"trigger": "go", "source": "draft", "dest": "open", "guards": ["asks"]}]
        guarded = Orchestrator(
            machine_of(transitions=transitions),
            slow_store(),
            guards={"asks": gives_up},
            batching=batching,
        )
        result = await guarded.async_process_event("o-1", "go")
        assert (result.success, result.error.code) == (False, "fsm_error")
        assert "asks" in result.error.message

    asyncio.run(main())


# Context variables --------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(10))
@pytest.mark.parametrize("waits", [True, False])
def test_guards_see_no_callers_context_variables_and_actions_their_own(
    machine_of, slow_store, turns, waits
):
    tenant = contextvars.ContextVar("tenant", default="nobody")
    seen, acted, told = set(), {}, {}

    class Hook:
        def on_transition_complete(self, entity_id, trigger, result):
            told[entity_id] = tenant.get()

    def check(context):
        seen.add(tenant.get())
        return True

    async def check_slowly(context):
        await asyncio.sleep(0)
        return check(context)

    async def act(context):
        acted[context["me"]] = tenant.get()

    transition = {
        "trigger": "go", "source": "draft", "internal": True, "guards": ["check"], "actions": ["act"]
    }  # fmt: skip
    orders = Orchestrator(
        machine_of(transitions=[transition]),
        slow_store(),
        guards={"check": check_slowly if waits else check},
        actions={"act": act},
        hooks=[Hook()],
        batching=True,
    )

    async def main():
        async def call(me):
            tenant.set(me)
            await orders.async_process_event(me, "go", {"me": me})

        calls = [asyncio.create_task(call(f"o-{n}")) for n in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await orders.close()

    asyncio.run(main())
    assert seen == {"nobody"}
    assert {"o-0", "o-1", "o-3"} <= acted.keys()
    assert all(me == who for me, who in acted.items())
    assert all(me == who for me, who in told.items())


# Closing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(12))
def test_closing_waits_for_events_and_actions_of_callers_that_are_gone(
    machine_of, slow_store, turns
):
    async def slowly(context):
        for _ in range(5):
            await asyncio.sleep(0)

    transition = {"trigger": "go", "source": "draft", "internal": True, "actions": ["slowly"]}
    store = slow_store()
    orders = Orchestrator(
        machine_of(transitions=[transition]), store, actions={"slowly": slowly}, batching=True
    )

    async def main():
        call = asyncio.create_task(orders.async_process_event("o-1", "go"))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await orders.close()

    asyncio.run(main())
    kinds = [str(row.kind) for row in store.history("o-1").items]
    assert kinds in ([], ["event", "action"])
    assert kinds or turns < 4


def test_an_action_may_close_its_orchestrator(machine_of, slow_store):
    async def close(context):
        await orders.close()

    transition = {"trigger": "go", "source": "draft", "internal": True, "actions": ["close"]}
    orders = Orchestrator(
        machine_of(transitions=[transition]), slow_store(), actions={"close": close}, batching=True
    )

    async def main():
        async with asyncio.timeout(10):
            return await orders.async_process_event("o-1", "go")

    assert asyncio.run(main()).success


# Nobody cancelled the call ------------------------------------------------------------------------


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("by", ["guards", "validator"])
def test_user_code_that_raises_a_cancellation_fails_its_own_event_only(
    machine_of, slow_store, batching, same, by
):
    def check(context):
        if context.get("bad"):
            raise asyncio.CancelledError
        return True

    def validate(_entity, _state, _trigger, context):
        return (check(context), [])

    transition = {"trigger": "go", "source": "draft", "internal": True}
    if by == "guards":
        transition["guards"] = ["check"]
    orders = Orchestrator(
        machine_of(transitions=[transition]),
        slow_store(),
        guards={"check": check},
        context_validator=validate if by == "validator" else None,
        batching=batching,
    )

    async def main():
        await orders.async_process_event("o-0", "go", {"bad": False})
        calls = [
            orders.async_process_event("o-0" if same else f"o-{n}", "go", {"bad": n == 3})
            for n in range(6)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(main())
    failed = answers.pop(3)
    assert type(failed) is FSMError
    assert "CancelledError" in str(failed)
    assert all(answer.success for answer in answers)


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_a_store_that_something_was_cancelled_for_has_lost_an_answer(
    machine, slow_store, batching, written
):
    store = slow_store()
    commit, failures = store.acommit, [1]

    async def acommit(commits):
        if not failures:
            return await commit(commits)
        failures.pop()
        if written:
            await commit(commits)
        pooled = asyncio.ensure_future(asyncio.sleep(1))
        pooled.cancel()
        return await pooled

    store.acommit = acommit
    orders = Orchestrator(machine, store, batching=batching)

    async def main():
        calls = [orders.async_process_event(f"o-{n}", "note") for n in range(4)]
        return await asyncio.gather(*calls)

    assert [answer.metadata["version"] for answer in asyncio.run(main())] == [1, 1, 1, 1]
