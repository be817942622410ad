"""Whether the answers of concurrent calls can be explained: by some order, one call at a time.

A history is *linearizable* if each call can be given one moment, between its start and its answer,
at which it happened as a whole, so that all answers are those of calls made one after the other. A
call whose answer was lost may have happened at any moment after its start, or never.

The search is Wing and Gong's, with Lowe's memory of where it has been: try each call that may be
next; go back when none fits; never look twice at the same calls done with the same result. Entities
are apart, so each is searched alone. Two thousand calls of eight clients take well below a second.

When there is no order, the history is followed moment by moment with everything that may have
happened so far (Lowe's just-in-time search). The first answer that leaves no possibility is the end
of the smallest window that cannot be ordered: that call, and those that ran beside it.

J. M. Wing and C. Gong, Testing and Verifying Concurrent Objects, 1993; G. Lowe, Testing for
Linearizability, 2017.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from pystator.records import Key

__all__ = ["Model", "Operation", "Window", "can_be_ordered", "find_window", "partition"]

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)
S = TypeVar("S", bound=Hashable)


@dataclass(slots=True)
class Operation(Generic[C]):
    """A call as its client saw it.

    Attributes:
        client: Who made it.
        key: The entity, ``(entity_id, machine_name)``.
        call: What was asked and answered, in the words of the model.
        invoked: The monotonic clock before it, in nanoseconds; on Linux and macOS, processes of one
            machine share this clock.
        returned: The clock after it; None when the answer was lost.
    """

    client: str
    key: Key
    call: C
    invoked: int
    returned: int | None


class Model(Protocol[C_contra, S]):
    """What calls do when they are made one after the other."""

    @property
    def start(self) -> S:
        """What an entity is before the first call."""
        ...

    def step(self, state: S, call: C_contra) -> S | None:
        """The state after the call; None if it cannot have been answered so in this state.

        A call without an answer does what it would do.
        """
        ...

    def is_silent(self, call: C_contra) -> bool:
        """Whether the call changed nothing, by its answer: nobody can miss it."""
        ...

    def tell(self, call: C_contra) -> str:
        """The call and its answer, for people."""
        ...

    def tell_state(self, state: S) -> str:
        """The state, for people."""
        ...


@dataclass(slots=True)
class Window(Generic[C]):
    """Calls that can be put in no order that gives their answers.

    Attributes:
        key: The entity.
        operations: The calls, by their start.
        before: What the entity may have been before them, told by the model.
        leading: The last calls before them, in an order that is possible.
    """

    key: Key
    operations: list[Operation[C]]
    before: list[str]
    leading: list[Operation[C]]


def partition(operations: Iterable[Operation[C]]) -> dict[Key, list[Operation[C]]]:
    """Operations by entity."""
    found: dict[Key, list[Operation[C]]] = {}
    for operation in operations:
        found.setdefault(operation.key, []).append(operation)
    return found


def find_window(operations: Iterable[Operation[C]], model: Model[C, S]) -> Window[C] | None:
    """The first window that cannot be ordered; None when the history is linearizable.

    Args:
        operations: In any order; of any number of entities.
        model: What the calls do.
    """
    for key, own in partition(operations).items():
        if not can_be_ordered(own, model, model.start):
            return _explained(key, own, model)
    return None


# The search ---------------------------------------------------------------------------------------


def _moments(operations: Sequence[Operation[C]]) -> list[tuple[int, bool]]:
    """Starts and answers in the order of the clock: (number of the operation, is it the start).

    What starts in the nanosecond of an answer may have been before it.
    """
    moments = [(each.invoked, 0, number) for number, each in enumerate(operations)]
    moments += [
        (each.returned, 1, number)
        for number, each in enumerate(operations)
        if each.returned is not None
    ]
    moments.sort()
    return [(number, not kind) for _, kind, number in moments]


class _Line:
    """Moments that are still to be explained, linked so that an operation is taken out at once.

    Place 0 is before the first. Starts of operations whose answer was lost are kept apart: they are
    tried last, for most of them explain nothing.

    Attributes:
        after: The next place, by place.
        moments: The operation and whether it starts, by place.
        lost: (place, operation) of the starts without an answer.
    """

    def __init__(self, operations: Sequence[Operation[C]]) -> None:
        self.moments: list[tuple[int, bool]] = [(-1, False)]
        self.lost: list[tuple[int, int]] = []
        self._start: dict[int, int] = {}
        self._end: dict[int, int] = {}
        for number, starts in _moments(operations):
            if operations[number].returned is None:
                self.lost.append((len(self.moments), number))
                continue
            (self._start if starts else self._end)[number] = len(self.moments)
            self.moments.append((number, starts))
        size = len(self.moments)
        self.after = [*range(1, size), 0]
        self._before = [size - 1, *range(size - 1)]

    def take(self, number: int) -> None:
        """Take an operation out."""
        for place in (self._start[number], self._end[number]):
            before, after = self._before[place], self.after[place]
            self.after[before], self._before[after] = after, before

    def put_back(self, number: int) -> None:
        """Put the operation that was taken last back in."""
        for place in (self._end[number], self._start[number]):
            self.after[self._before[place]] = self._before[self.after[place]] = place


def can_be_ordered(operations: Sequence[Operation[C]], model: Model[C, S], state: S) -> bool:
    """Whether there is an order that gives the answers, from this state on.

    Args:
        operations: Of one entity.
        model: What the calls do.
        state: What the entity is before them.
    """
    return _tried(operations, model, state) is None


def _tried(operations: Sequence[Operation[C]], model: Model[C, S], state: S) -> int | None:
    """None if there is an order; else a bit for each call that was put into one on trial."""
    line = _Line(operations)
    twins = _twins(operations, [number for _, number in line.lost])
    waiting = len(operations) - len(line.lost)
    steps: list[tuple[int, int, int, S, int]] = []  # operation, place, index in lost, state, done
    seen: set[tuple[int, S]] = set()
    done = tried = 0
    place, index = line.after[0], -1
    while waiting:
        number, starts = line.moments[place]
        if not starts:  # who is to be next is among the lost, or was tried
            index += 1
            if index == len(line.lost) or line.lost[index][0] > place:
                if not steps:
                    return tried
                number, place, index, state, done = steps.pop()
                if index < 0:
                    line.put_back(number)
                    waiting += 1
                    place = line.after[place]
                continue
            number = line.lost[index][1]
            twin = twins.get(number)
            if done >> number & 1 or not (twin is None or done >> twin & 1):
                continue
        new = model.step(state, operations[number].call)
        mark = done | 1 << number
        if new is None or (index >= 0 and new == state) or (mark, new) in seen:
            if index < 0:
                place = line.after[place]
            continue
        seen.add((mark, new))
        tried |= mark
        steps.append((number, place, index, state, done))
        if index < 0:
            line.take(number)
            waiting -= 1
        state, done = new, mark
        place, index = line.after[0], -1
    return None


def _twins(operations: Sequence[Operation[C]], lost: Sequence[int]) -> dict[int, int]:
    """For lost calls that are alike, the one before: it does not matter which of them happened."""
    found: dict[int, int] = {}
    for place, number in enumerate(lost):
        for other in reversed(lost[:place]):
            if operations[other].call == operations[number].call:
                found[number] = other
                break
    return found


# The explanation ----------------------------------------------------------------------------------

_World = tuple[S, frozenset[int]]
"""What the entity may be, and which of the calls that run have happened if it is that."""

_Path = tuple[int, "_Path"] | None
"""The call that happened last, and those before it."""

_LEADING: Final = 3


def _explained(key: Key, operations: Sequence[Operation[C]], model: Model[C, S]) -> Window[C]:
    """The smallest window of a history that has no order."""
    last, numbers, worlds = _followed(operations, model)
    end = operations[last].returned or 0
    window: dict[int, Operation[C]] = {}
    for number in numbers:
        each = operations[number]
        late = each.returned is None or each.returned > end
        window[number] = replace(each, returned=None) if late else each
    window = _without_the_dead(window, worlds, model)
    for number in numbers:
        if number in window and number != last and model.is_silent(window[number].call):
            fewer = {other: each for other, each in window.items() if other != number}
            if _fits_nowhere(fewer, worlds, model):
                window = fewer
    states = dict.fromkeys(model.tell_state(state) for state, _ in worlds)
    path = next(iter(worlds.values()))
    leading: list[Operation[C]] = []
    while path is not None and len(leading) < _LEADING:
        number, path = path
        if number not in window and not model.is_silent(operations[number].call):
            leading.append(operations[number])
    return Window(key, [operations[number] for number in window], list(states), leading[::-1])


def _without_the_dead(
    window: dict[int, Operation[C]], worlds: Iterable[_World[S]], model: Model[C, S]
) -> dict[int, Operation[C]]:
    """Without the calls whose answer was lost and that cannot happen here, whatever is tried."""
    living: set[int] = set()
    for state, done in worlds:
        numbers = [number for number in window if number not in done]
        tried = _tried([window[number] for number in numbers], model, state) or 0
        living.update(number for place, number in enumerate(numbers) if tried >> place & 1)
    return {
        number: each
        for number, each in window.items()
        if each.returned is not None or number in living
    }


def _fits_nowhere(
    window: Mapping[int, Operation[C]], worlds: Iterable[_World[S]], model: Model[C, S]
) -> bool:
    return not any(
        can_be_ordered(
            [each for number, each in window.items() if number not in done], model, state
        )
        for state, done in worlds
    )


def _followed(
    operations: Sequence[Operation[C]], model: Model[C, S]
) -> tuple[int, list[int], dict[_World[S], _Path]]:
    """The first call whose answer is impossible, all that run beside it, and what may have been.

    The worlds are those before it starts; what they agree on is no longer among the calls.
    """
    lost = [number for number, each in enumerate(operations) if each.returned is None]
    lost.sort(key=lambda number: operations[number].invoked)
    twins = _twins(operations, lost)
    worlds: dict[_World[S], _Path] = {(model.start, frozenset()): None}
    running: list[int] = []
    started: dict[int, tuple[int, list[int], dict[_World[S], _Path]]] = {}
    moments = _moments(operations)
    for place, (number, starts) in enumerate(moments):
        if starts:
            started[number] = (place, running.copy(), worlds)
            running.append(number)
            continue
        found = _those_with(number, running, worlds, operations, twins, model)
        if not found:
            begun, beside, before = started[number]
            beside += [other for other, starts in moments[begun:place] if starts]
            agreed = frozenset[int].intersection(*[done for _, done in before])
            return number, [other for other in beside if other not in agreed], before
        worlds = found
        running.remove(number)
        del started[number]
    raise AssertionError("this history has an order")


def _those_with(
    number: int,
    running: Sequence[int],
    worlds: Mapping[_World[S], _Path],
    operations: Sequence[Operation[C]],
    twins: Mapping[int, int],
    model: Model[C, S],
) -> dict[_World[S], _Path]:
    """The worlds in which a call has happened by now, with whatever else may have."""
    found: dict[_World[S], _Path] = {}
    seen = set(worlds)
    ahead = list(worlds.items())
    while ahead:
        (state, done), path = ahead.pop()
        if number in done:
            found.setdefault((state, done - {number}), path)
            continue
        for other in running:
            if other in done or twins.get(other, other) not in done | {other}:
                continue
            new = model.step(state, operations[other].call)
            if new is None or (operations[other].returned is None and new == state):
                continue
            world = (new, done | {other})
            if world not in seen:
                seen.add(world)
                ahead.append((world, (other, path)))
    return found
