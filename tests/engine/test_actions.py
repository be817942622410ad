"""Registering callables, and running what a step planned."""

import asyncio
import logging
import time

import pytest

from pystator import (
    ActionExecutor,
    ActionNotFoundError,
    ActionRegistry,
    ActionSpec,
    GuardNotFoundError,
    GuardRegistry,
    InvalidValueError,
    TimeoutExpiredError,
)


def spec(
    name: str, /, *, phase="transition", timeout=None, retry=0, backoff=0.0, **params
) -> ActionSpec:
    return ActionSpec(name, params, phase, timeout, retry, backoff)


def both(functions, specs, context=None):
    """The outcomes of the blocking and of the async face, which must agree."""
    executor = ActionExecutor(functions)
    return [
        executor.execute(specs, context or {}),
        asyncio.run(executor.async_execute(specs, context or {})),
    ]


def test_actions_run_in_order_each_with_its_outcome() -> None:
    for outcomes in both(
        {"a": lambda ctx: 1, "b": lambda ctx: 1 / 0, "c": lambda ctx: 3},
        [spec("a"), spec("b"), spec("c")],
    ):
        assert [(each.name, each.ok, each.value) for each in outcomes] == [
            ("a", True, 1), ("b", False, None), ("c", True, 3),
        ]  # fmt: skip
        assert isinstance(outcomes[1].error, ZeroDivisionError)
        assert all(each.duration >= 0 for each in outcomes)
        assert outcomes[1].to_dict()["error"]["error"] == "ZeroDivisionError"


def test_what_a_callable_takes_is_decided_when_it_is_registered() -> None:
    seen = []

    def plain(ctx):
        seen.append(("plain", ctx["n"]))

    def some(ctx, *, to, by="mail"):
        seen.append(("some", to, by))

    def every(ctx, **params):
        seen.append(("every", params))

    registry = ActionRegistry({"plain": plain, "some": some, "every": every})
    assert [registry.get(name).takes_params for name in ("plain", "some", "every")] == [
        False, True, True,
    ]  # fmt: skip
    specs = [spec("plain", x=1), spec("some", to="ada"), spec("every", x=1)]
    ActionExecutor(registry).execute(specs, {"n": 7})
    assert seen == [("plain", 7), ("some", "ada", "mail"), ("every", {"x": 1})]


def test_actions_work_on_a_copy() -> None:
    """What a callable writes is not kept, in the context or in the params that other entities share."""
    context = {"n": 1, "items": [{"x": 1}]}
    params = {"items": [1]}

    def vandal(ctx, *, items):
        ctx["n"] = 2
        ctx["items"][0]["x"] = 2
        items.append(2)

    for outcomes in both({"vandal": vandal}, [ActionSpec("vandal", params, "exit")], context):
        assert outcomes[0].ok
    assert context == {"n": 1, "items": [{"x": 1}]}
    assert params == {"items": [1]}


def test_an_action_that_nobody_registered_is_an_outcome() -> None:
    for (outcome,) in both({}, [spec("ship")]):
        assert isinstance(outcome.error, ActionNotFoundError)
        assert "register('ship', fn)" in outcome.error.message
        assert outcome.to_dict()["error"]["code"] == "action_not_found"


def test_a_failure_is_tried_again_so_many_times() -> None:
    for fails, ok, attempts in [(2, True, 3), (9, False, 4)]:
        calls = []

        def flaky(ctx, fails=fails, calls=calls):
            calls.append(1)
            if len(calls) <= fails:
                raise OSError("down")

        (outcome,) = ActionExecutor({"flaky": flaky}).execute([spec("flaky", retry=3)], {})
        assert (outcome.ok, outcome.attempts, len(calls)) == (ok, attempts, attempts)


def test_pauses_between_attempts_double(monkeypatch) -> None:
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    ActionExecutor({"x": lambda ctx: 1 / 0}).execute([spec("x", retry=3, backoff=0.5)], {})
    assert pauses == [0.5, 1.0, 2.0]


def test_async_actions_are_awaited() -> None:
    async def ship(ctx, *, to):
        await asyncio.sleep(0)
        return to

    (outcome,) = asyncio.run(
        ActionExecutor({"ship": ship}).async_execute([spec("ship", to="ada")], {})
    )
    assert (outcome.ok, outcome.value) == (True, "ada")


