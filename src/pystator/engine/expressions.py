"""Expressions as closures: a checked tree -> ``evaluate(context, frame)``.

Each node becomes one closure over the closures of its parts; nothing is compiled to code objects and nothing of the
data is called. What an operator means stands in `pystator.engine.comparisons` and `pystator.engine.arithmetic`, what
a field is in `pystator.engine.paths`, what a function does in `pystator.engine.functions`. This module knows shapes:
which parts are fields and which are constants, and so which closure is the quickest that means the same.
"""

import ast
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from pystator.definition.expressions import EVENT, Expression
from pystator.engine.arithmetic import arithmetic, calculation, exact_of, negative
from pystator.engine.comparisons import (
    MIRRORED,
    contains,
    equal,
    equality,
    one_of,
    order,
    ordering,
)
from pystator.engine.frame import Evaluate, Frame, spend
from pystator.engine.functions import IMPLEMENTATIONS
from pystator.engine.paths import MISSING, Step, follow, null, reader, step_into
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
        uses_now: It needs the time of the step.
        is_boolean: Its value is true or false.
    """

    run: Evaluate
    uses_frame: bool
    uses_now: bool
    is_boolean: bool


def compile_expression(expression: Expression, *, undefined: Undefined = "null") -> Evaluate:
    """The closure of an expression.

    Args:
        undefined: What a missing field is.

    Returns:
        A function of a context and a frame. It raises `EvaluationError`, never changes the context, and ends soon.
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
    return Compiled(run, compiler.uses_frame, "now" in expression.calls, root.shape == "boolean")


def _metered(run: Evaluate, units: int) -> Evaluate:
    def metered(context: Context, frame: Frame) -> Any:
        spend(frame, units)
        return run(context, frame)

    return metered


class _Part:
    """One compiled node and what its closure's user may know of it.

    Attributes:
        shape: ``constant``, ``field`` (by its name alone), ``path``, ``boolean``, ``scalar`` (no list, no object)
            or ``any``.
        value: Of a constant.
        exact: Of a fractional constant: the Decimal that is written.
        name: Of a field.
        items: Of a list that is written there.
    """

    __slots__ = ("exact", "items", "name", "run", "shape", "value")

    def __init__(
        self,
        run: Evaluate,
        shape: Literal["constant", "field", "path", "boolean", "scalar", "any"] = "any",
        *,
        value: Any = None,
        exact: Decimal | None = None,
        name: str | None = None,
        items: "list[_Part] | None" = None,
    ) -> None:
        self.items = items
        self.run = run
        self.shape = shape
        self.value = value
        self.exact = exact
        self.name = name

    @property
    def is_constant(self) -> bool:
        return self.shape == "constant"

    @property
    def is_cheap(self) -> bool:
        """Evaluating it twice costs less than keeping it."""
        return self.shape in {"constant", "field", "path"}

    @property
    def is_scalar(self) -> bool:
        return self.shape in {"constant", "boolean", "scalar"}


