"""Sequels: a plan and the eventless one that follows it, as one.

An event that makes something else happen mostly makes the same thing happen again, to another
entity. So what both did - actions, microsteps, the net change to timers - is added up once, and
kept by the row they start from; each event computes the context alone.
"""

from collections.abc import Container, Mapping
from typing import Final

from pystator.definition.model import TransitionNode
from pystator.engine.plans import Plan

__all__ = ["LONGEST", "SEQUELS", "sequel"]

LONGEST: Final = 8
"""Microsteps of a sequel; an event of more is worked out each time."""

SEQUELS: Final = 64
"""Sequels that a row keeps."""


def sequel(
    plan: Plan, following: Plan, timers: Mapping[str, TransitionNode], active: Container[str]
) -> Plan:
    """The two as one, whose effects are run already.

    Args:
        plan: A short plan, or a sequel.
        following: A short plan where it leads.
        timers: Of the machine: id -> transition.
        active: The states before the event: only their timers may have been armed before.
    """
    armed = dict(plan.delays)
    cancelled = dict.fromkeys(plan.cancelled)
    for timer in following.cancelled:
        armed.pop(timer, None)
        if timer == plan.trigger or timers[timer].source in active:
            cancelled[timer] = None
    for timer, delay in following.delays:
        armed[timer] = delay
        cancelled.pop(timer, None)
    made = Plan(
        success=True,
        source_state=plan.source_state,
        target_state=following.target_state,
        trigger=plan.trigger,
        actions=plan.actions + following.actions,
        delays=tuple(armed.items()),
        cancelled=tuple(cancelled),
        microsteps=plan.microsteps + following.microsteps,
    )
    made.target = following.target
    made.blocks = made.ats = ()
    made.effect = None
    made.quiet = following.quiet
    made.short = made.light = True
    made.fast = made.idle = False
    made.needs_now = plan.needs_now
    return made
