"""Guards are compared by what the engine makes of them."""

from random import Random

import pytest

from analysis.made_up import CONTEXTS, guard
from pystator.definition.analysis.domains import Thing
from pystator.definition.analysis.formulas import ERROR, Field, evaluate, formula
from pystator.definition.analysis.search import example, impossible
from pystator.definition.expressions import parse
from pystator.definition.load import load_config
from pystator.definition.model import ExprGuard
from pystator.engine.frame import Frame
from pystator.engine.guards import compile_guard
from pystator.errors import EvaluationError

MACHINE = {"states": [{"name": "a", "type": "initial"}, {"name": "b"}]}
VALUES = (None, 0, 1, 1.5, 2, 3, 4, -1, "", "a", "aa", "b", "z", True, False, [], [1], {}, {"k": 1})


def lowered(entry):
    way = {"trigger": "t", "source": "a", "dest": "b", "guards": [entry]}
    return load_config({**MACHINE, "transitions": [way]}).transitions[0].guards[0]


def formula_of(entry):
    return formula(lowered(entry), lambda name: name == "a")


def expr(text):
    return formula(ExprGuard(parse(text)), lambda _: None)


def engine_says(guard_, context):
    try:
        return compile_guard(guard_, lambda _: 0)(
            context, Frame([], None, None, 0, frozenset({"a"}))
        )
    except EvaluationError:
        return ERROR


def a_as_active(name):
    return name == "a"


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_a_formula_says_what_the_engine_says(seed):
    """Of every kind of value, errors included."""
    random = Random(seed)
    for _ in range(50):
        made = lowered(guard(random, ["a", "b"]))
        part = formula(made, a_as_active)
        for n in VALUES:
            for s in VALUES:
                given = {"n": n, "s": s}
                context = {key: value for key, value in given.items() if value is not None}
                values = {
                    Field((key,)): Thing(truth=bool(value))
                    if isinstance(value, list | dict)
                    else value
                    for key, value in given.items()
                }
                assert evaluate(part, values) is engine_says(made, context), (made, context)


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_what_is_impossible_is_so_for_every_value(seed):
    """A proof covers more than the values that were tried to find it."""
    random = Random(seed)
    proofs = 0
    for _ in range(50):
        guards = [lowered(guard(random, ["a", "b"])) for _ in range(random.randint(1, 3))]
        asked = [(each, random.random() < 0.5) for each in guards]
        wanted = [(formula(each, a_as_active), holds) for each, holds in asked]
        proved, found = impossible(wanted), example(wanted)
        proofs += proved
        answers = [context for context in CONTEXTS if answered(asked, context)]
        if proved:
            assert found is None
            assert not answers
        elif answers:
            assert answered(asked, dict(found.context))
    assert proofs


def answered(asked, context):
    return all(engine_says(each, context) is holds for each, holds in asked)


@pytest.mark.parametrize(
    "text",
    [
        "n > 5 and n < 3",
        "n == 1 and n == 2",
        "n > null",
        "n == null and n >= 0",
        "status == 'a' and status in ['b', 'c']",
        "status in []",
        "not (n >= 1 or n < 1 or n is null)",
        "a < b and b < a",
        "a < b and b < c and c < a",
        "a > 5 and b < 5 and a == b",
        "is_late and not is_late",
        "len(items) > 3 and len(items) < 2",
        "_event.data.amount > 0 and _event.data.amount < 0",
        "coalesce(n, 0) > 3 and n is null",
        "customer.tier == 'gold' and customer.tier == 'silver'",
        "1 < n <= 1",
        "n >= 1.10 and n < 1.1",
    ],
)
def test_contradictions_are_seen(text):
    """No value makes these true."""
    assert impossible([(expr(text), True)])


@pytest.mark.parametrize(
    "text",
    [
        "n > 5 and n < 6",
        "n == 1 and n == true",
        "a < b and b < c",
        "a <= b and b <= a",
        "n > 5 and m < 3",
        "n * 2 > 5 and n < 1",
        "now() > due and now() <= due or x",
        "0.1 < n and n < 0.1000000000000001",
        "status > 'a' and status < 'b'",
        "name and not paid",
        "not x and x is not null and x != 0 and x != ''",
        "x == true and x == 1",
        "items[0] == 1 and items[1] == 2",
        "customer == null and customer.tier == 'gold'",
    ],
)
def test_what_may_hold_is_not_called_a_contradiction(text):
    """Also where it cannot be followed."""
    assert not impossible([(expr(text), True)])


def test_unordered_values_fail_and_are_neither_true_nor_false():
    """``n > 5`` and ``not n > 5`` cover every number, and a text is an error either way."""
    assert impossible([(expr("n > 5"), False), (expr("not (n > 5)"), False)])
    assert evaluate(expr("n > 5"), {Field(("n",)): "text"}) is ERROR


@pytest.mark.parametrize(
    ("texts", "context"),
    [
        (["n < 100", "n > 100"], {"n": 100}),
        (["n < 3", "n > 5"], {"n": 3}),
        (["s == 'a'", "s == 'b'"], {"s": "other"}),
        (["paid", "not paid"], None),
        (["n <= 0", "n >= 1"], {}),
        (["paid < total", "paid >= total"], {"paid": 1}),
        (["order.qty > 1", "order.qty < 1"], {"order": {"qty": 1}}),
    ],
)
def test_an_example_is_what_a_person_would_try(texts, context):
    """Whole numbers where whole numbers are written; a missing field where nothing else is left."""
    found = example([(expr(text), False) for text in texts])
    assert (None if found is None else dict(found.context)) == context


def test_fields_that_are_always_there_are_not_left_out():
    """A default or a requirement of the machine."""
    wanted = [(expr("n <= 0"), False), (expr("n >= 1"), False)]
    assert example(wanted, never_null={"n"}) is None


def test_an_example_may_be_in_the_event():
    """Payload and context are told apart."""
    found = example([(expr("_event.data.amount > 0"), True), (expr("total == 5"), True)])
    assert (found.context, found.payload) == ({"total": 5}, {"amount": 1})


def test_fields_inside_each_other_make_no_example_that_cannot_be():
    """A field cannot be a text and have a field of its own."""
    assert example([(expr("a == 'x'"), True), (expr("a.b == 1"), True)]) is None


def test_an_example_does_not_rest_on_what_is_not_known():
    """`n + m` of a missing field is an error, and the event fails before the rest is asked."""
    assert example([(expr("n + m < 6 and s == 'a'"), False)]) is None
    assert example([(expr("s == 'a' and n + m < 6"), False)]) is not None


def test_too_large_a_question_is_left_open():
    """The answer is not known, and nothing is claimed."""
    text = " and ".join(f"f{place} != {place}" for place in range(40))
    other = " or ".join(f"f{place} == {place}" for place in range(40))
    assert not impossible([(expr(text), True), (expr(other), True)])
