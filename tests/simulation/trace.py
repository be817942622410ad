"""What happened in a world, line by line: number, who, what, and with which trouble."""

from typing import Any

from pystator.records import Loaded, Outcome
from simulation.luck import Trouble

__all__ = ["Trace"]


class Trace:
    """The lines of one run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, who: str, what: str, trouble: Trouble | None, reply: Any = None) -> int:
        """Add a line; its number."""
        number = len(self.lines) + 1
        line = f"{number:4}  {who:8}  {what}"
        answer = _reply(reply)
        if answer:
            line += f"  = {answer}"
        if trouble is not None:
            line += f"  *** {trouble}"
        self.lines.append(line)
        return number

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _reply(reply: Any) -> str:
    if not isinstance(reply, list):
        return ""
    return ", ".join(_one(each) for each in reply)


def _one(each: Any) -> str:
    if isinstance(each, Outcome):
        return str(each.kind) if each.error is None else f"{each.kind}: {each.error}"
    if isinstance(each, Loaded):
        entity = each.entity
        known = f" knows {'+'.join(each.known)}" if each.known else ""
        at = "nothing" if entity is None else f"{entity.state} as {entity.version}"
        return at + known
    return str(each)
