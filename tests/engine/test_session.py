"""One entity in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from pystator import (
    EntitySession,
    EvaluationError,
    Event,
    FSMError,
    InvalidValueError,
    MachineVersionMismatchError,
    UndefinedStateError,
)
from pystator.testing import FakeClock


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(name="order")
def order_fixture(build):
    return build(
        "draft open late paid!",
        "submit: draft -> open",
        {"way": "pay: open late -> paid", "guards": [{"expr": "amount > 0"}], "actions": ["book"]},
        {"source": "open", "dest": "late", "after": "5s", "actions": [{"timestamp": "late_at"}]},
        {"trigger": "mark-up", "source": "open", "internal": True, "actions": [{"increment": "n"}]},
        draft={"on_enter": ["hello"]},
    )  # fmt: skip


def test_a_session_lives_the_life_of_an_entity(order) -> None:
    session = order.create({"who": "ada"})
    assert session.current_state == "draft"
    assert session.is_draft
    assert not session.is_open
    assert session.allowed_triggers == ["submit"]
    assert session.submit().success
    assert session.send("pay", amount=5).success
    assert session.context == {"who": "ada", "amount": 5}
    assert session.is_final
    assert session.is_paid
    assert [result.trigger for result in session.history] == [None, "submit", "pay"]


def test_a_refused_event_changes_nothing_and_is_remembered(order) -> None:
    session = order.create()
    result = session.pay(amount=5)
    assert result.reason == "no_transition"
    assert session.current_state == "draft"
    assert session.context == {}
    assert session.history[-1].reason == result.reason


def test_its_context_is_its_own(order) -> None:
    given = {"items": [1]}
    session = order.create(given)
    given["items"].append(2)
    session.context["items"].append(3)
    assert session.context == {"items": [1]}
    sent = {"more": [4], "event": [5], "data": [6]}
    session.submit(more=sent["more"])
    session.send(Event("mark-up", {"event": sent["event"]}))
    session.apply_data(data=sent["data"])
    for value in sent.values():
        value.append(7)
    assert session.context == {"items": [1], "more": [4], "event": [5], "data": [6], "n": 1}


def test_a_trigger_that_is_no_python_name_has_a_method_too(order) -> None:
    session = order.create(initial_state="open")
    assert session.mark_up().context == {"n": 1}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        session.nonsense  # noqa: B018 - the look-up is the test
    with pytest.raises(AttributeError):
        session.is_nonsense  # noqa: B018 - the look-up is the test


def test_it_may_begin_in_another_state_without_entering_it(order) -> None:
    session = order.create(initial_state="open")
    assert session.current_state == "open"
    assert session.history[0].all_actions == []
    assert len(session.timers) == 1
    with pytest.raises(UndefinedStateError):
        order.create(initial_state="nowhere")


def test_due_timers_fire_before_the_event_each_at_its_own_time(order) -> None:
    clock = Clock()
    session = EntitySession(order, "order-1", clock=clock)
    session.submit()
    entered = clock.now
    clock.tick(3600)
    assert session.send("pay", amount=1).source_state == "late"
    assert session.context["late_at"] == entered + timedelta(seconds=5)
    assert session.timers == {}


def test_timers_can_be_fired_without_an_event(order) -> None:
    clock = Clock()
    session = EntitySession(order, clock=clock)
    session.submit()
    assert session.fire_due() == []
    (result,) = session.fire_due(clock.now + timedelta(seconds=5))
    assert result.target_state == "late"


def test_timers_that_re_arm_each_other_without_end_are_found_out(build) -> None:
    clock = Clock()
    machine = build("a b", {"source": "a", "dest": "b", "after": 1}, {"source": "b", "dest": "a", "after": 1}, "go: * -> a")  # fmt: skip
    session = EntitySession(machine, clock=clock)
    clock.tick(60)
    with pytest.raises(EvaluationError, match="without end"):
        session.go()


def test_a_session_that_slept_long_catches_up(build) -> None:
    machine = build("on", {"source": "on", "dest": "on", "after": "1s", "actions": [{"increment": "n"}]}, "go: on -> on")  # fmt: skip
    clock = FakeClock()
    session = EntitySession(machine, clock=clock)
    clock.advance(7_200.5)
    session.go()
    assert session.context == {"n": 7_200}
    clock.advance(10_001)
    with pytest.raises(EvaluationError, match="more are due"):
        session.fire_due()
    assert len(session.fire_due()) == 1
    assert session.context == {"n": 17_201}


def test_actions_run_when_asked_for(order) -> None:
    done = []
    order.action("hello")(lambda ctx: done.append("hello"))
    order.action("book")(lambda ctx: done.append(ctx["amount"]))
    order.create()
    assert done == []
    session = order.create(execute_actions=True)
    session.submit()
    session.pay(amount=7)
    assert done == ["hello", 7]
    assert [outcome.ok for outcome in session.outcomes] == [True]


def test_async_guards_and_actions_are_awaited(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": ["ok"], "actions": ["act"]})
    done = []

    @machine.guard("ok")
    async def ok(ctx) -> bool:
        return ctx["n"] > 0

    @machine.action("act")
    async def act(ctx) -> None:
        done.append(ctx["n"])

    session = machine.create(execute_actions=True)
    with pytest.raises(EvaluationError, match="asend"):
        session.go(n=1)
    assert not asyncio.run(session.asend("go", n=0)).success
    assert asyncio.run(session.asend(Event("go", {"n": 1}))).success
    assert done == [1]


def test_history_is_bounded(build) -> None:
    session = EntitySession(build("a b", "go: a b -> a"), history_limit=3)
    for _ in range(10):
        session.go()
    assert len(session.history) == 3


def test_a_session_can_be_written_down_and_taken_up_again(order) -> None:
    clock = Clock()
    session = EntitySession(order, "order-1", {"items": [1]}, clock=clock)
    session.submit()
    snapshot = session.snapshot()
    clock.tick(60)
    again = EntitySession.from_snapshot(order, snapshot, clock=clock)
    assert (again.entity_id, again.current_state) == ("order-1", "open")
    assert again.timers == session.timers
    assert again.snapshot() == snapshot
    (result,) = again.fire_due()
    assert result.target_state == "late"
    assert session.current_state == "open"


def test_a_snapshot_of_another_machine_is_refused(order, build) -> None:
    snapshot = order.create(initial_state="late").snapshot()
    with pytest.raises(MachineVersionMismatchError, match="'late'"):
        EntitySession.from_snapshot(build("a b", "go: a -> b"), snapshot)
    with pytest.raises(InvalidValueError):
        EntitySession.from_snapshot(order, {"state": "open"})


@pytest.mark.parametrize("name", ["_history", "_x"])
def test_reserved_names_are_refused(order, name) -> None:
    session = order.create()
    with pytest.raises(InvalidValueError, match="reserved"):
        session.send("submit", **{name: 1})
    with pytest.raises(InvalidValueError, match="reserved"):
        order.create({name: 1})
    with pytest.raises(InvalidValueError, match="reserved"):
        order.start({name: 1})
    with pytest.raises(InvalidValueError):
        Event("submit", {name: 1})
    assert session.current_state == "draft"


def test_a_machine_that_cannot_begin_says_why(build) -> None:
    machine = build("a b", "go: a -> b", a={"on_enter": [{"compute": {"x": "1 / zero"}}]})
    with pytest.raises(FSMError):
        machine.create({"zero": 0})


# Actions and async guards -------------------------------------------------------------------------


def test_outcomes_are_those_of_the_last_call_timers_included(build) -> None:
    machine = build(
        "a b c", "go: a b -> c", {"source": "a", "dest": "b", "after": "1s", "actions": ["ring"]},
        {"way": "act: c -> c", "actions": ["act"]}, "rest: c -> a", c={"on_enter": ["arrive"]},
    )  # fmt: skip
    for name in ("ring", "act", "arrive"):
        machine.action(name)(lambda ctx: None)
    clock = FakeClock()
    session = EntitySession(machine, execute_actions=True, clock=clock)
    assert session.outcomes == []
    clock.advance(2)
    session.go()
    assert [outcome.name for outcome in session.outcomes] == ["ring", "arrive"]
    session.act()
    assert [outcome.name for outcome in session.outcomes] == ["act", "arrive"]
    session.rest()
    assert session.outcomes == []


def test_a_timer_that_fails_is_used_up(build) -> None:
    machine = build(
        "a b", {"source": "a", "dest": "b", "after": "1s", "actions": [{"compute": {"x": "1 / zero"}}]},
        "stay: a -> a",
    )  # fmt: skip
    clock = FakeClock()
    session = EntitySession(machine, context={"zero": 0}, clock=clock)
    clock.advance(1)
    (result,) = session.fire_due()
    assert not result.success
    assert session.fire_due() == []
    assert (session.current_state, session.timers) == ("a", {})
    assert session.stay().success


def test_a_beginning_with_async_guards_and_actions_is_awaited(build) -> None:
    machine = build(
        "a b c", {"source": "a", "dest": "c", "auto": True, "guards": ["ok"]}, "auto: a -> b",
        c={"on_enter": ["greet"]},
    )  # fmt: skip
    done = []

    @machine.guard("ok")
    async def ok(ctx) -> bool:
        return ctx["n"] > 0

    @machine.action("greet")
    async def greet(ctx) -> None:
        done.append(ctx["n"])

    with pytest.raises(EvaluationError, match="acreate"):
        machine.create({"n": 1})
    session = asyncio.run(EntitySession.acreate(machine, "e", {"n": 1}, execute_actions=True))
    assert (session.current_state, session.entity_id, done) == ("c", "e", [1])
    assert asyncio.run(EntitySession.acreate(machine, context={"n": 0})).current_state == "b"
    with pytest.raises(FSMError):
        asyncio.run(EntitySession.acreate(machine))


def test_async_guards_of_timers_and_data(build) -> None:
    machine = build(
        "a b", {"source": "a", "dest": "b", "after": "1s", "guards": ["ok"]},
        {"source": "a", "dest": "b", "auto": True, "guards": ["rich"]}, "back: b -> a",
    )  # fmt: skip

    @machine.guard("ok")
    async def ok(ctx) -> bool:
        return True

    @machine.guard("rich")
    async def rich(ctx) -> bool:
        return ctx.get("amount", 0) > 5

    async def main() -> None:
        clock = FakeClock()
        session = await EntitySession.acreate(machine, clock=clock)
        assert (await session.aapply_data({"amount": 3})).target_state == "a"
        with pytest.raises(EvaluationError, match="aapply_data"):
            session.apply_data(amount=7)
        assert (await session.aapply_data(amount=6)).target_state == "b"
        await session.asend("back", amount=0)
        clock.advance(1)
        with pytest.raises(EvaluationError, match="afire_due"):
            session.fire_due()
        assert [each.target_state for each in await session.afire_due()] == ["b"]

    asyncio.run(main())


def test_an_async_guard_that_raises_refuses_the_event(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": ["ok"]})

    @machine.guard("ok")
    async def ok(ctx) -> bool:
        raise ValueError("boom")

    session = machine.create()
    result = asyncio.run(session.asend("go"))
    assert (result.success, session.current_state) == (False, "a")
    assert "boom" in result.error.message
    assert session.history[-1].trigger == "go"


def test_an_event_that_waited_is_decided_by_what_is_there_then(build) -> None:
    """Two tasks send to one session: nobody's change is lost, and no verdict is out of date."""
    machine = build(
        "a b c", {"way": "go: a -> b", "guards": ["ok"]}, {"way": "go: c -> a", "guards": ["ok"]},
        "leave: a -> c",
    )  # fmt: skip
    asked = []

    async def main() -> None:
        waiting, go_on = asyncio.Event(), asyncio.Event()

        @machine.guard("ok")
        async def ok(ctx) -> bool:
            asked.append(ctx.get("left", False))
            waiting.set()
            await go_on.wait()
            return True

        session = machine.create()
        task = asyncio.ensure_future(session.asend("go"))
        await waiting.wait()
        session.send("leave", left=True)
        go_on.set()
        result = await task
        assert (result.source_state, result.target_state) == ("c", "a")
        assert session.context == {"left": True}

    asyncio.run(main())
    assert asked == [False, True]


