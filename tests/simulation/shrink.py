"""Make a failing world smaller, piece by piece, as long as it still fails.

First what is large: callers, calls, events; then what is special: ways, entities, clocks; then troubles, one by one; at
last the turns that luck took. Each smaller world is tried with the old script as far as it fits, and then with some
fresh luck.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from simulation.luck import Drawn, Given, Label, Luck, Script
from simulation.plan import CallerPlan, Op, Plan
from simulation.trace import Trace

__all__ = ["Failure", "shrink"]

_FRESH = 30
"""Draws of fresh luck for each smaller world."""

Run = Callable[[Plan, Luck, Trace | None], object]
"""Runs a world; an `AssertionError` is a failure."""


Same = Callable[[Plan, Drawn | Given], "Failure | None"]
"""Runs a world; whether it fails in the way that is looked into."""


class Failure:
    """A world that fails, and how.

    Attributes:
        plan, script: They make it fail each time.
        error: How.
    """

    def __init__(self, plan: Plan, script: Script, error: AssertionError) -> None:
        self.plan = plan
        self.script = script
        self.error = error

    @property
    def kind(self) -> str:
        """What it says, without names and numbers: a smaller world has to fail in the same way."""
        words = str(self.error).split(": ")
        plain = [word for word in words if not set(word) & set("0123456789")] or words
        return re.sub(r"[0-9]+.*", "", plain[-1])[:40]

    @property
    def size(self) -> tuple[int, int, int]:
        """Callers, events, troubles."""
        events = sum(len(op.items) or 1 for caller in self.plan.callers for op in caller.ops)
        return len(self.plan.callers), events, len(self.script.troubles)

    def trace(self, run: Run) -> str:
        """Run it once more, and tell what happens."""
        trace = Trace()
        try:
            run(self.plan, Given(self.script), trace)
        except AssertionError as error:
            return f"{self.plan}\n{trace}\n!!! {error}"
        return f"{self.plan}\n{trace}\n(it does not fail again)"


def shrink(run: Run, plan: Plan) -> Failure | None:
    """The smallest failing world that is found from a plan; None when the plan's own does not fail."""
    failure = _tried(run, plan, Drawn(plan, Script()))
    if failure is None:
        return None
    kind = failure.kind

    def same(plan: Plan, luck: Drawn | Given) -> Failure | None:
        found = _tried(run, plan, luck)
        return found if found is not None and found.kind == kind else None

    while True:
        smaller = _smaller(same, failure)
        if smaller is None:
            return failure
        failure = smaller


def _tried(run: Run, plan: Plan, luck: Drawn | Given) -> Failure | None:
    try:
        run(plan, luck, None)
    except AssertionError as error:
        return Failure(plan, luck.script or Script(), error)
    return None


def _smaller(same: Same, failure: Failure) -> Failure | None:
    for plan in _plans(failure.plan):
        found = same(plan, Given(failure.script))
        for again in range(1, _FRESH):
            if found is not None:
                break
            fresh = same(plan, Drawn(plan, Script(), again))
            if fresh is not None:
                found = same(fresh.plan, Given(fresh.script))
        if found is not None:
            return found
    for script in _scripts(failure.script):
        found = same(failure.plan, Given(script))
        if found is not None and _weight(found.script) < _weight(failure.script):
            return found
    for again in range(1, _FRESH):
        found = same(failure.plan, Drawn(failure.plan, Script(), again))
        if found is not None and len(found.script.troubles) < len(failure.script.troubles):
            return same(found.plan, Given(found.script))
    return None


def _weight(script: Script) -> tuple[int, int, int]:
    """Troubles, turns, and changes from one to another."""
    turns = script.turns
    changes = sum(one[0] != other[0] for one, other in pairwise(turns))
    return len(script.troubles), len(turns), changes


# Smaller plans ----------------------------------------------------------------------------------


