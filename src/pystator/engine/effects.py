"""Effects as closures: ``effect(context, frame) -> context``.

An effect returns a new context and never changes the one it is given: it copies the top level and
each object on the way to what it writes, and shares everything else. An effect that writes nothing
returns the context itself.

::

    context  {"total": 3, "order": {"qty": 1, "customer": {...}}}       set: {order.qty: 2}
                             |                      |
    new      {"total": 3, "order": {"qty": 2, "customer": same object}}

Inside, an effect is a *writer*: ``write(draft, frame) -> bool`` writes into a dict that nobody else
holds and says whether it did. Several effects in a row are several writers and one copy:
`compile_effects`.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pystator.definition.expressions import Expression
from pystator.definition.model import (
    Action,
    Append,
    Branch,
    Clear,
    Compute,
    CopyKey,
    Guard,
    Increment,
    Set,
    Snapshot,
    Timestamp,
    ValidateKeys,
)
from pystator.engine.arithmetic import calculation
from pystator.engine.expressions import Undefined, compiled
from pystator.engine.frame import Evaluate, Frame
from pystator.engine.guards import Bind, compile_guard
from pystator.engine.paths import MISSING, follow, put, remove
from pystator.engine.unchecked import LOW, SMALL
from pystator.engine.values import (
    MAX_SIZE,
    Place,
    as_decimal,
    class_of,
    copied,
    is_list,
    is_object,
    kind,
    size,
)
from pystator.errors import EvaluationError
from pystator.records import Context, to_datetime

__all__ = ["Effect", "compile_effect", "compile_effects", "compile_params"]

Effect = Callable[[Context, Frame], Context]

Path = tuple[str, ...]

Writer = Callable[[Context, Frame], bool]
"""Writes into a draft; says whether it did."""


def compile_effect(action: Action, bind: Bind, *, undefined: Undefined = "null") -> Effect:
    """The closure of one effect.

    Args:
        action: An effect, or a branch of effects; not what plans an action or raises an event.
        bind: Gives registered guards of ``when`` and ``branch`` their places.
        undefined: What a missing field is to expressions.

    Returns:
        A function of a context and a frame. It raises `EvaluationError` when a value does not fit;
        then nothing was written.
    """
    match action:
        case Increment((name,), int(by), sign, None) if LOW < by < SMALL and type(by) is int:
            return _count(name, by * sign, _amount(action))
        case _:
            return compile_effects((action,), bind, undefined=undefined)


def compile_effects(
    actions: Sequence[Action], bind: Bind, *, undefined: Undefined = "null"
) -> Effect:
    """The closure of several effects in a row, which copies the context's top level once."""
    writers = [_writer(action, bind, undefined) for action in actions]
    if len(writers) == 1:
        return _one(writers[0])

    def run(context: Context, frame: Frame) -> Context:
        draft = {**context}
        wrote = False
        for write in writers:
            if write(draft, frame):
                wrote = True
        return draft if wrote else context

    return run


def compile_params(
    params: Mapping[str, Any], *, undefined: Undefined = "null"
) -> Callable[[Context, Frame], dict[str, Any]]:
    """The closure of an action's params: a new dict each time, expressions inside evaluated."""
    return _value(dict(params), undefined)


def _one(write: Writer) -> Effect:
    def run(context: Context, frame: Frame) -> Context:
        draft = {**context}
        return draft if write(draft, frame) else context

    return run


def _count(name: str, by: int, amount: Callable[[Any], Any]) -> Effect:
    """``increment: name``, what lives are full of."""

    def run(context: Context, _frame: Frame) -> Context:
        value = context.get(name)
        if type(value) is int and LOW < value < SMALL:
            return {**context, name: value + by}
        return {**context, name: amount(value)}

    return run


# Values -----------------------------------------------------------------------------------------


