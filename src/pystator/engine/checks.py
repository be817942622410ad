"""What ``meta.validate_context`` checks: state variables and context invariants."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pystator.definition.model import Definition, StateVariable
from pystator.engine.describe import guard_name
from pystator.engine.frame import Evaluate, Frame
from pystator.engine.guards import compile_guard
from pystator.errors import ErrorCode, EvaluationError, InvalidTransitionError
from pystator.records import Context

__all__ = ["Checks"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "object": (dict,),
}


class Checks:
    """The checks of one machine, compiled."""

    __slots__ = ("_invariants", "_variables")

    def __init__(self, definition: Definition, bind: Any) -> None:
        self._variables = definition.variables
        self._invariants: list[tuple[str, str, Evaluate]] = [
            (
                invariant.name,
                invariant.message
                or f"invariant {invariant.name!r} does not hold: {guard_name(invariant.guard)}",
                compile_guard(invariant.guard, bind),
            )
            for invariant in definition.invariants
        ]

    def check(self, context: Context, frame: Frame) -> None:
        """Look at a context.

        Raises:
            InvalidTransitionError: With code ``context_invalid``; ``context["problems"]`` lists
                everything found.
        """
        problems = [
            {"name": variable.key, "message": problem}
            for variable in self._variables
            for problem in _problems(variable, context)
        ]
        for name, message, holds in self._invariants:
            try:
                if holds(context, frame):
                    continue
            except EvaluationError as error:
                problems.append({"name": name, "message": f"{message} ({error.message})"})
            else:
                problems.append({"name": name, "message": message})
        if problems:
            raise InvalidTransitionError(
                "the context is not valid: " + "; ".join([each["message"] for each in problems]),
                context={"problems": problems},
                code=ErrorCode.CONTEXT_INVALID,
            )


def _problems(variable: StateVariable, context: Context) -> Iterator[str]:
    value = context.get(variable.key)
    if value is None:
        if variable.required:
            yield f"{variable.key!r} is required"
        return
    if variable.type is None:
        return
    fits = isinstance(value, _TYPES[variable.type])
    if not fits or (variable.type == "number" and isinstance(value, bool)):
        yield f"{variable.key!r} must be a {variable.type}, not {type(value).__name__}"
