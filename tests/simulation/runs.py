"""Run one world, and tell of it."""

from typing import Any

from simulation.invariants import check
from simulation.luck import Drawn, Luck
from simulation.plan import Plan, plan_of
from simulation.shrink import shrink
from simulation.trace import Trace
from simulation.world import Violation, World

__all__ = ["run", "run_seed", "told"]


def run(plan: Plan, luck: Luck, trace: Trace | None = None, store: Any = None) -> World:
    """Run a world to its end and look at everything.

    Args:
        store: An empty store to keep it in; a new memory store by default.

    Raises:
        AssertionError: A promise was broken.
    """
    world = World(plan, luck, trace=trace, store=store)
    try:
        world.run()
        check(world)
    except AssertionError:
        raise
    except Exception as error:
        raise Violation(f"the world itself fails: {error!r}") from error
    return world


def run_seed(seed: int, trace: Trace | None = None) -> World:
    """The world of a seed."""
    plan = plan_of(seed)
    return run(plan, Drawn(plan), trace)


def told(seed: int) -> str:
    """What happens in the world of a seed; when it fails, in the smallest one as well that fails."""
    trace = Trace()
    head = f"seed {seed}\n{plan_of(seed)}"
    try:
        run_seed(seed, trace)
    except AssertionError as error:
        whole = f"{head}\n{trace}\n!!! {error}"
    else:
        return f"{head}\n{trace}\nno promise is broken"
    failure = shrink(run, plan_of(seed))
    if failure is None:
        return whole
    callers, events, troubles = failure.size
    size = f"{callers} callers, {events} events, {troubles} troubles"
    return f"{whole}\n\nthe smallest world found: {size}\n{failure.trace(run)}"
