"""What a session remembers, how small it stays, and its copies."""

import copy
import gc
import json
import pickle
import tracemalloc
import weakref

import pytest

from pystator import EntitySession, InvalidValueError, StateMachine, TransitionResult
from pystator.testing import FakeClock


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


# What it remembers --------------------------------------------------------------------------------


def test_history_tells_everything_but_the_contexts(order) -> None:
    clock = FakeClock()
    session = EntitySession(order, clock=clock)
    sent = session.submit()
    clock.advance(1)
    session.send("nonsense")
    begun, submitted, refused = session.history
    assert isinstance(submitted, TransitionResult)
    assert (submitted.source_state, submitted.target_state) == ("draft", "open")
    assert submitted.timers.armed == sent.timers.armed
    assert (begun.now, submitted.now, refused.now) == (
        clock() - 1_000_000,
        clock() - 1_000_000,
        clock(),
    )
    assert [spec.name for spec in begun.all_actions] == ["hello"]
    assert (refused.success, refused.reason) == (False, "undefined_trigger")
    assert refused.error.message == session.send("nonsense").error.message
    with pytest.raises(AttributeError, match="history keeps no contexts"):
        submitted.context  # noqa: B018 - the look-up is the test
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        submitted.nonsense  # noqa: B018 - the look-up is the test
    plain = submitted.to_dict()
    assert plain["target_state"] == "open"
    assert "context" not in plain
    again = pickle.loads(pickle.dumps(submitted))
    assert again.to_dict() == plain
    assert again.now == submitted.now


def test_history_keeps_the_latest_in_order(build) -> None:
    machine = build("a b", "go: a b -> a", "stay: a b -> b")
    session = EntitySession(machine, history_limit=3)
    words = ["go", "stay", "stay", "go", "go", "stay", "go"]
    for count, word in enumerate(words, start=1):
        session.send(word)
        expected = [None, *words[:count]][-3:]
        assert [each.trigger for each in session.history] == expected
    assert session.history[0].target_state == "a"
    none = EntitySession(machine, history_limit=0)
    none.go()
    assert none.history == []
    for wrong in (-1, 2.5, None):
        with pytest.raises(InvalidValueError, match="history_limit="):
            EntitySession(machine, history_limit=wrong)


@pytest.fixture(name="fifty", scope="module")
def fifty_fixture() -> StateMachine:
    """A ring of fifty states with a counter."""
    return StateMachine.from_dict({
        "meta": {"machine_name": "fifty"},
        "states": [{"name": f"s{n}", "type": "stable" if n else "initial"} for n in range(50)],
        "transitions": [
            *({"trigger": "next", "source": f"s{n}", "dest": f"s{(n + 1) % 50}"} for n in range(50)),
            {"trigger": "count", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
        ],
    })  # fmt: skip


def bytes_of_one(make, many: int) -> float:
    """What one of many sessions takes, the list that holds it apart."""
    make()
    kept: list[object] = [None] * many
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for place in range(many):
            kept[place] = make()
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / many
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("events", "many"), [(0, 1_000), (1, 1_000), (200, 50)])
def test_a_session_takes_a_kilobyte_at_most(fifty, events, many) -> None:
    def make() -> EntitySession:
        session = EntitySession(fifty)
        for _ in range(events):
            session.next()
            session.count()
        return session

    for _ in range(60):  # the machine's table is the machine's
        make().send("next")
    assert bytes_of_one(make, many) <= 1024


def test_ten_thousand_events_do_not_make_it_grow(fifty) -> None:
    session = EntitySession(fifty)

    def send(times: int) -> None:
        for _ in range(times):
            session.next()
            session.count()
            session.send("nonsense")

    send(200)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        send(10_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert session.context == {"n": 10_200}
    assert grown < 4_000  # the latest results are new ones


# Copies -------------------------------------------------------------------------------------------


class Named(EntitySession):
    """A user's own kind of session."""


def test_copies_have_everything_and_share_nothing_but_the_machine(order) -> None:
    clock = FakeClock()
    session = Named(order, "o-1", {"items": [1]}, clock=clock, history_limit=2)
    session.color = "red"
    session.submit()
    session.mark_up()
    for again in (copy.copy(session), copy.deepcopy(session)):
        assert again.machine is order
        assert (type(again), again.color) == (Named, "red")
        assert again.snapshot() == session.snapshot()
        assert [each.trigger for each in again.history] == ["submit", "mark-up"]
        again.send("pay", amount=1)
    assert session.current_state == "open"
    assert len(session.timers) == 1
    assert session.history[-1].trigger == "mark-up"


def test_a_snapshot_is_a_mapping(order) -> None:
    text = json.dumps(order.create({}).snapshot())
    with pytest.raises(InvalidValueError, match=r"read JSON with json\.loads"):
        EntitySession.from_snapshot(order, text)


def test_a_session_is_pickled_with_what_it_remembers(order) -> None:
    session = order.create({"items": [1]})
    session.submit()
    session.send("nonsense")
    again = pickle.loads(pickle.dumps(session))
    assert again.snapshot() == session.snapshot()
    assert [each.reason for each in again.history] == [None, None, "undefined_trigger"]
    assert again.history[-1].error.message == session.history[-1].error.message
    assert again.send("pay", amount=1).success


def test_a_session_can_be_looked_at(order) -> None:
    session = EntitySession(order, "o-1")
    assert repr(session) == "<EntitySession 'o-1' of 'm' in 'draft'>"
    assert {"mark_up", "pay", "is_open", "send"} <= set(dir(session))
    assert weakref.ref(session)() is session
    with pytest.raises(AttributeError):
        session.color = "red"
