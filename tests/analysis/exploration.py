"""Everything that can happen in a small machine: the engine itself, tried with every event, timer and context."""

import json
from collections import deque
from typing import Any

from analysis.made_up import CONTEXTS
from pystator import StateMachine
from pystator.definition.model import Definition

SECOND = 1_000_000
NOW = 1_000 * SECOND

Spot = tuple[str, str, tuple[tuple[str, int], ...]]
"""Configuration, what is remembered, and armed timers with the time they have left."""


class Exploration:
    """What was seen.

    Attributes:
        entered: Names of nodes that were entered in a step that came to rest.
        taken: Positions of the transitions that were.
        edges: (configuration, next configuration), at rest.
        rests: Configurations at rest.
        steps: Of each event: what each of its microsteps took, left, entered, and on which event.
    """

    def __init__(
        self,
        definition: Definition,
        limit: int,
        contexts: list[dict[str, Any]] = CONTEXTS,
        guards: dict[str, Any] | None = None,
    ) -> None:
        self.machine = StateMachine.from_definition(definition)
        self.machine.bind_guards(guards or {})
        self.contexts = contexts
        self.triggers = definition.triggers
        self.order = {
            way.timer.id: way.index for way in definition.transitions if way.timer is not None
        }
        self.entered: set[str] = set()
        self.taken: set[int] = set()
        self.edges: set[tuple[str, str]] = set()
        self.rests: set[str] = set()
        self.steps: set[tuple[Any, ...]] = set()
        self.whole = True
        self._queue: deque[Spot] = deque()
        self._seen: set[Spot] = set()
        self._limit = limit
        for context in self.contexts:
            self._note(None, "{}", {}, self.machine.begin(context, NOW))
        while self._queue:
            if len(self._seen) > limit:
                self.whole = False
                break
            self._expand(self._queue.popleft())

    def _expand(self, spot: Spot) -> None:
        state, memory, timers = spot
        due = [timer for timer, left in timers if left <= 0]
        reserved = json.loads(memory)
        if due:
            timer = min(due, key=lambda each: (dict(timers)[each], self.order[each]))
            left = {key: value for key, value in timers if key != timer}
            for context in self.contexts:
                result = self.machine.fire(state, timer, context | reserved, NOW)
                self._note(state, memory, left, result)
            return
        for context in self.contexts:
            for trigger in self.triggers:
                result = self.machine.process(state, trigger, context | reserved)
                self._note(state, memory, dict(timers), result)
            result = self.machine.apply(state, {}, context | reserved)
            self._note(state, memory, dict(timers), result)
        if timers:
            step = min(left for _, left in timers)
            self._push(state, memory, {key: value - min(step, SECOND) for key, value in timers})
            self._push(state, memory, {key: value - step for key, value in timers})

    def _note(self, state: str | None, memory: str, timers: dict[str, int], result: Any) -> None:
        if not result.success:
            if state is not None:
                self._push(state, memory, timers)
            return
        changes = result.timers
        for timer in changes.cancelled:
            timers.pop(timer, None)
        at = result.now or NOW
        armed = {timer: deadline - at for timer, deadline in changes.armed.items()}
        for step in result.microsteps:
            self.entered.update(step.entered)
            self.taken.update(step.transitions)
        self.steps.add(
            tuple(
                (step.trigger, step.transitions, step.exited, step.entered)
                for step in result.microsteps
            )
        )
        target = result.target_state
        self.rests.add(target)
        if state is not None:
            self.edges.add((state, target))
        kept = {key: value for key, value in result.context.items() if key == "_history"}
        self._push(target, json.dumps(kept, sort_keys=True), timers | armed)

    def _push(self, state: str, memory: str, timers: dict[str, int]) -> None:
        spot = (state, memory, tuple(sorted(timers.items())))
        if spot not in self._seen:
            self._seen.add(spot)
            self._queue.append(spot)

    # Questions --------------------------------------------------------------------------------

    def resting_with(self, name: str) -> list[str]:
        """The configurations at rest that have this leaf."""
        return [text for text in self.rests if name in text.split("+")]

    def after(self, start: str) -> set[str]:
        """The configurations that can follow, with the start."""
        found, pending = {start}, [start]
        while pending:
            here = pending.pop()
            for before, then in self.edges:
                if before == here and then not in found:
                    found.add(then)
                    pending.append(then)
        return found
