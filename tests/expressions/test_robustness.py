"""Whatever the text and whatever the data: an expression, a value, or one of two errors."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator.definition.expressions import FUNCTIONS, ExpressionError, parse
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Frame
from pystator.errors import EvaluationError

PIECES = (
    *"abc()[]{}.,:;+-*/%<>=!&|^~@#$?`'\"\\ \n\t\0_019",
    *(
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "lambda",
        "for",
        "null",
        "true",
        "_event",
        "==",
    ),
    *(
        "len",
        "now",
        "1.5",
        "1e9",
        "0x",
        "0b1",
        "1_0",
        "f'",
        "b'",
        "r'",
        "'''",
        "é",
        "ﬀ",
        "\u2028",
        "\ud800",
    ),
)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_any_text_is_an_expression_or_refused(text):
    """A file with a broken expression never crashes what loads it."""
    outcome = outcome_of(text, {})
    assert not isinstance(outcome, ExpressionError) or 0 <= outcome.offset <= len(text)


def outcome_of(text, context):
    """The value, or the error."""
    try:
        return compile_expression(parse(text))(context, Frame([], now=0))
    except (ExpressionError, EvaluationError) as error:
        return error


def attempt(text, context):
    """An error that is met shows the expression."""
    outcome = outcome_of(text, context)
    assert not isinstance(outcome, ExpressionError)
    assert not isinstance(outcome, EvaluationError) or text in outcome.message


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**64, 2**5000, -(2**5000), 10**400]),
    st.floats(),
    st.decimals(),
    st.sampled_from([Decimal("1e999999"), Decimal("-1e-999999"), Decimal("sNaN")]),
    st.text(max_size=8),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC])),
    st.dates(),
    st.timedeltas(),
    st.sampled_from(["2026-01-01", "1e5", "inf", "nan", "-0", "9" * 2000]),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=4),
    st.dictionaries(st.text(max_size=2), scalars, max_size=2),
)
OPERATORS = (
    *("+", "-", "*", "/", "//", "%", "**"),
    *("==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"),
)


@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=50)
@given(values, values)
def test_an_operator_gives_a_value_or_an_error_that_says_why(operator, a, b):
    """Whatever a context holds, no exception of Python is an event's outcome."""
    for text in (
        f"a {operator} b",
        f"a {operator} 1.5",
        f"2 {operator} a",
        f"(a {operator} b) is null",
    ):
        attempt(text, {"a": a, "b": b})


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=30)
@given(values, values)
def test_a_function_gives_a_value_or_an_error_that_says_why(name, a, b):
    """The same for functions."""
    least, most = FUNCTIONS[name]
    for count in {least, min(most, 2)}:
        attempt(f"{name}({', '.join('ab'[:count])})", {"a": a, "b": b})


@given(values, values)
def test_an_index_and_a_sign_give_a_value_or_an_error_that_says_why(a, b):
    """And for the rest."""
    for text in (
        "a[b]",
        "a['x'].y",
        "a[0][1]",
        "-a",
        "+a",
        "not a",
        "a in [1.5, 'x', null]",
        "a in [b]",
    ):
        attempt(text, {"a": a, "b": b})
