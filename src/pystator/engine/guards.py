"""Guards as closures: ``guard(context, frame) -> bool``.

A registered guard is compiled to its place in the guard vector, so that it is bound late and a
topology can be shared; what stands in the vector is made here too, by `bind_guard`. All other
guards are complete when they are compiled.
"""

import inspect
from collections.abc import Callable, Container
from functools import partial
from typing import Any

from pystator.definition.model import AllOf, AnyOf, Check, ExprGuard, Guard, InState, Named, Not
from pystator.engine.comparisons import equality, membership, ordering
from pystator.engine.describe import guard_name
from pystator.engine.expressions import Undefined, compiled
from pystator.engine.frame import BoundGuard, Evaluate, Frame, NeedGuard, Test
from pystator.engine.operands import Operand, constant, field
from pystator.engine.paths import reader
from pystator.engine.registry import RegisteredGuard
from pystator.engine.values import Place, as_decimal, is_list, is_object
from pystator.errors import EvaluationError, FSMError, GuardNotFoundError
from pystator.records import Context

__all__ = ["Bind", "bind_guard", "compile_guard", "decided", "looks", "uses_frame"]

Bind = Callable[[str], int]
"""Name of a registered guard -> its place in the guard vector."""


def compile_guard(  # noqa: PLR0911 # a line for each kind
    guard: Guard, bind: Bind, *, undefined: Undefined = "null"
) -> Test:
    """The closure of a guard.

    Args:
        guard: Of the model.
        bind: Gives registered guards their places.
        undefined: What a missing field is to expressions.

    Returns:
        A function of a context and a frame, for truth. It raises `EvaluationError` for values it
        cannot work with, `GuardNotFoundError` for a guard that nobody registered, and `NeedGuard`
        for an async guard without a verdict.
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


def decided(guard: Guard, active: Container[str]) -> bool | None:
    """The verdict, when it depends on these active states alone; None when it has to be asked.

    What stands behind something that has to be asked decides nothing: asking may fail.
    """
    match guard:
        case InState(state):
            return state in active
        case Not(inner):
            verdict = decided(inner, active)
            return None if verdict is None else not verdict
        case AllOf(guards) | AnyOf(guards):
            ends = isinstance(guard, AnyOf)
            for inner in guards:
                verdict = decided(inner, active)
                if verdict is None or verdict is ends:
                    return verdict
            return not ends
        case _:
            return None


def looks(guard: Guard) -> bool:
    """Which states are active may decide about it."""
    match guard:
        case InState():
            return True
        case Not(inner):
            return looks(inner)
        case AllOf(guards) | AnyOf(guards):
            return any(looks(inner) for inner in guards)
        case _:
            return False


def uses_frame(guard: Guard) -> bool:
    """The guard's closure looks at more of the frame than its guard vector."""
    match guard:
        case ExprGuard(expression):
            return compiled(expression).uses_frame
        case InState():
            return True
        case Check(_, op, value):
            parts: list[Any] = value if op in {"in", "not_in"} else [value]
            return any(is_list(part) or is_object(part) for part in parts)
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
    left = field(check.field[0], read) if len(check.field) == 1 else Operand(read, "path")
    value = _operand(check.value)
    place = Place(guard_name(check))
    match check.op:
        case "is_set" | "is_null":
            return equality(left, constant(None), place, negated=check.op == "is_set")
        case "eq" | "neq":
            return equality(left, value, place, negated=check.op == "neq")
        case "in" | "not_in":
            return membership(left, value, place, negated=check.op == "not_in")
        case _:
            return ordering(_ORDERINGS[check.op], left, value, place)


def _operand(value: Any) -> Operand:
    """A value that is written in the machine."""
    if is_list(value):
        return Operand(lambda _context, _frame: value, items=[_operand(item) for item in value])
    if is_object(value):
        return Operand(lambda _context, _frame: value)
    return constant(value, as_decimal(value) if isinstance(value, float) else None)


# Registered guards ------------------------------------------------------------------------------


def bind_guard(name: str, guard: RegisteredGuard | None, *, lenient: bool = False) -> BoundGuard:
    """What stands in the guard vector for a name.

    Args:
        name: The guard's name.
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
            raise _raised(name, error) from error
        return verdict if verdict is True or verdict is False else _verdict(name, verdict)

    return ask


def _raised(name: str, error: Exception) -> EvaluationError:
    return EvaluationError(
        f"guard {name!r} raised {type(error).__name__}: {error}",
        context={"guard": name, "error": type(error).__name__},
    )


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

    async def call(context: Context) -> Any:
        try:
            return await function(context)
        except FSMError:
            raise
        except Exception as error:
            raise _raised(name, error) from error

    def ask(context: Context, frame: Frame) -> bool:
        verdicts = frame.verdicts
        key = (0, name)
        if verdicts is not None:
            key = (frame.asked, name)
            frame.asked += 1
            if key in verdicts:
                return verdicts[key]
        raise NeedGuard(key, partial(call, context))

    return ask
