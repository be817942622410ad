"""A session of nested and parallel states: where it is, what it remembers, where data leads."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator import EntitySession, StateMachine
from pystator.testing import FakeClock

ORDER = StateMachine.from_dict({
    "meta": {"machine_name": "order", "version": "1"},
    "states": [
        {"name": "draft", "type": "initial"},
        {
            "name": "fulfil",
            "type": "parallel",
            "regions": [
                {"name": "goods", "states": ["picking", "packing", "sent"]},
                {"name": "payment", "states": ["unpaid", "paid"]},
            ],
            "on_done": "closed",
            "timeout": {"seconds": 3600, "destination": "held"},
        },
        {"name": "picking"},
        {"name": "packing"},
        {"name": "folding", "parent": "packing"},
        {"name": "wrapping", "parent": "packing", "on_enter": [{"increment": "wraps"}]},
        {"name": "sent", "type": "terminal"},
        {"name": "unpaid"},
        {"name": "paid", "type": "terminal", "when": {"expr": "due == 0"}},
        {"name": "held"},
        {"name": "closed", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "begin", "source": "draft", "dest": "fulfil"},
        {"trigger": "express", "source": "draft", "dest": ["wrapping", "paid"]},
        {"trigger": "pick", "source": "picking", "dest": "packing"},
        {"trigger": "wrap", "source": "folding", "dest": "wrapping"},
        {"trigger": "send", "source": "packing", "dest": "sent"},
        {"trigger": "pay", "source": "unpaid", "dest": "paid", "actions": ["book"]},
        {"trigger": "hold", "source": "fulfil", "dest": "held"},
        {"trigger": "resume", "source": "held", "dest": "H*(fulfil)"},
        {"trigger": "restart", "source": "held", "dest": "H(goods)"},
        {"trigger": "mark-up", "source": "fulfil", "internal": True, "actions": [{"increment": "n"}]},
    ],
})  # fmt: skip


def test_it_lives_in_several_regions_at_once() -> None:
    session = ORDER.create()
    assert not session.is_fulfil
    session.begin()
    assert session.current_state == "picking+unpaid"
    assert session.is_fulfil
    assert session.is_goods
    assert session.is_picking
    assert not session.is_packing
    assert session.allowed_triggers == ["pick", "hold", "mark-up", "pay"]
    session.pick()
    assert session.active_states == {"fulfil", "goods", "packing", "folding", "payment", "unpaid"}
    assert (session.is_packing, session.is_folding, session.is_wrapping) == (True, True, False)
    session.pay()
    assert session.current_state == "folding+paid"
    assert not session.is_final
    assert session.send("send").target_state == "closed"
    assert session.is_final
    assert not session.is_payment
    with pytest.raises(AttributeError):
        session.is_nowhere  # noqa: B018 - the look-up is the test


def test_several_destinations() -> None:
    session = ORDER.create()
    assert session.express().target_state == "wrapping+paid"
    assert session.context == {"wraps": 1}


def test_it_comes_back_to_where_it_was() -> None:
    session = ORDER.create()
    session.begin()
    session.pick()
    session.wrap()
    session.pay()
    session.hold()
    assert session.current_state == "held"
    assert session.resume().target_state == "wrapping+paid"
    session.hold()
    assert session.restart().target_state == "folding+unpaid"


def test_a_snapshot_goes_through_json_with_timers_and_what_history_remembers() -> None:
    clock = FakeClock(datetime(2024, 1, 1, tzinfo=UTC))
    session = EntitySession(ORDER, "o-1", clock=clock)
    session.begin()
    session.pick()
    session.hold()
    text = json.dumps(session.snapshot())
    again = EntitySession.from_snapshot(ORDER, json.loads(text), clock=clock)
    assert json.dumps(again.snapshot()) == text
    assert again.resume().target_state == "folding+unpaid"
    assert list(again.timers.values()) == [clock() + 3_600_000_000]
    later = EntitySession.from_snapshot(
        ORDER, json.loads(json.dumps(again.snapshot())), clock=clock
    )
    clock.advance(timedelta(hours=2))
    assert [result.target_state for result in later.fire_due()] == ["held"]
    assert session.current_state == "held"


def test_a_snapshot_may_name_its_states_in_any_order() -> None:
    session = ORDER.create(initial_state="folding+paid")
    snapshot = {**session.snapshot(), "state": "paid+folding"}
    assert EntitySession.from_snapshot(ORDER, snapshot).current_state == "folding+paid"
    assert ORDER.create(initial_state="paid+packing").current_state == "folding+paid"


def test_data_leads_where_its_states_say() -> None:
    session = ORDER.create({"due": 5})
    session.begin()
    result = session.apply_data(due=3)
    assert (result.success, result.target_state) == (True, "picking+unpaid")
    assert session.context == {"due": 3}
    assert session.apply_data({"due": 0}).target_state == "picking+paid"
    assert [each.trigger for each in session.history] == [None, "begin", None, None]
    assert session.current_state == "picking+paid"


def test_due_timers_fire_before_data_is_applied() -> None:
    clock = FakeClock()
    session = EntitySession(ORDER, context={"due": 5}, clock=clock)
    session.begin()
    clock.advance(3600)
    assert session.apply_data(due=0).source_state == "held"


EVENTS = [*ORDER.trigger_names, "nonsense"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*EVENTS, "", "write it down"]), max_size=25))
def test_it_goes_where_the_bare_steps_go(words: list[str]) -> None:
    """What it does is `process`, the clock and keeping; being written down changes nothing."""
    clock = FakeClock()
    state, context = ORDER.start().target_state, {}
    session = EntitySession(ORDER, clock=clock)
    timers: dict[str, int] = {}
    for word in words:
        if word == "write it down":
            session = EntitySession.from_snapshot(
                ORDER, json.loads(json.dumps(session.snapshot())), clock=clock
            )
            continue
        if word == "":
            clock.advance(1800)
            session.fire_due()
            for timer, moment in sorted(timers.items()):
                if moment <= clock():
                    result = ORDER.fire(state, timer, context, moment)
                    state, context, timers = result.target_state, result.context, {}
            continue
        result = ORDER.process(state, word, context, now=clock.now)
        assert session.send(word).success == result.success
        for timer in result.timers.cancelled:
            timers.pop(timer, None)
        if result.success:
            state, context = result.target_state, result.context
            timers.update(result.timers.armed)
    assert (session.current_state, session._context, session.timers) == (state, context, timers)