def _value(value: Any, undefined: Undefined) -> Evaluate:
    """A value that may hold expressions: the closure that makes one more of it."""
    if isinstance(value, Expression):
        return compiled(value, undefined).run
    if not (is_object(value) or is_list(value)):
        return lambda _context, _frame: value
    if not _holds_expression(value):
        make = copied(value)
        return lambda _context, _frame: make()
    if is_object(value):
        parts = {key: _value(inner, undefined) for key, inner in value.items()}
        return lambda context, frame: {key: run(context, frame) for key, run in parts.items()}
    items = [_value(inner, undefined) for inner in value]
    return lambda context, frame: [run(context, frame) for run in items]


def _holds_expression(value: Any) -> bool:
    if is_object(value):
        return any(_holds_expression(inner) for inner in value.values())
    if is_list(value):
        return any(_holds_expression(inner) for inner in value)
    return isinstance(value, Expression)


def _checked(value: Any, place: Place) -> Any:
    """A value of the context that is written once more: a few steps must not fill the memory."""
    if (is_object(value) or is_list(value)) and size(value, MAX_SIZE) > MAX_SIZE:
        raise place.error(f"what is written has more than {MAX_SIZE:,} values or too many levels")
    return value


# Writers ----------------------------------------------------------------------------------------


def _writer(action: Action, bind: Bind, undefined: Undefined) -> Writer:
    """The writer of one effect, with its condition."""
    if isinstance(action, Branch):
        return _branch(action, bind, undefined)
    write = _unconditional(action, undefined)
    when: Guard | None = action.when
    if when is None:
        return write
    holds = compile_guard(when, bind, undefined=undefined)
    return lambda draft, frame: write(draft, frame) if holds(draft, frame) else False


def _branch(action: Branch, bind: Bind, undefined: Undefined) -> Writer:
    holds = compile_guard(action.condition, bind, undefined=undefined)
    then = [_writer(inner, bind, undefined) for inner in action.then]
    otherwise = [_writer(inner, bind, undefined) for inner in action.otherwise]

    def write(draft: Context, frame: Frame) -> bool:
        wrote = False
        for one in then if holds(draft, frame) else otherwise:
            if one(draft, frame):
                wrote = True
        return wrote

    return write


def _unconditional(action: Action, undefined: Undefined) -> Writer:  # noqa: PLR0911 # a line each
    match action:
        case Set(path, value):
            return _set(path, value, undefined)
        case Compute(path, expression):
            place = Place(expression.text)
            return _assigning(path, compiled(expression, undefined).run, place)
        case Timestamp(path):
            return _assigning(path, _time, None)
        case Increment():
            return _increment(action, undefined)
        case Append(path, value):
            return _append(path, _value(value, undefined))
        case Clear(path):
            return lambda draft, _frame: remove(draft, path)
        case CopyKey(source, target):
            return _copy(source, target)
        case ValidateKeys(keys):
            return _validate(keys)
        case Snapshot(path):
            return _snapshot(path)
        case _:
            raise TypeError(f"{type(action).__name__} is no effect")


def _time(_context: Context, frame: Frame) -> Any:
    return to_datetime(frame.time)


def _set(path: Path, value: Any, undefined: Undefined) -> Writer:
    if len(path) != 1 or not isinstance(value, str | int | float | None):
        return _assigning(path, _value(value, undefined), None)
    (name,) = path

    def assign(draft: Context, _frame: Frame) -> bool:
        draft[name] = value
        return True

    return assign


def _assigning(path: Path, run: Evaluate, place: Place | None) -> Writer:
    """Write what a closure gives; with a place, look at its size first."""
    if len(path) == 1 and place is None:
        (name,) = path

        def assign(draft: Context, frame: Frame) -> bool:
            draft[name] = run(draft, frame)
            return True

        return assign

    def write(draft: Context, frame: Frame) -> bool:
        value = run(draft, frame)
        put(draft, path, value if place is None else _checked(value, place))
        return True

    return write