def _plans(plan: Plan) -> Iterator[Plan]:
    callers = plan.callers
    for number in range(len(callers)):
        if len(callers) > 1:
            yield replace(plan, callers=callers[:number] + callers[number + 1 :])
    for number, caller in enumerate(callers):
        for smaller in _callers(caller):
            yield replace(plan, callers=(*callers[:number], smaller, *callers[number + 1 :]))
    for number, mode in enumerate(plan.modes):
        if mode != "plain" and any(caller.process == number for caller in callers):
            yield replace(plan, modes=(*plan.modes[:number], "plain", *plan.modes[number + 1 :]))
    yield from _plainer(plan)


def _plainer(plan: Plan) -> Iterator[Plan]:
    if any(plan.skews):
        yield replace(plan, skews=tuple([0] * len(plan.skews)))
    if any(plan.extras):
        yield replace(plan, extras=tuple([""] * len(plan.extras)))
    if plan.eager:
        yield replace(plan, eager=0)
    if plan.chatty:
        yield replace(plan, chatty=False)
    if plan.flights > 1:
        yield replace(plan, flights=1)
    if plan.room < 10_000:
        yield replace(plan, room=10_000)
    if plan.most < 256:
        yield replace(plan, most=256)
    if plan.patience < 1e9:
        yield replace(plan, patience=1e9)
    if plan.pace:
        yield replace(plan, pace=0)
    used = sorted({caller.process for caller in plan.callers})
    if len(used) < len(plan.modes):
        yield replace(
            plan,
            modes=tuple([plan.modes[number] for number in used]),
            extras=tuple([plan.extras[number] for number in used]),
            skews=tuple([plan.skews[number] for number in used]),
            callers=tuple(
                [replace(each, process=used.index(each.process)) for each in plan.callers]
            ),
        )
    for entity in sorted(
        {item.entity for each in plan.callers for op in each.ops for item in op.items}
    ):
        if entity != "e0":
            yield replace(plan, callers=tuple([_moved(each, entity) for each in plan.callers]))


def _moved(caller: CallerPlan, entity: str) -> CallerPlan:
    """The caller, sending to e0 what it sent to another entity."""
    ops = [
        Op(
            op.kind,
            tuple(
                [replace(item, entity="e0") if item.entity == entity else item for item in op.items]
            ),
        )
        for op in caller.ops
    ]
    return replace(caller, ops=tuple(ops))


def _callers(caller: CallerPlan) -> Iterator[CallerPlan]:
    ops = caller.ops
    for number, op in enumerate(ops):
        if len(ops) > 1:
            yield replace(caller, ops=ops[:number] + ops[number + 1 :])
        for smaller in _ops(op):
            yield replace(caller, ops=(*ops[:number], smaller, *ops[number + 1 :]))


def _ops(op: Op) -> Iterator[Op]:
    if len(op.items) > 1:
        for number in range(len(op.items)):
            yield Op(op.kind, op.items[:number] + op.items[number + 1 :])
    elif op.kind not in {"event", "sweep"}:
        yield Op("event", op.items)
    for number, item in enumerate(op.items):
        if item.trigger is None:
            plain = replace(item, trigger="note", data={"tag": item.tag})
            yield Op(op.kind, (*op.items[:number], plain, *op.items[number + 1 :]))


# Smaller scripts --------------------------------------------------------------------------------


def _scripts(script: Script) -> Iterator[Script]:
    for label in script.troubles:
        for shift in range(4):
            yield _without(script, label, shift)
    turns = script.turns
    size = len(turns)
    while size:
        for start in range(0, len(turns), size):
            yield Script(turns[:start] + turns[start + size :], script.troubles)
        size //= 2


def _without(script: Script, label: Label, shift: int) -> Script:
    """Without one trouble, and without as many requests as it led to: later ones are counted again."""
    name, number = label

    def moved(each: Label) -> Label:
        return (name, each[1] - shift) if each[0] == name and each[1] > number else each

    return Script(
        [moved(each) for each in script.turns],
        {moved(each): trouble for each, trouble in script.troubles.items() if each != label},
    )
