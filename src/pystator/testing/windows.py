"""A window that cannot be ordered, as a picture: who ran when, and what each was told.

::

    ('order-7', 'order'): these answers fit no order of the calls

      before: version 4 open {"n":4} (00a1f2), after
        b    commit of version 3 -> version 4 open {"n":4} (00a1f2): applied

      a     |--------------------|            commit of version 4 -> version 5 ...: applied
      b              |----------------------| commit of version 4 -> version 5 ...: applied
      c                    |-----------...    commit of version 5 -> ...: the answer was lost

    from 18.204 ms to 18.961 ms after the first call
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final, TypeVar

from pystator.testing.linearizability import Model, Operation, Window, find_window
from pystator.testing.models import Entities

__all__ = ["assert_linearizable", "picture"]

C = TypeVar("C")
S = TypeVar("S", bound=Hashable)

_WIDTH: Final = 32
_LONGEST: Final = 160
_STATES: Final = 3
_ENTITIES: Final[Model[Any, Any]] = Entities()


def assert_linearizable(
    operations: Sequence[Operation[Any]], model: Model[Any, Any] = _ENTITIES
) -> None:
    """Insist that some order of the calls explains every answer.

    Args:
        operations: What `RecordingStore` recorded; of any number of entities, in any order.
        model: What the calls do; by default, loads and commits.

    Raises:
        AssertionError: There is none; the message shows the smallest window that has none.
    """
    window = find_window(operations, model)
    if window is not None:
        raise AssertionError(picture(window, model, operations))


def picture(
    window: Window[C], model: Model[C, S], history: Sequence[Operation[C]] | None = None
) -> str:
    """The window, for people.

    Args:
        window: What `find_window` found.
        model: What it was found with.
        history: What it was found in, for the time since its first call.
    """
    ended = [each for each in window.operations if each.returned is not None]
    first = min(each.invoked for each in ended)
    last = max(each.returned or 0 for each in ended)
    since = min(each.invoked for each in history or window.operations)
    width = max(len(each.client) for each in window.operations + window.leading)
    lines = [f"{window.key!r}: these answers fit no order of the calls", ""]
    states = " or ".join(_short(state) for state in window.before[:_STATES])
    states += " or ..." if len(window.before) > _STATES else ""
    lines.append(f"  before: {states}" + (", after" if window.leading else ""))
    lines += [
        f"    {each.client:{width}}  {_short(model.tell(each.call))}" for each in window.leading
    ]
    lines.append("")
    lines += [
        f"  {each.client:{width}}  {_bar(each, first, last)}  {_short(model.tell(each.call))}"
        for each in window.operations
    ]
    moments = [(moment - since) / 1e6 for moment in (first, last)]
    lines += ["", f"from {moments[0]:.3f} ms to {moments[1]:.3f} ms after the first call"]
    return "\n".join(lines)


def _bar(operation: Operation[C], first: int, last: int) -> str:
    scale = (_WIDTH - 1) / max(last - first, 1)
    start = min(max(int((operation.invoked - first) * scale), 0), _WIDTH - 1)
    mark = "|" if operation.invoked >= first else "-"
    if operation.returned is None:
        return (" " * start + mark + "---...")[:_WIDTH].ljust(_WIDTH)
    end = max(int((operation.returned - first) * scale), start + 1)
    return (" " * start + mark + "-" * (end - start - 1) + "|").ljust(_WIDTH)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
