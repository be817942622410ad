"""The engine and the interpreter, side by side, step for step."""

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from pystator import ConfigurationError, Event, StateMachine
from pystator.engine.result import TransitionResult
from w3c_reference.choices import Choices
from w3c_reference.contents import GUARDS
from w3c_reference.datamodel import moment
from w3c_reference.features import reached
from w3c_reference.histories import Entity, Step, beginning, happening
from w3c_reference.interpreter import Taken
from w3c_reference.machines import machine as make_machine
from w3c_reference.reference import Outcome, Reference

__all__ = ["Difference", "Pair", "Report", "compare", "replay"]

LIVES = 2
STEPS = 7

Trace = list[Step]


class Difference(AssertionError):  # noqa: N818 # a finding
    """The engine and the interpreter do not agree.

    Attributes:
        machine: On this machine.
        lives: After this happened to its entities, one after the other.
        what: The first thing that differs.
    """

    def __init__(self, what: str, expected: object, got: object) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.got = got
        self.machine: dict[str, Any] = {}
        self.lives: list[Trace] = []

    def __str__(self) -> str:
        text = yaml.dump(
            self.machine, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110
        )
        lives = "\n".join(f"  {step}" for life in self.lives for step in life)
        return (
            f"{self.what} differs\n  expected {self.expected!r}\n  got      {self.got!r}\n"
            f"after\n{lives}\nof\n{text}"
        )


