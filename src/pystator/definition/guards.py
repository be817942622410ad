"""Guards: from their entries to the model.

The shape of the entries was checked before; this gives them their meaning. Every mistake is
reported and stands for something harmless, so that the rest is judged too.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pystator.definition.data import is_list
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import (
    AllOf,
    AnyOf,
    Check,
    ExprGuard,
    Guard,
    InState,
    Named,
    Not,
)
from pystator.definition.names import Names
from pystator.definition.terms import Terms

__all__ = ["Guards"]

_NAME: Final = re.compile(r"[a-z0-9_]+")
_WRONG: Final = Named("_")
_LIST_OPERATORS: Final = frozenset({"in", "not_in"})
_BARE_OPERATORS: Final = frozenset({"is_set", "is_null"})


def _written(text: str) -> str:
    """How a guard is written that was put into a text."""
    form, colon, rest = text.partition(":")
    if colon and form.strip() in {"in_state", "expr", "not"} and rest.strip():
        return f"without quotes it is {{{form.strip()}: {show(rest.strip())}}}"
    return "an expression is written {expr: ...}"


class Guards:
    """Lowers the guards of one machine.

    Args:
        names: What the machine declares.
        terms: Lowers expressions and fields.
        report: Takes the mistakes.
    """

    def __init__(self, names: Names, terms: Terms, report: Report) -> None:
        self.names = names
        self.terms = terms
        self.report = report
        self._forms: dict[str, Callable[[Any, Path], Guard]] = {
            "expr": self._expr,
            "check": self._check,
            "allOf": self._all_of,
            "anyOf": self._any_of,
            "not": self._not,
            "in_state": self._in_state,
        }

    def all(self, entries: list[Any] | None, path: Path) -> tuple[Guard, ...]:
        """A list of guard entries; one that was taken out is None."""
        if not entries:
            return ()
        return tuple(
            [
                self.one(entry, (*path, index))
                for index, entry in enumerate(entries)
                if entry is not None
            ]
        )

    def one(self, entry: Any, path: Path) -> Guard:
        """One guard entry."""
        if isinstance(entry, str):
            return self._named(entry, path)
        form: str = next(key for key in entry if key in self._forms)
        return self._forms[form](entry[form], (*path, form))

    def _named(self, name: str, path: Path) -> Guard:
        if not _NAME.fullmatch(name):
            self.report.add(
                "guard_name",
                path,
                f"{show(name)!r} is no guard name; {_written(name)}",
                text=show(name),
            )
        return Named(name)

    def _expr(self, text: str, path: Path) -> Guard:
        expression = self.terms.expression(text, path)
        return ExprGuard(expression) if expression else _WRONG

    def _all_of(self, entries: list[Any], path: Path) -> Guard:
        return AllOf(self.all(entries, path))

    def _any_of(self, entries: list[Any], path: Path) -> Guard:
        if not entries:
            self.report.warn("never", path, "'anyOf' of nothing never holds")
        return AnyOf(self.all(entries, path))

    def _not(self, entry: Any, path: Path) -> Guard:
        return Not(self.one(entry, path))

    def _in_state(self, name: str, path: Path) -> Guard:
        return InState(self.names.place(name, path, self.report) or name)

    def _check(self, entry: Mapping[str, Any], path: Path) -> Guard:
        operator: Any = entry["op"]
        value = entry.get("value")
        if operator in _LIST_OPERATORS:
            value = self._list_operand(entry, operator, path)
        elif operator in _BARE_OPERATORS:
            self._no_operand(entry, operator, path)
        elif entry.get("values") is not None:
            message = f"{operator!r} compares with one 'value'; 'values' is for in and not_in"
            self.report.add("check", (*path, "values"), message, key=True)
        elif "value" not in entry:
            self.report.add("check", path, f"a check with {operator!r} needs 'value'")
        return Check(self.terms.field(entry["field"], (*path, "field")), operator, value)

    def _no_operand(self, entry: Mapping[str, Any], operator: str, path: Path) -> None:
        for key in ("value", "values"):
            if entry.get(key) is not None:
                message = f"{operator!r} takes no {key!r}: remove it"
                self.report.add("check", (*path, key), message, key=True)

    def _list_operand(self, entry: Mapping[str, Any], operator: str, path: Path) -> list[Any]:
        value = entry["values"] if entry.get("values") is not None else entry.get("value")
        if is_list(value):
            return value
        self.report.add("check", path, f"a check with {operator!r} needs a list of 'values'")
        return []
