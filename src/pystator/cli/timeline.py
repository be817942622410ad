"""History rows as lines for people.

::

      1  2026-03-02 08:00:01  place    draft → placed       total=120 customer=ada
         2026-03-02 08:05:00  ship     placed               rejected: no_transition
      2  2026-03-05 08:00:01  (timer)  placed → expired
      3  2026-03-05 09:30:00  (data)   expired              note="called back"

A pruned history begins with a snapshot, or with rows that stay for their event ids::

      9  2026-03-02 08:00:01  (snapshot)  placed            pruned up to here: total=120
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pystator.cli.output import Style, Tone
from pystator.cli.text import Cell, cut, moment, move, room_beside, short, table
from pystator.records import EntryKind

if TYPE_CHECKING:
    from pystator.records import HistoryEntry

__all__ = ["timeline"]

WIDEST = 72
"""Characters of the last column where there is no terminal to fit."""


def timeline(
    entries: "Iterable[HistoryEntry]",
    style: Style,
    columns: int | None = None,
    torn: int | None = None,
) -> list[str]:
    """One line a row, and the outcomes of actions below the row that planned them.

    Args:
        entries: One page of history.
        style: How words look.
        columns: The width of the terminal, if it is one.
        torn: The version whose rows go on upon another page.
    """
    rows = list(entries)
    outcomes = {
        entry.ref: entry.actions
        for entry in rows
        if entry.kind is EntryKind.ACTION and entry.ref is not None
    }
    steps = [(entry, _head(entry)) for entry in rows if entry.kind is not EntryKind.ACTION]
    room = WIDEST if columns is None else room_beside([head for _, head in steps], columns)
    cells: list[list[Cell]] = []
    for entry, head in steps:
        cells.append([*head, _words(entry, room)])
        told = outcomes.get(entry.version)
        missing = "on another page" if entry.version == torn else "unknown"
        for words, tone in _actions(entry, told, room, missing):
            cells.append(["", "", "", "", (words, tone)])
    return table(cells, style, align=">")


def _head(entry: "HistoryEntry") -> list[Cell]:
    when = entry.now if entry.occurred_at is None else entry.occurred_at
    what, tone = _event(entry)
    return [
        str(entry.version) if entry.success else "",
        (moment(when), "dim"),
        (what, tone),
        _states(entry),
    ]


def _event(entry: "HistoryEntry") -> tuple[str, Tone]:
    if not entry.success:
        named = entry.trigger or "(data)"
        return "(timer)" if entry.kind is EntryKind.TIMER else named, "bad"
    if entry.kind is EntryKind.EVENT:
        return entry.trigger or "(data)", "good"
    return f"({entry.kind})", "key"


def _states(entry: "HistoryEntry") -> str:
    source, target = entry.source_state, entry.target_state
    if not entry.success or target is None:
        return cut(source or target or "")
    return move(source, target)


def _words(entry: "HistoryEntry", room: int) -> Cell:
    if not entry.success:
        return _cut(entry.error_message or str(entry.error_code or "rejected"), room), "bad"
    parts = [f"by {entry.actor}"] if entry.actor else []
    if entry.kind is EntryKind.SNAPSHOT:
        parts.append("pruned up to here:")
    if entry.patch is not None:
        changed, removed = entry.patch
        parts += [f"{key}={short(changed[key], 24)}" for key in changed]
        parts += [f"-{key}" for key in removed]
    return _cut(" ".join(parts), room)


def _actions(
    entry: "HistoryEntry",
    outcomes: tuple[Mapping[str, Any], ...] | None,
    room: int,
    missing: str,
) -> list[tuple[str, Tone]]:
    """What was planned, and what became of it; ``missing`` stands where no outcome does."""
    if not entry.success or not entry.actions:
        return []
    if outcomes is None:
        return [(f"{_name(action)}: {missing}", "warn") for action in entry.actions]
    lines: list[tuple[str, Tone]] = []
    for outcome in outcomes:
        if outcome.get("ok", True):
            lines.append((f"{_name(outcome)}: done", "dim"))
        else:
            lines.append((_cut(f"{_name(outcome)}: failed: {_why(outcome)}", room), "bad"))
    return lines


def _name(action: Mapping[str, Any]) -> str:
    return str(action.get("name", "action"))


def _why(outcome: Mapping[str, Any]) -> str:
    error = outcome.get("error")
    if not isinstance(error, Mapping):
        return str(error)
    facts = cast("Mapping[str, Any]", error)
    return f"{facts.get('error', 'error')}: {facts.get('message', '')}"


def _cut(text: str, room: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= room else f"{line[: room - 1]}…"
