"""Expressions beside `eval` of a code object over the same data, effects beside a copy by hand.

`eval` is what one would write without a thought for safety: it calls anything, loops forever and
fills the memory. Its dotted names need dictionaries that answer to attributes.
"""

from floors import Row, compare
from pystator.definition.expressions import parse
from pystator.definition.model import Check, Increment, Set
from pystator.engine.effects import compile_effect, compile_effects
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Frame
from pystator.engine.guards import compile_guard

EXPRESSIONS = {
    "qty >= 1": 1.0,
    "status == 'open'": 1.0,
    "status in ['open', 'held']": None,
    "qty <= limit": None,
    "0 < qty <= 10": None,
    "price * qty > 20.5": None,
    "order.customer.tier == 'gold' and total * 1.2 > limit": 1.0,
    "qty * price + total * 2.5 - limit / 4 + fee": None,
    "(qty + fee) * (price - 1.5) / limit + qty * qty - fee * 2 + price * 3.5 - total": None,
}


class Attributes(dict):
    """What eval needs for ``order.customer``."""

    __getattr__ = dict.__getitem__


def context(kind: type[dict]) -> dict:
    """The same data, of plain dictionaries or of another kind."""
    order = kind(customer=kind(tier="gold"))
    plain = {"qty": 5, "limit": 10.5, "price": 5.5, "total": 20.0, "fee": 3, "status": "open"}
    return {**plain, "order": order}


def run() -> list[Row]:
    """The rows of the table."""
    return [*(_expression(text, goal) for text, goal in EXPRESSIONS.items()), *_rest()]


def _expression(text: str, goal: float | None) -> Row:
    evaluate, frame, ours = compile_expression(parse(text)), Frame([]), context(dict)
    code, names, theirs = compile(text, "", "eval"), {"__builtins__": {}}, context(Attributes)
    assert evaluate(ours, frame) == eval(code, names, theirs)
    shown = text if len(text) < 50 else f"{text[:46]}..."
    return compare(
        f"expr {shown}",
        lambda: evaluate(ours, frame),
        lambda: eval(code, names, theirs),
        does="eval of a code object",
        goal=goal,
        number=50_000,
    )


def _rest() -> list[Row]:
    frame, data = Frame([]), context(dict)
    check = compile_guard(Check(("qty",), "gte", 1), lambda _name: 0)
    count = compile_effect(Increment(("qty",)), lambda _name: 0)
    three = compile_effects(
        [Increment(("qty",)), Set(("status",), "held"), Set(("order", "by"), "ada")],
        lambda _name: 0,
    )

    def by_hand() -> dict:
        copy = {**data}
        copy["qty"] = copy["qty"] + 1
        copy["status"] = "held"
        copy["order"] = {**copy["order"], "by": "ada"}
        return copy

    return [
        compare(
            "check qty gte 1",
            lambda: check(data, frame),
            lambda: data["qty"] >= 1,
            does="the comparison in Python",
            number=50_000,
        ),
        compare(
            "effect increment",
            lambda: count(data, frame),
            lambda: {**data, "qty": data["qty"] + 1},
            does="a copy with the new value",
            goal=0.6,
            number=50_000,
        ),
        compare(
            "three effects",
            lambda: three(data, frame),
            by_hand,
            does="the same writes in Python",
            number=20_000,
        ),
        compare(
            "parse and compile an expression",
            lambda: compile_expression(parse("order.customer.tier == 'gold' and total * 1.2 > 3")),
            lambda: compile("order.customer.tier == 'gold' and total * 1.2 > 3", "", "eval"),
            does="compile() to a code object",
            number=500,
        ),
    ]
