"""Expressions as closures: a checked tree -> ``evaluate(context, frame)``.

Each node becomes one closure over the closures of its parts; nothing is compiled to code objects
and nothing of the data is called. What an operator means stands in `pystator.engine.comparisons`
and `pystator.engine.arithmetic`, what a field is in `pystator.engine.paths`, what a function does
in `pystator.engine.functions`. This module knows shapes: which parts are fields and which are
constants, and so which closure is the quickest that means the same.
"""

import ast
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from pystator.definition.expressions import EVENT, Expression
from pystator.engine.arithmetic import arithmetic, calculation, exact_of, signed
from pystator.engine.comparisons import (
    MIRRORED,
    contains,
    equal,
    equality,
    membership,
    order,
    ordering,
)
from pystator.engine.frame import Evaluate, Frame, spend
from pystator.engine.functions import FRAMED, PLAIN
from pystator.engine.operands import Operand, common, constant, field
from pystator.engine.paths import MISSING, Step, follow, null, reader, step_into
from pystator.engine.unchecked import combined
from pystator.engine.values import Place, kind
from pystator.errors import EvaluationError
from pystator.records import Context, record

__all__ = ["Compiled", "Undefined", "compile_expression", "compiled"]

Undefined = Literal["null", "error"]
"""What a missing field is: null (YAML) or an error (SCXML)."""

_UNMETERED = 64
"""Parts of an expression that are free of fuel."""


@record
class Compiled:
    """An expression as a closure, and what an engine wants to know of it.

    Attributes:
        run: ``run(context, frame)`` gives the value.
        uses_frame: It looks at the frame; otherwise any frame will do.
        is_boolean: Its value is true or false.
    """

    run: Evaluate
    uses_frame: bool
    is_boolean: bool


def compile_expression(expression: Expression, *, undefined: Undefined = "null") -> Evaluate:
    """The closure of an expression.

    Args:
        expression: As it was checked at load.
        undefined: What a missing field is.

    Returns:
        A function of a context and a frame. It raises `EvaluationError`, never changes the context,
        and ends soon.
    """
    return compiled(expression, undefined).run


@lru_cache(maxsize=1024)
def compiled(expression: Expression, undefined: Undefined = "null") -> Compiled:
    """The closure of an expression with the facts about it; two of the same text share one."""
    compiler = _Compiler(expression, undefined)
    root = compiler.node(expression.tree)
    nodes = sum(isinstance(node, ast.expr) for node in ast.walk(expression.tree))
    run = root.run
    if nodes > _UNMETERED:
        run = _metered(run, nodes)
        compiler.uses_frame = True
    return Compiled(run, compiler.uses_frame, root.shape == "boolean")


def _metered(run: Evaluate, units: int) -> Evaluate:
    def metered(context: Context, frame: Frame) -> Any:
        spend(frame, units)
        return run(context, frame)

    return metered


_SYMBOLS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "==",
    ast.IsNot: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}


