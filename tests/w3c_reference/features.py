"""What a step reached: a generator that never gets somewhere proves nothing about it."""

from w3c_reference.document import Document, State, Transition
from w3c_reference.histories import Step
from w3c_reference.interpreter import Taken, is_descendant
from w3c_reference.reference import Outcome

__all__ = ["reached"]


def reached(document: Document, step: Step, outcome: Outcome) -> set[str]:
    """Names of what happened in a step."""
    found = outcome.features | {outcome.reason or f"{step.kind} done"}
    if outcome.success and outcome.microsteps and step.kind != "start":
        found.add(f"{step.kind} taken")
    if step.kind == "event" and step.name != document.normal(step.name):
        found.add("trigger normalised")
    if outcome.target and "+" in outcome.target:
        found.add("regions at rest")
        if step.shuffled:
            found.add("configuration in another order")
    if len(outcome.microsteps) > 1:
        found.add("several microsteps")
    for timers, what in ((outcome.armed, "armed"), (outcome.cancelled, "cancelled")):
        if timers:
            found.add(f"timer {what}")
    if any(document.timers[timer].timer.at for timer in outcome.armed):
        found.add("timer armed by data")
    for taken in outcome.microsteps:
        found |= _of_microstep(document, taken)
    return found


def _of_microstep(document: Document, taken: Taken) -> set[str]:
    if taken.source is None:
        return {"several initial states"} if len(document.initial) > 1 else set()
    found = {name for each in taken.transitions for name in _of_transition(document, each)}
    if len(taken.transitions) > 1:
        found.add("several transitions at once")
    if taken.target.count("+") >= 3:
        found.add("four leaves")
    return found


def _of_transition(document: Document, transition: Transition) -> set[str]:
    source, targets = transition.source, [target.state for target in transition.targets]
    found: set[str] = set()
    kinds = {state.kind for state in targets}
    facts = {
        "internal without destination": transition.internal and not targets,
        "internal into its source": transition.internal and bool(targets),
        "eventless": transition.eventless and source.kind != "choice",
        "out of a choice": source.kind == "choice",
        "into a choice": "choice" in kinds,
        "into a terminal state": "final" in kinds,
        "several destinations": len(targets) > 1,
        "into another region": any(_crosses(source, each) for each in targets),
        "out of an ancestor": bool(source.children),
        "out of a region": source.kind == "region",
        f"done event of a {source.kind} state taken": transition.is_done,
        "timer with a trigger": bool(transition.timer and transition.event),
        "depth of four": _depth(source) >= 4,
    }
    found.update(name for name, holds in facts.items() if holds)
    return found


def _crosses(source: State, target: State) -> bool:
    """Both lie in one parallel state, in different regions."""
    above = source
    while above is not None and not is_descendant(target, above):
        above = above.parent
    return above is not None and above.kind == "parallel" and above is not source


def _depth(state: State) -> int:
    depth = 0
    while state.kind != "root":
        depth += state.kind != "region"
        state = state.parent
    return depth
