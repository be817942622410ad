"""Effects as closures: what each writes, and that nothing else changes."""

import copy
import datetime as dt
from decimal import Decimal

import pytest

from pystator.definition.expressions import parse
from pystator.definition.model import (
    Append,
    Branch,
    Check,
    Clear,
    Compute,
    CopyKey,
    ExprGuard,
    Increment,
    Raise,
    Set,
    Snapshot,
    Timestamp,
    ValidateKeys,
)
from pystator.engine.effects import compile_effect, compile_effects, compile_params
from pystator.engine.frame import Frame
from pystator.errors import EvaluationError

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CONTEXT = {
    "n": 5,
    "big": 2**40,
    "rate": 1.5,
    "money": Decimal("1.10"),
    "name": "ada",
    "empty": None,
    "flag": True,
    "tags": ["a"],
    "order": {"qty": 1, "customer": {"tier": "gold"}, "lines": [{"sku": "a"}, {"sku": "b"}]},
    "_reserved": 1,
}
WHEN, UNLESS = ExprGuard(parse("n == 5")), ExprGuard(parse("n != 5"))


def nothing(name):
    raise AssertionError(f"{name} was asked for")


def frame():
    return Frame([], now=int(NOW.timestamp()) * 1_000_000)


def after(*effects, context=CONTEXT):
    """The context after the effects; the one before stays as it is."""
    before = copy.deepcopy(context)
    run = (
        compile_effect(effects[0], nothing)
        if len(effects) == 1
        else compile_effects(effects, nothing)
    )
    result = run(context, frame())
    assert context == before
    return result


def path(text):
    return tuple(text.split("."))


@pytest.mark.parametrize(
    ("effect", "field", "expected"),
    [
        (Set(("status",), "open"), "status", "open"),
        (Set(path("order.qty"), 2), "order.qty", 2),
        (Set(path("a.b.c"), [1]), "a.b.c", [1]),
        (Set(path("empty.x"), 1), "empty.x", 1),
        (Set(path("order.lines.1.sku"), "z"), "order.lines.1.sku", "z"),
        (
            Set(("x",), {"a": parse("n + 1"), "b": [parse("name"), 2]}),
            "x",
            {"a": 6, "b": ["ada", 2]},
        ),
        (Compute(("total",), parse("n * rate")), "total", 7.5),
        (Compute(path("order.total"), parse("order.qty * 2")), "order.total", 2),
        (Timestamp(("at",)), "at", NOW),
        (Timestamp(path("order.at")), "order.at", NOW),
        (Increment(("n",)), "n", 6),
        (Increment(("n",), 3, -1), "n", 2),
        (Increment(("n",), 0.5), "n", 5.5),
        (Increment(("big",), 2**40), "big", 2**41),
        (Increment(("big",)), "big", 2**40 + 1),
        (Increment(("rate",), 1), "rate", 2.5),
        (Increment(("money",), 0.1), "money", Decimal("1.20")),
        (Increment(("money",), 0.1, -1), "money", Decimal("1.00")),
        (Increment(("fresh",)), "fresh", 1),
        (Increment(("fresh",), 2, -1), "fresh", -2),
        (Increment(("empty",)), "empty", 1),
        (Increment(path("order.qty"), 4), "order.qty", 5),
        (Increment(("n",), parse("order.qty + 1")), "n", 7),
        (Increment(("n",), parse("order.qty + 1"), -1), "n", 3),
        (Append(("tags",), "b"), "tags", ["a", "b"]),
        (Append(("fresh",), {"x": 1}), "fresh", [{"x": 1}]),
        (Append(("empty",), 1), "empty", [1]),
        (
            Append(path("order.lines"), parse("name")),
            "order.lines",
            [{"sku": "a"}, {"sku": "b"}, "ada"],
        ),
        (CopyKey(("name",), path("order.by")), "order.by", "ada"),
        (CopyKey(("order",), path("order.old")), "order.old", CONTEXT["order"]),
        (Snapshot(("saved",)), "saved", {k: v for k, v in CONTEXT.items() if k != "_reserved"}),
    ],
)
def test_an_effect_writes_this(effect, field, expected):
    """Each effect of the language, at the top and deeper down."""
    result = after(effect)
    value = result
    for step in path(field):
        value = value[int(step)] if isinstance(value, list) else value[step]
    assert value == expected
    assert type(value) is type(expected)
    assert {k: v for k, v in result.items() if k != path(field)[0]} == {
        k: v for k, v in CONTEXT.items() if k != path(field)[0]
    }


def test_clear_removes_a_field_and_nothing_when_it_is_missing():
    """A cleared field is missing, not null."""
    assert "n" not in after(Clear(("n",)))
    assert after(Clear(path("order.customer.tier")))["order"]["customer"] == {}
    assert after(Clear(("missing",))) is CONTEXT
    assert after(Clear(path("name.x"))) is CONTEXT


def test_copying_what_is_missing_clears_the_target():
    """A copy of nothing is nothing."""
    assert "n" not in after(CopyKey(("missing",), ("n",)))
    assert after(CopyKey(("empty",), ("n",)))["n"] is None
    assert after(CopyKey(("missing",), ("fresh",))) is CONTEXT


def test_a_snapshot_does_not_hold_the_one_before():
    """Entities that live long do not grow with every round."""
    once = after(Snapshot(path("saved.last")))
    twice = after(Snapshot(path("saved.last")), context=once)
    assert twice["saved"]["last"]["saved"] == {}


