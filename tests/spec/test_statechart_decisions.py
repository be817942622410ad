"""Decisions about several regions that the engine's own tests take for granted: said once, where they can be read."""

import asyncio
import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from pystator import (
    ConfigurationError,
    EntitySession,
    Event,
    FSMError,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    StateMachine,
)
from pystator.testing import FakeClock
from w3c_reference.choices import seeded
from w3c_reference.contents import GUARDS
from w3c_reference.machines import machine as build_machine

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def make(*transitions: dict[str, Any], ends: bool = False, **more: Any) -> StateMachine:
    """Two regions, `a1 a2` and `b1 b2`, beside `x`."""
    last = {"type": "terminal"} if ends else {}
    regions = [
        {"name": "left", "states": ["a1", {"name": "a2", **last}]},
        {"name": "right", "states": ["b1", {"name": "b2", **last}]},
    ]
    config = {
        "meta": {"machine_name": "m", **more.pop("meta", {})},
        "states": [
            {"name": "p", "type": "parallel", "regions": regions, **more.pop("p", {})},
            {"name": "x"},
            {"name": "a1"},
            {"name": "b1"},
        ],
        "initial": "p",
        "transitions": list(transitions),
        **more,
    }
    return StateMachine.from_dict(config)


def way(trigger: str, source: str, dest: str, **more: Any) -> dict[str, Any]:
    return {"trigger": trigger, "source": source, "dest": dest, **more}


BOTH = (way("go", "a1", "a2"), way("go", "b1", "b2"))


# Who takes part -----------------------------------------------------------------------------------


def test_one_region_ignores_what_another_takes_in_a_lenient_machine() -> None:
    machine = make(
        way("go", "a1", "a2"),
        way("go", "b1", "b2", guards=[{"expr": "n > 1"}]),
        meta={"strict_mode": False},
    )
    for text, target, metadata in (
        ("a1+b1", "a2+b1", {}),
        ("a2+b2", "a2+b2", {"reason": "ignored"}),
    ):
        result = machine.process(text, "go", {"n": 0})
        assert (result.success, result.target_state, result.metadata) == (True, target, metadata)
    refused = machine.process("a2+b1", "go", {"n": 0})
    assert (refused.success, refused.metadata["guard_name"]) == (False, "n > 1")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_guard_that_raises_in_one_region_fails_the_event_in_all(asynchronous: bool) -> None:
    machine = make(
        way("go", "a1", "a2", actions=[{"increment": "n"}]), way("go", "b1", "b2", guards=["bad"])
    )

    def bad(context: dict[str, Any]) -> bool:
        raise ValueError("boom")

    async def slow(context: dict[str, Any]) -> bool:
        return bad(context)

    machine.guard("bad")(slow if asynchronous else bad)
    given = {"n": 1}
    result = asyncio.run(machine.aprocess("a1+b1", "go", given))
    assert (result.success, result.reason, result.context is given) == (
        False,
        "evaluation_failed",
        True,
    )
    assert result.error is not None
    assert result.error.message == "guard 'bad' raised ValueError: boom"
    assert result.error.context == {
        "guard": "bad",
        "error": "ValueError",
        "state": "a1+b1",
        "trigger": "go",
    }
    stored = Orchestrator(machine, InMemoryStateStore())
    kept = asyncio.run(stored.async_process_event("e", "go"))
    assert kept.error is not None
    assert (kept.error.to_dict(), kept.source_state) == (result.error.to_dict(), "a1+b1")


def test_a_choice_that_one_region_cannot_leave_takes_the_others_step_back() -> None:
    regions = [
        {"name": "left", "states": ["a1", "a2", {"name": "which", "type": "choice"}]},
        {"name": "right", "states": ["b1", "b2"]},
    ]
    machine = StateMachine.from_dict({
        "meta": {"machine_name": "m"},
        "states": [
            {"name": "p", "type": "parallel", "regions": regions},
            {"name": "a1"}, {"name": "a2"}, {"name": "b1"}, {"name": "b2"},
        ],
        "initial": "p",
        "transitions": [
            way("go", "a1", "which"),
            way("go", "b1", "b2", actions=[{"increment": "n"}, "told"]),
            {"source": "which", "dest": "a2", "guards": [{"expr": "n > 5"}]},
        ],
    })  # fmt: skip
    given = {"n": 0}
    result = machine.process("a1+b1", "go", given)
    assert (result.reason, result.context is given) == ("choice_unresolved", True)
    assert (result.all_actions, result.microsteps, result.target_state) == ([], (), None)
    assert machine.process("a1+b1", "go", {"n": 5}).target_state == "a2+b2"


