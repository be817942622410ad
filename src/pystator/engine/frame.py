"""What guards and effects may see of a step, beside the context.

Every compiled guard is called as ``guard(context, frame)`` and every compiled effect as
``effect(context, frame)``. A frame costs as much to make as a flat step, so an engine makes one
only where somebody looks at it (`pystator.engine.content.reads_frame`); everywhere else it passes
one idle `Frame` that it keeps with its guard vector.

The guard vector is a list: a guard is compiled to its index in it, and what stands there is bound
late. Machines that share a topology differ by their vectors alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pystator.engine.actions import ActionSpec, Phase  # noqa: TC001 # a public signature
from pystator.errors import EvaluationError
from pystator.records import Context

__all__ = ["FUEL", "BoundGuard", "Evaluate", "Frame", "NeedGuard", "Test", "spend"]

FUEL = 1_000_000
"""Units of work of a macrostep's expressions: items looked at, parts of long expressions."""


class Frame:
    """One macrostep, as seen by its guards and effects.

    Attributes:
        guards: The guard vector.
        trigger: Name of the event being processed; None at a start.
        data: Its payload.
        now: Time of the step in microseconds since the epoch.
        active: Names of the active states, ancestors included, at the start of the microstep.
        verdicts: Answers of async guards, by the keys of earlier `NeedGuard`s of this same step.
        asked: How many times an async guard was reached so far; a replay reaches them in the same
            order.
        fuel: What is left of `FUEL`.
        phase: Where the content that runs now stands; it ends up in the planned actions.
        raised: Triggers queued by ``raise`` effects, in order.
        calls: Actions planned by blocks that are not known before the step, in order.
    """

    __slots__ = (
        "active", "asked", "calls", "data", "fuel", "guards", "now", "phase", "raised", "trigger",
        "verdicts",
    )  # fmt: skip

    def __init__(
        self,
        guards: "list[BoundGuard]",
        trigger: str | None = None,
        data: Mapping[str, Any] | None = None,
        now: int | None = None,
        active: frozenset[str] = frozenset(),
        verdicts: "Mapping[VerdictKey, bool] | None" = None,
    ) -> None:
        self.guards = guards
        self.trigger = trigger
        self.data = data
        self.now = now
        self.active = active
        self.verdicts = verdicts
        self.asked = 0
        self.fuel = FUEL
        self.phase: Phase = "transition"
        self.raised: list[str] = []
        self.calls: list[ActionSpec] = []

    @property
    def time(self) -> int:
        """``now``, which this step needs.

        Raises:
            EvaluationError: The step was computed without a time.
        """
        if self.now is None:
            raise EvaluationError("this step needs the time: pass now=, an aware datetime")
        return self.now


Evaluate = Callable[[Context, Frame], Any]
"""A compiled expression or value."""

Test = Callable[[Context, Frame], bool]
"""A compiled guard."""

BoundGuard = Test
"""What a guard vector holds: a registered guard, wrapped by `pystator.engine.guards.bind`."""

VerdictKey = tuple[int, str]
"""(how many async guards were reached before, name of the guard)."""


class NeedGuard(Exception):  # noqa: N818 # a request to the driver of the step, no error
    """The step needs the verdict of an async guard.

    The driver awaits ``call()``, keeps its truth under ``key`` and computes the step again with
    these verdicts.
    """

    def __init__(self, key: VerdictKey, call: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(key)
        self.key = key
        self.call = call

    @property
    def name(self) -> str:
        """The guard's registered name."""
        return self.key[1]


def spend(frame: Frame, units: int) -> None:
    """Take fuel for work whose size depends on the data.

    Raises:
        EvaluationError: This macrostep has spent all of it.
    """
    frame.fuel -= units
    if frame.fuel < 0:
        raise EvaluationError(
            f"the expressions of this step did more than {FUEL:,} units of work:"
            " keep large lists out of expressions, or register a guard"
        )
