"""What actions write and raise, without running them."""

from collections.abc import Iterable, Iterator

from pystator.definition.model import (
    Action,
    Append,
    Branch,
    Call,
    Clear,
    Compute,
    CopyKey,
    Increment,
    Node,
    Raise,
    Send,
    Set,
    Snapshot,
    Timestamp,
)

__all__ = ["flat", "inside", "is_safe", "raised", "sent", "writes"]

Path = tuple[str, ...]


def flat(actions: Iterable[Action]) -> Iterator[Action]:
    """The actions, and those in branches."""
    for action in actions:
        if isinstance(action, Branch):
            yield from flat(action.then)
            yield from flat(action.otherwise)
        else:
            yield action


def inside(node: Node) -> Iterator[Action]:
    """The actions of entering and leaving a state."""
    for block in (*node.on_enter, *node.on_exit):
        yield from flat(block)


def writes(actions: Iterable[Action]) -> Iterator[Path]:
    """The paths that effects may write."""
    for action in flat(actions):
        match action:
            case Set() | Timestamp() | Increment() | Append() | Clear() | Compute() | Snapshot():
                yield action.path
            case CopyKey():
                yield action.target
            case _:
                pass


def is_safe(actions: Iterable[Action]) -> bool:
    """None of them can fail, whatever the context, and none has consequences in the same event."""
    return all(_is_safe(action) for action in actions)


def _is_safe(action: Action) -> bool:
    match action:
        case Set() | Timestamp():
            return action.when is None and len(action.path) == 1
        case Call():
            return action.when is None and not action.params
        case _:
            return False


def raised(actions: Iterable[Action]) -> Iterator[str]:
    """The events that are raised."""
    return (action.trigger for action in flat(actions) if isinstance(action, Raise))


def sent(actions: Iterable[Action]) -> Iterator[Send]:
    """The events that are sent."""
    return (action for action in flat(actions) if isinstance(action, Send))
