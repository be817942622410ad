"""Somebody who follows the feed: from the recent rows at its end, from the store when behind.

Laws:

- A follower holds what it was given last and nothing else: about a megabyte, but for a larger row.
- Between the two sources it changes only at a cursor that both know, or where it is certain that
  nothing that it wants lies between.
"""

import asyncio
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from pystator.errors import FSMError
from pystator.records import HistoryEntry, Page, record
from pystator.service.choice import Choice
from pystator.service.pages import READ, Pace

if TYPE_CHECKING:
    from pystator.service.live import Live

__all__ = ["LOOK", "QUICK", "SLOW", "Follower", "Told", "backoff", "wanted"]

_log = logging.getLogger("pystator.live")

PAGE: Final = 100
"""Rows that are read, and given to a follower, at once."""

LOOK: Final = 500
"""Rows that are read at once where most of them may not be wanted."""

QUICK, SLOW, LONGEST = 0.05, 0.1, 5.0
"""Seconds between two looks at the feed: when rows come, when none do, when the store is down."""


@record
class Told:
    """A row as text, and the cursor after it."""

    cursor: str
    text: str


class Follower:
    """Somebody who follows the feed. Close it in the end, or use it in a ``with`` statement.

    Attributes:
        cursor: Everything up to here was taken, or is not wanted.
    """

    def __init__(self, live: "Live", caller: str, choice: Choice, cursor: str) -> None:
        self.cursor = cursor
        self._live = live
        self._caller = caller
        self._choice = choice
        self._closed = False
        self._failed = 0
        self._pace = Pace(LOOK if choice.looks else PAGE)
        self._ahead = live.begun  # looks that may not have come as far as this one has

    async def take(self, seconds: float) -> list[Told]:
        """The next rows, a hundred or so at most; none after so many seconds without any."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while True:
            moved = self._live.moved  # before the look: what comes during it counts
            told, wait = await self._next()
            left = until - clock()
            if told or left <= 0:
                return told
            if wait:
                await _wait(moved, min(left, wait))

    async def _next(self) -> tuple[list[Told], float]:
        """What comes next, and for how many seconds there is nothing more, unless it is told."""
        recent, choice = self._live.recent, self._choice
        if choice.is_nothing:
            return [], LONGEST
        slots = None if recent is None else recent.after(self.cursor, PAGE)
        if slots is None:
            met = recent is not None and self._live.saw_end > self._ahead
            return await self._read(recent.end if recent is not None and met else None)
        if not slots:
            return [], LONGEST
        told: list[Told] = []
        size = 0
        for slot in slots:
            if choice.takes(slot.row):
                told.append(Told(slot.cursor, slot.text))
                size += len(slot.text)
            self.cursor = slot.cursor
            if size > READ:
                break
        return told, 0.0

    async def _read(self, seen: str | None) -> tuple[list[Told], float]:
        """The same from the store; the watcher saw all up to ``seen``, and stands no less far."""
        live, choice = self._live, self._choice
        try:
            async with live.readers:
                page = await live.read(choice, self.cursor, self._pace.rows)
        except FSMError as error:
            self._failed += 1
            _log.debug("a stream cannot read, it tries again: %s", error)
            return [], backoff(self._failed)
        self._failed = 0
        found, self.cursor, end = wanted(choice, page, self.cursor, LOOK)
        if end and seen is not None:
            # Nothing is left for this one, so nothing up to there: from now on it stands there.
            self.cursor = seen
        elif not end:
            self._ahead = live.begun
        told = [Told(cursor, live.render(row)) for row, cursor in found]
        self._pace.had(len(page.items), sum(len(each.text) for each in told))
        await asyncio.sleep(0)  # a store in memory never waits, and others want to go on
        return told, SLOW if end else 0.0

    def close(self) -> None:
        """Make room for others; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._live.leave(self._caller)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wanted(
    choice: Choice, page: Page[HistoryEntry], place: str | None, limit: int
) -> tuple[list[tuple[HistoryEntry, str]], str, bool]:
    """Rows of a page that are wanted with the cursors after them, where to go on, and the end."""
    if not page.items:
        return [], page.next or place or "", page.next is None or page.next == place
    found: list[tuple[HistoryEntry, str]] = []
    for row, cursor in zip(page.items, page.cursors or [page.next or ""], strict=True):
        if choice.takes_of_store(row):
            found.append((row, cursor))
            if len(found) >= limit:
                return found, cursor, False
    return found, page.next or found[-1][1], False


async def _wait(moved: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await moved.wait()
    except TimeoutError:
        pass


def backoff(failed: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(SLOW * 2.0 ** min(failed, 10), LONGEST)
