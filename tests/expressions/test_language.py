"""What may be written in an expression, and what the author is told about everything else."""

import pytest

from pystator.definition.expressions import (
    FUNCTIONS,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_NODES,
    ExpressionError,
    parse,
)
from pystator.engine.functions import FRAMED, PLAIN


def refused(text) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "qty >= 1",
        "customer.tier == 'gold' and not blocked",
        "items[0].price * 1.2 - discount",
        "rates[code] or rates['EUR']",
        "0 < qty <= limit",
        "status in ['open', \"held\"]",
        "status not in ('open', 'held')",
        "note is null or note is not None",
        "'big' if qty > 100 else 'small'",
        "-x ** 2 // 3 % 5",
        "_event.data.qty + 1",
        "now() - opened_at > days(30)",
        "  qty\n  > 1  ",
        "größe > 1",
        "doc._id == 'x'",
        "[]",
        "1_000 + 0xff",
    ],
)
def test_the_language_is_what_its_page_says(text):
    """Each form of the module's docstring can be written."""
    assert parse(text).text == text


def test_an_expression_knows_the_fields_and_functions_it_uses():
    """Checks and engines ask which fields are read and whether the time is needed."""
    expression = parse("order.total > limit and now() > due and _event.data.x and true")
    assert expression.names == {"order", "limit", "due"}
    assert expression.calls == {"now"}


def test_true_false_and_null_are_constants():
    """YAML's spelling of constants means the same inside an expression."""
    assert parse("true and false or null").names == frozenset()


def test_expressions_of_one_text_are_equal():
    """A definition compares by what it says."""
    assert parse("a + 1") == parse("a + 1")
    assert parse("a + 1") != parse("a + 2")


def test_every_function_is_implemented():
    """A text that passes the check can be evaluated."""
    assert set(FUNCTIONS) == {*PLAIN, *FRAMED, "coalesce"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a && b", "`and`"),
        ("a || b", "`or`"),
        ("!a", "`not x`"),
        ("a = 1", "`==`"),
        ("a === 1", "`==`"),
        ("a === 1 && b", "`and` instead of `&&`; write `==`"),
        ("a == \u201copen\u201d", "plain quotes"),
        ("a <> 1", "`!=`"),
        ("a ? 1 : 2", "`a if condition else b`"),
        ("$a > 1", "without `$`"),
        ("order.from", "order['from']"),
        ("items.0", "items[0]"),
        ("x.lower()", "lower(x)"),
        ("x.get('a')", "x.field"),
        ("x.startswith('a')", "startswith(x, ...)"),
        ("lenn(x)", "len()"),
        ("foo(x)", "there is no function foo()"),
        ("len(x, y)", "takes 1 arguments, not 2"),
        ("round(x, digits=2)", "without names"),
        ("f'{x}'", "str()"),
        ("'%s' % x", "str()"),
        ("[x for x in y]", "any, all, sum"),
        ("(x := 1)", "`compute`"),
        ("lambda: 1", "cannot be defined"),
        ("a & b", "`and`"),
        ("a | b", "`or`"),
        ("a ^ b", "`**`"),
        ("1 << 3", "shifts"),
        ("~a", "`not x`"),
        ("{1, 2}", "[a, b]"),
        ("{'a': 1}", "cannot build an object"),
        ("a[1:2]", "slices"),
        ("a[1, 2]", "a[x][y]"),
        ("a is 3", "null only"),
        ("_private", "reserved"),
        ("a.__class__", "cannot be reached"),
        ("a > 1 # always", "comment"),
        ("a\n# b\nand c", "comment"),
        ("a;b", "not an expression"),
        ("a >", "not an expression"),
        ("(a", "never closed"),
        ("'\\d'", "invalid escape"),
        ("", "cannot be empty"),
        ("   ", "cannot be empty"),
        (17, "put it in quotes"),
    ],
)
def test_a_refusal_says_what_to_write_instead(text, said):
    """The author of a machine is no Python programmer; the message is all there is."""
    assert said in refused(text).message


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("qty > __x", 6),
        ("  qty > lambda: 1", 8),
        ("'ä' == a.__dict__", 7),
        ("qty > 1 and\n  foo(1)", 14),
        ("a + (b", 4),
        ("a # c", 2),
    ],
)
def test_a_refusal_points_at_the_mistake(text, offset):
    """The loader turns the offset into a line and a column of the file."""
    assert refused(text).offset == offset


def test_limits_are_inclusive():
    """What the documentation allows is allowed."""
    assert parse("a" * MAX_LENGTH)
    assert "characters" in refused("a" * (MAX_LENGTH + 1)).message
    assert parse("not " * (MAX_DEPTH - 1) + "a")
    assert "levels" in refused("not " * MAX_DEPTH + "a").message
    assert parse("[" + ",".join("a" * (MAX_NODES - 1)) + "]")
    assert "parts" in refused("[" + ",".join(["-1"] * 300) + "]").message


def test_a_number_keeps_its_text():
    """`1.10` is exactly 1.10 next to a Decimal, however many digits it has."""
    expression = parse("ä > 0.12345678901234567890")
    assert list(expression.literals.values()) == ["0.12345678901234567890"]
