"""Events that are not allowed: a result that says why, and nothing else happens."""

import copy

import pytest

from pystator import (
    ErrorCode,
    EvaluationError,
    GuardRejectedError,
    InvalidTransitionError,
    TerminalStateError,
    UndefinedTriggerError,
)


@pytest.fixture(name="order")
def order_fixture(build):
    return build(
        "draft open paid closed!",
        "submit: draft -> open",
        {"way": "pay: open -> paid", "guards": [{"expr": "total > 0"}, "is_funded"]},
        {"way": "pay: open -> closed", "guards": [{"check": {"field": "free", "op": "eq", "value": True}}]},
        "close: paid -> closed",
        {"way": "burst: open -> paid", "guards": [{"expr": "total / zero > 1"}]},
        {"way": "fail: open -> paid", "actions": [{"set": {"seen": 1}}, {"increment": "name"}]},
    )  # fmt: skip


CASES = [
    ("draft", "subnit", "undefined_trigger", UndefinedTriggerError, ErrorCode.UNDEFINED_TRIGGER),
    ("draft", "pay", "no_transition", InvalidTransitionError, ErrorCode.INVALID_TRANSITION),
    ("closed", "pay", "terminal_state", TerminalStateError, ErrorCode.TERMINAL_STATE),
    ("open", "pay", "guard_rejected", GuardRejectedError, ErrorCode.GUARD_REJECTED),
    ("open", "burst", "evaluation_failed", EvaluationError, ErrorCode.EVALUATION_FAILED),
    ("open", "fail", "evaluation_failed", EvaluationError, ErrorCode.EVALUATION_FAILED),
]


@pytest.mark.parametrize(("state", "trigger", "reason", "kind", "code"), CASES)
def test_a_refused_event_says_why_and_changes_nothing(
    order, state, trigger, reason, kind, code
) -> None:
    """Callers go by the reason and the code, people by the message; the context is the one that came in."""
    order.guard("is_funded")(lambda ctx: False)
    context = {"total": 1, "name": "ada", "items": [{"n": 1}], "zero": 0}
    before = copy.deepcopy(context)
    result = order.process(state, trigger, context)
    assert not result.success
    assert result.context is context
    assert before == context
    assert (result.target_state, result.source_state) == (None, state)
    assert result.reason == result.metadata["reason"] == reason
    assert (type(result.error), result.error.code) == (kind, code)
    assert result.error.context["trigger"] == trigger
    assert not result.all_actions
    assert not result.timers
    with pytest.raises(kind):
        result.raise_for_error()


def test_the_message_offers_what_is_allowed(order) -> None:
    assert "did you mean 'submit'" in order.process("draft", "subnit").error.message
    assert "allowed here: submit" in order.process("draft", "pay").error.message
    assert "'closed' is terminal" in order.process("closed", "pay").error.message


def test_a_guard_rejection_names_the_first_failing_guard_of_each_candidate(order) -> None:
    """The candidate of the highest priority is the one people meant; the rest is for the curious."""
    order.guard("is_funded")(lambda ctx: False)
    metadata = order.process("open", "pay", {"total": 1}).metadata
    assert metadata["guard_name"] == "is_funded"
    assert metadata["rejections"] == [
        {"target": "paid", "guard": "is_funded"},
        {"target": "closed", "guard": "free eq True"},
    ]
    assert order.process("open", "pay", {"total": 0}).metadata["guard_name"] == "total > 0"


def test_a_guard_that_raises_is_an_error_and_not_a_no(order) -> None:
    def broken(ctx) -> bool:
        raise KeyError("balance")

    order.guard("is_funded")(broken)
    result = order.process("open", "pay", {"total": 1})
    assert result.reason == "evaluation_failed"
    assert "is_funded" in result.error.message
    assert isinstance(result.error.__cause__, KeyError)


def test_results_do_not_share_what_callers_may_write_to(order) -> None:
    """Metadata and errors are made for one result; the plan behind them serves every entity."""
    order.guard("is_funded")(lambda ctx: False)
    first = order.process("open", "pay", {"total": 1})
    first.metadata["rejections"].clear()
    first.metadata["mine"] = 1
    second = order.process("open", "pay", {"total": 1})
    assert len(second.metadata["rejections"]) == 2
    assert "mine" not in second.metadata
    assert first.error is not second.error


def lenient(build, **meta):
    return build(
        "a b c!",
        {"way": "go: a -> b", "guards": [{"expr": "ready"}]},
        "end: b -> c",
        meta={"machine_name": "m", "version": "1", **meta},
    )


@pytest.mark.parametrize(("state", "trigger"), [("a", "nonsense"), ("a", "end"), ("c", "go")])
def test_a_lenient_machine_ignores_what_it_has_no_transition_for(build, state, trigger) -> None:
    context = {"n": 1}
    result = lenient(build, strict_mode=False).process(state, trigger, context)
    assert result.success
    assert result.ignored
    assert result.target_state == result.source_state == state
    assert result.context is context
    assert result.metadata == {"reason": "ignored"}
    assert result.error is None
    assert result.microsteps == ()


def test_a_guard_that_says_no_is_a_refusal_in_a_lenient_machine_too(build) -> None:
    assert lenient(build, strict_mode=False).process("a", "go").reason == "guard_rejected"


def test_the_half_of_strictness_about_events_can_be_switched_alone(build) -> None:
    machine = lenient(build, strict_mode=False, reject_invalid_events=True)
    assert machine.process("a", "nonsense").reason == "undefined_trigger"


def test_undeclared_triggers_are_never_kept(build) -> None:
    """Whoever sends garbage must not be able to fill the memory with it."""
    machine = build("a b", "go: a -> b")
    row = machine._topology.table["a"]
    for number in range(1_000):
        machine.process("a", f"nonsense_{number}")
    assert set(row) <= {"go"}
