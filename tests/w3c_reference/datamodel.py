"""Guards, effects and expressions, for the part of the language that is generated here.

The simplest thing that can be right: every effect works on a context that is the interpreter's own
deep copy, and an expression is walked each time as Python reads it.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from w3c_reference.document import as_list

__all__ = ["Datamodel", "StepError", "guard_text", "moment"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = {"true": True, "false": False, "null": None}
ORDERINGS = {ast.Lt: "lt", ast.LtE: "lte", ast.Gt: "gt", ast.GtE: "gte"}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "neq": operator.ne, "lt": operator.lt, "lte": operator.le,
    "gt": operator.gt, "gte": operator.ge,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Mod: operator.mod,
}  # fmt: skip


class StepError(Exception):
    """The event fails and changes nothing."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code or reason


class Datamodel:
    """The context of one event, and what looks at it.

    Args:
        context: The interpreter's own copy.
        guards: Registered guards.
        lenient: A guard that nobody registered holds.

    Attributes:
        asked: Registered guards in the order in which they were asked.
    """

    def __init__(
        self,
        context: dict[str, Any],
        guards: Mapping[str, Callable[[Any], bool]],
        now: int,
        *,
        lenient: bool,
    ) -> None:
        self.context = context
        self.guards = guards
        self.now = now
        self.lenient = lenient
        self.event: dict[str, Any] = {"name": None, "data": {}}
        self.asked: list[str] = []
        self.is_active: Callable[[str], bool] = lambda _name: False

    # Guards -----------------------------------------------------------------------------------

    def holds(self, guard: Any) -> bool:
        """Whether a guard entry holds."""
        if isinstance(guard, str):
            return self.named(guard)
        ((form, inner),) = guard.items()
        match form:
            case "expr":
                return bool(self.value(inner))
            case "check":
                return self.check(inner)
            case "allOf":
                return all(self.holds(each) for each in inner)
            case "anyOf":
                return any(self.holds(each) for each in inner)
            case "not":
                return not self.holds(inner)
            case "in_state":
                return self.is_active(inner)
        raise AssertionError(form)

    def named(self, name: str) -> bool:
        """Ask a registered guard."""
        if name not in self.guards:
            if self.lenient:
                return True
            raise StepError("guard_not_found")
        self.asked.append(name)
        try:
            return bool(self.guards[name](self.context))
        except Exception as error:
            raise StepError("evaluation_failed") from error

    def check(self, check: Mapping[str, Any]) -> bool:
        """Compare a field."""
        left, op = self.field(check["field"]), check["op"]
        match op:
            case "is_set":
                return left is not None
            case "is_null":
                return left is None
            case "in":
                return left in check["values"]
            case "not_in":
                return left not in check["values"]
        return _compared(op, left, check["value"])

    # Expressions ------------------------------------------------------------------------------

    def field(self, path: str) -> Any:
        """What is at a dotted path; a missing field is null."""
        value: Any = self.context
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def value(self, text: str) -> Any:
        """The value of an expression."""
        return self.walk(_parsed(text))

    def walk(self, node: ast.AST) -> Any:
        """The value of a part of an expression."""
        match node:
            case ast.Constant(value):
                return value
            case ast.Name("_event"):
                return self.event
            case ast.Name(name):
                return WORDS[name] if name in WORDS else self.context.get(name)
            case ast.Attribute(value, name):
                holder = self.walk(value)
                return holder.get(name) if isinstance(holder, dict) else None
            case ast.UnaryOp(ast.Not(), operand):
                return not self.walk(operand)
            case ast.BoolOp(op, values):
                return self.logic(isinstance(op, ast.And), values)
            case ast.Compare(left, [op], [right]):
                return self.compare(op, self.walk(left), self.walk(right))
            case ast.BinOp(left, op, right):
                return _calculated(op, self.walk(left), self.walk(right))
        raise AssertionError(ast.dump(node))

    def logic(self, conjunction: bool, values: list[ast.expr]) -> Any:
        """`and` and `or` give the operand that decides."""
        result = None
        for each in values:
            result = self.walk(each)
            if bool(result) is not conjunction:
                break
        return result

    def compare(self, op: ast.cmpop, left: Any, right: Any) -> bool:
        """One comparison."""
        if isinstance(op, ast.Eq | ast.NotEq):
            return (left == right) is isinstance(op, ast.Eq)
        return _compared(ORDERINGS[type(op)], left, right)

    def resolved(self, value: Any) -> Any:
        """Params with their expressions evaluated."""
        if isinstance(value, dict):
            if list(value) == ["expr"]:
                return self.value(value["expr"])
            return {key: self.resolved(inner) for key, inner in value.items()}
        return [self.resolved(inner) for inner in value] if isinstance(value, list) else value

    # Content ----------------------------------------------------------------------------------

    def execute(self, actions: list[Any]) -> Iterator[tuple[str, Any]]:
        """Run a block: effects at once; what is raised and what is planned comes out, in order."""
        for entry in actions:
            action = {"name": entry} if isinstance(entry, str) else entry
            if "when" not in action or self.holds(action["when"]):
                yield from self.action(action)

    def action(self, action: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Run one action."""
        form = next(iter(key for key in action if key != "when"))
        inner = action[form]
        match form:
            case "raise":
                yield "raise", inner
            case "branch":
                way = "then" if self.holds(inner["when"]) else "else"
                yield from self.execute(inner.get(way, []))
            case "name" if inner == "copy_key":
                self.copy(action["params"])
            case "name":
                yield "call", (inner, self.resolved(action.get("params", {})))
            case _:
                self.effect(form, inner)

    def effect(self, form: str, inner: Any) -> None:
        """Change the context."""
        match form:
            case "set":
                for path, value in inner.items():
                    self.put(path, value)
            case "compute":
                for path, text in inner.items():
                    self.put(path, self.value(text))
            case "increment" | "decrement":
                sign = 1 if form == "increment" else -1
                for path, by in ({inner: 1} if isinstance(inner, str) else inner).items():
                    amount = self.value(by["expr"]) if isinstance(by, dict) else by
                    before = self.field(path)
                    before = 0 if before is None else before
                    self.put(path, _calculated(ast.Add(), before, _times(sign, amount)))
            case "append":
                current = self.field(inner["field"])
                if not isinstance(current, list | None):
                    raise StepError("evaluation_failed")
                self.put(inner["field"], [*as_list(current), inner["value"]])
            case "clear":
                self.context.pop(inner, None)
            case "timestamp":
                self.put(inner, moment(self.now))
            case _:
                raise AssertionError(form)

    def put(self, path: str, value: Any) -> None:
        """Write at a dotted path."""
        *way, last = path.split(".")
        holder = self.context
        for step in way:
            inner = holder.get(step)
            if not isinstance(inner, dict | None):
                raise StepError("evaluation_failed")
            holder[step] = dict(inner or {})
            holder = holder[step]
        holder[last] = value

    def copy(self, params: Mapping[str, str]) -> None:
        """The built-in action `copy_key`, of top-level fields."""
        if params["from"] in self.context:
            self.put(params["to"], self.context[params["from"]])
        else:
            self.context.pop(params["to"], None)


def guard_text(guard: Any) -> str:
    """A guard as results name it."""
    if isinstance(guard, str):
        return guard
    ((form, inner),) = guard.items()
    match form:
        case "expr":
            return inner
        case "check":
            subject = f"{inner['field']} {inner['op']}"
            if inner["op"] in {"is_set", "is_null"}:
                return subject
            return f"{subject} {inner.get('value', inner.get('values'))!r}"
        case "allOf" | "anyOf":
            return f"{form}({', '.join(guard_text(each) for each in inner)})"
        case "not":
            return f"not ({guard_text(inner)})"
        case "in_state":
            return f"in_state {inner}"
    raise AssertionError(form)


def moment(microseconds: int) -> datetime:
    """A time as effects write it."""
    return EPOCH + timedelta(microseconds=microseconds)


@lru_cache(4096)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compared(op: str, left: Any, right: Any) -> bool:
    """Null is never less or greater; what has no order is an error."""
    if op in {"eq", "neq"}:
        return COMPARISONS[op](left, right)
    if left is None or right is None:
        return False
    if not (_is_number(left) and _is_number(right)):
        raise StepError("evaluation_failed")
    return COMPARISONS[op](left, right)


def _times(sign: int, amount: Any) -> Any:
    return sign * amount if _is_number(amount) else amount


def _calculated(op: ast.operator, left: Any, right: Any) -> Any:
    if not (_is_number(left) and _is_number(right)):
        raise StepError("evaluation_failed")
    try:
        return ARITHMETIC[type(op)](left, right)
    except ZeroDivisionError as error:
        raise StepError("evaluation_failed") from error
