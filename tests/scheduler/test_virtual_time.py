"""A clock that is moved by hand: weeks in no time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from pystator import EntitySession, InMemoryStateStore, Orchestrator, StateMachine
from pystator.scheduler import AsyncioScheduler
from pystator.testing import FakeClock

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


def test_a_timer_of_two_weeks_fires_at_its_moment(loan, store, clock) -> None:
    async def main() -> None:
        loans = Orchestrator(loan, store, clock=clock, scheduler=AsyncioScheduler())
        await loans.async_create_entity("a")
        await clock.aadvance(timedelta(days=13))
        assert (await loans.async_get_entity("a")).state == "offered"
        await clock.aadvance(timedelta(days=2))
        entity = await loans.async_get_entity("a")
        assert entity.state == "lapsed"
        assert entity.context["lapsed_at"] == START + timedelta(days=14)
        assert clock.now == START + timedelta(days=15)
        await loans.close()

    asyncio.run(main())


def test_a_jump_fires_what_was_due_on_the_way(loan, store, clock) -> None:
    async def main() -> None:
        scheduler = AsyncioScheduler()
        loans = Orchestrator(loan, store, clock=clock, scheduler=scheduler)
        await loans.async_create_entity("a")
        await scheduler.idle()
        clock.advance(timedelta(days=400))
        await scheduler.idle()
        entity = await loans.async_get_entity("a")
        assert entity.context == {"lapsed_at": START + timedelta(days=14)}
        await loans.close()

    asyncio.run(main())


def test_a_chain_of_timers_goes_on_for_as_long_as_the_clock_moves(store, clock) -> None:
    beat = StateMachine.from_dict({
        "meta": {"machine_name": "beat"},
        "states": [{"name": "on", "type": "initial"}],
        "transitions": [
            {"source": "on", "dest": "on", "after": "1h", "actions": [{"increment": "n"}, "tick"]}
        ],
    })  # fmt: skip
    seen = []

    async def main() -> None:
        beats = Orchestrator(
            beat, store, actions={"tick": lambda ctx: seen.append(clock.now)}, clock=clock,
            scheduler=AsyncioScheduler(),
        )  # fmt: skip
        await beats.async_create_entity("b")
        await clock.aadvance(timedelta(hours=5, minutes=30))
        assert (await beats.async_get_entity("b")).context == {"n": 5}
        await beats.close()

    asyncio.run(main())
    assert seen == [START + timedelta(hours=n) for n in range(1, 6)]


def test_it_goes_on_after_the_orchestrator_has_closed(loan, clock) -> None:
    async def main() -> None:
        loans = Orchestrator(loan, InMemoryStateStore(), clock=clock, scheduler=AsyncioScheduler())
        await loans.async_create_entity("a")
        await loans.close()
        await clock.aadvance(timedelta(days=15))
        assert (await loans.async_get_entity("a")).state == "offered"

    asyncio.run(main())


def test_tasks_sleep_on_the_clock_and_each_wakes_at_its_moment(clock) -> None:
    seen = []

    async def beat(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            await clock.sleep(seconds)
            seen.append((name, (clock.now - START).total_seconds()))

    async def main() -> None:
        tasks = [asyncio.ensure_future(beat("a", 3, 2)), asyncio.ensure_future(beat("b", 2, 3))]
        await clock.aadvance(4)
        assert seen == [("b", 2.0), ("a", 3.0), ("b", 4.0)]
        assert not tasks[0].done()
        await clock.aadvance(10)
        assert [task.done() for task in tasks] == [True, True]
        assert seen[3:] == [("a", 6.0), ("b", 6.0)]
        assert clock.now == START + timedelta(seconds=14)

    asyncio.run(main())


def test_a_sleep_that_is_cancelled_or_takes_no_time(clock) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(clock.sleep(5))
        await asyncio.sleep(0)
        task.cancel()
        await clock.aadvance(10)
        assert task.cancelled()
        await clock.sleep(0)
        await clock.sleep(timedelta(seconds=-1))

    asyncio.run(main())


def test_a_task_that_waits_for_something_else_is_named(clock, monkeypatch) -> None:
    monkeypatch.setattr("pystator.testing.clock._PATIENCE", 0.01)

    async def hang() -> None:
        await clock.sleep(1)
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(hang(), name="hanger")
        with pytest.raises(TimeoutError, match="'hanger' was woken"):
            await clock.aadvance(1)
        task.cancel()

    asyncio.run(main())


def test_the_clock_may_be_moved_back(clock) -> None:
    clock.advance(-5)
    assert clock.now == START - timedelta(seconds=5)
    rung = []
    alarm = clock.call_at(clock() + 10, lambda: rung.append("late"))
    clock.call_at(clock() + 5, lambda: rung.append("early"))
    clock.call_at(clock(), lambda: rung.append("now"))
    alarm.cancel()
    clock.advance(1)
    assert rung == ["now", "early"]


def test_a_session_lives_by_the_clock(loan, clock) -> None:
    session = EntitySession(loan, clock=clock)
    clock.advance(timedelta(days=14))
    (result,) = session.fire_due()
    assert result.target_state == "lapsed"
    assert session.context["lapsed_at"] == clock.now


def test_a_timer_that_re_arms_itself_in_the_past_is_slowed_down_and_told(clock, caplog) -> None:
    """It would fill the disk as fast as it can be written."""
    machine = StateMachine.from_dict({
        "meta": {"machine_name": "m"},
        "states": [{"name": "on", "type": "initial"}, {"name": "off", "type": "terminal"}],
        "transitions": [
            {"source": "on", "dest": "on", "at": "due", "actions": [{"increment": "n"}]},
            {"trigger": "stop", "source": "on", "dest": "off"},
        ],
    })  # fmt: skip

    async def main() -> None:
        scheduler = AsyncioScheduler(poll_interval=3600)
        things = Orchestrator(machine, InMemoryStateStore(), clock=clock, scheduler=scheduler)
        await things.async_create_entity("e", {"due": clock.now - timedelta(days=1)})
        await scheduler.idle()
        fired = (await things.async_get_entity("e")).context["n"]
        assert fired <= 1_000
        await things.close()

    asyncio.run(main())
    assert "timer of entity 'e' re-arms itself" in caplog.text
