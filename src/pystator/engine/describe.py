"""Guards, actions and transitions of the model as people wrote them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pystator.definition.expressions import Expression
from pystator.definition.model import (
    Action,
    After,
    AllOf,
    AnyOf,
    Append,
    At,
    Branch,
    Call,
    Check,
    Clear,
    Compute,
    CopyKey,
    ExprGuard,
    Guard,
    Http,
    Increment,
    InState,
    Named,
    Not,
    Raise,
    Send,
    Set,
    Snapshot,
    Target,
    Timestamp,
    TransitionNode,
    ValidateKeys,
    label,
)
from pystator.engine.public import Transition

__all__ = [
    "action_entry",
    "destination",
    "guard_entry",
    "guard_name",
    "public_transition",
    "target_text",
]


def guard_entry(guard: Guard) -> Any:  # noqa: PLR0911 # one line a guard
    """The entry of a ``guards`` list."""
    match guard:
        case Named(name):
            return name
        case ExprGuard(expression):
            return {"expr": expression.text}
        case Check(path, op, value):
            check: dict[str, Any] = {"field": ".".join(path), "op": op}
            if op in {"in", "not_in"}:
                check["values"] = value
            elif op not in {"is_set", "is_null"}:
                check["value"] = value
            return {"check": check}
        case AllOf(guards):
            return {"allOf": [guard_entry(inner) for inner in guards]}
        case AnyOf(guards):
            return {"anyOf": [guard_entry(inner) for inner in guards]}
        case Not(inner):
            return {"not": guard_entry(inner)}
        case InState(state):
            return {"in_state": label(state)}


def guard_name(guard: Guard) -> str:  # noqa: PLR0911 # one line a guard
    """A guard in one line: ``is_paid``, ``qty >= 1``, ``not (is_paid)``."""
    match guard:
        case Named(name):
            return name
        case ExprGuard(expression):
            return expression.text
        case Check(path, op, value):
            subject = f"{'.'.join(path)} {op}"
            return subject if op in {"is_set", "is_null"} else f"{subject} {value!r}"
        case AllOf(guards):
            return "allOf(" + ", ".join([guard_name(inner) for inner in guards]) + ")"
        case AnyOf(guards):
            return "anyOf(" + ", ".join([guard_name(inner) for inner in guards]) + ")"
        case Not(inner):
            return f"not ({guard_name(inner)})"
        case InState(state):
            return f"in_state {label(state)}"


def _value(value: Any) -> Any:
    if isinstance(value, Expression):
        return {"expr": value.text}
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return {key: _value(inner) for key, inner in entries}
    if isinstance(value, list | tuple):
        return [_value(inner) for inner in cast("Sequence[Any]", value)]
    return value


def action_entry(action: Action) -> Any:
    """The entry of an ``actions`` list."""
    if isinstance(action, Branch):
        return {
            "branch": {
                "when": guard_entry(action.condition),
                "then": [action_entry(inner) for inner in action.then],
                "else": [action_entry(inner) for inner in action.otherwise],
            }
        }
    entry = _effect_entry(action) if not isinstance(action, Call | Http) else _call_entry(action)
    if action.when is not None:
        entry["when"] = guard_entry(action.when)
    return entry["name"] if list(entry) == ["name"] else entry


def _effect_entry(action: Action) -> dict[str, Any]:  # noqa: PLR0911 # one line an effect
    match action:
        case Set(path, value):
            return {"set": {".".join(path): _value(value)}}
        case Timestamp(path):
            return {"timestamp": ".".join(path)}
        case Increment(path, by, sign):
            return {"increment" if sign > 0 else "decrement": {".".join(path): _value(by)}}
        case Append(path, value):
            return {"append": {"field": ".".join(path), "value": _value(value)}}
        case Clear(path):
            return {"clear": ".".join(path)}
        case Compute(path, expression):
            return {"compute": {".".join(path): expression.text}}
        case Raise(trigger):
            return {"raise": trigger}
        case _:
            return _named_effect_entry(action)


def _named_effect_entry(action: Action) -> dict[str, Any]:
    match action:
        case CopyKey(source, target):
            params: dict[str, Any] = {"from": ".".join(source), "to": ".".join(target)}
            return {"name": "copy_key", "params": params}
        case ValidateKeys(keys):
            return {"name": "validate_keys", "params": {"keys": [".".join(key) for key in keys]}}
        case Snapshot(path):
            return {"name": "snapshot", "params": {"key": ".".join(path)}}
        case Send(trigger, entity, machine, after, context):
            send = {
                "trigger": trigger,
                "entity": _value(entity),
                "machine": machine,
                "after": after,
            }
            return {"send": {**send, "context": _value(context)}}
        case _:
            return {"name": type(action).__name__}


def _call_entry(action: Call | Http) -> dict[str, Any]:
    entry: dict[str, Any]
    if isinstance(action, Http):
        http = {"url": action.url, "method": action.method, "headers": dict(action.headers)}
        entry = {"http": {**http, "body": _value(action.body)}}
    else:
        entry = {"name": action.name}
        if action.params:
            entry["params"] = _value(action.params)
    if action.timeout is not None:
        entry["timeout"] = action.timeout
    if action.retry:
        entry["retry"] = action.retry
        entry["retry_backoff"] = action.retry_backoff
    return entry


def target_text(target: Target) -> str:
    """``open``, ``H(open)`` or ``H*(open)``."""
    name = label(target.name)
    if not target.history:
        return name
    return f"H({name})" if target.history == "shallow" else f"H*({name})"


def destination(node: TransitionNode) -> str:
    """Where a transition leads, in one word: its targets, or its source when it stays."""
    return "+".join([target_text(target) for target in node.targets]) or label(node.source)


def public_transition(node: TransitionNode) -> Transition:
    """The transition of one source, as users write it."""
    names = [target_text(target) for target in node.targets]
    at = node.timer.expression.text if isinstance(node.timer, At) else None
    return Transition(
        trigger=node.events[0] if node.events else None,
        source=label(node.source),
        dest=None if not names else names[0] if len(names) == 1 else names,
        guards=[guard_entry(guard) for guard in node.guards],
        actions=[action_entry(action) for action in node.content],
        after=node.timer.microseconds // 1000 if isinstance(node.timer, After) else None,
        at=None if at is None else {"expr": at},
        region=node.region,
        internal=node.internal,
        auto=node.eventless,
        description=node.description,
        refs=list(node.refs),
        metadata=node.metadata,
    )
