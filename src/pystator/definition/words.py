"""A machine's parts in words: guards, actions and timers as a diagram or a listing shows them."""

import ast
import json
from collections.abc import Iterable
from typing import Any

from pystator.definition.expressions import Expression
from pystator.definition.model import (
    Action,
    After,
    AllOf,
    AnyOf,
    Append,
    At,
    Branch,
    Call,
    Check,
    Clear,
    Compute,
    CopyKey,
    ExprGuard,
    Guard,
    Http,
    Increment,
    InState,
    Named,
    Not,
    Raise,
    Send,
    Set,
    Snapshot,
    Timestamp,
    TransitionNode,
    ValidateKeys,
    label,
)

__all__ = ["action_words", "duration_words", "guard_words", "guards_words", "trigger_words"]

OPERATORS = {"eq": "==", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


def trigger_words(transition: TransitionNode) -> str:
    """What takes it: ``pay``, ``pay or after 5m``, ``auto``; nothing for a choice's own."""
    parts = list(transition.events)
    match transition.timer:
        case After(microseconds=microseconds):
            parts.append(f"after {duration_words(microseconds // 1_000)}")
        case At(expression=expression):
            parts.append(f"at {expression.text}")
        case None:
            pass
    return " or ".join(parts)


def duration_words(milliseconds: int) -> str:
    """The largest unit that keeps it whole: ``14d``, ``90s``, ``500ms``."""
    for size, unit in UNITS:
        if milliseconds % size == 0 and milliseconds >= size:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def guard_words(guard: Guard) -> str:  # noqa: PLR0911 - one for each kind
    """``amount > 0``, ``is_paid``, ``not (a or b)``."""
    match guard:
        case Named(name=name):
            return name
        case ExprGuard(expression=expression):
            return expression.text
        case Check(field=field, op=op, value=value):
            return _check(".".join(field), op, value)
        case InState(state=state):
            return f"in {label(state)}"
        case Not(guard=inner):
            return f"not ({guard_words(inner)})"
        case AllOf(guards=guards):
            return _joined(guards, " and ")
        case AnyOf(guards=guards):
            return _joined(guards, " or ")


def guards_words(guards: Iterable[Guard]) -> str:
    """All of them hold: ``amount > 0 and (a or b)``."""
    return _joined(tuple(guards), " and ")


def _joined(guards: tuple[Guard, ...], word: str) -> str:
    if len(guards) == 1:
        return guard_words(guards[0])
    return word.join(
        f"({guard_words(guard)})" if _binds_less(guard) else guard_words(guard) for guard in guards
    )


def _binds_less(guard: Guard) -> bool:
    """Beside ``and`` or ``or`` it would be read as something else."""
    match guard:
        case AllOf(guards=guards) | AnyOf(guards=guards):
            return len(guards) > 1
        case ExprGuard(expression=expression):
            return isinstance(expression.tree, ast.BoolOp | ast.IfExp)
        case _:
            return False


def _check(field: str, op: str, value: Any) -> str:
    if op in OPERATORS:
        return f"{field} {OPERATORS[op]} {_value(value)}"
    words = op.replace("_", " ")
    return f"{field} {words}" if op in {"is_set", "is_null"} else f"{field} {words} {_value(value)}"


def action_words(action: Action) -> str:
    """``charge``, ``paid += amount``, ``raise checked``; a condition follows behind ``if``."""
    words = _action(action)
    when = None if isinstance(action, Branch) else action.when
    return words if when is None else f"{words} if {guard_words(when)}"


def _list(actions: Iterable[Action]) -> str:
    return ", ".join(action_words(action) for action in actions)


def _action(action: Action) -> str:  # noqa: PLR0911 - one for each kind
    match action:
        case Set() | Compute() | Timestamp() | Increment() | Append() | Clear():
            return _write(action)
        case CopyKey(source=source, target=target):
            return f"{'.'.join(target)} = {'.'.join(source)}"
        case Snapshot() | ValidateKeys():
            return "snapshot" if isinstance(action, Snapshot) else "validate_keys"
        case Call(name=name):
            return name
        case Http(url=url, method=method):
            return f"{method} {url}"
        case Raise(trigger=trigger):
            return f"raise {trigger}"
        case Send(trigger=trigger):
            return f"send {trigger}"
        case Branch(condition=condition, then=then, otherwise=otherwise):
            tail = f" else ({_list(otherwise)})" if otherwise else ""
            return f"if {guard_words(condition)} ({_list(then)}){tail}"


def _write(action: Set | Compute | Timestamp | Increment | Append | Clear) -> str:
    path = ".".join(action.path)
    match action:
        case Set(value=value):
            return f"{path} = {_value(value)}"
        case Compute(expression=expression):
            return f"{path} = {expression.text}"
        case Timestamp():
            return f"{path} = now"
        case Increment(by=by, sign=sign):
            return f"{path} {'+' if sign == 1 else '-'}= {_value(by)}"
        case Append(value=value):
            return f"{path} gets {_value(value)}"
        case Clear():
            return f"clear {path}"


def _value(value: Any) -> str:
    if isinstance(value, Expression):
        return value.text
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
