"""Deciding while the store writes, for many plain events at once.

Laws:

- A store that `takes_ahead` works on the first commits while the next ones are decided: neither
  waits for the other.
- It draws them while it holds a connection, so no code of a user's is run meanwhile: a machine with
  registered guards, hooks and validators is decided before anything is written.
- What is no plain event is left for the ordinary way.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pystator.records import Commit

if TYPE_CHECKING:
    from pystator.orchestrator.settings import Settings

__all__ = ["MANY", "Drawn", "may_run_ahead"]

MANY = 64
"""With fewer events, one waits for the other all the same."""


class Drawn:
    """Commits that are decided when they are drawn; those that were are kept."""

    __slots__ = ("_coming", "taken")

    def __init__(self, coming: Iterator[Commit]) -> None:
        self._coming = coming
        self.taken: list[Commit] = []

    def __iter__(self) -> Iterator[Commit]:
        keep = self.taken.append
        for commit in self._coming:
            keep(commit)
            yield commit

    def all(self) -> list[Commit]:
        """Those that were drawn and the rest of them."""
        self.taken.extend(self._coming)
        return self.taken


def may_run_ahead(settings: "Settings", events: int) -> bool:
    """There are enough events, the store can, and deciding them runs no code of a user's."""
    return (
        events >= MANY
        and settings.takes_ahead
        and settings.plain
        and not settings.machine.guards.entries
    )