def _amount(action: Increment) -> Callable[[Any], Any]:
    """What becomes of a value that is incremented by a number that is written there."""
    word = "increment" if action.sign > 0 else "decrement"
    place = Place(f"{word}: {'.'.join(action.path)}")
    by: Any = action.by
    exact: Decimal | None = as_decimal(by) if isinstance(by, float) else None
    add = calculation(ast.Add if action.sign > 0 else ast.Sub, place, None, exact)
    step = by * action.sign if type(by) is int and LOW < by < SMALL else None

    def amount(value: Any) -> Any:
        if type(value) is int and step is not None and LOW < value < SMALL:
            return value + step
        if value is None and step is not None:
            return step
        return _added(value, by, add, place)

    return amount


def _added(value: Any, by: Any, add: Callable[[Any, Any], Any], place: Place) -> Any:
    if value is None:
        value = 0
    for each in (value, by):
        if not isinstance(each, int | float | Decimal) or isinstance(each, bool):
            raise place.error(f"a number is needed, not {kind(each)}")
    return add(value, by)


def _increment(action: Increment, undefined: Undefined) -> Writer:
    path = action.path
    if isinstance(action.by, Expression):
        evaluate = compiled(action.by, undefined).run
        place = Place(f"{'.'.join(path)}, by {action.by.text}")
        add = calculation(ast.Add if action.sign > 0 else ast.Sub, place)

        def write(draft: Context, frame: Frame) -> bool:
            by = evaluate(draft, frame)
            put(draft, path, _added(_current(draft, path), by, add, place))
            return True

        return write

    amount = _amount(action)
    if len(path) == 1:
        (name,) = path

        def count(draft: Context, _frame: Frame) -> bool:
            draft[name] = amount(draft.get(name))
            return True

        return count

    first, second = path[:2]
    is_deeper = len(path) > 2

    def count_below(draft: Context, _frame: Frame) -> bool:
        holder: Any = draft.get(first)
        if not is_deeper and class_of(holder) is dict:  # as nearly all of them are
            draft[first] = {**holder, second: amount(holder.get(second))}
            return True
        put(draft, path, amount(_current(draft, path)))
        return True

    return count_below


def _current(draft: Context, path: Path) -> Any:
    value = follow(draft, path)
    return None if value is MISSING else value


def _append(path: Path, run: Evaluate) -> Writer:
    place = Place(f"append: {'.'.join(path)}")

    def write(draft: Context, frame: Frame) -> bool:
        found = _current(draft, path)
        current: Any = [] if found is None else found
        if not is_list(current):
            raise place.error(f"an item can be appended to a list, not to {kind(current)}")
        if len(current) >= MAX_SIZE:
            raise place.error(f"a list has at most {MAX_SIZE:,} items")
        put(draft, path, [*current, _checked(run(draft, frame), place)])
        return True

    return write


def _copy(source: Path, target: Path) -> Writer:
    place = Place(f"copy_key: {'.'.join(source)} to {'.'.join(target)}")

    def write(draft: Context, _frame: Frame) -> bool:
        value = follow(draft, source)
        if value is MISSING:
            return remove(draft, target)
        put(draft, target, _checked(value, place))
        return True

    return write


def _validate(keys: tuple[Path, ...]) -> Writer:
    def write(draft: Context, _frame: Frame) -> bool:
        missing = [".".join(key) for key in keys if _current(draft, key) is None]
        if missing:
            raise EvaluationError(
                f"validate_keys: the context has no {', '.join(missing)}",
                context={"missing": missing},
            )
        return False

    return write


def _snapshot(path: Path) -> Writer:
    place = Place(f"snapshot: {'.'.join(path)}")

    def write(draft: Context, _frame: Frame) -> bool:
        own = {key: value for key, value in draft.items() if not key.startswith("_")}
        remove(own, path)  # not the last snapshot inside of the next one
        put(draft, path, _checked(own, place))
        return True

    return write
