"""Attempts to get out of an expression, or to fill the machine's memory or time with one.

Each text is refused when it is loaded, or its evaluation ends soon, in little memory, with a value or a clear error.
"""

import tracemalloc
from decimal import Decimal
from functools import cache

import pytest

from pystator.definition.expressions import MAX_BITS, ExpressionError, parse
from pystator.definition.model import Append, Compute, CopyKey, Increment, Set, Snapshot
from pystator.engine.effects import compile_effects
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Frame
from pystator.engine.values import MAX_SIZE
from pystator.errors import EvaluationError

ESCAPES = [
    # attributes of Python objects
    "a.__class__",
    "a.__class__.__mro__[1].__subclasses__()",
    "''.__class__.__base__",
    "(1).__class__",
    "a.b.__init__.__globals__",
    "len.__self__",
    "max.__module__",
    "_event.__class__",
    "_event.data.__dict__",
    "a['x'].__reduce__",
    "[].__len__",
    "now().__class__",
    # the same by Unicode: Python reads these as dunder names
    "a.__cl\U0001d4b6ss__",
    "a.__\U0001d41c\U0001d425\U0001d41a\U0001d42c\U0001d42c__",
    "a.\uff3f\uff3fclass\uff3f\uff3f",
    "\uff3f\uff3fimport\uff3f\uff3f('os')",
    "\U0001d429rint(a)",
    "\U0001d425en(a)",
    # names
    "__builtins__",
    "__import__",
    "__name__",
    "_history",
    "_",
    # calls
    "__import__('os').system('true')",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "open('/etc/passwd')",
    "getattr(a, 'b')",
    "setattr(a, 'b', 1)",
    "type(a)",
    "object()",
    "vars()",
    "globals()",
    "locals()",
    "dir(a)",
    "input()",
    "breakpoint()",
    "print(a)",
    "format(a, '>1000000000')",
    "range(10**9)",
    "bytes(10**9)",
    "bytearray(10**9)",
    "list(a)",
    "dict(a)",
    "map(len, a)",
    "iter(a)",
    "pow(2, 10**9)",
    "chr(1)",
    "len(a)(b)",
    "a()",
    "a.b()",
    "a['b']()",
    "(a)(b)",
    "'{0.__class__}'.format(a)",
    "'%1000000000d' % 1",
    "'x'.join(a)",
    "'x'.ljust(10**9)",
    "'x'.encode()",
    "a.items()",
    "a.pop('x')",
    "a.append(1)",
    "max(*a)",
    "max(**a)",
    "min(a, key=len)",
    "sum(a, start=[])",
    # statements and syntax
    "f'{a}'",
    "f'{a.__class__}'",
    "lambda: a",
    "(lambda: a)()",
    "[x for x in a]",
    "{x for x in a}",
    "{x: 1 for x in a}",
    "(x for x in a)",
    "(x := 1)",
    "*a",
    "[*a]",
    "await a",
    "(yield)",
    "(yield from a)",
    "a; b",
    "import os",
    "a = 1",
    "del a",
    "a[:]",
    "a[1:2]",
    "a[::2]",
    "b'bytes'",
    "...",
    "1j",
    "~a",
    "a @ b",
    # shifts and bits
    "1 << 1000000000",
    "1 >> -1",
    "a & b",
    "a | b",
    "a ^ b",
    # texts that break parsers
    "a\0b",
    "\0",
    "'\ud800'",
    "'\\ud800'",
    "\ud800",
    "a # b",
    "a) or (b",
    "(" * 999,
    "((((" * 200 + "1" + "))))" * 40,
    "-" * 999 + "1",
    "not " * 249 + "a",
    "a" + ".b" * 499,
    "a" + "[0]" * 300,
    "[" * 400 + "]" * 400,
    "a" + " if a else a" * 80,
    "+".join("a" * 500),
    "1," * 500,
    "1e999",
    "-1e999",
    "x" * 1001,
    " " * 10_000_000 + "a",
    "'" + "x" * 10_000_000 + "'",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ESCAPES, ids=range(len(ESCAPES)))
