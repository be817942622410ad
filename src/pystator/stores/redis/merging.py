"""One order out of several parts: a read over the partitions of a cluster, or over one server.

Each part is asked for what comes next in it, all parts in one round trip. What is surely next of
all is given away; what is not stays until every part has been asked that far::

    part 0   a  d  f |        up to f
    part 1   b  c |           up to c     <- nothing after c is sure
    part 2   e  g  h ...      done
             a  b  c

Nothing here does I/O.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import merge
from math import isqrt
from typing import Any, ClassVar, Final, Generic, TypeVar

from pystator.stores.redis.ops import Command, Operation, Request

__all__ = ["MOST", "Part", "Place", "Walk"]

T = TypeVar("T", bound=tuple[Any, ...])

Place = tuple[Any, ...]
"""Where an item stands in the order of the walk: no other item stands there."""

MOST: Final = 1_000
"""Items that a part is asked for at once, at most."""


class Part(Generic[T]):
    """What is known of one part.

    Attributes:
        place: Whatever there is up to here has been found; None at the start.
        found: It, as far as it was not given away.
        is_done: There is nothing after ``place``.
        asked: How often it was asked.
    """

    __slots__ = ("asked", "found", "is_done", "number", "place")

    def __init__(self, number: int, place: Place | None) -> None:
        self.number = number
        self.place = place
        self.found: list[T] = []
        self.is_done = False
        self.asked = 0


class Walk(ABC, Generic[T]):
    """Items of all parts in order.

    Attributes:
        width: An item begins with so many values that are its place.
    """

    width: ClassVar[int]

    def __init__(self, places: Iterable[tuple[int, Place | None]]) -> None:
        self.parts: list[Part[T]] = [Part(number, place) for number, place in places]

    @abstractmethod
    def ask(self, part: Part[T], count: int) -> Command:
        """The command for about so many of the next items of a part."""

    @abstractmethod
    def take(self, part: Part[T], reply: Any) -> None:
        """Put what was found behind `Part.found`, move `Part.place`, say whether it is done."""

    @property
    def is_done(self) -> bool:
        """Nothing is left."""
        return all(part.is_done and not part.found for part in self.parts)

    def next(self, count: int) -> Operation[list[T]]:
        """The next items, as many as one round trip gives, at most ``count``; perhaps none."""
        empty = [part for part in self.parts if not part.found and not part.is_done]
        if empty:
            commands = [self.ask(part, self._share(count, part.asked)) for part in empty]
            replies: Sequence[Any] = yield Request(commands, reads=True)
            for part, reply in zip(empty, replies, strict=True):
                part.asked += 1
                self.take(part, reply)
        return self._given(count)

    def _share(self, count: int, asked: int) -> int:
        """Items are spread evenly, about; who is asked again has more than its share."""
        count = min(count, MOST)
        share = count // len(self.parts)
        if len(self.parts) > 1:
            share = (share + 2 * isqrt(share) + 2) << min(asked, 8)
        return min(max(share, 1), MOST)

    def _given(self, count: int) -> list[T]:
        waiting = [part.place for part in self.parts if not part.is_done]
        bound: Place | None = None
        for place in waiting:
            if place is None:  # it has not said how far it is
                return []
            if bound is None or place < bound:
                bound = place
        given: list[T] = []
        for item in merge(*[part.found for part in self.parts], key=self._place):
            if len(given) == count or (bound is not None and item[: self.width] > bound):
                break
            given.append(item)
        if given:
            last = self._place(given[-1])
            for part in self.parts:
                del part.found[: bisect_right(part.found, last, key=self._place)]
        return given

    def _place(self, item: T) -> Place:
        return item[: self.width]
