"""Timers fired by the event loop of this process."""

import asyncio
import gc
import logging
import threading
import warnings
from datetime import UTC, datetime, timedelta

import pytest

from pystator import (
    ConfigurationError,
    InMemoryStateStore,
    Orchestrator,
    SQLiteStateStore,
    StateMachine,
    StoreUnavailableError,
)
from pystator.scheduler import AsyncioScheduler


def state_of(orchestrator, entity_id="a"):
    entity = orchestrator.get_entity(entity_id)
    return None if entity is None else entity.state


def test_a_timer_fires_by_itself_and_its_actions_run(loan, store, until) -> None:
    done = []

    async def main() -> None:
        loans = Orchestrator(
            loan, store, actions={"remind": done.append}, scheduler=AsyncioScheduler()
        )
        await loans.async_process_event("a", "ask", {"who": "ada"})
        await until(lambda: done)
        await loans.close()
        assert state_of(loans) == "reminded"
        assert loans.get_entity("a").context == {"who": "ada", "reminders": 1}

    asyncio.run(main())
    assert len(done) == 1


def test_an_earlier_deadline_wakes_it_long_before_it_would_look_again(loan, store, until) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=3600)
        loans = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
        await loans.async_create_entity("slow")
        await scheduler.idle()
        await loans.async_process_event("a", "ask")
        await until(lambda: state_of(loans) == "reminded")
        await loans.close()

    asyncio.run(main())


def test_a_blocking_call_and_another_thread_wake_it_too(loan, store, until) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=3600)
        loans = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
        await scheduler.idle()
        loans.process_event("a", "ask")
        await until(lambda: state_of(loans) == "reminded")
        thread = threading.Thread(target=loans.process_event, args=("b", "ask"))
        thread.start()
        thread.join()
        await until(lambda: state_of(loans, "b") == "reminded")
        await loans.close()

    asyncio.run(main())


def test_timers_of_an_earlier_process_are_fired_at_the_start(loan, tmp_path, until) -> None:
    """They stand in the store: nobody has to tell of them."""
    with SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as store:
        Orchestrator(loan, store).process_event("a", "ask")

    async def main() -> None:
        with SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as store:
            loans = Orchestrator(
                loan, store, actions={"remind": print}, scheduler=AsyncioScheduler()
            )
            await until(lambda: state_of(loans) == "reminded")
            await loans.close()

    asyncio.run(main())


def test_timers_of_another_process_are_found_by_polling(loan, tmp_path, until) -> None:
    async def main() -> None:
        with (
            SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as mine,
            SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as theirs,
        ):
            scheduler = AsyncioScheduler(poll_interval=0.01)
            loans = Orchestrator(loan, mine, actions={"remind": print}, scheduler=scheduler)
            await scheduler.idle()
            Orchestrator(loan, theirs).process_event("a", "ask")
            await until(lambda: state_of(loans) == "reminded")
            await loans.close()

    asyncio.run(main())


def test_an_orchestrator_made_before_the_loop_begins_with_its_first_async_call(
    loan, store, until
) -> None:
    scheduler = AsyncioScheduler(poll_interval=3600)
    loans = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
    loans.process_event("a", "ask")
    assert not scheduler.running
    assert repr(scheduler) == "<AsyncioScheduler not begun>"

    async def main() -> None:
        await loans.async_get_entity("nobody")
        assert scheduler.running
        await until(lambda: state_of(loans) == "reminded")

    asyncio.run(main())
    assert not scheduler.running


def test_it_goes_on_in_the_next_event_loop(loan, store, until) -> None:
    loans = Orchestrator(
        loan, store, actions={"remind": print}, scheduler=AsyncioScheduler(poll_interval=3600)
    )

    async def once(entity_id: str) -> None:
        await loans.async_process_event(entity_id, "ask")
        await until(lambda: state_of(loans, entity_id) == "reminded")

    asyncio.run(once("a"))
    asyncio.run(once("b"))
    stopped = asyncio.new_event_loop()
    stopped.run_until_complete(once("c"))
    asyncio.run(once("d"))
    stopped.run_until_complete(once("e"))
    stopped.close()


@pytest.mark.parametrize("closed", [False, True])
def test_who_waits_on_a_loop_that_has_stopped_is_not_forgotten(loan, store, closed) -> None:
    scheduler = AsyncioScheduler(poll_interval=3600)
    loans = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
    stopped = asyncio.new_event_loop()

    async def begin() -> "asyncio.Task[None]":
        scheduler.start()
        task = asyncio.ensure_future(scheduler.idle())
        await asyncio.sleep(0)
        return task

    waiting = stopped.run_until_complete(begin())
    assert not waiting.done()
    if closed:
        waiting.cancel()
        stopped.run_until_complete(asyncio.wait({waiting}))
        stopped.close()
    asyncio.run(scheduler.idle())
    if not closed:
        stopped.run_until_complete(asyncio.wait_for(waiting, 5))
        stopped.close()
    assert loans.get_entity("nobody") is None


