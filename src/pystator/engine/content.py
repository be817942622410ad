"""Blocks of actions, compiled.

A block becomes a tuple of steps, each called as ``run(context, frame) -> context``. A step whose
planned action is known in full brings it as ``spec``; one that is a pure effect is called *pure*;
everything else (params with expressions, ``when``, ``branch``, ``raise``) leaves planned actions
and raised events in the frame. Plans made of the first two kinds alone take the short way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, cast

from pystator.definition.expressions import Expression
from pystator.definition.model import (
    Action,
    Branch,
    Call,
    Check,
    Guard,
    Http,
    InState,
    Raise,
    Send,
    Timestamp,
)
from pystator.engine.actions import ActionSpec, Phase
from pystator.engine.effects import Effect, compile_effect, compile_params
from pystator.engine.expressions import compiled
from pystator.engine.frame import Frame
from pystator.engine.guards import Bind, compile_guard, uses_frame
from pystator.errors import ConfigurationError
from pystator.records import Context

__all__ = ["Step", "compile_block", "parts", "queueing", "reads_frame", "reads_time"]


class Step:
    """One compiled action.

    Attributes:
        spec: The planned action, when it is known before the event.
        pure: It is an effect: all it does is the context it returns.
        raises: It may queue an internal event.
        looks: It may look at which states are active.
        source: The part of the model it was compiled from; None for what the engine does itself.
    """

    __slots__ = ("looks", "pure", "raises", "run", "source", "spec")

    def __init__(
        self,
        source: Action | None,
        run: Effect,
        *,
        spec: ActionSpec | None = None,
        pure: bool = False,
        raises: bool = False,
    ) -> None:
        self.source = source
        self.run = run
        self.spec = spec
        self.pure = pure
        self.raises = raises
        self.looks = any(isinstance(part, InState) for part in parts(source))


# What is inside of a part of the model ----------------------------------------------------------


def parts(root: object) -> Iterator[object]:
    """Every record and expression inside of a part of the model, itself included."""
    pending: list[Any] = [root]
    while pending:
        part: Any = pending.pop()
        if isinstance(part, list | tuple):
            pending.extend(cast("list[Any]", part))
        elif isinstance(part, Mapping):
            pending.extend(cast("dict[str, Any]", part).values())
        elif isinstance(part, Expression):
            yield part
        elif is_dataclass(part):
            yield part
            pending.extend([getattr(part, each.name) for each in fields(part)])


def reads_frame(root: object) -> bool:
    """A closure compiled from it may look at more of the frame than the guard vector."""
    return any(
        isinstance(part, Timestamp)
        or (isinstance(part, Expression) and compiled(part).uses_frame)
        or (isinstance(part, Check | InState) and uses_frame(part))
        for part in parts(root)
    )


def reads_time(root: object) -> bool:
    """A closure compiled from it may look at the step's time."""
    return any(
        isinstance(part, Timestamp) or (isinstance(part, Expression) and "now" in part.calls)
        for part in parts(root)
    )


# Compilation ------------------------------------------------------------------------------------


def compile_block(actions: tuple[Action, ...], phase: Phase, bind: Bind) -> tuple[Step, ...]:
    """The steps of one block."""
    return tuple([_step(action, phase, bind) for action in actions])


def _step(action: Action, phase: Phase, bind: Bind) -> Step:
    if isinstance(action, Call):
        return _call(action, phase, bind)
    if isinstance(action, Branch):
        return _branch(action, phase, bind)
    if isinstance(action, Raise):
        return Step(action, _when(action.when, _raise(action.trigger), bind), raises=True)
    if isinstance(action, Http | Send):
        raise ConfigurationError(f"{type(action).__name__.lower()} actions are not supported")
    return Step(action, compile_effect(action, bind), pure=True)


def queueing(event: str) -> Step:
    """The step that queues an event of the engine's own."""
    return Step(None, _raise(event), raises=True)


def _raise(trigger: str) -> Effect:
    def run(context: Context, frame: Frame) -> Context:
        frame.raised.append(trigger)
        return context

    return run


def _when(guard: Guard | None, run: Effect, bind: Bind) -> Effect:
    """Run it only when the guard holds at this place."""
    if guard is None:
        return run
    holds = compile_guard(guard, bind)

    def conditional(context: Context, frame: Frame) -> Context:
        return run(context, frame) if holds(context, frame) else context

    return conditional


def _branch(action: Branch, phase: Phase, bind: Bind) -> Step:
    holds = compile_guard(action.condition, bind)
    then = compile_block(action.then, phase, bind)
    otherwise = compile_block(action.otherwise, phase, bind)

    def run(context: Context, frame: Frame) -> Context:
        for step in then if holds(context, frame) else otherwise:
            context = step.run(context, frame)
        return context

    steps = (*then, *otherwise)
    return Step(
        action,
        run,
        pure=all(step.pure for step in steps),
        raises=any(step.raises for step in steps),
    )


def _call(action: Call, phase: Phase, bind: Bind) -> Step:
    def plan(params: Mapping[str, Any]) -> ActionSpec:
        return ActionSpec(
            action.name,
            MappingProxyType(dict(params)),
            phase,
            action.timeout,
            action.retry,
            action.retry_backoff,
        )

    if any(isinstance(part, Expression) for part in parts(action.params)):
        evaluate = compile_params(action.params)

        def run(context: Context, frame: Frame) -> Context:
            frame.calls.append(plan(evaluate(context, frame)))
            return context

        return Step(action, _when(action.when, run, bind))

    spec = plan(action.params)

    def add(context: Context, frame: Frame) -> Context:
        frame.calls.append(spec)
        return context

    return Step(action, _when(action.when, add, bind), spec=spec if action.when is None else None)
