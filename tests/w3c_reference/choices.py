"""Where the builder's choices come from: a seed, or Hypothesis.

One builder serves both. A seed makes the same machine for everybody, at once and a hundred thousand
times; Hypothesis makes fewer of them and shrinks what fails. Every choice is a number below a bound,
and 0 is the plain one, so that what is shrunk gets plainer.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

__all__ = ["Choices", "drawn", "seeded"]

T = TypeVar("T")


class Choices:
    """Choices made by a function that gives a number below a bound."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    def chance(self, percent: int) -> bool:
        """True so often; False is the plain choice."""
        return self.below(100) >= 100 - percent

    def pick(self, items: Sequence[T]) -> T:
        """One of them; the first is the plain choice."""
        return items[self.below(len(items))]

    def between(self, low: int, high: int) -> int:
        """A number, both bounds included."""
        return low + self.below(high - low + 1)

    def weighted(self, weights: dict[T, int]) -> T:
        """One of the keys, as often as its weight says; the first is the plain choice."""
        left = self.below(sum(weights.values()))
        for each, weight in weights.items():
            if left < weight:
                return each
            left -= weight
        raise AssertionError

    def several(self, items: Sequence[T], count: int) -> list[T]:
        """So many different ones, in order."""
        left = list(range(len(items)))
        found = [left.pop(self.below(len(left))) for _ in range(count)]
        return [items[place] for place in sorted(found)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of them in another order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


def seeded(seed: int) -> Choices:
    """The choices of a seed."""
    number = Random(seed).random
    return Choices(lambda bound: int(number() * bound))


@st.composite
def drawn(draw: Callable[..., int]) -> Choices:
    """The choices of Hypothesis."""
    bounds = {bound: st.integers(0, bound - 1) for bound in range(1, 600)}
    return Choices(lambda bound: draw(bounds[bound]))