def test_validate_keys_fails_the_event_and_names_all():
    """One failure tells everything that is missing."""
    assert after(ValidateKeys((("n",), path("order.qty")))) is CONTEXT
    with pytest.raises(EvaluationError, match=r"no empty, order\.x, missing"):
        after(ValidateKeys((("n",), ("empty",), path("order.x"), ("missing",))))


def test_only_the_written_path_is_copied():
    """What is not written is shared: an effect costs the length of its path, not the context's size."""
    result = after(Set(path("order.qty"), 9))
    assert result["order"] is not CONTEXT["order"]
    assert result["order"]["customer"] is CONTEXT["order"]["customer"]
    assert result["order"]["lines"] is CONTEXT["order"]["lines"]
    assert result["tags"] is CONTEXT["tags"]


def test_a_literal_is_given_away_as_a_copy():
    """One entity's list is not another's, nor the machine's."""
    literal = {"items": [1]}
    effect = compile_effect(Set(("x",), literal), nothing)
    first, second = effect({}, frame()), effect({}, frame())
    first["x"]["items"].append(2)
    assert second["x"] == literal == {"items": [1]}


def test_effects_in_a_row_see_what_was_written_before():
    """The order of the list is the order of events."""
    result = after(
        Set(("a",), 1),
        Increment(("a",)),
        Compute(("b",), parse("a * 10")),
        Append(("log",), parse("b")),
        Append(("log",), parse("len(log)")),
        Set(path("deep.x"), 1),
        Set(path("deep.y"), 2),
        Clear(path("deep.x")),
    )
    assert (result["a"], result["b"], result["log"], result["deep"]) == (2, 20, [20, 1], {"y": 2})


def test_a_failure_in_a_row_leaves_the_context_alone():
    """All or nothing."""
    with pytest.raises(EvaluationError):
        after(Set(("a",), 1), Increment(("name",)))


@pytest.mark.parametrize(
    "effect",
    [
        Set(("a",), 1),
        Timestamp(("a",)),
        Increment(("a",)),
        Append(("a",), 1),
        Compute(("a",), parse("1")),
        CopyKey(("n",), ("a",)),
        Snapshot(("a",)),
        ValidateKeys((("missing",),)),
        Clear(("n",)),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_when_decides_at_its_place(effect):
    """An effect whose condition does not hold leaves the very context."""
    held = copy.copy(effect)
    held.when = UNLESS
    assert after(held) is CONTEXT
    assert after(held, held) is CONTEXT
    changed = Set(("n",), 6)
    if not isinstance(effect, ValidateKeys):
        held.when = WHEN
        assert after(held) == after(effect)
        assert after(changed, held) == after(changed)


def test_a_branch_runs_one_of_its_lists():
    """The condition is looked at when the branch is reached."""
    branch = Branch(
        Check(("n",), "gte", 6),
        (Set(("size",), "big"), Increment(("n",))),
        (Set(("size",), "small"), Branch(WHEN, (Set(("five",), True),))),
    )
    small, big = after(branch), after(Increment(("n",)), branch)
    assert (small["size"], small["five"], small["n"]) == ("small", True, 5)
    assert (big["size"], big["n"]) == ("big", 7)
    assert "five" not in big
    assert after(Branch(UNLESS, (Set(("a",), 1),))) is CONTEXT


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (Increment(("name",)), "a number is needed, not a text"),
        (Increment(("flag",)), "a number is needed, not a boolean"),
        (Increment(("n",), parse("name")), "a number is needed, not a text"),
        (Increment(("n",), parse("missing")), "not null"),
        (Increment(("big",), 2**4096 - 1), "4096 bits"),
        (Append(("name",), 1), "to a list, not to a text"),
        (Set(path("name.x"), 1), "name is a text, not an object"),
        (Set(path("order.qty.x.y"), 1), "order.qty is a number, not an object"),
        (Set(path("tags.5"), 1), "no position 5"),
        (Set(path("tags.00000000000"), 1), "no position 0"),
        (Set(path("tags.first"), 1), "no position first"),
        (Clear(path("tags.0")), "only fields of objects"),
        (Compute(("a",), parse("missing + 1")), "missing is null"),
    ],
)
def test_an_effect_that_does_not_fit_is_an_error(effect, said):
    """The message names the field and what stands there."""
    with pytest.raises(EvaluationError) as caught:
        after(effect)
    assert said in caught.value.message


def test_a_timestamp_needs_the_time_of_the_step():
    """An engine that was given no time says so."""
    with pytest.raises(EvaluationError, match="now="):
        compile_effect(Timestamp(("at",)), nothing)({}, Frame([]))


def test_what_is_no_effect_is_not_compiled_as_one():
    """Raising and calling belong to the step."""
    with pytest.raises(TypeError, match="Raise"):
        compile_effect(Raise("go"), nothing)


def test_params_are_evaluated_and_frozen():
    """An action gets the values of the moment it was planned in."""
    evaluate = compile_params(
        {"to": parse("name"), "body": {"lines": [parse("n * 2"), 1]}, "plain": ["x"]}
    )
    first = evaluate(CONTEXT, frame())
    assert first == {"to": "ada", "body": {"lines": [10, 1]}, "plain": ["x"]}
    first["plain"].append("y")
    assert evaluate(CONTEXT, frame())["plain"] == ["x"]


def test_a_missing_field_can_be_an_error_to_effects():
    """SCXML's data model reaches effects, conditions and params."""
    for run in (
        compile_effect(Compute(("a",), parse("missing")), nothing, undefined="error"),
        compile_effect(Set(("a",), 1, ExprGuard(parse("missing"))), nothing, undefined="error"),
        compile_params({"a": [parse("missing")]}, undefined="error"),
    ):
        with pytest.raises(EvaluationError, match="not defined"):
            run(CONTEXT, frame())
