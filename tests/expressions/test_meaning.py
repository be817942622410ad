"""What expressions mean: fields, null, numbers, money, texts, lists and times."""

import datetime as dt
from decimal import Decimal, localcontext

import pytest

from pystator.definition.expressions import parse
from pystator.engine.expressions import compile_expression, compiled
from pystator.engine.frame import Frame
from pystator.errors import ErrorCode, EvaluationError

OPENED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CONTEXT = {
    "qty": 5,
    "limit": 10.5,
    "name": "Ada",
    "empty": None,
    "paid": True,
    "amount": Decimal("1.10"),
    "order": {"customer": {"tier": "gold", "age": None}, "lines": [{"sku": "a"}, {"sku": "b"}]},
    "tags": ["new", "big"],
    "rates": {"EUR": 1.2},
    "code": "EUR",
    "opened": OPENED,
    "naive": dt.datetime(2026, 1, 1),  # noqa: DTZ001 # on purpose
    "day": dt.date(2026, 1, 1),
    "none": [],
    "prices": [Decimal("0.10"), Decimal("0.20")],
}


def value(text, context=CONTEXT, **frame):
    moment = int(NOW.timestamp()) * 1_000_000
    return compile_expression(parse(text))(context, Frame([], now=moment, **frame))


def error(text, context=CONTEXT) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        value(text, context)
    return caught.value


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        # fields
        (5, "qty"),
        ("gold", "order.customer.tier"),
        ("gold", "order['customer'].tier"),
        ("b", "order.lines[1].sku"),
        ("b", "order.lines[-1].sku"),
        ("b", "order.lines[qty - 4].sku"),
        (1.2, "rates[code]"),
        (None, "missing"),
        (None, "missing.deeper.still"),
        (None, "name.length"),
        (None, "order.lines[7].sku"),
        (None, "order.lines.sku"),
        (None, "rates['GBP']"),
        (None, "rates[missing]"),
        (None, "tags[true and missing]"),
        (2, "[1, 2, 3][1]"),
        # null
        (True, "missing == null"),
        (True, "empty is null"),
        (False, "empty is not null"),
        (True, "missing != 1"),
        (False, "missing == 0"),
        (False, "missing > 1"),
        (False, "missing <= 1"),
        (False, "1 < missing"),
        (False, "missing < missing"),
        (False, "0 < missing < 9"),
        (False, "missing in ['a']"),
        (True, "missing in ['a', null]"),
        (False, "'a' in missing"),
        (True, "'a' not in missing"),
        (0, "coalesce(missing, empty, 0)"),
        (None, "coalesce(missing, empty)"),
        (7, "missing or 7"),
        # logic
        (True, "not missing"),
        (5, "paid and qty"),
        (None, "missing and qty"),
        ("Ada", "none or name"),
        ("yes", "'yes' if paid else 1 / 0"),
        (True, "paid or 1 / 0"),
        (False, "0 < qty < 5"),
        (True, "0 < qty + 1 <= 6 < limit"),
        (True, "1 <= qty <= 5 == qty"),
        # numbers
        (1, "qty // 4 % 3"),
        (1.25, "qty / 4"),
        (25, "qty ** 2"),
        (0.2, "qty ** -1"),
        (-5, "-qty"),
        (5, "+qty"),
        (15.5, "qty + limit"),
        (2**60, "2 ** 30 * 2 ** 30"),
        (2, "paid + 1"),
        (True, "qty == 5.0"),
        (2, "round(2.5)"),
        (2.68, "round(2.676, 2)"),
        (1200, "round(1234, -2)"),
        (-2, "floor(-1.5)"),
        (-1, "ceil(-1.5)"),
        (-1, "int(-1.5)"),
        (12, "int(' 12 ')"),
        (1.5, "float('1.5')"),
        (3, "abs(-3)"),
        (6, "sum([1, 2, 3])"),
        (0, "sum(none)"),
        (7, "max(qty, 7)"),
        (2, "min([5, 2, 9])"),
        # texts and lists
        ("Ada!", "name + '!'"),
        ("qty: 5", "'qty: ' + str(qty)"),
        ("true null", "str(paid) + ' ' + str(missing)"),
        ("ada", "lower(name)"),
        ("ADA", "upper(name)"),
        ("x", "strip('  x ')"),
        (True, "startswith(name, 'A') and endswith(name, 'a')"),
        (True, "'d' in name"),
        (True, "name < 'Bob'"),
        (True, "'new' in tags"),
        (True, "tags == ['new', 'big']"),
        (["new", "big", "x"], "tags + ['x']"),
        (2, "len(tags)"),
        (3, "len(name)"),
        (1, "len(rates)"),
        (True, "'EUR' in rates"),
        (False, "5 in rates"),
        (False, "tags in ['new', 'big']"),
        (True, "tags in [tags]"),
        (True, "any([false, qty]) and all([1, true]) and not any(none)"),
        (True, "name == 'Ada' and name != 'ada'"),
        (False, "name == 5"),
        # times
        (NOW, "now()"),
        (True, "now() - opened > days(59)"),
        (True, "opened < now()"),
        (59.5, "(now() - opened) / days(1)"),
        (OPENED + dt.timedelta(hours=1.5), "opened + hours(1.5)"),
        (True, "opened == datetime('2026-01-01T00:00:00Z')"),
        (True, "opened == datetime('2026-01-01')"),
        (OPENED, "datetime(opened)"),
        (True, "minutes(1) == seconds(60)"),
        ("2026-01-01", "str(day)"),
        (True, "abs(opened - now()) > -days(1)"),
    ],
)
def test_an_expression_has_this_value(expected, text):
    """The language in examples."""
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (True, "amount >= 1.10"),
        (True, "amount == 1.1"),
        (True, "1.10 <= amount"),
        (True, "1.0 < amount < 1.2"),
        (False, "amount > 1.1"),
        (False, "amount != 1.10"),
        (True, "amount in [1.1, 2]"),
        (False, "amount not in [1.1, 2]"),
        (True, "-amount == -1.10"),
        (True, "amount == tenth + 1"),
        (Decimal("1.20"), "amount + 0.10"),
        (Decimal("0.00"), "amount - 1.10"),
        (Decimal("0.00"), "1.10 - amount"),
        (Decimal("1.210"), "amount * 1.1"),
        (Decimal("3.30"), "amount * 3"),
        (Decimal("0.55"), "amount / 2"),
        (Decimal("1.2100"), "amount ** 2"),
        (Decimal("0.30"), "sum(prices)"),
        (Decimal("1.1"), "round(amount, 1)"),
        (Decimal("0.1"), "decimal(0.1)"),
        (Decimal("0.1"), "decimal('0.1')"),
        (1, "int(amount)"),
        (1.1, "float(amount)"),
        (2, "ceil(amount)"),
        (Decimal("1.10"), "max(amount, 1.05)"),
        (Decimal("0.10"), "min(prices)"),
        ("1.10", "str(amount)"),
    ],
)
def test_money_is_exact(expected, text):
    """Next to a Decimal a number means what is written, not the nearest binary fraction."""
    found = value(text, CONTEXT | {"tenth": Decimal("0.1")})
    assert found == expected
    assert type(found) is type(expected)