def test_a_timer_that_another_task_fired_meanwhile_does_not_fire_again(build) -> None:
    machine = build("a b", {"source": "a", "dest": "a", "after": "1s", "guards": ["ok"], "actions": [{"increment": "n"}]}, "go: a -> b")  # fmt: skip

    @machine.guard("ok")
    async def ok(ctx) -> bool:
        await asyncio.sleep(0)
        return True

    async def main() -> None:
        clock = FakeClock()
        session = EntitySession(machine, clock=clock)
        clock.advance(1)
        fired = await asyncio.gather(*(session.afire_due() for _ in range(3)))
        assert [len(each) for each in fired] == [1, 0, 0]
        assert session.context == {"n": 1}

    asyncio.run(main())


@pytest.mark.parametrize(("then", "left"), [("5s", 5), ("2s", 2), ("1h", 3600), (1500, 1.5)])
def test_a_snapshot_of_another_version_keeps_the_timers_of_its_state(build, then, left) -> None:
    """Where the new version changes how long, the new time counts, from when the state was entered."""
    states = "a b c"
    old = build(states, {"source": "a", "dest": "b", "after": "5s"}, {"source": "a", "dest": "c", "after": "7s"})  # fmt: skip
    new = build(states, {"source": "a", "dest": "b", "after": then}, "go: a -> c")
    clock = FakeClock()
    snapshot = EntitySession(old, clock=clock).snapshot()
    clock.advance(1)
    session = EntitySession.from_snapshot(new, snapshot, clock=clock)
    assert list(session.timers.values()) == [clock() + round((left - 1) * 1_000_000)]


@pytest.mark.parametrize(
    "broken", [{"state": 5}, {"context": None}, {"timers": []}, {"format": 99}]
)
def test_a_broken_snapshot_is_refused(order, broken) -> None:
    with pytest.raises(InvalidValueError, match="no snapshot"):
        EntitySession.from_snapshot(order, {**order.create().snapshot(), **broken})


def test_the_clock_may_tell_microseconds(order) -> None:
    assert EntitySession(order, clock=lambda: 5).history[0].now == 5
    assert order.create(clock=FakeClock(7)).history[0].now == 7
