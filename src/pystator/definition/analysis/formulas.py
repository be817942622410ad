"""Guards as formulas: what a guard asks of the context, in a form that can be reasoned about.

::

    qty >= 1 and status in ['open', 'held']

    Every(Compare(View(Field(qty)), ">=", 1), OneOf(View(Field(status)), ("open", "held")))

What cannot be followed - a registered guard, a calculation, a function - is a `Free` atom or an
`Unknown` term: it may be anything, and the same text is the same thing. So whatever is proved of a
formula is true of the guard.

The meaning of an atom is the one `pystator.engine.comparisons` gives it: a missing field is null,
ordering against null is false, and ordering what has no order is an error.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from pystator.definition.expressions import EVENT, Expression
from pystator.definition.model import (
    AllOf,
    AnyOf,
    Check,
    ExprGuard,
    Guard,
    InState,
    Named,
    Not,
)
from pystator.definition.words import guard_words

__all__ = [
    "ERROR",
    "OPEN",
    "UNSET",
    "Atom",
    "Compare",
    "Every",
    "Field",
    "Formula",
    "Free",
    "Negated",
    "OneOf",
    "Some",
    "Term",
    "Truth",
    "Unknown",
    "Verdict",
    "View",
    "atoms",
    "evaluate",
    "formula",
    "surely",
    "views",
]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the context, by its path; one of the event begins with ``_event``, ``data``."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is calculated, by its text."""

    text: str


Term = Field | Unknown


@dataclass(frozen=True, slots=True)
class View:
    """What is compared: a term, or ``coalesce(term, default)``."""

    term: Term
    default: Any = None


@dataclass(frozen=True, slots=True)
class Compare:
    """A view against a constant or another view."""

    left: View
    symbol: str
    right: Any


@dataclass(frozen=True, slots=True)
class OneOf:
    """``left in [constants]``."""

    left: View
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """The value itself, for truth."""

    left: View


@dataclass(frozen=True, slots=True)
class Free:
    """A condition nobody can look into: it may hold or not."""

    text: str


@dataclass(frozen=True, slots=True)
class Negated:
    """Not."""

    part: "Formula"


@dataclass(frozen=True, slots=True)
class Every:
    """And, from left to right."""

    parts: "tuple[Formula, ...]"


@dataclass(frozen=True, slots=True)
class Some:
    """Or, from left to right."""

    parts: "tuple[Formula, ...]"


Atom = Compare | OneOf | Truth | Free
Formula = bool | Atom | Negated | Every | Some

Placed = Callable[[str], bool | None]
"""Whether a state is active when the guard is asked; None: it may be or not."""

# Guards to formulas -----------------------------------------------------------------------------