def test_a_literal_next_to_a_decimal_keeps_digits_a_float_cannot():
    """`exact` is the author's text, not the float's shortest form."""
    context = {"rate": Decimal("0.12345678901234567890")}
    assert value("rate == 0.12345678901234567890", context)
    assert not value("rate == 0.12345678901234567891", context)
    assert value("rate in [0.12345678901234567890]", context)


def test_a_float_next_to_a_decimal_is_what_is_printed():
    """0.1 from JSON means a tenth."""
    assert value("a == b and a <= b and b >= a and a + b == 0.2", {"a": Decimal("0.1"), "b": 0.1})


def test_the_callers_decimal_settings_do_not_matter():
    """A step has one result, whichever thread computes it."""
    with localcontext() as settings:
        settings.prec = 2
        assert value("amount * 1.1111") == Decimal("1.222210")


def test_the_event_is_readable():
    """Guards may look at the payload alone, and at what happens."""
    frame = {"trigger": "pay", "data": {"sum": {"eur": 3}}}
    assert value("_event.name == 'pay' and _event.data.sum.eur == 3", **frame)
    assert value("_event.data['sum']['gbp'] is null and _event.other is null", **frame)
    assert value("_event", **frame) == {"name": "pay", "data": {"sum": {"eur": 3}}}
    assert value("_event.name is null and _event.data == _event.data")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing + 1", "missing is null: give it a default, e.g. coalesce(missing, 0)"),
        ("1 - order.customer.age", "order.customer.age is null"),
        ("-missing", "missing is null"),
        ("qty * name", "a number and a text"),
        ("name + 1", "str()"),
        ("name > 1", "cannot order a text and a number"),
        ("tags > 1", "cannot order a list and a number"),
        ("tags < tags", "cannot order a list and a list"),
        ("rates >= 1.5", "an object and a number"),
        ("opened > '2026'", "datetime()"),
        ("opened > naive", "time zone"),
        ("opened - naive", "time zone"),
        ("opened + 1", "days()"),
        ("now() - opened > 5", "days()"),
        ("opened + missing", "missing is null"),
        ("qty / 0", "division by zero"),
        ("qty % 0", "division by zero"),
        ("limit // 0", "division by zero"),
        ("amount / 0", "division by zero"),
        ("(-8) ** 0.5", "no such root"),
        ("5 in name", "str()"),
        ("'a' in qty", "nothing can be in a number"),
        ("len(missing)", "coalesce()"),
        ("len(qty)", "a text, a list or an object"),
        ("lower(qty)", "a text, not a number"),
        ("sum(tags)", "a number, not a text"),
        ("min(1, missing)", "null cannot be ordered"),
        ("max(none)", "empty list"),
        ("int('abc')", "'abc' is not a number"),
        ("datetime('soon')", "ISO 8601"),
        ("round(limit, 31)", "digits"),
        ("tags[1.5]", "an index is an integer or a text"),
        ("str(tags)", "a text, a number or a time"),
        ("days('1')", "a number"),
        ("-name", "has no sign"),
        ("a + b + c + d + e * missing", "is null"),
    ],
)
def test_what_cannot_be_worked_with_is_an_error(text, said):
    """A value that does not fit fails the event, and says where and what to write."""
    found = error(text)
    assert said in found.message
    assert f"`{text}`" in found.message
    assert found.code is ErrorCode.EVALUATION_FAILED
    assert found.context["expression"] == text


