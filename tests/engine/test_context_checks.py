"""``validate_context``: variables and invariants, before guards and at rest."""

import pytest

from pystator import ErrorCode

META = {"machine_name": "m", "version": "1", "validate_context": True}


@pytest.fixture(name="account")
def account_fixture(build):
    return build(
        "open closed!",
        {"trigger": "draw", "source": "open", "internal": True,
         "actions": [{"compute": {"balance": "balance - amount"}}]},
        "close: open -> closed",
        meta=META,
        state_variables=[
            {"key": "balance", "type": "number", "required": True},
            {"key": "owner", "type": "string"},
            "note",
        ],
        context_invariants=[
            {"name": "not_overdrawn", "expr": "balance >= 0", "message": "the account is overdrawn"}
        ],
    )  # fmt: skip


def test_a_context_that_holds_passes(account) -> None:
    result = account.process("open", "draw", {"balance": 10, "amount": 4})
    assert result.context["balance"] == 6


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"amount": 1}, "'balance' is required"),
        ({"balance": "ten"}, "must be a number, not str"),
        ({"balance": True}, "must be a number, not bool"),
        ({"balance": 1, "owner": 5}, "must be a string"),
        ({"balance": -1}, "the account is overdrawn"),
    ],
)
def test_a_context_that_does_not_fails_the_event_before_guards(account, context, said) -> None:
    result = account.process("open", "close", context)
    assert (result.reason, result.error.code) == ("context_invalid", ErrorCode.CONTEXT_INVALID)
    assert said in result.error.message
    assert result.context is context


def test_an_event_that_would_break_an_invariant_changes_nothing(account) -> None:
    context = {"balance": 10, "amount": 40}
    result = account.process("open", "draw", context)
    assert result.reason == "context_invalid"
    assert result.metadata["problems"] == [
        {"name": "not_overdrawn", "message": "the account is overdrawn"}
    ]
    assert result.context is context


def test_all_problems_are_told_at_once(account) -> None:
    problems = account.process("open", "close", {"balance": -5, "owner": 1}).metadata["problems"]
    assert [each["name"] for each in problems] == ["owner", "not_overdrawn"]


def test_a_start_is_checked_at_rest(account) -> None:
    """What is required may be written by the first state's on_enter, so it is not looked at earlier."""
    assert account.start({"balance": 0}).success
    assert account.start({}).reason == "context_invalid"


def test_without_the_switch_nothing_is_checked(build) -> None:
    machine = build(
        "a b", "go: a -> b", state_variables=[{"key": "n", "type": "number", "required": True}]
    )
    assert machine.process("a", "go", {"n": "x"}).success