def test_invariants_hold_when_every_region_has_moved() -> None:
    counted = [way("go", source, dest, actions=[{"increment": "n"}]) for source, dest in (("a1", "a2"), ("b1", "b2"))]  # fmt: skip
    machine = make(
        *counted,
        meta={"validate_context": True},
        context_invariants=[{"name": "even", "expr": "n % 2 == 0"}],
    )
    assert machine.process("a1+b1", "go", {"n": 0}).context == {"n": 2}
    refused = machine.process("a2+b1", "go", {"n": 0})
    assert (refused.reason, refused.context) == ("context_invalid", {"n": 0})


def test_fields_are_frozen_where_they_stand() -> None:
    machine = make(
        way("go", "a1", "a2", actions=[{"name": "tell", "params": {"n": {"expr": "n"}}}, {"increment": "n"}]),
        way("go", "b1", "b2", actions=[{"name": "tell", "params": {"n": {"expr": "n"}}}]),
    )  # fmt: skip
    result = machine.process("a1+b1", "go", {"n": 1})
    assert [spec.params["n"] for spec in result.actions_to_execute] == [1, 2]
    assert result.on_exit_actions == result.on_enter_actions == []


# Done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normaliser", ["upper", "lower"])
def test_done_events_are_normalised_as_all_events(normaliser: str) -> None:
    machine = make(*BOTH, ends=True, p={"on_done": "x"}, meta={"event_normalizer": normaliser})
    result = machine.process("a1+b1", "gO")
    done = getattr("done.state.p", normaliser)()
    assert (result.target_state, result.microsteps[-1].trigger) == ("x", done)
    assert machine.process("a1+b1", "Done.State.P").reason == "undefined_trigger"
    declared = make(*BOTH, way("Done.State.P", "p", "x"), ends=True, meta={"event_normalizer": normaliser})  # fmt: skip
    assert declared.process("a1+b1", "go").target_state == "x"


@pytest.mark.parametrize(
    ("more", "terminal"),
    [
        ({}, True),
        ({"p": {"on_done": "x"}}, False),
        ({"p": {"timeout": {"seconds": 5, "destination": "x"}}}, False),
    ],
)
def test_an_entity_is_done_when_all_leaves_are_and_nothing_leads_out(
    more: dict[str, Any], terminal: bool
) -> None:
    machine = make(*BOTH, ends=True, **more)
    assert machine.is_terminal("a2+b2") is terminal
    assert not machine.is_terminal("a2+b1")
    assert not make(*BOTH, way("out", "p", "x"), ends=True).is_terminal("a2+b2")


# Timers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_event", [False, True])
def test_timers_of_several_regions_due_at_once_fire_one_by_one(by_event: bool) -> None:
    """Each takes its own transition only, in the order of the file, with a row of its own."""

    def after(source: str, dest: str) -> dict[str, Any]:
        return {"source": source, "dest": dest, "after": "1s", "actions": [{"append": {"field": "log", "value": source}}]}  # fmt: skip

    machine = make(after("b1", "b2"), after("a1", "a2"), way("look", "a1", "x"))
    clock, store = FakeClock(), InMemoryStateStore()
    stored = Orchestrator(machine, store, clock=clock)
    stored.create_entity("e")
    start = clock()
    clock.advance(5)
    if by_event:
        assert stored.process_event("e", "look").reason == "no_transition"
    else:
        assert [each.target_state for each in stored.fire_due()] == ["a1+b2", "a2+b2"]
    rows = [row for row in store.history("e").items if row.kind == "timer"]
    assert [(row.trigger, row.target_state, row.now) for row in rows] == [
        ("b1:after:1000:b2", "a1+b2", start + 1_000_000),
        ("a1:after:1000:a2", "a2+b2", start + 1_000_000),
    ]
    entity = stored.get_entity("e")
    assert entity is not None
    assert (entity.context, entity.timers) == ({"log": ["b1", "a1"]}, {})


def test_states_that_history_restores_arm_their_timers() -> None:
    machine = make(
        *BOTH, way("out", "p", "x"), way("back", "x", "H*(p)"),
        {"source": "a2", "dest": "a1", "after": "1s"}, {"source": "p", "dest": "x", "after": "2s"},
    )  # fmt: skip
    left = machine.process("a2+b2", "out", now=NOW)
    assert set(left.timers.cancelled) == {"a2:after:1000:a1", "p:after:2000:x"}
    back = machine.process("x", "back", left.context, now=NOW)
    assert back.target_state == "a2+b2"
    assert set(back.timers.armed) == {"a2:after:1000:a1", "p:after:2000:x"}