class _Plain(yaml.SafeDumper):
    """Says everything where it stands."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@dataclass
class Report:
    """What the comparison of one machine came through.

    Attributes:
        refused: What was wrong with the machine, if it was refused: codes of issues.
    """

    refused: list[str] = field(default_factory=list)
    steps: int = 0
    features: Counter[str] = field(default_factory=Counter)


class Pair:
    """A machine, in the engine and in the interpreter.

    Args:
        machine: The plain data of its file.

    Raises:
        ConfigurationError: The machine is refused.
    """

    def __init__(self, machine: dict[str, Any]) -> None:
        self.engine = StateMachine.from_dict(machine)
        self.reference = Reference(machine, GUARDS)
        self.asked: list[str] = []
        for name in GUARDS:
            self.engine.guard(name)(self._listening(name))

    def _listening(self, name: str) -> Any:
        def guard(context: dict[str, Any]) -> bool:
            self.asked.append(name)
            return GUARDS[name](context)

        return guard

    def live(self, entity: Entity, step: Step) -> Outcome:
        """Do one step in both worlds and compare everything.

        Raises:
            Difference: They do not agree.
        """
        expected = self.expected(entity, step)
        kept = deepcopy(entity.context)
        self.asked.clear()
        result = self.result(entity, step)
        same("the context that went in", kept, entity.context)
        told = observed(result)
        for what, value in wanted(expected).items():
            same(what, value, told[what])
        if not expected.success or expected.reason == "ignored":
            same(
                "untouched context", True, result.context is entity.context or step.kind == "start"
            )
        same("guards asked", expected.asked, self.asked)
        if expected.target is not None:
            self.compare_rest(expected.target)
        return expected

    def compare_rest(self, text: str) -> None:
        """What can be asked about where the entity is."""
        reference, engine = self.reference, self.engine
        configuration = reference.configuration(text)
        same("is_terminal", reference.is_terminal(configuration), engine.is_terminal(text))
        same(
            "triggers here", reference.triggers(configuration), engine.get_available_triggers(text)
        )

    def expected(self, entity: Entity, step: Step) -> Outcome:
        """What the interpreter says."""
        reference, text, context, now = (
            self.reference,
            entity.configuration,
            entity.context,
            step.now,
        )
        match step.kind:
            case "start":
                return reference.start(step.data, now)
            case "event":
                return reference.event(text, step.name, step.data, context, now)
            case "fire":
                return reference.fire(text, step.name, context, now)
            case "place":
                return reference.place(step.name, context, now)
            case "apply":
                return reference.apply(text, step.data, context, now)
        raise AssertionError(step.kind)

    def result(self, entity: Entity, step: Step) -> TransitionResult:
        """What the engine says."""
        engine, text, context, now = self.engine, entity.configuration, entity.context, step.now
        if step.shuffled:
            text = "+".join(reversed(text.split("+")))
        match step.kind:
            case "start":
                return engine.start(step.data, now=moment(now))
            case "event" if not step.data:
                return engine.process(text, step.name, context, now=moment(now))
            case "event" if now % 2_000:
                return engine.process(text, Event(step.name, step.data), context, now=moment(now))
            case "event":
                return engine.step(text, step.name, step.data, context, now)
            case "fire":
                return engine.fire(text, step.name, context, now)
            case "place":
                return engine.place(step.name, context, now)
            case "apply":
                return engine.apply(text, step.data, context, now=moment(now))
        raise AssertionError(step.kind)


def same(what: str, expected: object, got: object) -> None:
    """Raise where they differ; 1 and True do."""
    if expected != got or repr(expected) != repr(got):
        if isinstance(expected, dict | set) and expected == got:
            return  # another order
        raise Difference(what, expected, got)


def wanted(outcome: Outcome) -> dict[str, Any]:
    """An outcome of the interpreter, as it is compared."""
    return {
        "success": outcome.success,
        "reason": outcome.reason,
        "code": outcome.code,
        "rejections": outcome.rejections,
        "guard_name": outcome.rejections[0] if outcome.rejections else None,
        "source": outcome.source,
        "microsteps": [_plain(each) for each in outcome.microsteps],
        "target": outcome.target,
        "trigger": outcome.trigger,
        "actions": outcome.actions,
        "context": outcome.context,
        "armed": outcome.armed,
        "cancelled": outcome.cancelled,
    }


def observed(result: TransitionResult) -> dict[str, Any]:
    """A result of the engine, as it is compared."""
    metadata, timers = result.metadata, result.timers
    error = result.error
    return {
        "success": result.success,
        "reason": result.reason,
        "code": None if error is None else error.code.value,
        "rejections": [each["guard"] for each in metadata.get("rejections", [])],
        "guard_name": metadata.get("guard_name"),
        "source": result.source_state,
        "microsteps": [
            (
                each.source,
                each.target,
                each.trigger,
                list(each.exited),
                list(each.entered),
                list(each.transitions),
            )
            for each in result.microsteps
        ],
        "target": result.target_state,
        "trigger": result.trigger,
        "actions": [(spec.name, spec.phase, dict(spec.params)) for spec in result.all_actions],
        "context": result.context,
        "armed": dict(timers.armed),
        "cancelled": set(timers.cancelled),
    }


def _plain(step: Taken) -> tuple[Any, ...]:
    """A microstep; the initial one is along no transition of the machine."""
    ways = [] if step.source is None else [each.index for each in step.transitions]
    return step.source, step.target, step.trigger, step.exited, step.entered, ways


# Whole machines ---------------------------------------------------------------------------------


def compare(
    choices: Choices, *, lives: int = LIVES, steps: int = STEPS, again: bool = False
) -> Report:
    """Make a machine up, let things happen to some entities, and compare every step.

    Args:
        choices: Decide about the machine and all that happens.
        lives: Entities, one after the other; after one that met a livelock there is no other.
        steps: What happens to each after its start.
        again: The same happens to as many entities more, with all that the engine keeps by then.

    Raises:
        Difference: At the first one that differs, with all that led to it.
    """
    report = Report()
    machine = make_machine(choices)
    try:
        pair = Pair(machine)
    except ConfigurationError as error:
        issues: Any = error.context["issues"]
        report.refused = [issue["code"] for issue in issues if issue["severity"] == "error"]
        return report
    told: list[Trace] = []
    try:
        for _ in range(lives):
            told.append([])
            _live(choices, pair, steps, told[-1], report)
            if report.features["livelock"]:
                break
        if again:
            _relive(pair, list(told), told)
    except Difference as difference:
        difference.machine, difference.lives = machine, told
        raise
    return report


def _live(choices: Choices, pair: Pair, steps: int, told: Trace, report: Report) -> None:
    entity = Entity(None, {}, {})
    for _ in range(steps + 1):
        if entity.configuration is None:
            step = beginning(choices)
        else:
            step = happening(choices, pair.reference, entity)
        told.append(step)
        outcome = pair.live(entity, step)
        report.steps += 1
        report.features.update(reached(pair.reference.document, step, outcome))
        entity.after(outcome, step.now)
        if entity.configuration is None or report.features["livelock"]:
            break


def replay(machine: dict[str, Any], lives: list[Trace]) -> Difference | None:
    """Let the same things happen again; None when everything agrees or the machine is refused."""
    try:
        pair = Pair(machine)
    except ConfigurationError:
        return None
    told: list[Trace] = []
    try:
        _relive(pair, lives, told)
    except Difference as difference:
        difference.machine, difference.lives = machine, told
        return difference
    return None


def _relive(pair: Pair, lives: list[Trace], told: list[Trace]) -> None:
    for life in lives:
        entity = Entity(None, {}, {})
        told.append([])
        for step in life:
            if (step.kind == "start") is not (entity.configuration is None):
                break
            told[-1].append(step)
            entity.after(pair.live(entity, step), step.now)
