"""Guards as closures: checks, composites, registered guards, and when they look at a frame."""

import asyncio
import datetime as dt
from decimal import Decimal

import pytest

from pystator.definition.expressions import parse
from pystator.definition.model import AllOf, AnyOf, Check, ExprGuard, InState, Named, Not
from pystator.engine.frame import Frame, NeedGuard
from pystator.engine.guards import bind_guard, compile_guard, uses_frame
from pystator.engine.registry import GuardRegistry
from pystator.errors import EvaluationError, GuardNotFoundError, InvalidTransitionError

CONTEXT = {
    "qty": 5,
    "price": 1.5,
    "amount": Decimal("1.10"),
    "name": "ada",
    "empty": None,
    "order": {"qty": 3, "lines": [{"sku": "a"}, {"sku": "b"}]},
    "tags": ["x"],
    "due": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
}
YES, NO = ExprGuard(parse("true")), ExprGuard(parse("false"))


def nothing(name):
    raise AssertionError(f"{name} was asked for")


def holds(guard, context=CONTEXT, frame=None):
    return compile_guard(guard, nothing)(context, frame or Frame([]))


def check(field, op, value=None):
    return holds(Check(tuple(field.split(".")), op, value))


@pytest.mark.parametrize(
    ("expected", "field", "op", "value"),
    [
        (True, "qty", "eq", 5),
        (True, "qty", "eq", 5.0),
        (False, "qty", "neq", 5),
        (True, "name", "eq", "ada"),
        (False, "name", "eq", 5),
        (True, "tags", "eq", ["x"]),
        (True, "order.lines", "neq", []),
        (True, "order.qty", "gte", 3),
        (False, "order.qty", "gt", 3),
        (True, "price", "lt", 2),
        (True, "price", "lte", 1.5),
        (True, "amount", "gte", 1.10),
        (True, "amount", "eq", 1.1),
        (True, "amount", "in", [1.1]),
        (True, "order.lines.1.sku", "eq", "b"),
        (True, "name", "in", ["ada", "bob"]),
        (False, "name", "not_in", ["ada", "bob"]),
        (True, "tags", "in", [["x"], "y"]),
        (True, "tags", "not_in", ["x", "y"]),
        (True, "missing", "is_null", None),
        (True, "empty", "is_null", None),
        (False, "empty", "is_set", None),
        (True, "order.qty", "is_set", None),
        (True, "missing", "eq", None),
        (True, "missing", "neq", 1),
        (False, "missing", "gt", 0),
        (False, "missing", "lte", 0),
        (False, "qty", "lt", None),
        (False, "missing.deeper", "in", [1]),
        (True, "missing", "not_in", [1]),
        (True, "missing", "in", [None, 1]),
        (False, "name.length", "is_set", None),
    ],
)
def test_a_check_compares_as_an_expression_does(expected, field, op, value):
    """`check` is the form for tools and forms; it has no meaning of its own."""
    assert check(field, op, value) is expected


@pytest.mark.parametrize(
    ("field", "op", "value", "said"),
    [
        ("name", "gt", 1, "a text and a number"),
        ("tags", "gte", 1, "a list and a number"),
        ("due", "lt", "2026-02-01", "datetime()"),
    ],
)
def test_a_check_of_values_that_do_not_compare_is_an_error(field, op, value, said):
    """False would hide a mistake in the machine or in the data."""
    with pytest.raises(EvaluationError) as caught:
        check(field, op, value)
    assert said in caught.value.message
    assert field in caught.value.message


def test_composites_hold_as_their_names_say():
    """Nothing of a composite is empty of meaning: all of none hold, one of none does not."""
    assert holds(AllOf((YES, YES, YES)))
    assert not holds(AllOf((YES, NO)))
    assert holds(AllOf(()))
    assert holds(AnyOf((NO, YES)))
    assert not holds(AnyOf((NO, NO)))
    assert not holds(AnyOf(()))
    assert holds(AllOf((AnyOf((NO, YES)), Not(NO))))
    assert not holds(Not(AllOf((YES,))))


def test_composites_stop_at_the_guard_that_decides():
    """What is behind it may not even be computable."""
    broken = ExprGuard(parse("missing + 1 > 0"))
    assert not holds(AllOf((NO, broken)))
    assert holds(AnyOf((YES, broken)))


def test_the_value_of_an_expression_counts_by_its_truth():
    """A guard is for truth, whatever the expression gives."""
    assert holds(ExprGuard(parse("tags"))) is True
    assert holds(ExprGuard(parse("missing or 0"))) is False