# Written down -------------------------------------------------------------------------------------


def test_a_snapshot_that_is_none_is_refused_at_once() -> None:
    machine = make(*BOTH)
    snapshot = EntitySession(machine).snapshot()
    for wrong in ({"timers": {"a": "b"}}, {"timers": {"a": True}}, {"state": None}):
        with pytest.raises(InvalidValueError, match="no snapshot"):
            EntitySession.from_snapshot(machine, {**snapshot, **wrong})


def test_a_context_without_end_is_told() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    session = EntitySession(make(*BOTH))
    for call in (lambda: EntitySession(make(*BOTH), context={"o": endless}), lambda: session.send("go", o=endless)):  # fmt: skip
        with pytest.raises(InvalidValueError, match="contains itself"):
            call()
    assert session.current_state == "a1+b1"


# Guards that wait, on machines that nobody thought of ---------------------------------------------

Guard = Callable[[dict[str, Any]], bool]


def waiting(name: str, guard: Guard, asked: list[str]) -> Callable[[dict[str, Any]], Awaitable[bool]]:  # fmt: skip
    async def ask(context: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        asked.append(f"{name} {json.dumps(context, default=str)}")
        return guard(context)

    return ask


def noting(name: str, guard: Guard, asked: list[str]) -> Guard:
    def ask(context: dict[str, Any]) -> bool:
        asked.append(f"{name} {json.dumps(context, default=str)}")
        return guard(context)

    return ask


@pytest.mark.parametrize("seed", range(60))
def test_guards_that_wait_are_asked_what_others_are_asked(seed: int) -> None:
    """As often, in the same order, with the same contexts; and the results are the same."""
    asyncio.run(live_both_ways(seed))


async def live_both_ways(seed: int) -> None:
    config, random = build_machine(seeded(seed)), Random(seed)
    asked: list[str] = []
    awaited: list[str] = []
    try:
        sync, slow = StateMachine.from_dict(config), StateMachine.from_dict(config)
    except ConfigurationError:
        return  # few are refused
    for name, guard in GUARDS.items():
        sync.guard(name)(noting(name, guard, asked))
        slow.guard(name)(waiting(name, guard, awaited))
    result = sync.start({}, now=NOW)
    other = await slow.astart({}, now=NOW)
    state, context = "", {}
    for _ in range(12):
        assert told(other) == told(result)
        assert awaited == asked
        assert told(pickle.loads(pickle.dumps(result))) == told(result)  # our own
        if result.success:
            state, context = result.target_state or "", result.context
        if not state:
            return  # it cannot begin
        leaves = state.split("+")
        random.shuffle(leaves)
        shuffled = "+".join(leaves)
        if random.random() < 0.2:
            data = {random.choice(["n", "m", "flag"]): random.randrange(4)}
            result = sync.apply(state, data, context, now=NOW)
            other = await slow.aapply(shuffled, data, context, now=NOW)
        else:
            trigger = random.choice([*sync.trigger_names, "nonsense"])
            event = Event(trigger, {"n": random.randrange(4)}) if random.random() < 0.5 else trigger
            result = sync.process(state, event, context, now=NOW)
            other = await slow.aprocess(shuffled, event, context, now=NOW)


def told(result: Any) -> dict[str, Any]:
    error: FSMError | None = result.error
    return {**result.to_dict(), "error": error and error.code}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_event_whose_entity_cannot_begin_is_told_of_the_event(asynchronous: bool) -> None:
    machine = make(
        *BOTH, {"source": "a1", "dest": "a2", "auto": True, "guards": ["bad"]}, p={"on_enter": []}
    )

    async def slow(context: dict[str, Any]) -> bool:
        return blocking(context)

    def blocking(context: dict[str, Any]) -> bool:
        raise ValueError("boom")

    machine.guard("bad")(slow if asynchronous else blocking)
    stored = Orchestrator(machine, InMemoryStateStore())
    result = asyncio.run(stored.async_process_event("e", "go"))
    assert (result.trigger, result.source_state, result.reason) == ("go", None, "evaluation_failed")
    assert result.error is not None
    assert (result.error.context["trigger"], result.error.context["guard"]) == ("go", "bad")
    assert asyncio.run(stored.async_get_entity("e")) is None
