"""Guards that have to be awaited: the step stays pure, and is computed again with their verdicts."""

import asyncio

import pytest

from pystator import GuardRegistry, InvalidValueError, UndefinedStateError
from pystator.engine.frame import NeedGuard


@pytest.fixture(name="machine")
def machine_fixture(build):
    return build(
        "a b c d",
        {"way": "go: a -> b", "guards": ["slow_no"]},
        {"way": "go: a -> c", "guards": ["quick_yes", "slow_yes"], "actions": [{"increment": "n"}]},
        {"way": "auto: c -> d", "guards": ["slow_yes"]},
        "plain: a -> b",
    )


@pytest.fixture(name="asked")
def asked_fixture(machine) -> list[str]:
    asked: list[str] = []

    @machine.guard("slow_no")
    async def slow_no(ctx) -> bool:
        await asyncio.sleep(0)
        asked.append("slow_no")
        return False

    @machine.guard("slow_yes")
    async def slow_yes(ctx) -> bool:
        asked.append(f"slow_yes {ctx.get('n')}")
        return True

    machine.guard("quick_yes")(lambda ctx: True)
    return asked


def test_aprocess_awaits_each_verdict_once(machine, asked) -> None:
    result = asyncio.run(machine.aprocess("a", "go", {"n": 0}))
    assert (result.target_state, result.context) == ("d", {"n": 1})
    assert asked == ["slow_no", "slow_yes 0", "slow_yes 1"]


def test_process_says_which_call_to_use(machine, asked) -> None:
    result = machine.process("a", "go")
    assert not result.success
    assert "aprocess" in result.error.message
    assert result.error.context["guard"] == "slow_no"
    assert asked == []


def test_an_event_without_async_guards_needs_no_loop(machine, asked) -> None:
    assert machine.process("a", "plain").target_state == "b"


def test_a_driver_of_its_own_keeps_the_verdicts(machine, asked) -> None:
    """The orchestrator does this: step, be told what is missing, ask, step again."""
    verdicts, keys = {}, []
    while True:
        try:
            result = machine.step("a", "go", None, {"n": 0}, 0, verdicts)
            break
        except NeedGuard as need:
            keys.append(need.key)
            verdicts[need.key] = need.name != "slow_no"
    assert result.target_state == "d"
    assert len(set(keys)) == len(keys) == 3


def test_an_async_guard_that_raises_fails_the_event(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": ["broken"]})

    @machine.guard("broken")
    async def broken(ctx) -> bool:
        raise KeyError("balance")

    result = asyncio.run(machine.aprocess("a", "go", {"n": 0}))
    assert result.reason == "evaluation_failed"
    assert "KeyError" in result.error.message


def test_async_guards_are_found_out_when_they_are_registered() -> None:
    class Check:
        async def __call__(self, ctx) -> bool:
            return True

    async def function(ctx) -> bool:
        return True

    guards = GuardRegistry({"object": Check(), "function": function, "plain": lambda ctx: True})
    assert [guards.get(name).is_async for name in guards] == [True, True, False]


def test_a_start_and_new_data_await_guards_too(build) -> None:
    machine = build(
        "a b c", {"source": "a", "dest": "b", "auto": True, "guards": ["rich"]}, "go: a -> c"
    )

    @machine.guard("rich")
    async def rich(ctx) -> bool:
        if "amount" not in ctx:
            raise ValueError("no amount")
        return ctx["amount"] > 5

    assert asyncio.run(machine.astart({"amount": 6})).target_state == "b"
    assert asyncio.run(machine.astart({"amount": 1})).target_state == "a"
    result = asyncio.run(machine.aapply("a", {"amount": 6}, {"who": "ada"}))
    assert (result.target_state, result.context) == ("b", {"amount": 6, "who": "ada"})
    assert asyncio.run(machine.aapply("a", {"amount": 5})).target_state == "a"
    failed = asyncio.run(machine.aapply("a", {}))
    assert "no amount" in failed.error.message
    assert "machine.astart" in machine.start({"amount": 6}).error.message
    assert "machine.aapply" in machine.apply("a", {"amount": 6}).error.message


def test_data_with_reserved_names_is_refused(build) -> None:
    machine = build("a b", "go: a -> b")
    with pytest.raises(InvalidValueError, match="reserved"):
        machine.apply("a", {"_history": {}})
    with pytest.raises(InvalidValueError, match="mapping"):
        machine.apply("a", 5)
    with pytest.raises(UndefinedStateError):
        machine.apply("nowhere", {})


def test_guards_of_several_regions_are_awaited_once_each(chart) -> None:
    machine = chart(
        """
        states:
          - {name: p, type: parallel, regions: [{name: r, states: [a, b]}, {name: s, states: [x, y]}]}
          - {name: a}
          - {name: b}
          - {name: x}
          - {name: y}
        transitions:
          - {trigger: go, source: a, dest: b, guards: [slow]}
          - {trigger: go, source: x, dest: y, guards: [slower]}
          - {trigger: go, source: p, dest: p, guards: [slow_as_well]}
        initial: p
        """
    )
    asked: list[str] = []
    for name, answer in (("slow", False), ("slower", True), ("slow_as_well", False)):

        async def guard(ctx, name=name, answer=answer) -> bool:
            asked.append(name)
            return answer

        machine.guard(name)(guard)
    result = asyncio.run(machine.aprocess("a+x", "go"))
    assert result.target_state == "a+y"
    assert asked == ["slow", "slow_as_well", "slower"]
