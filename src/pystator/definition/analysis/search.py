"""Questions about formulas: is there a context for which these hold and those do not?

Asked in two ways. `impossible` is a proof: no context whatever answers so. `example` gives a
context that does, of natural values. Between the two lies "not known", and then nothing is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pystator.definition.analysis.domains import Group, every_value, groups, natural_values
from pystator.definition.analysis.formulas import (
    ERROR,
    OPEN,
    Every,
    Field,
    Formula,
    Free,
    Negated,
    Some,
    Term,
    atoms,
    evaluate,
    surely,
)
from pystator.definition.data import is_map
from pystator.definition.expressions import EVENT

__all__ = ["Example", "Wanted", "example", "impossible"]

PATIENCE: Final = 3_000
"""Assignments that one question may look at."""

MAX_TERMS: Final = 60
"""Fields and conditions of one question."""

Wanted = Sequence[tuple[Formula, bool]]
"""Formulas, and whether they should hold."""


@dataclass(frozen=True, slots=True)
class Example:
    """A context, and the payload of an event, that answer a question.

    Attributes:
        values: Field -> its value; null is a field that is missing.
    """

    context: Mapping[str, Any]
    payload: Mapping[str, Any]
    values: Mapping[Field, Any] = field(hash=False)


class _GaveUpError(Exception):
    """The question is too large."""


class _Search:
    """One search over assignments, depth first."""

    def __init__(self, wanted: Wanted, choices: Mapping[Any, Sequence[Any]]) -> None:
        self.wanted = wanted
        self.choices = choices
        self.order: list[Term | Free] = list(choices)
        self.values: dict[Any, Any] = {}
        self.left = PATIENCE

    def fits(self) -> bool | None:
        """Whether the assignment so far answers; None while that is open."""
        is_open = False
        for part, holds in self.wanted:
            verdict = evaluate(part, self.values)
            if verdict is OPEN:
                is_open = True
            elif verdict is ERROR or verdict is not holds:
                return False
        return None if is_open else True

    def run(self, depth: int = 0) -> bool:
        """Find an assignment; it stands in ``values``."""
        self.left -= 1
        if self.left < 0 or len(self.order) > MAX_TERMS:
            raise _GaveUpError
        fit = self.fits()
        if fit is not None:
            return fit
        if depth == len(self.order):
            return False
        term = self.order[depth]
        for value in self.choices[term]:
            self.values[term] = value
            if self.run(depth + 1):
                return True
        del self.values[term]
        return False


def impossible(wanted: Wanted) -> bool:
    """It is certain that no context answers."""
    return _impossible(tuple(wanted))


@lru_cache(maxsize=4096)
def _impossible(wanted: tuple[tuple[Formula, bool], ...]) -> bool:
    """The same guards stand in many places, and are asked about in every round."""
    parts = [part for part, _ in wanted]
    if any(part is not holds for part, holds in wanted if isinstance(part, bool)):
        return True
    found = [atom for part in parts for atom in atoms(part)]
    if len(parts) < 2 and all(_is_atom(part) for part in parts):
        return False  # one atom may hold or not
    choices: dict[Any, Sequence[Any]] = {}
    for group in groups(found):
        if not group.is_small:
            return False
        values = every_value(group)
        choices.update((term, values) for term in group.terms)
    choices.update((atom, (True, False)) for atom in found if isinstance(atom, Free))
    try:
        return not _Search(wanted, choices).run()
    except _GaveUpError:
        return False


def _is_atom(part: Formula) -> bool:
    """It is one, or says that one does not hold: no `in_state` that is known stands beside it."""
    while isinstance(part, Negated):
        part = part.part
    return not isinstance(part, bool | Every | Some)


def example(wanted: Wanted, never_null: Iterable[str] = ()) -> Example | None:
    """A context that answers, of natural values; None when none was found.

    Args:
        wanted: The question.
        never_null: Fields (by their first part) that are always there.
    """
    certain = frozenset(never_null)
    found = [atom for part, _ in wanted for atom in atoms(part)]
    choices: dict[Any, Sequence[Any]] = {}
    for group in groups(found):
        if group.is_known and group.is_small:
            choices.update(_natural(group, certain))
    search = _Search(wanted, choices)
    try:
        if not search.run():
            return None
    except _GaveUpError:
        return None
    return _built(wanted, search.values)


def _natural(group: Group, certain: frozenset[str]) -> Iterable[tuple[Term, Sequence[Any]]]:
    for term in group.terms:
        nullable = isinstance(term, Field) and term.path[0] not in certain
        yield term, natural_values(group, nullable=nullable)


def _built(wanted: Wanted, values: Mapping[Any, Any]) -> Example | None:
    """The context of an assignment, if there is one: fields may lie inside each other."""
    fields = {term: value for term, value in values.items() if isinstance(term, Field)}
    data: dict[str, Any] = {}
    for term, value in fields.items():
        if value is not None and not _put(data, term.path, value):
            return None
    payload: dict[str, Any] = data.pop(EVENT, {}).get("data", {})
    merged = {**data, **payload}
    seen = {**merged, EVENT: {"data": payload}}
    asked = [view_term for part, _ in wanted for view_term in _fields_of(part)]
    actual: dict[Term | Free, Any] = {term: _read(seen, term.path) for term in asked}
    for part, holds in wanted:
        if surely(part, actual) is not holds:
            return None
    return Example(data, payload, fields)


def _fields_of(part: Formula) -> Iterable[Field]:
    for group in groups(atoms(part)):
        for term in group.terms:
            if isinstance(term, Field):
                yield term


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    holder = data
    for step in path[:-1]:
        inner = holder.setdefault(step, {})
        if not is_map(inner):
            return False
        holder = inner
    if path[-1] in holder:
        return False
    holder[path[-1]] = value
    return True


def _read(data: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not is_map(data) or step not in data:
            return None
        data = data[step]
    return data
