"""The values worth trying: one for each way in which a value can answer the atoms of formulas.

A field that is compared with 10 and 20 answers the same for 12 and 17. So the endless choice of
values becomes a short list: each constant, a value in each gap between them, null, and one of each
kind that compares with none of them. Fields that are compared with each other share a list, with as
many values in a gap as there are fields.

The list is *complete* (`every_value`): a formula that holds for none of its values holds for no
value at all. NaN is left out: it is no value of JSON. A *natural* list (`natural_values`) is a part
of it, of values a person would put there: they make the example in a message.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from pystator.definition.analysis.formulas import (
    Atom,
    Compare,
    Field,
    Free,
    OneOf,
    Term,
    Truth,
    View,
    views,
)

__all__ = ["Group", "Thing", "every_value", "groups", "natural_values"]

MAX_COMPARED = 3
"""Fields compared with each other; with more, nothing is said."""


class Thing:
    """A value that has no order and equals no constant: a list, an object, a time."""

    def __init__(self, truth: bool) -> None:
        self.truth = truth

    def __bool__(self) -> bool:
        return self.truth


_THINGS = (Thing(truth=True), Thing(truth=False), Thing(truth=True))


class Group:
    """Terms that are compared with each other, and what they are compared with.

    Attributes:
        constants: They are compared with.
        is_ordered: Some comparison asks which is greater.
        is_paired: Some comparison is among them.
        is_asked: The truth of one is asked for.
    """

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.constants: list[Any] = []
        self.is_ordered = False
        self.is_paired = False
        self.is_asked = False

    @property
    def is_known(self) -> bool:
        """Every term is a field: a person can set it."""
        return all(isinstance(term, Field) for term in self.terms)

    @property
    def is_small(self) -> bool:
        """There are few enough to try."""
        return len(self.terms) <= MAX_COMPARED

    def note(self, atom: Atom) -> None:
        """Learn from an atom about terms of this group."""
        for view in views(atom):
            if view.term not in self.terms:
                self.terms.append(view.term)
            if view.default is not None:
                self.constants.append(view.default)
        match atom:
            case Compare(_, symbol, right):
                self.is_ordered = self.is_ordered or symbol not in {"==", "!="}
                if isinstance(right, View):
                    self.is_paired = True
                else:
                    self.constants.append(right)
            case OneOf(_, items):
                self.constants.extend(items)
            case Truth():
                self.is_asked = True
            case Free():
                pass

    def absorb(self, other: "Group") -> None:
        """Take in another group."""
        self.terms.extend(term for term in other.terms if term not in self.terms)
        self.constants.extend(other.constants)
        self.is_ordered = self.is_ordered or other.is_ordered
        self.is_paired = self.is_paired or other.is_paired
        self.is_asked = self.is_asked or other.is_asked


def groups(found: Iterable[Atom]) -> list[Group]:
    """The groups of terms of some atoms, in the order of appearance."""
    by_term: dict[Term, Group] = {}
    for atom in found:
        seen = views(atom)
        if not seen:
            continue
        group = by_term.get(seen[0].term) or Group()
        for view in seen:
            other = by_term.get(view.term)
            if other is not None and other is not group:
                group.absorb(other)
        group.note(atom)
        by_term.update(dict.fromkeys(group.terms, group))
    return list(dict.fromkeys(by_term.values()))


# Numbers and texts ------------------------------------------------------------------------------


def _numbers(constants: Iterable[Any], *, asked: bool) -> list[Any]:
    """The numbers among constants, in order; true and false compare as 1 and 0."""
    found: set[Any] = {
        int(item) if isinstance(item, bool) else item
        for item in constants
        if isinstance(item, bool | int | float)
    }
    return sorted(found | {0} if asked else found)


def _texts(constants: Iterable[Any]) -> list[str]:
    return sorted({item for item in constants if isinstance(item, str)})


def _between(low: Any, high: Any, count: int) -> list[Any]:
    """So many numbers between two, whole ones where there are."""
    if isinstance(low, int) and isinstance(high, int) and high - low > count:
        step = (high - low) // (count + 1)
        return [low + step * (place + 1) for place in range(count)]
    start, width = Fraction(low), Fraction(high) - Fraction(low)
    exact = [start + width * (place + 1) / (count + 1) for place in range(count)]
    short = [_short(value, low, high) for value in exact]
    return short if len(set(short)) == count else exact


def _short(value: Fraction, low: Any, high: Any) -> Any:
    """The number as a float, where that still lies between."""
    number = float(value)
    return number if low < number < high else value


def _number_line(found: list[Any], count: int) -> list[Any]:
    """Numbers and those in the gaps around and between them."""
    if not found:
        return list(range(1, count + 1))
    line = [_whole_below(found[0]) - place for place in reversed(range(count))]
    for low, high in pairwise(found):
        line += [low, *_between(low, high, count)]
    top = _whole_above(found[-1])
    return [*line, found[-1], *(top + place for place in range(count))]


def _whole_below(number: Any) -> Any:
    return number - 1 if isinstance(number, int) else int(Fraction(number) // 1) - 1


def _whole_above(number: Any) -> Any:
    return number + 1 if isinstance(number, int) else int(Fraction(number) // 1) + 1


def _text_line(found: list[str], count: int, *, ordered: bool) -> list[str]:
    """Texts, and others: in the gaps where order matters, else any."""
    if not (ordered and found):
        return [*found, *_others(found, count)]
    line = {"", *found}
    for text, after in zip(found, [*found[1:], None], strict=True):
        for place in range(1, count + 1):
            near = text + "a" * place
            line.add(near if after is None or near < after else text + "\0" * place)
    return sorted(line)


def _others(found: Sequence[str], count: int) -> list[str]:
    names = ("other", "another", "a_third")
    free = [name for name in names if name not in found]
    return (free or [max(found) + "_"])[:count]


# The lists --------------------------------------------------------------------------------------


def every_value(group: Group) -> list[Any]:
    """The complete list for each term of a group; true and false answer as 1 and 0 do."""
    count = len(group.terms)
    numbers = _numbers(group.constants, asked=group.is_asked)
    texts = _texts([*group.constants, *([""] if group.is_asked else [])])
    things = _THINGS if group.is_paired else _THINGS[: 1 + group.is_asked]
    return [
        *_number_line(numbers, count),
        *_text_line(texts, count, ordered=group.is_ordered),
        None,
        *things,
    ]


def natural_values(group: Group, *, nullable: bool) -> list[Any]:
    """What a person would put into the fields of a group."""
    count = len(group.terms)
    values: list[Any] = []
    written = [item for item in group.constants if item is not None]
    numbers = [item for item in written if not isinstance(item, bool | str)]
    if numbers or (group.is_paired and not written):
        line = _number_line(_numbers(numbers, asked=False), count)
        whole = all(isinstance(item, int) for item in numbers)
        values += [item for item in line if not whole or isinstance(item, int)]
    texts = _texts(written)
    if texts:
        values += _text_line(texts, count, ordered=group.is_ordered)
    if any(isinstance(item, bool) for item in written) or (group.is_asked and not values):
        values += [True, False]
    if not values:
        values = ["something"]
    values = [value for value in values if not isinstance(value, Fraction)]
    return [*values, None] if nullable else values
