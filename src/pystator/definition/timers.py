"""Timers of transitions and their ids.

An id says what the timer is - where from, how long, where to - and not where it stands in the file:
it is stored with entities and survives a new version of the machine.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pystator.definition.durations import DurationError, microseconds
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import After, At, Target
from pystator.definition.terms import Terms

__all__ = ["Timers"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d")
"""How a moment or a time of day begins."""


class Timers:
    """Lowers the timers of one machine, in the order of its transitions.

    Args:
        terms: Lowers expressions.
        report: Takes the mistakes.
    """

    def __init__(self, terms: Terms, report: Report) -> None:
        self.terms = terms
        self.report = report
        self._ids: set[str] = set()

    def of(
        self, entry: Mapping[str, Any], source: str, targets: Sequence[Target], path: Path
    ) -> After | At | None:
        """The timer of an entry of ``transitions``, if it has one."""
        after, at = entry.get("after"), entry.get("at")
        if after is not None:
            try:
                wait = microseconds(after)
            except DurationError as error:
                self.report.add("duration", (*path, "after"), str(error), text=show(after))
                return None
            return After(wait, self._given(entry, _after(source, wait, targets), path))
        if at is not None:
            where: Path = (*path, "at") if isinstance(at, str) else (*path, "at", "expr")
            if isinstance(at, str) and _TIME.match(at):
                self._fixed(at, path)
                return None
            expression = self.terms.expression(at if isinstance(at, str) else at["expr"], where)
            if expression is not None:
                wanted = f"{source}:at:{_dest(source, targets)}"
                return At(expression, self._given(entry, wanted, path))
        return None

    def _fixed(self, at: str, path: Path) -> None:
        """A time of day or of the calendar, where a field belongs."""
        message = f"{show(at)!r} is a time: 'at' takes the context field that holds one"
        if "-" in at:
            message += f""", or {{expr: "datetime('{show(at)}')"}}"""
        self.report.add("timer", (*path, "at"), message, text=show(at))

    def timeout(self, seconds: float, source: str, target: Target) -> After:
        """The timer of a state's ``timeout``."""
        wait = max(1, round(seconds * 1_000_000))
        return After(wait, self._free(_after(source, wait, [target])))

    def _given(self, entry: Mapping[str, Any], default: str, path: Path) -> str:
        given: str | None = entry.get("id")
        if given is None:
            return self._free(default)
        if given in self._ids:
            self.report.add(
                "duplicate_timer", (*path, "id"), f"there is a timer {given!r} already", text=given
            )
        self._ids.add(given)
        return given

    def _free(self, wanted: str) -> str:
        """Equal ids are counted."""
        found, count = wanted, 1
        while found in self._ids:
            count += 1
            found = f"{wanted}:{count}"
        self._ids.add(found)
        return found


def _after(source: str, wait: int, targets: Sequence[Target]) -> str:
    return f"{source}:after:{_milliseconds(wait)}:{_dest(source, targets)}"


def _dest(source: str, targets: Sequence[Target]) -> str:
    """An internal transition goes to its own source."""
    return "+".join([target.text for target in targets]) or source


def _milliseconds(wait: int) -> str:
    """Microseconds -> milliseconds as text, without a fraction when there is none."""
    return f"{wait // 1_000}" if wait % 1_000 == 0 else f"{wait / 1_000:.3f}"
