"""Timers as data: what an event arms and cancels, and what a firing does."""

from datetime import UTC, datetime, timedelta

import pytest

T = 1_700_000_000_000_000
MOMENT = datetime.fromtimestamp(T / 1e6, UTC)


@pytest.fixture(name="order")
def order_fixture(build):
    return build(
        "draft open late paid!",
        "submit: draft -> open",
        "again: open -> open",
        {"trigger": "note", "source": "open", "internal": True},
        {"way": "remind: open -> late", "after": "5s"},
        {"source": "late", "dest": "paid", "after": "2d", "guards": [{"expr": "forgiven"}]},
        "pay: open late -> paid",
    )  # fmt: skip


def timer_of(machine, state) -> str:
    return next(iter(machine.place(state, {}, T).timers.armed))


def test_entering_a_state_arms_its_timers(order) -> None:
    result = order.process("draft", "submit", now=MOMENT)
    assert list(result.timers.armed.values()) == [T + 5_000_000]
    assert result.timers.cancelled == ()
    assert result.now == T


def test_leaving_it_cancels_them(order) -> None:
    result = order.process("open", "pay")
    assert result.timers.armed == {}
    assert result.timers.cancelled == (timer_of(order, "open"),)


def test_entering_it_again_starts_them_again(order) -> None:
    result = order.process("open", "again", now=MOMENT)
    assert result.timers.armed == {timer_of(order, "open"): T + 5_000_000}
    assert result.timers.cancelled == ()


def test_an_internal_transition_does_not_touch_them(order) -> None:
    assert not order.process("open", "note", now=MOMENT).timers


def test_a_firing_takes_exactly_the_timers_transition(order) -> None:
    timer = timer_of(order, "open")
    result = order.fire("open", timer, {}, T)
    assert (result.target_state, result.trigger) == ("late", timer)
    assert result.timers.cancelled == (timer,)
    assert list(result.timers.armed.values()) == [T + 2 * 86_400_000_000]


def test_after_with_a_trigger_is_enabled_by_either(order) -> None:
    assert order.process("open", "remind", now=MOMENT).target_state == "late"


@pytest.mark.parametrize("timer", ["unknown", "open"])
def test_a_firing_that_does_not_count_is_void(order, timer) -> None:
    """A timer may be read just before its state is left; firing it then must do nothing."""
    timer = timer_of(order, "open") if timer == "open" else timer
    result = order.fire("late", timer, {"n": 1}, T)
    assert result.void
    assert not result.success
    assert result.reason == "void_timer"


def test_a_guard_that_says_no_uses_the_timer_up(order) -> None:
    timer = timer_of(order, "late")
    result = order.fire("late", timer, {"forgiven": False}, T)
    assert (result.void, result.reason) == (False, "guard_rejected")
    assert result.timers.cancelled == (timer,)


def test_a_firing_that_stays_uses_the_timer_up_as_well(build) -> None:
    machine = build(
        "a b",
        "go: a -> b",
        {"source": "a", "internal": True, "after": 10, "actions": [{"increment": "n"}]},
    )
    timer = timer_of(machine, "a")
    result = machine.fire("a", timer, {}, T)
    assert (result.target_state, result.context) == ("a", {"n": 1})
    assert result.timers.cancelled == (timer,)
    assert result.timers.armed == {}


def test_only_the_net_change_of_an_event_is_told(build) -> None:
    """A state that is passed through arms and cancels its timer: nobody outside ever hears of it."""
    machine = build(
        "a b c",
        "go: a -> b",
        "auto: b -> c",
        {"source": "a", "dest": "c", "after": 10},
        {"source": "b", "dest": "c", "after": 10},
        {"source": "c", "dest": "a", "after": 10},
    )
    result = machine.process("a", "go", now=MOMENT)
    (armed,) = result.timers.armed
    (cancelled,) = result.timers.cancelled
    assert armed.startswith("c:")
    assert cancelled.startswith("a:")


def test_coming_back_within_one_event_arms_anew(build) -> None:
    machine = build("a b", "go: a -> b", "auto: b -> a", {"source": "a", "dest": "b", "after": 10})
    result = machine.process("a", "go", now=MOMENT)
    assert result.timers.armed == {timer_of(machine, "a"): T + 10_000}
    assert result.timers.cancelled == ()


def test_a_timeout_of_a_state_is_a_timer(build) -> None:
    machine = build("a b c", "go: a -> b", b={"timeout": {"seconds": 1.5, "destination": "c"}})
    armed = machine.process("a", "go", now=MOMENT).timers.armed
    assert list(armed.values()) == [T + 1_500_000]
    assert machine.fire("b", next(iter(armed)), {}, T).target_state == "c"
    assert machine.get_state("b").timeout == {"seconds": 1.5, "destination": "c"}


DUE = MOMENT + timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "deadline"),
    [
        (DUE, T + 3_600_000_000),
        (DUE.isoformat(), T + 3_600_000_000),
        (T + 5, T + 5),
        (None, None),
    ],
)
def test_a_deadline_may_come_from_data(build, value, deadline) -> None:
    machine = build("a b c", "go: a -> b", {"source": "b", "dest": "c", "at": "due"})
    armed = machine.process("a", "go", {"due": value}, now=MOMENT).timers.armed
    assert list(armed.values()) == ([] if deadline is None else [deadline])


@pytest.mark.parametrize("value", ["soon", 1.5, True, datetime(2024, 1, 1), [1]])  # noqa: DTZ001
def test_a_deadline_that_is_no_moment_fails_the_event(build, value) -> None:
    machine = build("a b c", "go: a -> b", {"source": "b", "dest": "c", "at": "due"})
    result = machine.process("a", "go", {"due": value}, now=MOMENT)
    assert result.reason == "evaluation_failed"
    assert "timer 'b:at:c': " in result.error.message
    assert "ISO 8601 text, e.g. 2026-03-01T12:00:00Z" in result.error.message


def test_a_deadline_that_became_null_cancels_the_timer(build) -> None:
    machine = build("a b", "again: a -> a", {"source": "a", "dest": "b", "at": "due"})
    result = machine.process("a", "again", {"due": None}, now=MOMENT)
    assert len(result.timers.cancelled) == 1


def test_a_deadline_sees_what_entering_wrote(build) -> None:
    machine = build(
        "a b c",
        "go: a -> b",
        {"source": "b", "dest": "c", "at": "due"},
        b={"on_enter": [{"set": {"due": T}}]},
    )
    assert list(machine.process("a", "go", now=MOMENT).timers.armed.values()) == [T]


def test_placing_an_entity_tells_the_timers_and_runs_nothing(order) -> None:
    result = order.place("open", {"n": 1}, T)
    assert (result.target_state, result.context) == ("open", {"n": 1})
    assert list(result.timers.armed.values()) == [T + 5_000_000]
    assert result.all_actions == []


def test_the_order_of_timers_is_that_of_the_document(order) -> None:
    first, second = timer_of(order, "open"), timer_of(order, "late")
    assert order.timer_order(first) < order.timer_order(second)
    assert order.timer_order("unknown") is None
    assert order.timed


def test_a_naive_time_is_refused(order) -> None:
    with pytest.raises(ValueError, match="time zone"):
        order.process("draft", "submit", now=datetime(2024, 1, 1))  # noqa: DTZ001
