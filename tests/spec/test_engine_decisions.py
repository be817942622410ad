"""Decisions about flat machines that the engine's own tests take for granted: said once, where they can be read."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pystator import ConfigurationError, EntitySession, Event, StateMachine

NOW = datetime(2024, 1, 1, tzinfo=UTC)

STATES: list[dict[str, Any]] = [
    {"name": "a", "type": "initial"},
    {"name": "b"},
    {"name": "z", "type": "terminal"},
]


def make(*transitions: dict[str, Any], states: Any = STATES, **more: Any) -> StateMachine:
    meta = {"machine_name": "m", **more.pop("meta", {})}
    return StateMachine.from_dict(
        {"meta": meta, "states": states, "transitions": list(transitions), **more}
    )


def go(source: str = "a", dest: str = "b", **more: Any) -> dict[str, Any]:
    return {"trigger": "go", "source": source, "dest": dest, **more}


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["A.b:c-d_1", "x", "7", "x" * 128])
def test_triggers_are_letters_digits_and_four_signs(trigger: str) -> None:
    machine = make({"trigger": trigger, "source": "a", "dest": "b"})
    assert machine.process("a", trigger).target_state == "b"


@pytest.mark.parametrize("trigger", ["", "x" * 129, "a b", "ä", "a/b", "a\n"], ids=ascii)
def test_other_triggers_are_refused(trigger: str) -> None:
    with pytest.raises(ConfigurationError):
        make({"trigger": trigger, "source": "a", "dest": "b"})


@pytest.mark.parametrize("name", ["", "A", "a-b", "a.b", "ä", "a\n", "a+b"], ids=ascii)
def test_names_of_states_guards_and_actions_are_plain(name: str) -> None:
    with pytest.raises(ConfigurationError):
        make(states=[{"name": name, "type": "initial"}])
    with pytest.raises(ConfigurationError):
        make(go(guards=[name]))
    with pytest.raises(ConfigurationError):
        make(go(actions=[name]))


@pytest.mark.parametrize("field", ["_history", "_x", "_event.data"])
def test_no_effect_writes_a_reserved_name(field: str) -> None:
    for action in ({"set": {field: 1}}, {"timestamp": field}, {"increment": field}):
        with pytest.raises(ConfigurationError, match="reserved"):
            make(go(actions=[action]))


def test_the_normaliser_is_for_events_with_data_too() -> None:
    machine = make(go() | {"trigger": "Go"}, meta={"event_normalizer": "upper"})
    result = machine.process("a", Event("gO", {"n": 1}))
    assert (result.trigger, result.context) == ("GO", {"n": 1})


# Transitions --------------------------------------------------------------------------------------


def test_an_internal_transition_may_name_its_own_state() -> None:
    same = make(go(dest="a", internal=True))
    assert same.process("a", "go").microsteps[0].exited == ()
    with pytest.raises(ConfigurationError, match="internal"):
        make(go(dest="b", internal=True))


def test_a_star_stands_alone() -> None:
    for source in (["*"], ["a", "*"]):
        with pytest.raises(ConfigurationError, match=r'source: "\*"'):
            make(go() | {"source": source})


def test_steps_are_pure() -> None:
    """The same machine, state, event, context and time: the same answer, however often."""
    machine = make(
        go(actions=[{"increment": "n"}, {"timestamp": "at"}, {"append": {"field": "log", "value": 1}}])
    )  # fmt: skip
    given = {"n": 1, "log": [0]}
    first = machine.process("a", "go", given, now=NOW).to_dict()
    assert machine.process("a", "go", given, now=NOW).to_dict() == first
    assert given == {"n": 1, "log": [0]}
    assert first["context"] == {"n": 2, "log": [0, 1], "at": NOW}


def test_a_refused_event_gives_the_context_back_as_it_is() -> None:
    machine = make(go(guards=[{"expr": "n > 1"}]), go(source="b", guards=[{"expr": "1 / n > 1"}]))
    for state, given in (("a", {"n": 0}), ("b", {"n": 0}), ("z", {"n": 0})):
        assert machine.process(state, "go", given).context is given
    sent = Event("go", {"n": 1, "more": 2})
    assert machine.process("a", sent, given).context is given


def test_data_is_merged_at_the_top_only_and_readable_as_the_event() -> None:
    machine = make(
        go(
            guards=[{"expr": "_event.name == 'go' and _event.data.item.id == item.id"}],
            actions=[{"compute": {"sent": "_event.data.item.id"}}],
        )
    )
    before = {"item": {"id": 1, "old": True}, "kept": 1}
    result = machine.process("a", Event("go", {"item": {"id": 7}}), before)
    assert result.context == {"item": {"id": 7}, "kept": 1, "sent": 7}


@pytest.mark.parametrize("strict", [True, False])
def test_a_guard_that_raises_is_an_error_in_both_modes(strict: bool) -> None:
    meta = {"strict_mode": strict}
    written = make(go(guards=[{"expr": "1 / n > 0"}]), meta=meta)
    registered = make(go(guards=["broken"]), meta=meta)
    registered.guard("broken")(lambda ctx: 1 / ctx["n"])
    for machine in (written, registered):
        result = machine.process("a", "go", {"n": 0})
        assert (result.success, result.target_state) == (False, None)
        assert result.metadata["reason"] == "evaluation_failed"
        assert "division by zero" in str(result.error)


def test_a_lenient_no_op_is_a_success_that_stays() -> None:
    machine = make(go(), meta={"strict_mode": False})
    for state, trigger in (("a", "nonsense"), ("b", "go"), ("z", "go")):
        result = machine.process(state, trigger, {"n": 1})
        assert (result.success, result.source_state, result.target_state) == (True, state, state)
        assert (result.metadata, result.all_actions) == ({"reason": "ignored"}, [])
        assert result.error is None


def test_a_choice_nobody_can_leave_fails_in_a_lenient_machine_too() -> None:
    states = [*STATES, {"name": "which", "type": "choice"}]
    leave = {"source": "which", "dest": "b", "guards": [{"expr": "n > 1"}]}
    machine = make(go(dest="which"), leave, states=states, meta={"strict_mode": False})
    result = machine.process("a", "go", {"n": 0})
    assert (result.success, result.metadata["reason"]) == (False, "choice_unresolved")
    assert machine.process("a", "go", {"n": 2}).target_state == "b"


def test_the_three_lists_are_filters_of_the_one_in_order() -> None:
    states = [
        {"name": "a", "type": "initial", "on_exit": ["leave_a"]},
        {"name": "b", "on_enter": ["enter_b"], "on_exit": ["leave_b"]},
        {"name": "c", "on_enter": ["enter_c"]},
    ]
    machine = make(
        go(actions=["move"]),
        {"source": "b", "dest": "c", "auto": True, "actions": ["follow"]},
        states=states,
    )
    result = machine.process("a", "go")
    assert [spec.name for spec in result.all_actions] == [
        "leave_a", "move", "enter_b", "leave_b", "follow", "enter_c",
    ]  # fmt: skip
    for phase, listed in (
        ("exit", result.on_exit_actions),
        ("transition", result.actions_to_execute),
        ("enter", result.on_enter_actions),
    ):
        assert listed == [spec for spec in result.all_actions if spec.phase == phase]
    assert [(step.source, step.target) for step in result.microsteps] == [("a", "b"), ("b", "c")]


def test_an_effect_that_fails_anywhere_takes_all_of_the_event_back() -> None:
    states = [
        {"name": "a", "type": "initial", "on_exit": [{"increment": "n"}]},
        {"name": "b", "on_enter": [{"name": "validate_keys", "params": {"keys": ["x"]}}]},
    ]
    machine = make(go(actions=["told"]), states=states)
    given = {"n": 1}
    result = machine.process("a", "go", given)
    assert (result.success, result.context is given, result.all_actions) == (False, True, [])
    assert "x" in str(result.error)


# Guards that wait ---------------------------------------------------------------------------------


def test_a_verdict_is_for_one_guard_of_one_transition_in_one_microstep() -> None:
    """The context has changed by the next microstep, so that the same guard is asked again."""
    asked: list[int] = []
    machine = make(
        go(guards=["may"], actions=[{"increment": "n"}]),
        {"source": "b", "dest": "z", "auto": True, "guards": ["may"]},
    )

    @machine.guard("may")
    async def may(ctx):
        await asyncio.sleep(0)
        asked.append(ctx["n"])
        return ctx["n"] < 2

    assert asyncio.run(machine.aprocess("a", "go", {"n": 1})).target_state == "b"
    assert asked == [1, 2]


def test_a_blocking_call_names_the_one_that_waits() -> None:
    machine = make(go(guards=["may"]))

    @machine.guard("may")
    async def may(ctx):
        return True

    result = machine.process("a", "go")
    assert (result.success, result.target_state) == (False, None)
    assert "aprocess" in str(result.error)
    assert asyncio.run(machine.aprocess("a", "go")).success


def test_binding_drops_what_was_bound() -> None:
    machine = make(go(guards=["may"]))
    for verdict in (True, False, True):
        machine.bind_guards({"may": lambda ctx, verdict=verdict: verdict})
        assert machine.process("a", "go").success is verdict
    machine.guard("may")(lambda ctx: False)
    assert not machine.process("a", "go").success


# Timers -------------------------------------------------------------------------------------------


def test_a_timer_may_have_a_name_of_its_own() -> None:
    """So that it survives a change of its delay while entities wait."""
    waiting = {"source": "a", "dest": "b", "after": "1h", "id": "reminder"}
    before = make(waiting).create(context={}).snapshot()
    after = make(waiting | {"after": "2h"})
    assert list(before["timers"]) == ["reminder"]
    session = EntitySession.from_snapshot(after, before)
    (fired,) = session.fire_due(datetime.now(UTC) + timedelta(hours=1, seconds=1))
    assert (fired.trigger, fired.target_state) == ("reminder", "b")


def test_due_timers_fire_by_deadline_then_by_document_order() -> None:
    time = [NOW]
    machine = make(
        {"source": "a", "internal": True, "after": "9s", "actions": [{"append": {"field": "log", "value": "late"}}]},
        {"source": "a", "internal": True, "after": "5s", "id": "y", "actions": [{"append": {"field": "log", "value": "first"}}]},
        {"source": "a", "internal": True, "after": "5s", "id": "x", "actions": [{"append": {"field": "log", "value": "second"}}, {"timestamp": "at"}]},
        {"trigger": "look", "source": "a", "internal": True},
    )  # fmt: skip
    session = EntitySession(machine, clock=lambda: time[0])
    time[0] += timedelta(days=1)
    session.look()
    assert session.context["log"] == ["first", "second", "late"]
    assert session.context["at"] == NOW + timedelta(seconds=5)


def test_a_timer_with_a_trigger_is_taken_by_either_and_then_over() -> None:
    time = [NOW]
    machine = make(go(after="5s"))
    by_hand = EntitySession(machine, clock=lambda: time[0])
    by_time = EntitySession(machine, clock=lambda: time[0])
    assert by_hand.go().target_state == "b"
    time[0] += timedelta(seconds=5)
    assert by_hand.fire_due() == []
    assert [fired.target_state for fired in by_time.fire_due()] == ["b"]


def test_starting_arms_the_timers_of_where_it_comes_to_rest() -> None:
    machine = make(
        {"source": "a", "dest": "b", "auto": True},
        {"source": "a", "dest": "z", "after": "1s"},
        {"source": "b", "dest": "z", "after": "2s"},
    )
    result = machine.start({}, now=NOW)
    assert (result.source_state, result.target_state) == (None, "b")
    assert list(result.timers.armed) == ["b:after:2000:z"]
    assert result.timers.cancelled == ()
