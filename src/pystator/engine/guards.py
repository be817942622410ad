"""Guards as closures: ``guard(context, frame) -> bool``.

A registered guard is compiled to its place in the guard vector, so that it is bound late and a topology can be shared;
what stands in the vector is made here too, by `bind_guard`. All other guards are complete when they are compiled.
"""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pystator.definition.model import AllOf, AnyOf, Check, ExprGuard, Guard, InState, Named, Not
from pystator.engine.comparisons import contains, equality, one_of, ordering
from pystator.engine.describe import guard_name
from pystator.engine.expressions import Undefined, compiled
from pystator.engine.frame import BoundGuard, Evaluate, Frame, NeedGuard, Test
from pystator.engine.paths import reader
from pystator.engine.registry import RegisteredGuard
from pystator.engine.values import Place, as_decimal
from pystator.errors import EvaluationError, FSMError, GuardNotFoundError
from pystator.records import Context

__all__ = ["Bind", "bind_guard", "compile_guard", "uses_frame"]

Bind = Callable[[str], int]
"""Name of a registered guard -> its place in the guard vector."""


def compile_guard(guard: Guard, bind: Bind, *, undefined: Undefined = "null") -> Test:
    """The closure of a guard.

    Args:
        bind: Gives registered guards their places.
        undefined: What a missing field is to expressions.

    Returns:
        A function of a context and a frame, for truth. It raises `EvaluationError` for values it cannot work with,
        `GuardNotFoundError` for a guard that nobody registered, and `NeedGuard` for an async guard without verdict.
    """
    match guard:
        case Named(name):
            return _named(bind(name))
        case ExprGuard(expression):
            expr = compiled(expression, undefined)
            return expr.run if expr.is_boolean else _truth(expr.run)
        case Check():
            return _check(guard)
        case AllOf(guards):
            return _all_of([compile_guard(inner, bind, undefined=undefined) for inner in guards])
        case AnyOf(guards):
            return _any_of([compile_guard(inner, bind, undefined=undefined) for inner in guards])
        case Not(inner):
            test = compile_guard(inner, bind, undefined=undefined)
            return lambda context, frame: not test(context, frame)
        case InState(state):
            return lambda _context, frame: state in frame.active


def uses_frame(guard: Guard) -> bool:
    """The guard's closure looks at more of the frame than its guard vector."""
    match guard:
        case ExprGuard(expression):
            return compiled(expression).uses_frame
        case InState():
            return True
        case Check(_, op, value):
            return op in {"eq", "neq", "in", "not_in"} and isinstance(value, list | dict)
        case AllOf(guards) | AnyOf(guards):
            return any(uses_frame(inner) for inner in guards)
        case Not(inner):
            return uses_frame(inner)
        case Named():
            return False


def _named(place: int) -> Test:
    def registered(context: Context, frame: Frame) -> bool:
        return frame.guards[place](context, frame)

    return registered


def _truth(run: Evaluate) -> Test:
    return lambda context, frame: bool(run(context, frame))


def _all_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def every(context: Context, frame: Frame) -> bool:
        for test in tests:  # noqa: SIM110 # a generator costs as much as a guard
            if not test(context, frame):
                return False
        return True

    return every


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def some(context: Context, frame: Frame) -> bool:
        for test in tests:  # noqa: SIM110 # a generator costs as much as a guard
            if test(context, frame):
                return True
        return False

    return some


# Checks -----------------------------------------------------------------------------------------

_ORDERINGS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def _check(check: Check) -> Test:
    """``{check: {field, op, value}}``, with the meaning that expressions have."""
    read = reader(check.field)
    name = check.field[0] if len(check.field) == 1 else None
    place = Place(guard_name(check))
    value: Any = check.value
    exact = as_decimal(value) if isinstance(value, float) else None
    match check.op:
        case "is_set":
            return lambda context, frame: read(context, frame) is not None
        case "is_null":
            return lambda context, frame: read(context, frame) is None
        case "eq" | "neq":
            return equality(
                read, _always(value), place, negated=check.op == "neq", name=name, constant=value,
                is_constant=not isinstance(value, list | dict), exact=exact,
            )  # fmt: skip
        case "in" | "not_in":
            return _member(read, value, place, negated=check.op == "not_in")
        case _:
            symbol = _ORDERINGS[check.op]
            constant = value if isinstance(value, int | float | str) else None
            return ordering(
                symbol, read, _always(value), place, name=name, constant=constant, exact=exact
            )


def _always(value: Any) -> Evaluate:
    return lambda _context, _frame: value


def _member(read: Evaluate, values: list[Any], place: Place, *, negated: bool) -> Test:
    """``in``: one of the values that are listed."""
    if not any(isinstance(value, list | dict) for value in values):
        exact = [as_decimal(value) if isinstance(value, float) else value for value in values]
        return one_of(read, values, exact, negated=negated)

    def held(context: Context, frame: Frame) -> bool:
        return contains(values, read(context, frame), frame, place) is not negated

    return held


# Registered guards ------------------------------------------------------------------------------


def bind_guard(name: str, guard: RegisteredGuard | None, *, lenient: bool = False) -> BoundGuard:
    """What stands in the guard vector for a name.

    Args:
        guard: What is registered; None when nothing is.
        lenient: A guard that nobody registered holds.
    """
    if guard is None:
        return _passes if lenient else partial(_missing, name)
    return _async_guard(guard) if guard.is_async else _sync_guard(guard)


def _passes(_context: Context, _frame: Frame) -> bool:
    return True


def _missing(name: str, _context: Context, _frame: Frame) -> bool:
    raise GuardNotFoundError(
        f"the machine names the guard {name!r}, and no such guard is registered:"
        f" machine.guard({name!r}) registers one, meta.strict_guard_registry: false lets it pass",
        context={"name": name},
    )


def _sync_guard(guard: RegisteredGuard) -> BoundGuard:
    function, name = guard.function, guard.name

    def ask(context: Context, _frame: Frame) -> bool:
        try:
            verdict = function(context)
        except FSMError:
            raise
        except Exception as error:
            raise EvaluationError(
                f"guard {name!r} raised {type(error).__name__}: {error}",
                context={"guard": name, "error": type(error).__name__},
            ) from error
        return verdict if verdict is True or verdict is False else _verdict(name, verdict)

    return ask


def _verdict(name: str, value: object) -> bool:
    """The truth of what a blocking guard returned."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise EvaluationError(
            f"guard {name!r} returned an awaitable: register the coroutine function itself",
            context={"guard": name},
        )
    return bool(value)


def _async_guard(guard: RegisteredGuard) -> BoundGuard:
    function, name = guard.function, guard.name

    def ask(context: Context, frame: Frame) -> bool:
        verdicts = frame.verdicts
        key = (0, name)
        if verdicts is not None:
            key = (frame.asked, name)
            frame.asked += 1
            if key in verdicts:
                return verdicts[key]
        call: Callable[[], Awaitable[Any]] = partial(function, context)
        raise NeedGuard(key, call)

    return ask
