"""Guards that are caught when they write to the context.

A guard reads: the step and the store rely on it, and copying a nested context for each guard would
cost more than the step. One that writes into a nested value all the same changes what is stored
without a trace in history. In tests it can be caught::

    orchestrator = Orchestrator(machine, store, guards=pure_guards({"is_paid": is_paid}))
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any

from pystator.engine.copying import copy_value
from pystator.engine.registry import GuardRegistry, is_async
from pystator.errors import FSMError
from pystator.records import Context

__all__ = ["pure_guards"]


def pure_guards(guards: GuardRegistry | Mapping[str, Callable[..., Any]]) -> GuardRegistry:
    """The same guards; an event whose guard wrote to the context fails, and says which one did.

    Args:
        guards: As an `Orchestrator` or a machine takes them.
    """
    registry = guards if isinstance(guards, GuardRegistry) else GuardRegistry(guards)
    watched = GuardRegistry()
    for name in registry.names:
        entry = registry.find(name)
        if entry is not None:
            watched.register(name, _watched(name, entry.function))
    return watched


def _watched(name: str, function: Callable[[Context], Any]) -> Callable[[Context], Any]:
    if is_async(function):

        @wraps(function)
        async def ask_async(context: Context) -> Any:
            before = copy_value(context)
            verdict: Awaitable[Any] = function(context)
            answer = await verdict
            _compare(name, before, context)
            return answer

        return ask_async

    @wraps(function)
    def ask(context: Context) -> Any:
        before = copy_value(context)
        answer = function(context)
        _compare(name, before, context)
        return answer

    return ask


def _compare(name: str, before: Context, after: Context) -> None:
    changed = sorted(
        key
        for key in before.keys() | after.keys()
        if key not in before or key not in after or before[key] != after[key]
    )
    if changed:
        raise FSMError(
            f"guard {name!r} wrote to the context, at {', '.join(map(repr, changed))}: a guard only"
            " reads; write with an effect of the transition, or let an event bring the data",
            context={"guard": name, "keys": changed},
        )