def test_async_actions_are_retried_with_pauses() -> None:
    calls = []

    async def flaky(ctx):
        calls.append(1)
        if len(calls) < 3:
            raise OSError("down")

    (outcome,) = asyncio.run(
        ActionExecutor({"flaky": flaky}).async_execute([spec("flaky", retry=2, backoff=0.001)], {})
    )
    assert (outcome.ok, outcome.attempts) == (True, 3)


@pytest.mark.parametrize("hidden", [False, True])
def test_an_async_action_in_a_blocking_call_says_what_to_do(hidden) -> None:
    async def ship(ctx):
        return 1

    def hiding(ctx):
        return ship(ctx)

    function = hiding if hidden else ship
    (outcome,) = ActionExecutor({"ship": function}).execute([spec("ship")], {})
    assert not outcome.ok
    assert "async_execute" in str(outcome.error)


def test_an_action_that_takes_too_long_is_given_up() -> None:
    async def slow_async(ctx):
        await asyncio.sleep(30)

    release = []

    def slow(ctx):
        deadline = time.monotonic() + 5
        while not release and time.monotonic() < deadline:
            time.sleep(0.001)

    executor = ActionExecutor({"slow": slow, "slow_async": slow_async})
    (outcome,) = executor.execute([spec("slow", timeout=0.01)], {})
    assert isinstance(outcome.error, TimeoutExpiredError)
    (outcome,) = asyncio.run(executor.async_execute([spec("slow_async", timeout=0.01)], {}))
    assert isinstance(outcome.error, TimeoutExpiredError)
    release.append(True)


def test_a_timeout_that_is_kept_gives_the_answer() -> None:
    async def quick_async(ctx):
        return 2

    executor = ActionExecutor(
        {"quick": lambda ctx: 1, "quick_async": quick_async, "bad": lambda ctx: 1 / 0}
    )
    specs = [spec("quick", timeout=5), spec("bad", timeout=5)]
    assert [each.value for each in executor.execute(specs, {})] == [1, None]
    specs = [spec("quick", timeout=5), spec("quick_async", timeout=5)]
    assert [each.value for each in asyncio.run(executor.async_execute(specs, {}))] == [1, 2]


def test_built_in_actions_are_there_and_can_be_replaced(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    specs = [
        spec("noop"),
        spec("log", message="hello", level="warning"),
        spec("trace", x=1),
        spec("publish", topic="orders", payload={"n": 1}),
        spec("emit_metric", name="orders", value=2),
    ]
    assert all(each.ok for each in ActionExecutor().execute(specs, {"n": 1}))
    lines = {(record.name, record.getMessage()) for record in caplog.records}
    assert ("pystator.actions", "hello") in lines
    assert ("pystator.publish", "orders {'n': 1}") in lines
    assert ("pystator.metrics", "orders 2") in lines
    sent = []
    registry = ActionRegistry()
    registry.register("publish", lambda ctx, *, topic, payload: sent.append((topic, payload)))
    ActionExecutor(registry).execute(specs[3:4], {})
    assert sent == [("orders", {"n": 1})]
    assert {"noop", "log", "trace", "publish", "emit_metric"} <= set(registry.names)


def test_registries_know_their_names() -> None:
    guards = GuardRegistry()

    @guards.decorator()
    def is_paid(ctx) -> bool:
        return True

    guards.decorator("other")(is_paid)
    assert guards.names == ["is_paid", "other"]
    assert guards.has("other")
    assert "is_paid" in guards
    assert len(guards) == 2
    assert is_paid({}) is True
    with pytest.raises(GuardNotFoundError, match="registered: is_paid, other"):
        guards.get("missing")


@pytest.mark.parametrize(("name", "function"), [("", len), (None, len), ("x", 5)])
def test_what_cannot_be_registered_is_refused(name, function) -> None:
    with pytest.raises(InvalidValueError):
        ActionRegistry().register(name, function)


def test_callables_without_a_signature_get_the_context_alone() -> None:
    (outcome,) = ActionExecutor({"x": dict}).execute([spec("x", a=1)], {"n": 1})
    assert outcome.value == {"n": 1}