def test_close_ends_it_and_the_orchestrator_can_still_be_used(loan, store) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=0.001)
        loans = Orchestrator(loan, store, scheduler=scheduler)
        await loans.async_create_entity("z")
        await loans.close()
        await loans.close()
        assert not scheduler.running
        assert (await loans.async_process_event("a", "ask")).success
        await asyncio.sleep(0.05)
        assert state_of(loans) == "asked"
        assert len(asyncio.all_tasks()) == 1
        await scheduler.idle()

    asyncio.run(main())


def test_close_waits_for_the_actions_of_timers_that_are_firing(loan, store) -> None:
    done = []

    async def main() -> None:
        begun = asyncio.Event()

        async def remind(ctx) -> None:
            begun.set()
            await asyncio.sleep(0.02)
            done.append(ctx["reminders"])

        loans = Orchestrator(loan, store, actions={"remind": remind}, scheduler=AsyncioScheduler())
        await loans.async_process_event("a", "ask")
        await begun.wait()
        await loans.close()
        assert done == [1]

    asyncio.run(main())


def test_an_action_of_a_timer_may_close_the_orchestrator(loan, store, until) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler()

        async def remind(ctx) -> None:
            await loans.close()

        loans = Orchestrator(loan, store, actions={"remind": remind}, scheduler=scheduler)
        await loans.async_process_event("a", "ask")
        await until(lambda: not scheduler.running)
        await asyncio.wait_for(scheduler.stop(), 5)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_blocking_code_may_close_it_from_another_thread(loan, store, until) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=0.001)
        loans = Orchestrator(loan, store, scheduler=scheduler)
        await scheduler.idle()
        await asyncio.to_thread(loans.close)
        assert not scheduler.running
        await asyncio.to_thread(asyncio.run, scheduler.stop())

    asyncio.run(main())


@pytest.mark.parametrize("closed", [True, False])
def test_nothing_is_left_behind_when_the_loop_ends(loan, store, closed, caplog) -> None:
    """Neither a pending task nor a warning about one."""
    gc.collect()  # what other tests have left is told now
    caplog.clear()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        scheduler = AsyncioScheduler()
        loans = Orchestrator(loan, store, scheduler=scheduler)
        await loans.async_create_entity("a")
        await scheduler.idle()
        if closed:
            await loans.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.run_until_complete(main())
        assert asyncio.all_tasks(loop) == set()
        loop.close()
        gc.collect()
    assert caplog.records == []


def test_more_timers_than_the_limit_are_fired_in_several_goes(loan, store) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    loans = Orchestrator(loan, store)
    for n in range(25):
        loans.process_event(f"a-{n}", "ask", now=past)

    async def main() -> None:
        scheduler = AsyncioScheduler(limit=4, poll_interval=3600)
        served = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
        await scheduler.idle()
        assert store.count_by_state() == {"reminded": 25}
        await served.close()

    asyncio.run(main())


# Trouble ------------------------------------------------------------------------------------------


class Failing(InMemoryStateStore):
    """A store whose answer to `due` is an error, so many times."""

    failures = 3

    async def adue(self, *args, **kwargs):
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the store is away")
        return await super().adue(*args, **kwargs)


def test_a_store_that_fails_is_asked_again_and_the_log_and_the_caller_are_told(
    loan, until, caplog
) -> None:
    errors = []

    def tell(error: Exception) -> None:
        errors.append(str(error))
        raise RuntimeError("a hook that fails is no reason to stop")

    async def main() -> None:
        scheduler = AsyncioScheduler(on_error=tell)
        loans = Orchestrator(loan, Failing(), actions={"remind": print}, scheduler=scheduler)
        await loans.async_process_event("a", "ask")
        await until(lambda: state_of(loans) == "reminded")
        await scheduler.idle()
        await loans.close()

    with caplog.at_level(logging.INFO, "pystator.timers"):
        asyncio.run(main())
    assert errors == ["the store is away"] * 3
    told = [record.getMessage() for record in caplog.records]
    assert sum("timers do not fire" in each for each in told) == 3
    assert told[-1] == "timers are fired again, after 3 failures"


def test_a_sweep_that_is_cancelled_is_followed_by_another(loan, store, until) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def remind(ctx) -> None:
            begun.set()
            await asyncio.sleep(3600)

        loans = Orchestrator(loan, store, actions={"remind": remind}, scheduler=AsyncioScheduler())
        await loans.async_process_event("a", "ask")
        await begun.wait()
        (sweep,) = [task for task in asyncio.all_tasks() if task.get_name() == "pystator-timers"]
        sweep.cancel()
        begun.clear()
        await loans.async_process_event("b", "ask")
        await asyncio.wait_for(begun.wait(), 20)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(main())


