"""Bounded trying again."""

from pystator.orchestrator.requests import Program, Sleep
from pystator.orchestrator.settings import Settings

__all__ = ["Patience"]


class Patience:
    """The first time at once, then after growing pauses of random length, and not for ever."""

    __slots__ = ("_end", "_pause", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end: float | None = None
        self._pause = 0.0

    def wait(self, *, advanced: bool = False) -> Program[bool]:
        """Wait for the next try; False when the time is up.

        Args:
            advanced: Something was done, so there is nobody to wait for.
        """
        pause = 0.0 if advanced else self._pause * self._settings.jitter()
        now: float = yield Sleep(pause)
        if self._end is None:
            self._end = now + self._settings.patience
            self._pause = 0.001
        else:
            self._pause = min(self._pause * 2, 0.2)
        return now < self._end
