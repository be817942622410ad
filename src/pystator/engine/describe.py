"""Guards, actions and transitions of the model as people wrote them."""

from collections.abc import Iterator, Mapping, Sequence
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
    Kind,
    Named,
    Node,
    Not,
    Raise,
    Send,
    Set,
    Snapshot,
    Timestamp,
    TransitionNode,
    ValidateKeys,
    label,
)
from pystator.engine.public import State, Transition

__all__ = [
    "action_entry",
    "destination",
    "guard_entry",
    "guard_name",
    "public_state",
    "public_transition",
    "written_order",
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


def destination(node: TransitionNode) -> str:
    """Where a transition leads, in one word: its targets, or its source when it stays."""
    return "+".join([target.text for target in node.targets]) or label(node.source)


def public_transition(node: TransitionNode, nodes: Mapping[str, Node]) -> Transition:
    """The transition of one source, as users write it."""
    source = nodes[node.source]
    timer = node.timer
    return Transition(
        trigger=node.events[0] if node.events else None,
        source=(source.parent or "") if source.kind is Kind.REGION else source.name,
        dest=_dest(node),
        guards=[guard_entry(guard) for guard in node.guards],
        actions=[action_entry(action) for action in node.content],
        after=timer.microseconds // 1000 if isinstance(timer, After) else None,
        at={"expr": timer.expression.text} if isinstance(timer, At) else None,
        region=node.region,
        internal=node.internal,
        auto=node.eventless and source.kind is not Kind.CHOICE,
        description=node.description,
        refs=list(node.refs),
        metadata=node.metadata,
        id=None if timer is None or timer.id.startswith(f"{node.source}:") else timer.id,
    )


def _dest(node: TransitionNode) -> str | list[str] | None:
    names = [target.text for target in node.targets]
    return None if not names else names[0] if len(names) == 1 else names


def public_state(node: Node, nodes: Mapping[str, Node]) -> State:
    """A state, as users write it.

    The states of a region say which parallel state they are in, and that one's ``regions`` list
    them: a region may have the name of a state.
    """
    parent = nodes.get(node.parent or "")
    if parent is not None and parent.kind is Kind.REGION:
        parent = nodes.get(parent.parent or "")
    when = [guard_entry(guard) for guard in node.when]
    return State(
        name=node.name,
        type=node.type,
        description=node.description,
        group=node.group,
        parent=None if parent is None else parent.name,
        initial_child=node.initial[0].name if node.initial else None,
        regions=[_region(child) for child in node.children if child.kind is Kind.REGION],
        on_enter=[action_entry(action) for block in node.on_enter for action in block],
        on_exit=[action_entry(action) for block in node.on_exit for action in block],
        timeout=_timeout(node),
        when=None if not when else when[0] if len(when) == 1 else when,
        on_done=_done(node),
        metadata=node.metadata,
    )


def written_order(entries: Any) -> Iterator[str]:
    """The names of a file's states in the order in which they stand there, regions included."""
    for entry in entries or ():
        if isinstance(entry, Mapping):
            state = cast("Mapping[str, Any]", entry)
            yield state["name"]
            for region in state.get("regions") or ():
                yield from written_order(region.get("states"))


def _region(node: Node) -> dict[str, Any]:
    region: dict[str, Any] = {
        "name": node.label,
        "initial": node.initial[0].name,
        "states": [child.name for child in node.children],
    }
    if node.description is not None:
        region["description"] = node.description
    return region


def _timeout(node: Node) -> dict[str, Any] | None:
    for way in node.transitions:
        if way.origin == "timeout" and isinstance(way.timer, After):
            seconds = way.timer.microseconds / 1_000_000
            return {"seconds": seconds, "destination": way.targets[0].text}
    return None


def _done(node: Node) -> Any:
    entries = [_done_entry(way) for way in node.transitions if way.origin == "on_done"]
    if not entries:
        return None
    only = entries[0]
    if len(entries) > 1:
        return entries
    return only["dest"] if list(only) == ["dest"] else only


def _done_entry(way: TransitionNode) -> dict[str, Any]:
    entry = {
        "dest": _dest(way),
        "guards": [guard_entry(guard) for guard in way.guards],
        "actions": [action_entry(action) for action in way.content],
        "internal": way.internal,
        "description": way.description,
        "refs": list(way.refs),
        "metadata": dict(way.metadata),
    }
    return {name: value for name, value in entry.items() if value}