def _constant(value: Any, exact: Decimal | None = None) -> _Part:
    return _Part(lambda context, frame: value, "constant", value=value, exact=exact)


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

    def node(self, node: ast.expr) -> _Part:
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

    def other(self, node: ast.expr) -> _Part:
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

    def constant(self, node: ast.Constant) -> _Part:
        """A literal."""
        value: Any = node.value
        if isinstance(value, float):
            return _constant(value, exact_of(self.literals[node.col_offset], value))
        return _constant(value)

    def items(self, node: ast.List) -> _Part:
        """A new list each time."""
        parts = [self.node(item) for item in node.elts]
        runs = [part.run for part in parts]
        return _Part(lambda context, frame: [run(context, frame) for run in runs], items=parts)

    def access(self, node: ast.expr) -> _Part:
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
        return _Part(self.below(value, tuple(steps), node))

    def missing(self, node: ast.expr) -> Evaluate:
        """What a path that leads nowhere gives."""
        if not self.strict:
            return null
        place = self.place(node)

        def undefined(context: Context, frame: Frame) -> Any:
            raise place.error("this is not defined")

        return undefined

    def path(self, name: str, steps: tuple[Step, ...], node: ast.expr) -> _Part:
        """A field of the context or of the event."""
        if name == EVENT:
            self.uses_frame = True
            return _Part(self.below(_event, steps, node)) if steps else _Part(_event)
        run = reader((name, *steps), self.missing(node))
        return _Part(run, "path") if steps else _Part(run, "field", name=name)

    def below(self, value: Evaluate, steps: tuple[Step, ...], node: ast.expr) -> Evaluate:
        """A path below a computed value."""
        missing = self.missing(node)

        def run(context: Context, frame: Frame) -> Any:
            found = follow(value(context, frame), steps)
            return missing(context, frame) if found is MISSING else found

        return run

    def item(self, base: ast.Subscript, steps: tuple[Step, ...], node: ast.expr) -> _Part:
        """An item by a computed index, and a path below it."""
        value, index = self.node(base.value).run, self.node(base.slice).run
        missing, place = self.missing(node), self.place(base)

        def run(context: Context, frame: Frame) -> Any:
            key = index(context, frame)
            if key is not None and (not isinstance(key, str | int) or isinstance(key, bool)):
                raise place.error(f"an index is an integer or a text, not {kind(key)}")
            found = follow(step_into(value(context, frame), key), steps)
            return missing(context, frame) if found is MISSING else found

        return _Part(run)

    # Logic ----------------------------------------------------------------------------------

    def boolean(self, node: ast.BoolOp) -> _Part:
        """``and``, ``or``: the operand that decides."""
        parts = [self.node(value) for value in node.values]
        runs = [part.run for part in parts]
        joined = _all_of(runs) if isinstance(node.op, ast.And) else _any_of(runs)
        return _Part(joined, _common(parts))

    def unary(self, node: ast.UnaryOp) -> _Part:
        """``not`` and signs."""
        part = self.node(node.operand)
        operand = part.run
        if isinstance(node.op, ast.Not):
            return _Part(lambda context, frame: not operand(context, frame), "boolean")
        negate = isinstance(node.op, ast.USub)
        if part.is_constant and isinstance(part.value, int | float):
            exact = part.exact if part.exact is None or not negate else part.exact.copy_negate()
            return _constant(-part.value if negate else +part.value, exact)
        return _Part(negative(operand, self.place(node), negate=negate), "scalar")

    def choice(self, node: ast.IfExp) -> _Part:
        """``a if condition else b``."""
        test = self.node(node.test).run
        parts = [self.node(node.body), self.node(node.orelse)]
        yes, no = parts[0].run, parts[1].run
        return _Part(
            lambda context, frame: (yes if test(context, frame) else no)(context, frame),
            _common(parts),
        )

    # Comparisons ----------------------------------------------------------------------------

    def compare(self, node: ast.Compare) -> _Part:
        """One comparison, or a chain of them."""
        parts = [self.node(part) for part in (node.left, *node.comparators)]
        symbols = [_SYMBOLS[type(op)] for op in node.ops]
        place = self.place(node)
        if len(symbols) == 1 or all(part.is_cheap for part in parts[1:-1]):
            pairs = zip(symbols, parts, parts[1:], strict=False)
            tests = [self.pair(symbol, a, b, place) for symbol, a, b in pairs]
            return _Part(_all_of(tests), "boolean")
        self.uses_frame = True
        tests_of = [_pair_test(symbol, place, part.exact) for symbol, part in
                    zip(symbols, parts[1:], strict=True)]  # fmt: skip
        return _Part(_chain([part.run for part in parts], tests_of), "boolean")

    def pair(self, symbol: str, a: _Part, b: _Part, place: Place) -> Evaluate:
        """The closure of one comparison."""
        if symbol in {"in", "not in"}:
            return self.membership(a, b, place, negated=symbol == "not in")
        if a.is_constant and not b.is_constant:
            symbol, a, b = MIRRORED[symbol], b, a
        if symbol in {"==", "!="}:
            if not (a.is_scalar or b.is_scalar):
                self.uses_frame = True
            return equality(
                a.run, b.run, place, negated=symbol == "!=", name=a.name, constant=b.value,
                is_constant=b.is_constant, exact=b.exact,
            )  # fmt: skip
        constant = b.value if isinstance(b.value, int | float | str) else None
        return ordering(symbol, a.run, b.run, place, name=a.name, constant=constant, exact=b.exact)

    def membership(self, a: _Part, b: _Part, place: Place, *, negated: bool) -> Evaluate:
        """``in`` and ``not in``."""
        item, container = a.run, b.run
        if b.items is not None and all(part.is_constant for part in b.items):
            values = [part.value for part in b.items]
            exact = [part.value if part.exact is None else part.exact for part in b.items]
            return one_of(item, values, exact, negated=negated)
        self.uses_frame = True

        def run(context: Context, frame: Frame) -> bool:
            held = contains(container(context, frame), item(context, frame), frame, place)
            return held is not negated

        return run

    # Arithmetic and calls -------------------------------------------------------------------

    def binary(self, node: ast.BinOp) -> _Part:
        """``+ - * / // % **``; of two constants, calculated once."""
        left, right = self.node(node.left), self.node(node.right)
        operator = type(node.op)
        calculate = calculation(operator, self.place(node), left.exact, right.exact)
        if left.is_constant and right.is_constant and left.exact is None and right.exact is None:
            try:
                return _constant(calculate(left.value, right.value))
            except EvaluationError:
                pass  # it is an error of the step that evaluates it
        run = arithmetic(
            operator, left.run, right.run, calculate, right.value if right.is_constant else None
        )
        return _Part(run, "any" if operator is ast.Add else "scalar")

    def call(self, node: ast.Call) -> _Part:
        """A function."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        function, place = IMPLEMENTATIONS[name], self.place(node)
        parts = [self.node(argument) for argument in node.args]
        runs = [part.run for part in parts]
        if name not in _FRAMELESS:
            self.uses_frame = True
        if name == "coalesce":
            return _Part(_coalesce(runs), _common(parts))
        if len(runs) == 1:
            only = runs[0]
            return _Part(lambda context, frame: function(frame, place, only(context, frame)))
        return _Part(
            lambda context, frame: function(frame, place, *[run(context, frame) for run in runs])
        )


_FRAMELESS = frozenset(IMPLEMENTATIONS) - {"min", "max", "sum", "any", "all", "now"}
"""Functions whose work does not grow with a list, and that need no time."""


def _common(parts: list[_Part]) -> Literal["boolean", "scalar", "any"]:
    if all(part.shape == "boolean" for part in parts):
        return "boolean"
    return "scalar" if all(part.is_scalar for part in parts) else "any"


def _event(context: Context, frame: Frame) -> dict[str, Any]:
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
            return lambda a, b, frame: order(symbol, a, b, place, exact)


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
