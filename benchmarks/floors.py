"""A case beside its floor: the same observable work, written for this one purpose, in the same run.

Rounds of case and floor alternate, so that a busy neighbour slows both; the best of each counts.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Row:
    """One line of the table.

    Attributes:
        case_ns, floor_ns: Nanoseconds an operation, or what ``unit`` says.
        goal: The ratio that is promised; None when there is none.
        floor: What the floor does, in a sentence.
    """

    name: str
    case_ns: float
    floor_ns: float
    goal: float | None
    floor: str
    unit: str = "ns"

    @property
    def ratio(self) -> float:
        """Rate of the case as a part of the floor's: 1 is as fast."""
        return self.floor_ns / self.case_ns


def compare(
    name: str,
    case: Callable[[], object],
    floor: Callable[[], object],
    *,
    does: str,
    goal: float | None = None,
    number: int = 20_000,
    rounds: int = 9,
    per_call: int = 1,
) -> Row:
    """Measure a case and its floor.

    Args:
        does: What the floor does.
        number: Calls in a round.
        rounds: Alternating rounds of each.
        per_call: Operations in one call.
    """
    case_best = floor_best = float("inf")
    case()  # what is compiled on first use is compiled now
    floor()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            case_best = min(case_best, _round(case, number))
            floor_best = min(floor_best, _round(floor, number))
    finally:
        if enabled:
            gc.enable()
    unit = number * per_call
    return Row(name, case_best / unit * 1e9, floor_best / unit * 1e9, goal, does)


def _round(call: Callable[[], object], number: int) -> float:
    repeat = range(number)
    start = time.perf_counter()
    for _ in repeat:
        call()
    return time.perf_counter() - start


def table(rows: list[Row]) -> str:
    """The rows as text."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{'case':{width}}  {'time':>10}  {'floor':>10}  {'ratio':>6}  {'goal':>5}  floor"]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:g}"
        mark = " " if row.goal is None or row.ratio >= row.goal else "!"
        lines.append(
            f"{row.name:{width}}  {_amount(row.case_ns, row):>10}  {_amount(row.floor_ns, row):>10}"
            f"  {row.ratio:6.2f}{mark} {goal:>5}  {row.floor}"
        )
    return "\n".join(lines)


def _amount(value: float, row: Row) -> str:
    return _time(value) if row.unit == "ns" else f"{value:,.0f} {row.unit}"


def _time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.0f} ns"
