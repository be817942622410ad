"""What became of the events of a file: counted as they go, told in the end."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from pystator.cli.output import Style
from pystator.cli.text import Cell, bar, count, cut, duration, noun, table

__all__ = ["Tally", "summary", "told"]

LONGEST_WHY = 100

MALFORMED = "malformed"
"""The reason of a line that is no event."""


@dataclass(slots=True)
class Tally:
    """Counts; every line read is in exactly one of them.

    Attributes:
        read: Lines read, empty ones aside.
        applied: Events that were applied now.
        ignored: Events a lenient machine had no use for.
        again, again_rejected: Events whose id was known: applied, or rejected, before.
        rejected: Events rejected now, by reason; lines that are no events are ``malformed``.
        failed: Actions that failed after their event was applied, by name; and why, for the first.
        without_id: Events without an id, which a second run would apply again.
        seconds: The time it took; counted until `stop`.
    """

    read: int = 0
    applied: int = 0
    ignored: int = 0
    again: int = 0
    again_rejected: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    without_id: int = 0
    started: float = field(default_factory=monotonic)
    stopped: float | None = None

    @property
    def seconds(self) -> float:
        """Time since the start, or until it was stopped."""
        return (monotonic() if self.stopped is None else self.stopped) - self.started

    @property
    def rate(self) -> float:
        """Lines a second."""
        return self.read / self.seconds if self.seconds else 0.0

    def fail(self, name: str, why: str) -> None:
        """An action failed."""
        self.failed[name] += 1
        self.why.setdefault(name, why)

    def stop(self) -> None:
        """Stop the clock."""
        self.stopped = monotonic()


def told(tally: Tally, states: Mapping[str, int]) -> dict[str, Any]:
    """The summary as plain data."""
    return {
        "events": tally.read,
        "applied": tally.applied,
        "ignored": tally.ignored,
        "known": {"applied": tally.again, "rejected": tally.again_rejected},
        "rejected": {
            "total": sum(tally.rejected.values()),
            "by_reason": dict(tally.rejected.most_common()),
        },
        "actions_failed": dict(tally.failed.most_common()),
        "without_event_id": tally.without_id,
        "seconds": round(tally.seconds, 3),
        "rate": round(tally.rate),
        "entities": {
            "total": sum(states.values()),
            "by_state": dict(sorted(states.items(), key=lambda item: (-item[1], item[0]))),
        },
    }


def summary(tally: Tally, states: Mapping[str, int], style: Style, rejects: str) -> list[str]:
    """The summary as lines of text.

    ``rejects`` is what to say about the rejected lines' file.
    """
    rate = f"in {duration(tally.seconds)}, {count(tally.rate)} a second"
    lines = [f"{style(count(tally.read), 'strong')} {noun(tally.read, 'event')} {rate}", ""]
    rows: list[list[Cell]] = [[("applied", "good"), count(tally.applied)]]
    for name, number in tally.failed.most_common():
        why: Cell = (cut(tally.why[name], LONGEST_WHY), "dim")
        rows.append([(f"  {name} failed", "warn"), count(number), why])
    if tally.ignored:
        rows.append([("ignored", "dim"), count(tally.ignored), ("the machine is lenient", "dim")])
    known = tally.again + tally.again_rejected
    if known:
        before = f"known ids: {count(tally.again)} applied and "
        before += f"{count(tally.again_rejected)} rejected before"
        rows.append([("replayed", "key"), count(known), (before, "dim")])
    total = sum(tally.rejected.values())
    if total:
        rows.append([("rejected", "bad"), count(total), (rejects, "dim")])
    for reason, number in tally.rejected.most_common():
        rows.append([(f"  {reason}", "bad"), count(number)])
    lines += table(rows, style, align="<>")
    if states:
        total = sum(states.values())
        word = noun(total, "entity", "entities")
        lines += ["", f"{style(count(total), 'strong')} {word} by state", ""]
        lines += table(_states(states), style, align="<>")
    return lines


def _states(states: Mapping[str, int]) -> list[list[Cell]]:
    ranked = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    most = ranked[0][1]
    return [[state, count(number), (bar(number, most), "key")] for state, number in ranked]