def test_an_escape_is_refused_when_it_is_loaded(text):
    """Nothing that could reach Python is ever evaluated; the refusal is a message, never a crash."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.message
    assert 0 <= caught.value.offset <= len(text)


BOMBS = [
    "9 ** 9 ** 9 ** 9",
    "2 ** 4097",
    "2 ** 10 ** 10",
    "(2 ** 4000) ** 4000",
    "(2 ** 4095) * (2 ** 4095)",
    "(2 ** 4095) * 2 * 2",
    "(-3) ** 100000",
    "big * big",
    "big ** 2",
    "huge * 1",
    "huge + 1",
    "-huge",
    "huge % 7",
    "huge // 3",
    "huge ** huge",
    "1.5 ** 100000",
    "big * 1.5",
    "huge * 1.5",
    "10.0 ** 400",
    "decimal('1e999999') * decimal('1e999999')",
    "decimal('9e999999') ** 99999",
    "decimal(2) ** decimal('1e30')",
    "money ** 1000000000",
    "int(decimal('1e999999'))",
    "int('9' + digits)",
    "int(digits)",
    "decimal(digits)",
    "float(digits)",
    "floor(decimal('1e999999'))",
    "ceil(1e308 * 10)",
    "round(decimal('1e999999'))",
    "round(money, 1000000000)",
    "round(money, -1000000000)",
    "round(1, -1000000000)",
    "round(1.5, 31)",
    "round(1e308, -30)",
    "str(huge)",
    "str(big) + str(big)",
    "text * 1000000000",
    "1000000000 * text",
    "list * 1000000000",
    "text % 1",
    "text % list",
    "text + text",
    "upper(text) + text",
    "upper(sharp)",
    "lower(long)",
    "long + long",
    "list + list + list",
    "wide + wide",
    "sum(wide) + sum(wide) + sum(wide)",
    "'x' in wide",
    "1.5 in wide",
    "money in wide",
    "deep == deep",
    "deep in [deep, deep]",
    "shared == again",
    "[shared, shared] == [again, again]",
    "shared in [again]",
    "min(wide) + max(wide)",
    "max(deep, deep)",
    "sum(deep)",
    "days(1e308)",
    "days(10 ** 30)",
    "now() + days(999999999)",
    "now() - days(999999999)",
    "datetime(long)",
    "datetime('9999-12-31') + days(1)",
    "str(deep)",
    "deep[0][0][0][0]",
    "wide[10 ** 100]",
    "wide[-(10 ** 100)]",
    "wide[1.5]",
    "wide[wide]",
    "object[list]",
    "1 / 0",
    "1 // 0",
    "1 % 0",
    "1.5 / 0",
    "money / 0",
    "0 ** -1",
    "(-1) ** 0.5",
    "decimal('nan') > 1",
    "decimal('snan') + 1",
    "decimal('inf') - decimal('inf')",
    "-text",
    "-null",
    "a < list",
    " + ".join(["sum(wide)"] * 40),
    " + ".join(["(1.5 in wide)"] * 40),
    " or ".join(["shared == 1 or shared == again"] * 20),
]


def attempt(call):
    """(message of its error, most memory it held in bytes)"""
    tracemalloc.start()
    message = ""
    try:
        call()
    except EvaluationError as error:
        message = error.message
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return message, peak


@cache
def bomb_context():
    """Large values; nobody changes them."""
    deep: object = []
    for _ in range(5_000):
        deep = [deep]
    shared: object = [1]
    again: object = [1]
    for _ in range(60):  # 2**60 items for whoever walks all of them
        shared, again = [shared, shared], [again, again]
    return {
        "a": 1,
        "big": 2 ** (MAX_BITS - 1),
        "huge": 2**100_000,
        "money": Decimal("12.34"),
        "digits": "9" * 100_000,
        "text": "x" * 60_000,
        "long": "x" * 5_000_000,
        "sharp": "ß" * MAX_SIZE,
        "list": [1] * 60_000,
        "wide": list(range(20_000)),
        "object": {"a": 1},
        "deep": deep,
        "shared": shared,
        "again": again,
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_ends_soon_and_small(text):
    """However an expression is meant, it gives a value or an `EvaluationError` within a few megabytes."""
    evaluate = compile_expression(parse(text))
    context, frame = bomb_context(), Frame([], now=0)
    error, peak = attempt(lambda: evaluate(context, frame))
    assert peak < 8_000_000
    assert len(error) < 2_000, "an error shows what was written, not what it met"


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 9 ** 9",
        "huge * 1",
        "text + text",
        "list + list + list",
        "round(money, 31)",
        "upper(sharp)",
    ],
)
def test_what_is_too_big_is_an_error(text):
    """A limit is not a silent other value."""
    with pytest.raises(EvaluationError):
        compile_expression(parse(text))(bomb_context(), Frame([]))


def test_fuel_is_of_the_step_and_not_of_the_expression():
    """Many expressions of one step share their fuel; the next step starts anew."""
    evaluate = compile_expression(parse("sum(wide) > 0"))
    context, frame = bomb_context(), Frame([])
    message, _ = attempt(lambda: [evaluate(context, frame) for _ in range(100)])
    assert "units of work" in message
    assert evaluate(context, Frame([]))


GROWTH = {
    "an integer": [Compute(("a",), parse("a * a + 1"))],
    "a text": [Compute(("a",), parse("str(a) + str(a)"))],
    "a list": [
        Compute(("a",), parse("coalesce(b, [1]) + coalesce(b, [1])")),
        CopyKey(("a",), ("b",)),
    ],
    "a list in itself": [Compute(("a",), parse("[a, a]"))],
    "an object in itself": [CopyKey(("o",), ("o", "x")), CopyKey(("o",), ("o", "y"))],
    "a list of copies": [Append(("l",), parse("l"))],
    "snapshots of snapshots": [Snapshot(("s",)), Snapshot(("t",))],
    "snapshots deeper down": [Snapshot(("s", "t", "u"))],
    "a literal": [Append(("l",), [[1] * 50] * 50)],
    "an increment": [Increment(("a",), parse("a * a + 2"))],
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("effects", GROWTH.values(), ids=GROWTH)
def test_a_step_repeated_many_times_does_not_fill_the_memory(effects):
    """Growth by doubling meets a limit long before it meets the machine's."""
    effect = compile_effects([Set(("o",), {"k": 1}), *effects], lambda name: 0)
    once = compile_effects(effects, lambda name: 0)
    context = effect({"a": 1}, Frame([]))

    def repeat():
        grown = context
        for _ in range(300):
            grown = once(grown, Frame([]))

    error, peak = attempt(repeat)
    assert peak < 24_000_000
    assert not error or "more than" in error or "at most" in error


class Spy:
    """An object of the user in the context: nothing of it is anybody's business."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was looked up")

    def __getitem__(self, key):
        raise AssertionError(f"[{key}] was looked up")


class Loud(dict):
    """A user's dict that does things when it is read."""

    def __missing__(self, key):
        raise AssertionError("made a value")

    def get(self, key, default=None):
        raise AssertionError("was asked politely")


@pytest.mark.parametrize(
    "text",
    ["o.secret", "o['secret']", "o[0]", "o[key]", "o.a.b", "l.missing", "l['x']", "'x' in l"],
)
def test_nothing_but_plain_lookup_happens_to_data(text):
    """A dot is a key of a dict, an index a key or a position; no code of an object runs."""
    context = {"o": Spy(), "l": Loud(a=1), "key": "secret"}
    assert not compile_expression(parse(text))(context, Frame([]))


def test_a_subclass_of_dict_is_read_as_the_dict_it_is():
    """What is there can be read."""
    assert compile_expression(parse("l.a"))({"l": Loud(a=1)}, Frame([])) == 1
