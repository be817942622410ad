"""Steps and the async guards they may meet: blocking calls refuse them, async ones await them."""

from collections.abc import Callable

from pystator.engine.frame import NeedGuard, VerdictKey
from pystator.engine.result import TransitionResult
from pystator.engine.step import Verdicts, failed, wrapped
from pystator.errors import EvaluationError
from pystator.records import Context

__all__ = ["Step", "awaiting", "unawaited"]

Step = Callable[[Verdicts | None], TransitionResult]
"""A step that only lacks the verdicts of async guards."""


def unawaited(
    need: NeedGuard,
    state: str | None,
    trigger: str | None,
    context: Context,
    now: int | None,
    *,
    twin: str,
) -> TransitionResult:
    """The result of a blocking step that met an async guard: its error names the twin to await."""
    error = EvaluationError(
        f"guard {need.name!r} is async: use `await {twin}`", context={"guard": need.name}
    )
    return failed(state, trigger, error, context, now)


async def awaiting(
    step: Step, state: str | None, trigger: str | None, context: Context, now: int | None
) -> TransitionResult:
    """The step with the verdicts of the async guards it meets; one that raises fails it."""
    verdicts: dict[VerdictKey, bool] = {}
    while True:
        try:
            return step(verdicts)
        except NeedGuard as need:
            try:
                verdicts[need.key] = bool(await need.call())
            except Exception as error:  # noqa: BLE001 # a guard is the user's code
                return failed(state, trigger, wrapped(error), context, now)