def test_an_entity_whose_timers_cannot_fire_does_not_hold_up_the_others(
    loan, store, until, caplog
) -> None:
    """It is in a state that the machine does not have: the next deadline behind it is kept."""
    config = {**loan.definition.config, "states": [*loan.definition.config["states"]]}
    config["states"][0] = {
        "name": "older",
        "type": "initial",
        "timeout": {"seconds": 0.001, "destination": "lapsed"},
    }
    config["transitions"] = [{"trigger": "ask", "source": "older", "dest": "asked"}]
    older = Orchestrator(StateMachine.from_dict(config), store)
    older.create_entity("stuck")

    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=3600)
        await asyncio.sleep(0.01)
        loans = Orchestrator(loan, store, actions={"remind": print}, scheduler=scheduler)
        await scheduler.idle()
        await loans.async_process_event("a", "ask")
        await until(lambda: state_of(loans) == "reminded")
        await loans.close()

    asyncio.run(main())
    assert "'stuck' are not fired" in caplog.text
    assert store.get_state("stuck") == "older"


class Plain:
    """A store with the three methods, and nothing else."""

    def __init__(self) -> None:
        self.rows = {}

    def get_state(self, entity_id):
        return self.rows.get(entity_id, (None, {}))[0]

    def get_context(self, entity_id):
        return self.rows.get(entity_id, (None, {}))[1]

    def set_state(self, entity_id, state, *, metadata=None):
        self.rows[entity_id] = (state, (metadata or {}).get("context", self.get_context(entity_id)))


class AsyncPlain:
    """The same for asyncio alone."""

    def __init__(self) -> None:
        self.rows = {}

    async def aget_state(self, entity_id):
        return self.rows.get(entity_id, (None, {}))[0]

    async def aget_context(self, entity_id):
        return self.rows.get(entity_id, (None, {}))[1]

    async def aset_state(self, entity_id, state, *, metadata=None):
        self.rows[entity_id] = (state, (metadata or {}).get("context", self.rows.get(entity_id)))


@pytest.mark.parametrize("kind", [Plain, AsyncPlain])
def test_a_three_method_store_is_served_too(loan, until, kind) -> None:
    """Its timers of this process are known."""

    async def main() -> None:
        store = kind()
        loans = Orchestrator(
            loan, store, actions={"remind": print}, scheduler=AsyncioScheduler(poll_interval=3600)
        )
        if kind is Plain:
            loans.process_event("a", "ask")
        else:
            await loans.async_process_event("a", "ask")
        await until(lambda: store.rows["a"][0] == "reminded")
        await loans.close()

    asyncio.run(main())


def test_a_store_that_keeps_no_timers_is_told(loan, until, caplog) -> None:
    errors = []

    class Forgetful(Plain):
        def set_state(self, entity_id, state, *, metadata=None):
            self.rows[entity_id] = (state, {})

    async def main() -> None:
        scheduler = AsyncioScheduler(on_error=errors.append)
        loans = Orchestrator(loan, Forgetful(), scheduler=scheduler)
        loans.process_event("a", "ask")
        await until(lambda: errors)
        await loans.close()

    asyncio.run(main())
    assert isinstance(errors[0], ConfigurationError)
    assert "the store keeps no timers: that of entity 'a'" in errors[0].message
    assert errors[0].message in caplog.text


# Several of them ----------------------------------------------------------------------------------


def test_two_schedulers_on_one_file_fire_each_timer_once(loan, tmp_path, until) -> None:
    done = []

    async def main() -> None:
        with (
            SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as one,
            SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as two,
        ):
            served = [
                Orchestrator(
                    loan,
                    store,
                    actions={"remind": done.append},
                    scheduler=AsyncioScheduler(poll_interval=0.005, limit=7),
                )
                for store in (one, two)
            ]
            for n in range(60):
                await served[n % 2].async_process_event(f"a-{n}", "ask")
            await until(lambda: one.count_by_state() == {"reminded": 60})
            for loans in served:
                await loans.close()
            fired = [
                row for n in range(60) for row in one.history(f"a-{n}").items if row.kind == "timer"
            ]
            assert len(fired) == 60

    asyncio.run(main())
    assert len(done) == 60


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"poll_interval": 0}, {"limit": 0}, {"limit": 2.5}, {"on_error": 5}]
)
def test_a_wrong_argument_is_refused(options) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))}= is"):
        AsyncioScheduler(**options)


@pytest.mark.parametrize("scheduler", [object(), AsyncioScheduler])
def test_what_is_no_scheduler_is_refused(loan, scheduler) -> None:
    with pytest.raises(ConfigurationError, match=r"AsyncioScheduler\(\)"):
        Orchestrator(loan, InMemoryStateStore(), scheduler=scheduler)


def test_a_scheduler_serves_one_orchestrator(loan) -> None:
    scheduler = AsyncioScheduler()
    Orchestrator(loan, InMemoryStateStore(), scheduler=scheduler)
    with pytest.raises(ConfigurationError, match="make an AsyncioScheduler for each"):
        Orchestrator(loan, InMemoryStateStore(), scheduler=scheduler)