_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SYMBOLS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "==",
    ast.IsNot: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_CHECKS: Final = {"eq": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def formula(guard: Guard, placed: Placed) -> Formula:  # noqa: PLR0911 - a line for each kind
    """The formula of a guard.

    Args:
        guard: Of the model.
        placed: Answers ``in_state``.
    """
    match guard:
        case Named(name):
            return Free(name)
        case ExprGuard(expression):
            return _expression(expression)
        case Check():
            return _check(guard)
        case AllOf(guards):
            return Every(tuple([formula(inner, placed) for inner in guards]))
        case AnyOf(guards):
            return Some(tuple([formula(inner, placed) for inner in guards]))
        case Not(inner):
            return Negated(formula(inner, placed))
        case InState(state):
            known = placed(state)
            return Free(f"in {state}") if known is None else known


def _check(check: Check) -> Formula:
    view = View(Field(check.field))
    if check.op in {"is_set", "is_null"}:
        return Compare(view, "!=" if check.op == "is_set" else "==", None)
    if check.op in {"in", "not_in"}:
        if not all(_is_scalar(item) for item in check.value):
            return Free(guard_words(check))
        listed: Formula = OneOf(view, tuple(check.value)) if check.value else False
        return listed if check.op == "in" else Negated(listed)
    if not _is_scalar(check.value):
        return Free(guard_words(check))
    return _comparison(view, _CHECKS[check.op], check.value)


def _comparison(view: View, symbol: str, right: Any) -> Formula:
    return False if right is None and symbol not in {"==", "!="} else Compare(view, symbol, right)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


@lru_cache(maxsize=4096)
def _expression(expression: Expression) -> Formula:
    return _Reader(expression).truth(expression.tree)


class _Constant:
    """A constant of an expression."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Reader:
    """Reads one checked tree."""

    def __init__(self, expression: Expression) -> None:
        self.literals = expression.literals

    def truth(self, node: ast.expr) -> Formula:
        """The truth of a node's value."""
        match node:
            case ast.BoolOp():
                parts = tuple([self.truth(value) for value in node.values])
                return Every(parts) if isinstance(node.op, ast.And) else Some(parts)
            case ast.UnaryOp(op=ast.Not()):
                return Negated(self.truth(node.operand))
            case ast.IfExp():
                test = self.truth(node.test)
                chosen = Every((test, self.truth(node.body)))
                return Some((chosen, Every((Negated(test), self.truth(node.orelse)))))
            case ast.Compare():
                return self.compare(node)
            case _:
                operand = self.operand(node)
                return bool(operand.value) if isinstance(operand, _Constant) else Truth(operand)

    def compare(self, node: ast.Compare) -> Formula:
        """A comparison, or a chain of them."""
        sides = [node.left, *node.comparators]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        parts = tuple([self.pair(left, op, right) for left, op, right in pairs])
        return parts[0] if len(parts) == 1 else Every(parts)

    def pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Formula:
        """One comparison."""
        symbol = _SYMBOLS.get(type(op))
        if symbol is None:
            found = self.membership(left, right)
            return Negated(found) if isinstance(op, ast.NotIn) else found
        first, second = self.operand(left), self.operand(right)
        if isinstance(first, _Constant):
            if isinstance(second, _Constant):
                return Free(f"{ast.unparse(left)} {symbol} {ast.unparse(right)}")
            symbol, first, second = _MIRRORED[symbol], second, first
        return _comparison(first, symbol, second.value if isinstance(second, _Constant) else second)

    def membership(self, left: ast.expr, right: ast.expr) -> Formula:
        """``left in right``."""
        item = self.operand(left)
        if isinstance(right, ast.List) and isinstance(item, View):
            items = [self.operand(part) for part in right.elts]
            constants = [part.value for part in items if isinstance(part, _Constant)]
            if len(constants) == len(items):
                return OneOf(item, tuple(constants)) if items else False
        return Free(f"{ast.unparse(left)} in {ast.unparse(right)}")

    def operand(self, node: ast.expr) -> "View | _Constant":
        """A side of a comparison."""
        match node:
            case ast.Constant() if self.is_plain(node):
                return _Constant(node.value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                if not isinstance(number, bool) and self.is_plain(node.operand):
                    return _Constant(-number)
            case ast.Call(func=ast.Name(id="coalesce"), args=[inner, default]):
                first, second = self.operand(inner), self.operand(default)
                if isinstance(first, View) and isinstance(second, _Constant):
                    known = first.default is None
                    return View(first.term, second.value if known else first.default)
            case _:
                pass
        path = _path(node)
        return View(Unknown(ast.unparse(node)) if path is None else Field(path))

    def is_plain(self, node: ast.expr) -> bool:
        """Not a fraction of so many digits that a Decimal and a float of it differ."""
        if not isinstance(node, ast.Constant) or not isinstance(node.value, float):
            return True
        written = self.literals.get(node.col_offset, "").replace("_", "")
        return Decimal(written or "NaN") == Decimal(repr(node.value))


def _path(node: ast.expr) -> tuple[str, ...] | None:
    """The field that a node reads; None when it is none, or not known before the step."""
    steps: list[str] = []
    while True:
        match node:
            case ast.Name():
                path = (node.id, *reversed(steps))
                whole = node.id == EVENT and (len(path) < 3 or path[1] != "data")
                return None if whole else path
            case ast.Attribute():
                steps.append(node.attr)
                node = node.value
            case ast.Subscript(slice=ast.Constant(value=str() as key)):
                steps.append(key)
                node = node.value
            case _:
                return None


# Looking at formulas ----------------------------------------------------------------------------


def atoms(part: Formula) -> Iterator[Atom]:
    """The atoms of a formula, from left to right."""
    match part:
        case bool():
            return
        case Negated(inner):
            yield from atoms(inner)
        case Every(parts) | Some(parts):
            for inner in parts:
                yield from atoms(inner)
        case _:
            yield part


def views(atom: Atom) -> tuple[View, ...]:
    """What an atom looks at."""
    match atom:
        case Compare(left, _, View() as right):
            return (left, right)
        case Compare(left, _, _) | OneOf(left, _) | Truth(left):
            return (left,)
        case Free():
            return ()


# Evaluating -------------------------------------------------------------------------------------


class _Mark:
    """A value that is none."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ERROR: Final = _Mark("ERROR")
"""The guard cannot be evaluated: the event fails."""

OPEN: Final = _Mark("OPEN")
"""Nothing assigned decides it."""

UNSET: Final = _Mark("UNSET")

Verdict = bool | _Mark
Values = Mapping[Term | Free, Any]

_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(part: Formula, values: Values) -> Verdict:
    """A formula under an assignment: true, false, `ERROR`, or `OPEN`.

    Of an open formula, what is said is what it will be unless evaluating it fails.
    """
    match part:
        case bool():
            return part
        case Every(parts):
            return _joined(parts, values, deciding=False)
        case Some(parts):
            return _joined(parts, values, deciding=True)
        case Negated(inner):
            verdict = evaluate(inner, values)
            return verdict if isinstance(verdict, _Mark) else not verdict
        case _:
            return _atom(part, values)


def surely(part: Formula, values: Values) -> Verdict:
    """As `evaluate`, and `OPEN` where something that is not known is looked at on the way."""
    match part:
        case Every(parts) | Some(parts):
            deciding = isinstance(part, Some)
            for inner in parts:
                verdict = surely(inner, values)
                if isinstance(verdict, _Mark) or verdict is deciding:
                    return verdict
            return not deciding
        case Negated(inner):
            verdict = surely(inner, values)
            return verdict if isinstance(verdict, _Mark) else not verdict
        case _:
            return evaluate(part, values)


def _joined(parts: tuple[Formula, ...], values: Values, *, deciding: bool) -> Verdict:
    """``and`` and ``or``: the first part that decides is the answer."""
    is_open = False
    for part in parts:
        verdict = evaluate(part, values)
        if verdict is deciding:
            return verdict
        if verdict is ERROR:
            return OPEN if is_open else ERROR
        is_open = is_open or verdict is OPEN
    return OPEN if is_open else not deciding


def _atom(atom: Atom, values: Values) -> Verdict:
    if isinstance(atom, Free):
        verdict: Verdict = values.get(atom, OPEN)
        return verdict
    left = _value(atom.left, values)
    if left is UNSET:
        return OPEN
    match atom:
        case Truth():
            return bool(left)
        case OneOf(items=items):
            return any(_equal(left, item) for item in items)
        case Compare(symbol=symbol, right=right):
            other = _value(right, values) if isinstance(right, View) else right
            return OPEN if other is UNSET else _compare(symbol, left, other)


def _value(view: View, values: Values) -> Any:
    value = values.get(view.term, UNSET)
    return view.default if value is None else value


def _equal(left: Any, right: Any) -> bool:
    return left is right if left is None or right is None else bool(left == right)


def _compare(symbol: str, left: Any, right: Any) -> Verdict:
    if symbol in {"==", "!="}:
        return _equal(left, right) is (symbol == "==")
    if left is None or right is None:
        return False
    try:
        return bool(_TESTS[symbol](left, right))
    except TypeError:
        return ERROR
