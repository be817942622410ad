"""Closures agree with a plain evaluator that has no shapes, no quick paths and no fuel."""

import ast
import operator
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from hypothesis import example, given
from hypothesis import strategies as st

from pystator.definition.expressions import MAX_BITS, ExpressionError, parse
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Frame
from pystator.errors import EvaluationError

DECIMALS = Context(prec=28, traps=[InvalidOperation, DivisionByZero, Overflow])
NUMBERS = (int, float, Decimal)
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
EXACT = {
    ast.Add: DECIMALS.add,
    ast.Sub: DECIMALS.subtract,
    ast.Mult: DECIMALS.multiply,
    ast.Div: DECIMALS.divide,
    ast.FloorDiv: DECIMALS.divide_int,
    ast.Mod: DECIMALS.remainder,
}
ORDERINGS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}


class NotAValue(Exception):  # noqa: N818 # an outcome, like a value
    """The expression is an error."""


def decimals(a, b):
    if isinstance(a, Decimal) or isinstance(b, Decimal):
        return [Decimal(repr(x)) if isinstance(x, float) else x for x in (a, b)]
    return [a, b]


def calculated(op, a, b):
    if isinstance(a, str) and isinstance(b, str) and op is ast.Add:
        return a + b
    if isinstance(a, list) and isinstance(b, list) and op is ast.Add:
        return a + b
    if not (isinstance(a, NUMBERS) and isinstance(b, NUMBERS)):
        raise NotAValue
    for x in (a, b):
        if type(x) is int and x.bit_length() > MAX_BITS:
            raise NotAValue
    a, b = decimals(a, b)
    try:
        if isinstance(a, Decimal) or isinstance(b, Decimal):
            return EXACT[op](Decimal(a), Decimal(b))
        result = OPERATORS[op](a, b)
    except ArithmeticError:
        raise NotAValue from None
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise NotAValue
    return result


def compared(op, a, b):
    if op in ORDERINGS:
        if a is None or b is None:
            return False
        both = (isinstance(a, NUMBERS) and isinstance(b, NUMBERS)) or (
            isinstance(a, str) and isinstance(b, str)
        )
        if not both:
            raise NotAValue
        return ORDERINGS[op](*decimals(a, b))
    if op in {ast.In, ast.NotIn}:
        return contained(a, b) is (op is ast.In)
    a, b = decimals(a, b)
    return (a == b) is (op in {ast.Eq, ast.Is})


def contained(a, b):
    if b is None:
        return False
    if isinstance(b, dict):
        return isinstance(a, str) and a in b
    if isinstance(b, list):
        return any(compared(ast.Eq, a, x) for x in b)
    if isinstance(b, str) and isinstance(a, str | None):
        return a is not None and a in b
    raise NotAValue


def evaluated(node, context):  # a line for each form
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return context.get(name)
        case ast.Attribute(value=inner, attr=name):
            found = evaluated(inner, context)
            return found.get(name) if isinstance(found, dict) else None
        case ast.List(elts=items):
            return [evaluated(item, context) for item in items]
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not evaluated(inner, context)
        case ast.UnaryOp(operand=inner):
            found = evaluated(inner, context)
            if not isinstance(found, NUMBERS) or (
                type(found) is int and found.bit_length() > MAX_BITS
            ):
                raise NotAValue
            return found.copy_negate() if isinstance(found, Decimal) else -found
        case ast.BinOp(left=left, op=op, right=right):
            return calculated(type(op), evaluated(left, context), evaluated(right, context))
        case ast.BoolOp(op=op, values=values):
            for each in values:
                found = evaluated(each, context)
                if bool(found) is isinstance(op, ast.Or):
                    return found
            return found
        case ast.IfExp(test=test, body=yes, orelse=no):
            return evaluated(yes if evaluated(test, context) else no, context)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            a = evaluated(left, context)
            for op, right in zip(ops, rights, strict=True):
                b = evaluated(right, context)
                if not compared(type(op), a, b):
                    return False
                a = b
            return True
    raise AssertionError(ast.dump(node))


NAMES = ["a", "b", "c", "d", "o.x", "o.y.z", "missing"]
leaves = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(["0", "1", "2", "7", "1.5", "0.1", "1.25", "100000", "4294967296", "1e300"]),
    st.sampled_from(
        ["null", "true", "false", "'x'", "'xy'", "''", "[]", "['x', 1, 1.5]", "[a, null]"]
    ),
)


def joined(inner):
    arithmetic = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    comparison = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, arithmetic, inner),
        st.builds("({} {} {} {} {})".format, inner, arithmetic, inner, arithmetic, inner),
        st.builds("({} {} {})".format, inner, comparison, inner),
        st.builds("({} {} {} {} {})".format, inner, comparison, inner, comparison, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds(
            "({0} {1} {2} {1} {3})".format, inner, st.sampled_from(["and", "or"]), inner, inner
        ),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} is {} null)".format, inner, st.sampled_from(["", "not"])),
    )


numbers = st.one_of(
    st.integers(-10, 10),
    st.integers(2**29, 2**31),
    st.integers(-(2**4097), 2**4097),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 1.5, -0.0, 1e308]),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-1000, max_value=1000),
)
values = st.one_of(
    numbers,
    numbers,
    st.sampled_from(
        [None, True, False, "x", "xy", "", [], ["x"], [1.5, Decimal("1.5")], {"x": 1}, {}]
    ),
)
contexts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys("abcd", values) | {"o": st.fixed_dictionaries({}, optional={"x": values, "y": st.fixed_dictionaries({}, optional={"z": values})})}
)  # fmt: skip


@given(st.recursive(leaves, joined, max_leaves=14), contexts)
@example("((a + b) * (c - 1.5) / d + a * 2)", {"a": 1, "b": 2.5, "c": 3, "d": 4})
@example("((a + b) * (c - 1.5) / d + a * 2)", {"a": Decimal("0.1"), "b": 0.1, "c": 3, "d": 4})
@example("((a * b) * (c * d) * (a * b))", {"a": 2**4000, "b": 2, "c": 1, "d": 1})
def test_closures_agree_with_the_reference(text, context):
    """Every quick path means what the slow one means."""
    try:
        expression = parse(text)
    except ExpressionError:
        return  # beyond a limit
    frame = Frame([])
    try:
        expected = evaluated(expression.tree, context)
    except NotAValue:
        expected = NotAValue
    try:
        found = compile_expression(expression)(context, frame)
    except EvaluationError:
        found = NotAValue
    assert repr(found) == repr(expected)
