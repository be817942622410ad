"""Machines that nobody thought of: what is asked of them and lived in them agrees with their steps."""

import copy
import json
from random import Random
from typing import Any

import pytest

from pystator import ConfigurationError, EntitySession, ErrorPolicy, FSMError, StateMachine
from pystator.testing import FakeClock
from w3c_reference.choices import seeded
from w3c_reference.contents import GUARDS
from w3c_reference.machines import machine as build_machine

SEEDS = 120
PARTS = ("groups", "events", "state_variables", "context_invariants", "initial")


def rebuilt(machine: StateMachine) -> StateMachine:
    """The machine, made again from the records that it hands out."""
    config = machine.definition.config
    more: dict[str, Any] = {key: config[key] for key in PARTS if config.get(key) is not None}
    policy = config.get("error_policy")
    more["error_policy"] = policy and ErrorPolicy(**policy)
    return StateMachine(machine.states, machine.transitions, machine.meta, **more)


def machine_of(seed: int) -> StateMachine:
    try:
        machine = StateMachine.from_dict(build_machine(seeded(seed)))
    except ConfigurationError:
        return machine_of(seed + SEEDS)  # few are refused
    for name, guard in GUARDS.items():
        machine.guard(name)(guard)
    return machine


@pytest.mark.parametrize("seed", range(SEEDS))
def test_records_say_everything(seed: int) -> None:
    machine = machine_of(seed)
    again = rebuilt(machine)
    assert again.fingerprint == machine.fingerprint
    assert list(again.definition.nodes) == list(machine.definition.nodes)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_session_does_what_steps_do(seed: int) -> None:
    machine, random, clock = machine_of(seed), Random(seed), FakeClock()
    try:
        session = EntitySession(machine, clock=clock)
    except FSMError:
        return  # it cannot begin
    for _ in range(12):
        session = again_if(session, random)
        clock.advance(random.choice([0, 0.001, 0.4, 2]))
        session.fire_due()
        state, context, timers = session.current_state, session.context, session.timers
        trigger = random.choice([*machine.trigger_names, "nonsense"])
        expected = machine.step(state, trigger, None, context, clock())
        check_answers(machine, state, trigger, context, expected)
        result = session.send(trigger)
        assert (result.target_state, result.reason) == (expected.target_state, expected.reason)
        for timer in expected.timers.cancelled:
            timers.pop(timer, None)
        if expected.success:
            timers.update(expected.timers.armed)
            state, context = expected.target_state or "", expected.context
        assert (session.current_state, session.context) == (state, context)
        assert session.timers == timers
        assert session.history[-1].to_dict()["microsteps"] == expected.to_dict()["microsteps"]


def again_if(session: EntitySession, random: Random) -> EntitySession:
    """The session, or what is taken up from its snapshot, or a copy."""
    way = random.random()
    if way < 0.2:
        snapshot = session.snapshot()
        try:
            snapshot = json.loads(json.dumps(snapshot))
        except TypeError:  # a datetime in the context
            return copy.deepcopy(session)
        return EntitySession.from_snapshot(session.machine, snapshot, clock=session._ways.clock)
    return copy.copy(session) if way < 0.3 else session


def check_answers(
    machine: StateMachine, state: str, trigger: str, context: dict[str, Any], result: Any
) -> None:
    """What the queries say of an event is what becomes of it."""
    if result.success and not result.ignored:
        assert machine.can_transition(state, trigger, context)
    elif result.reason in {"no_transition", "guard_rejected", "terminal_state", "ignored"}:
        assert not machine.can_transition(state, trigger, context)
    lives = EntitySession.from_snapshot(
        machine, {"format": 1, "state": state, "context": {}, "timers": {}}
    )
    for name in [*machine.state_names, *machine.region_names]:
        assert getattr(lives, f"is_{name}") == (name in machine.active_states(state))
    ways = machine.get_available_transitions(state)
    assert {way.trigger for way in ways if way.trigger in machine.trigger_names} == set(
        machine.get_available_triggers(state)
    )