class _Compiler:
    """One walk over a checked tree."""

    def __init__(self, expression: Expression, undefined: Undefined) -> None:
        self.text = expression.text
        self.literals = expression.literals
        self.strict = undefined == "error"
        self.uses_frame = False

    def node(self, node: ast.expr) -> Operand:
        """The closure of one node."""
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self.access(node)
            case ast.Compare():
                return self.compare(node)
            case ast.BoolOp():
                return self.boolean(node)
            case ast.BinOp():
                return self.binary(node)
            case _:
                return self.other(node)

    def other(self, node: ast.expr) -> Operand:
        """The closure of a rarer node."""
        match node:
            case ast.UnaryOp():
                return self.unary(node)
            case ast.IfExp():
                return self.choice(node)
            case ast.List():
                return self.items(node)
            case ast.Call():
                return self.call(node)
            case _:
                raise TypeError(f"{type(node).__name__} is not part of a checked expression")

    def place(self, node: ast.expr) -> Place:
        """Where errors of this node happen."""
        return Place(self.text, node)

    # Leaves ---------------------------------------------------------------------------------

    def constant(self, node: ast.Constant) -> Operand:
        """A literal."""
        value: Any = node.value
        if isinstance(value, float):
            return constant(value, exact_of(self.literals[node.col_offset], value))
        return constant(value)

    def items(self, node: ast.List) -> Operand:
        """A new list each time."""
        parts = [self.node(item) for item in node.elts]
        runs = [part.run for part in parts]
        return Operand(lambda context, frame: [run(context, frame) for run in runs], items=parts)

    def access(self, node: ast.expr) -> Operand:
        """A field, a path or an item that is looked up by a computed index."""
        steps: list[Step] = []
        base = node
        while True:
            match base:
                case ast.Attribute(value=inner, attr=name):
                    steps.insert(0, name)
                case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
                    steps.insert(0, key)
                case ast.Name(id=name):
                    return self.path(name, tuple(steps), node)
                case _:
                    break
            base = inner
        if isinstance(base, ast.Subscript):
            return self.item(base, tuple(steps), node)
        value = self.node(base).run
        return Operand(self.below(value, tuple(steps), node))

    def missing(self, node: ast.expr) -> Evaluate:
        """What a path that leads nowhere gives."""
        if not self.strict:
            return null
        place = self.place(node)

        def undefined(_context: Context, _frame: Frame) -> Any:
            raise place.error("this is not defined")

        return undefined

    def path(self, name: str, steps: tuple[Step, ...], node: ast.expr) -> Operand:
        """A field of the context or of the event."""
        if name == EVENT:
            self.uses_frame = True
            return Operand(self.below(_event, steps, node)) if steps else Operand(_event)
        run = reader((name, *steps), self.missing(node))
        return Operand(run, "path") if steps else field(name, run)

    def below(self, value: Evaluate, steps: tuple[Step, ...], node: ast.expr) -> Evaluate:
        """A path below a computed value."""
        missing = self.missing(node)

        def run(context: Context, frame: Frame) -> Any:
            found = follow(value(context, frame), steps)
            return missing(context, frame) if found is MISSING else found

        return run

    def item(self, base: ast.Subscript, steps: tuple[Step, ...], node: ast.expr) -> Operand:
        """An item by a computed index, and a path below it."""
        value, index = self.node(base.value).run, self.node(base.slice).run
        missing, place = self.missing(node), self.place(base)

        def run(context: Context, frame: Frame) -> Any:
            key = index(context, frame)
            if key is not None and (not isinstance(key, str | int) or isinstance(key, bool)):
                raise place.error(f"an index is an integer or a text, not {kind(key)}")
            found = follow(step_into(value(context, frame), key), steps)
            return missing(context, frame) if found is MISSING else found

        return Operand(run)

    # Logic ----------------------------------------------------------------------------------

    def boolean(self, node: ast.BoolOp) -> Operand:
        """``and``, ``or``: the operand that decides."""
        parts = [self.node(value) for value in node.values]
        runs = [part.run for part in parts]
        joined = _all_of(runs) if isinstance(node.op, ast.And) else _any_of(runs)
        return Operand(joined, common(parts))

    def unary(self, node: ast.UnaryOp) -> Operand:
        """``not`` and signs."""
        part = self.node(node.operand)
        operand = part.run
        if isinstance(node.op, ast.Not):
            return Operand(lambda context, frame: not operand(context, frame), "boolean")
        negate = isinstance(node.op, ast.USub)
        if part.is_constant and isinstance(part.value, int | float):
            exact = part.exact if part.exact is None or not negate else part.exact.copy_negate()
            return constant(-part.value if negate else +part.value, exact)
        return Operand(signed(operand, self.place(node), negate=negate), "scalar")

    def choice(self, node: ast.IfExp) -> Operand:
        """``a if condition else b``."""
        test = self.node(node.test).run
        parts = [self.node(node.body), self.node(node.orelse)]
        yes, no = parts[0].run, parts[1].run
        return Operand(
            lambda context, frame: (yes if test(context, frame) else no)(context, frame),
            common(parts),
        )

    # Comparisons ----------------------------------------------------------------------------

    def compare(self, node: ast.Compare) -> Operand:
        """One comparison, or a chain of them."""
        parts = [self.node(part) for part in (node.left, *node.comparators)]
        symbols = [_SYMBOLS[type(op)] for op in node.ops]
        place = self.place(node)
        if len(symbols) == 1 or all(part.is_cheap for part in parts[1:-1]):
            pairs = zip(symbols, parts, parts[1:], strict=False)
            tests = [self.pair(symbol, a, b, place) for symbol, a, b in pairs]
            return Operand(_all_of(tests), "boolean")
        self.uses_frame = True
        tests_of = [_pair_test(symbol, place, part.exact) for symbol, part in
                    zip(symbols, parts[1:], strict=True)]  # fmt: skip
        return Operand(_chain([part.run for part in parts], tests_of), "boolean")

    def pair(self, symbol: str, a: Operand, b: Operand, place: Place) -> Evaluate:
        """The closure of one comparison."""
        if symbol in {"in", "not in"}:
            if b.items is None or not all(part.is_constant for part in b.items):
                self.uses_frame = True
            return membership(a, b, place, negated=symbol == "not in")
        if a.is_constant and not b.is_constant:
            symbol, a, b = MIRRORED[symbol], b, a
        if symbol in {"==", "!="}:
            if not (a.is_scalar or b.is_scalar):
                self.uses_frame = True
            return equality(a, b, place, negated=symbol == "!=")
        return ordering(symbol, a, b, place)

    # Arithmetic and calls -------------------------------------------------------------------

    def binary(self, node: ast.BinOp) -> Operand:
        """``+ - * / // % **``; of two constants, calculated once."""
        left, right = self.node(node.left), self.node(node.right)
        operator = type(node.op)
        calculate = calculation(operator, self.place(node), left.exact, right.exact)
        if left.is_constant and right.is_constant and left.exact is None and right.exact is None:
            try:
                return constant(calculate(left.value, right.value))
            except EvaluationError:
                pass  # it is an error of the step that evaluates it
        run = arithmetic(operator, left, right, calculate)
        region = combined(operator, left.region, right.region)
        return Operand(run, "any" if operator is ast.Add else "scalar", region=region)

    def call(self, node: ast.Call) -> Operand:
        """A function."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        parts = [self.node(argument) for argument in node.args]
        runs = [part.run for part in parts]
        if name == "coalesce":
            return Operand(_coalesce(runs), common(parts))
        place = self.place(node)
        if name in FRAMED:
            self.uses_frame = True
            framed = FRAMED[name]
            return Operand(
                lambda context, frame: framed(frame, place, *[run(context, frame) for run in runs])
            )
        plain = PLAIN[name]
        if len(runs) == 1:
            (only,) = runs
            return Operand(lambda context, frame: plain(place, only(context, frame)), "scalar")
        return Operand(
            lambda context, frame: plain(place, *[run(context, frame) for run in runs]), "scalar"
        )


def _event(_context: Context, frame: Frame) -> dict[str, Any]:
    return {"name": frame.trigger, "data": {} if frame.data is None else frame.data}


def _all_of(runs: list[Evaluate]) -> Evaluate:
    match runs:
        case [only]:
            return only
        case [a, b]:
            return lambda context, frame: a(context, frame) and b(context, frame)
        case [a, b, c]:
            return lambda context, frame: (
                a(context, frame) and b(context, frame) and c(context, frame)
            )
        case _:
            first, rest = runs[0], runs[1:]

    def run(context: Context, frame: Frame) -> Any:
        value = first(context, frame)
        for other in rest:
            if not value:
                return value
            value = other(context, frame)
        return value

    return run


def _any_of(runs: list[Evaluate]) -> Evaluate:
    match runs:
        case [a, b]:
            return lambda context, frame: a(context, frame) or b(context, frame)
        case [a, b, c]:
            return lambda context, frame: (
                a(context, frame) or b(context, frame) or c(context, frame)
            )
        case _:
            first, rest = runs[0], runs[1:]

    def run(context: Context, frame: Frame) -> Any:
        value = first(context, frame)
        for other in rest:
            if value:
                return value
            value = other(context, frame)
        return value

    return run


def _coalesce(runs: list[Evaluate]) -> Evaluate:
    def run(context: Context, frame: Frame) -> Any:
        for each in runs:
            value = each(context, frame)
            if value is not None:
                return value
        return None

    return run


PairTest = Callable[[Any, Any, Frame], bool]


def _pair_test(symbol: str, place: Place, exact: Decimal | None) -> PairTest:
    """One comparison of values that are known, for chains."""
    match symbol:
        case "==":
            return lambda a, b, frame: equal(a, b, frame, place, exact)
        case "!=":
            return lambda a, b, frame: not equal(a, b, frame, place, exact)
        case "in":
            return lambda a, b, frame: contains(b, a, frame, place)
        case "not in":
            return lambda a, b, frame: not contains(b, a, frame, place)
        case _:
            return lambda a, b, _frame: order(symbol, a, b, place, exact)


def _chain(runs: list[Evaluate], tests: list[PairTest]) -> Evaluate:
    """A chain whose middle parts are worth evaluating once."""
    first = runs[0]
    links = list(zip(tests, runs[1:], strict=True))

    def run(context: Context, frame: Frame) -> bool:
        left = first(context, frame)
        for test, evaluate in links:
            right = evaluate(context, frame)
            if not test(left, right, frame):
                return False
            left = right
        return True

    return run
