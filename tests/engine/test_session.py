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
