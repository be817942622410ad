"""Plain text for people: columns, numbers, durations, bars, times and values."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from pystator.cli.output import Style, Tone
from pystator.records import to_datetime
from pystator.service.jsons import as_plain

__all__ = [
    "WIDEST",
    "Cell",
    "bar",
    "count",
    "cut",
    "duration",
    "lines_of",
    "moment",
    "move",
    "moved",
    "noun",
    "pairs",
    "room_beside",
    "short",
    "table",
    "timer_words",
    "value",
    "why_failed",
]

WIDEST = 60
"""Characters of one value in a line of many."""

NARROWEST = 24
"""Characters of a table's last column at least, however narrow the terminal."""

LONGEST_BAR = 24

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def count(number: float) -> str:
    """``12,345``."""
    return f"{number:,.0f}"


def noun(number: int, one: str, many: str | None = None) -> str:
    """``event`` for one, ``events`` for the others."""
    return one if number == 1 else many or f"{one}s"


def duration(seconds: float) -> str:
    """``0.8 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``14 d``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, rest, rest_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            more = whole % size // rest
            return (
                f"{whole // size} {name} {more} {rest_name}" if more else f"{whole // size} {name}"
            )
    return f"{whole} s"


def moment(time: int | datetime) -> str:
    """``2026-03-02 08:00:01``, in UTC."""
    stamp = to_datetime(time) if isinstance(time, int) else time
    return f"{stamp:%Y-%m-%d %H:%M:%S}"


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?[+-]\d\d:\d\d")
"""An aware datetime as text, as Python writes it."""

_TIMER = re.compile(r"(?:region:)?(\w+):(?:after:(\d+)|at):(.+?)(?::\d+)?")
"""An id that nobody gave; `pystator.definition.timers` makes them."""


def timer_words(timer: str) -> str:
    """``sent → lost after 14d`` for ``sent:after:1209600000:lost``; a given id is left as it is."""
    from pystator.definition.words import duration_words  # when used

    found = _TIMER.fullmatch(timer)
    if found is None:
        return timer
    source, wait, target = found.groups()
    way = source if target == source else f"{source} → {target}"
    return way if wait is None else f"{way} after {duration_words(int(wait))}"


def cut(text: str, width: int = WIDEST) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def moved(source: str | None, target: str) -> tuple[str, str]:
    """Where from, if it moved, and where to, so that a line can hold them.

    Of long configurations only the states that changed are told: ``unpaid``, ``paid (5 stay)``.
    """
    if source is None or source == target:
        return "", cut(target)
    if len(source) + len(target) <= WIDEST:
        return source, target
    before, after = source.split("+"), target.split("+")
    left = [name for name in before if name not in after]
    entered = [name for name in after if name not in before]
    stay = len(after) - len(entered)
    if not (stay and left and entered):
        return cut(source), cut(target)
    return cut("+".join(left)), f"{cut('+'.join(entered))} ({stay} stay)"


def move(source: str | None, target: str) -> str:
    """``unpaid → paid``; the state alone where nothing moved."""
    left, reached = moved(source, target)
    return f"{left} → {reached}" if left else reached


def bar(part: int, whole: int) -> str:
    """A bar whose length is the share of the whole."""
    return "█" * max(1, round(LONGEST_BAR * part / whole)) if part and whole else ""


def value(thing: Any) -> str:
    """A value as JSON."""
    return json.dumps(thing, ensure_ascii=False, default=as_plain)


def short(thing: Any, width: int = WIDEST) -> str:
    """A value as JSON, cut to a width; plain words stand without quotes, times as people read them.

    A time is one also as text, which is what a service makes of it.
    """
    if isinstance(thing, str) and _TIME.fullmatch(thing):
        with suppress(ValueError):
            return moment(datetime.fromisoformat(thing))
    if isinstance(thing, datetime):
        return moment(thing)
    text = thing if isinstance(thing, str) and thing.isidentifier() else value(thing)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def pairs(context: Mapping[str, Any], width: int = WIDEST) -> str:
    """A context on one line: ``total=120 customer=ada``, cut to a width."""
    text = " ".join(f"{key}={short(context[key], 24)}" for key in sorted(context))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def lines_of(context: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """A context, one line a key, with the values in one column."""
    width = max(map(len, context), default=0)
    return [f"{indent}{key:<{width}}  {short(context[key])}" for key in sorted(context)]


def why_failed(error: Mapping[str, Any]) -> str:
    """Why an action failed, in a line."""
    if error["error"] == "ActionNotFoundError":
        return "nobody registered it: give --code FILE.py with a dictionary `actions`"
    return f"{error['error']}: {error['message']}"


Cell = str | tuple[str, Tone]


def _toned(cell: Cell) -> tuple[str, Tone]:
    return cell if isinstance(cell, tuple) else (cell, "plain")


def room_beside(heads: Sequence[Sequence[Cell]], columns: int, *, indent: int = 2) -> int:
    """What the first columns of a table leave of the terminal's width for the last one."""
    taken = indent
    for column in zip(*heads, strict=True):
        taken += 2 + max(len(_toned(cell)[0]) for cell in column)
    return max(NARROWEST, columns - taken)


def table(
    rows: Sequence[Sequence[Cell]], style: Style, *, align: str = "", indent: str = "  "
) -> list[str]:
    """Rows in columns, two blanks apart.

    ``align`` has ``<`` or ``>`` for each column; left where it is too short.
    """
    if not rows:
        return []
    cells = [[_toned(cell) for cell in row] for row in rows]
    columns = max(map(len, cells))
    widths = [
        max((len(row[n][0]) for row in cells if n < len(row)), default=0) for n in range(columns)
    ]
    sides = align.ljust(columns, "<")
    lines: list[str] = []
    for row in cells:
        parts = [
            style(f"{text:{side}{width}}", tone)
            for (text, tone), side, width in zip(row, sides, widths, strict=False)
        ]
        lines.append(indent + "  ".join(parts).rstrip())
    return lines