def test_a_missing_field_can_be_an_error():
    """SCXML's data model: an undefined location is no null."""
    for text in (
        "missing",
        "missing > 1",
        "missing == null",
        "order.missing",
        "a[0]",
        "x + y + z * 2",
    ):
        evaluate = compile_expression(parse(text), undefined="error")
        with pytest.raises(EvaluationError, match="not defined"):
            evaluate(CONTEXT | {"a": []}, Frame([]))
    assert compile_expression(parse("empty == null"), undefined="error")(CONTEXT, Frame([]))


def test_an_expression_that_needs_the_time_says_so_when_there_is_none():
    with pytest.raises(EvaluationError, match="now="):
        compile_expression(parse("now()"))({}, Frame([]))


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("qty >= 1", False),
        ("a * b - c > 0 and name == 'x'", False),
        ("status in ['a', 'b']", False),
        ("coalesce(a, 0) + 1", False),
        ("order.total <= limit", False),
        ("_event.name == 'pay'", True),
        ("now() > a", True),
        ("a in tags", True),
        ("a == b", True),
        ("sum(a) > 1", True),
        (" + ".join("a" * 40), True),
    ],
)
def test_an_engine_knows_which_expressions_look_at_the_frame(text, uses):
    """A frame is made for those alone."""
    assert compiled(parse(text)).uses_frame is uses


def test_an_expression_changes_nothing():
    """Lists it gives are its own; what it reads stays."""
    context = {"tags": ["a"], "big": {"a": [1]}}
    value("tags + tags", context).append("x")
    value("[tags, big]", context).append("x")
    value("coalesce(missing, [1])", context).append(2)
    assert value("coalesce(missing, [1])", context) == [1]
    assert context == {"tags": ["a"], "big": {"a": [1]}}