def test_in_state_sees_the_active_states():
    """Ancestors are among them; who makes the frame says which are active."""
    frame = Frame([], active=frozenset({"open", "open_review"}))
    assert holds(InState("open"), frame=frame)
    assert not holds(InState("closed"), frame=frame)


# Registered guards ------------------------------------------------------------------------------


def bound(functions, name, *, lenient=False):
    return bind_guard(name, GuardRegistry(functions).find(name), lenient=lenient)


def test_a_registered_guard_is_its_place_in_the_vector():
    """One topology serves many machines: what a name means stands in the frame's vector."""
    guard = compile_guard(Not(Named("is_paid")), {"is_paid": 1}.__getitem__)
    yes = bound({"is_paid": lambda ctx: ctx["qty"] == 5}, "is_paid")
    no = bound({"is_paid": lambda ctx: 0}, "is_paid")
    assert guard(CONTEXT, Frame([None, yes])) is False
    assert guard(CONTEXT, Frame([None, no])) is True


def test_a_guard_nobody_registered_is_an_error_or_passes():
    """Strict machines name what is missing; lenient ones take it as true."""
    with pytest.raises(GuardNotFoundError, match="is_paid"):
        bound({}, "is_paid")(CONTEXT, Frame([]))
    assert bound({}, "is_paid", lenient=True)(CONTEXT, Frame([]))


def test_a_guard_that_raises_is_an_error_that_names_it():
    """The user's exception is the cause, the guard's name is in the message."""

    def broken(ctx):
        return ctx["no such key"]

    with pytest.raises(EvaluationError, match="guard 'broken' raised KeyError") as caught:
        bound({"broken": broken}, "broken")(CONTEXT, Frame([]))
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_of_ours_passes_through_a_guard():
    """A guard may decide which error an event gets."""

    def refuse(ctx):
        raise InvalidTransitionError("not on a Sunday")

    with pytest.raises(InvalidTransitionError, match="Sunday"):
        bound({"refuse": refuse}, "refuse")(CONTEXT, Frame([]))


def test_a_coroutine_behind_a_plain_function_is_not_taken_as_true():
    """A coroutine object is truthy: every event would pass."""

    async def ask(ctx):
        return False

    with pytest.raises(EvaluationError, match="register the coroutine function itself"):
        bound({"ask": lambda ctx: ask(ctx)}, "ask")(CONTEXT, Frame([]))  # noqa: PLW0108


def test_an_async_guard_asks_its_driver_and_is_replayed():
    """The step stays a plain function: it is computed again with each verdict that was missing."""

    async def paid(ctx):
        await asyncio.sleep(0)
        return ctx["qty"] == 5

    async def open_(ctx):
        return []

    names = {"paid": 0, "open": 1}
    vector = [bound({"paid": paid}, "paid"), bound({"open": open_}, "open")]
    guard = compile_guard(
        AllOf((Named("paid"), Named("paid"), Not(Named("open")))), names.__getitem__
    )
    verdicts = {}
    asked = []
    while True:
        try:
            assert guard(CONTEXT, Frame(vector, verdicts=verdicts)) is True
            break
        except NeedGuard as need:
            asked.append(need.name)
            verdicts[need.key] = bool(asyncio.run(need.call()))
    assert asked == ["paid", "paid", "open"]
    assert list(verdicts.values()) == [True, True, False]


def test_without_verdicts_an_async_guard_asks_for_the_first():
    """A driver that begins without verdicts gets the key a replay will look for."""

    async def paid(ctx):
        return True

    ask = bound({"paid": paid}, "paid")
    frame = Frame([])
    for _ in range(2):
        with pytest.raises(NeedGuard) as caught:
            ask(CONTEXT, frame)
        assert caught.value.key == (0, "paid")
    assert ask(CONTEXT, Frame([], verdicts={(0, "paid"): True}))


@pytest.mark.parametrize(
    ("uses", "guard"),
    [
        (False, Named("a")),
        (False, ExprGuard(parse("a > 1"))),
        (True, ExprGuard(parse("_event.name == 'a'"))),
        (True, InState("a")),
        (False, Check(("a",), "gte", 1)),
        (False, Check(("a",), "in", [1, "x"])),
        (True, Check(("a",), "in", [[1]])),
        (True, Check(("a",), "eq", {"x": 1})),
        (False, Check(("a",), "is_set")),
        (False, AllOf((Named("a"), Not(Named("b"))))),
        (True, AnyOf((Named("a"), Not(InState("b"))))),
    ],
)
def test_an_engine_knows_which_guards_look_at_the_frame(uses, guard):
    """For all others a machine's one idle frame is enough."""
    assert uses_frame(guard) is uses
