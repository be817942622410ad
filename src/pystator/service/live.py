"""Live transitions: the store's ordered feed, page by page or followed for as long as one likes.

::

    store's feed <-- one watcher a process --> recent rows --> followers at the feed's end
         ^                  (only while somebody follows)
         '------------------------------------------------------ followers that are behind

Laws:

- A follower has a cursor of its own: it gets every row after it that it wants, once, in the feed's
  order, from wherever it comes. It can be resumed behind every row, in any process.
- Nothing waits in a queue for a slow follower: it is given what comes next when it asks. One that
  falls behind the recent rows reads them from the store, at its own pace.
- A store that is down ends no follower: it goes on where it was.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from pystator.errors import FSMError, InvalidValueError
from pystator.records import HistoryEntry, Page, record
from pystator.service.choice import EVERYTHING, Choice
from pystator.service.following import LOOK, QUICK, SLOW, Follower, backoff, wanted
from pystator.service.pages import FULL, Pace, weight_of_row
from pystator.service.recent import Recent, Slot
from pystator.stores.protocols import NativeStore

__all__ = [
    "NOW",
    "BadCursorError",
    "Live",
    "NoFeedError",
    "TooManyFollowersError",
    "Transitions",
]

_log = logging.getLogger("pystator.live")

NOW: Final = "now"
"""Stands for the cursor after everything that is there now."""

PATIENCE: Final = 15
"""Reads for one page of rows that are looked at one by one."""

READERS: Final = 4
"""Followers that read from the store at once: the others' events need it, too."""


class NoFeedError(Exception):
    """The store has no ordered feed; the text says why and what to do."""


class BadCursorError(Exception):
    """The cursor is none of this store's feed; the text says what to do."""


class TooManyFollowersError(Exception):
    """There is no room for one more.

    Attributes:
        own: The caller has too many; otherwise all callers together do.
        most: How many there may be.
    """

    def __init__(self, most: int, *, own: bool) -> None:
        super().__init__(f"there are {most} streams already")
        self.own = own
        self.most = most


@record
class Transitions:
    """One page of the feed.

    Attributes:
        items: The rows.
        next: The cursor to go on with.
        end: There were no more rows.
    """

    items: list[HistoryEntry]
    next: str
    end: bool


class Live:
    """The feed of one store for the callers of one process; it belongs to one event loop.

    Args:
        store: The store.
        render: A row as text, for followers.
        most: Followers at most.
        most_each: Followers of one caller at most.
        recent: Rows that are kept for followers at the feed's end.
        notice: Is told how many followers there are, whenever that changes.

    Attributes:
        stopping: When it is set, followers end.
        begun: Looks of the watcher that have begun, so far.
        saw_end: The newest one of them that saw all there was: ``recent.end`` is behind everything
            that anybody had read before it.
        newest: When the newest row that the watcher saw was recorded; None before the first one.
        moved: Is set when there is something new; then another one stands in its place.
        readers: A turn to read from the store.
    """

    def __init__(
        self,
        store: NativeStore,
        render: Callable[[HistoryEntry], str],
        *,
        most: int = 500,
        most_each: int = 50,
        recent: int = 1_000,
        notice: Callable[[int], None] | None = None,
    ) -> None:
        self.store = store
        self.render = render
        self.stopping = asyncio.Event()
        self.newest: int | None = None
        self.recent: Recent | None = None
        self.begun = 0
        self.saw_end = 0
        self._most = most
        self._most_each = most_each
        self._kept = recent
        self._notice = notice
        self._pace = Pace(LOOK)
        self._followers: Counter[str] = Counter()
        self._watcher: asyncio.Task[None] | None = None
        self.moved = asyncio.Event()
        self.readers = asyncio.Semaphore(READERS)

    @property
    def following(self) -> int:
        """Followers that there are."""
        return self._followers.total()

    # Pages --------------------------------------------------------------------------------------

    async def page(self, choice: Choice, cursor: str | None, limit: int) -> Transitions:
        """The next rows that are wanted after a cursor; from the beginning without one.

        Raises:
            NoFeedError: The store has none.
            BadCursorError: It is none of its cursors.
        """
        place = await self.place(cursor)
        if choice.is_nothing:
            return Transitions([], place or await self.store.afeed_end(), end=True)
        items: list[HistoryEntry] = []
        end = False
        size = 0
        pace = Pace(LOOK if choice.looks else limit)
        for _ in range(PATIENCE):
            left = limit - len(items)
            rows = pace.rows if choice.looks else min(pace.rows, left)
            page = await self.read(choice, place, rows)
            weight = sum(map(weight_of_row, page.items))
            pace.had(len(page.items), weight)
            found, place, end = wanted(choice, page, place, left)
            items += [row for row, _ in found]
            size += weight
            if end or len(items) >= limit or size >= FULL:
                break
        return Transitions(items, place or "", end)

    async def place(self, cursor: str | None) -> str | None:
        """The cursor itself, or the one that it stands for; a wrong one is found out.

        Raises:
            NoFeedError: The store has no feed.
            BadCursorError: It is none of the store's cursors.
        """
        if not getattr(self.store, "has_feed", False):  # a store of a user's need not say
            raise NoFeedError(
                f"{type(self.store).__name__} has no ordered feed of transitions: it keeps no"
                " history. Ask for the entities themselves, or serve one of PyStator's stores"
            )
        if cursor == NOW:
            return await self.store.afeed_end()
        if cursor is not None:
            try:
                await self.store.afeed(cursor, 0)
            except InvalidValueError as error:
                raise BadCursorError(
                    f"{ascii(cursor)[:60]} is no cursor of this store's feed: give back what an"
                    " earlier answer had, or leave it out"
                ) from error
        return cursor

    async def read(self, choice: Choice, cursor: str | None, limit: int) -> Page[HistoryEntry]:
        """A page as the store's own query gives it."""
        asked = choice.asked
        page = await self.store.afeed(cursor, limit, **asked)
        if page.items and not page.cursors:  # a store that knows only where a page ends
            page = await self.store.afeed(cursor, 1, **asked)
        return page

    # Followers ----------------------------------------------------------------------------------

    async def follow(self, caller: str, choice: Choice, cursor: str | None) -> "Follower":
        """Follow the feed after a cursor, from now on without one; close what this gives.

        Raises:
            NoFeedError: The store has none.
            BadCursorError: It is none of its cursors.
            TooManyFollowersError: There is no room.
            StoreUnavailableError: The store does not answer.
        """
        if self._followers[caller] >= self._most_each:
            raise TooManyFollowersError(self._most_each, own=True)
        if self.following >= self._most:
            raise TooManyFollowersError(self._most, own=False)
        self._change(caller, 1)
        try:
            place = await self.place(NOW if cursor is None else cursor)
        except BaseException:
            self.leave(caller)
            raise
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="pystator-live")
        return Follower(self, caller, choice, place or "")

    def leave(self, caller: str) -> None:
        """One follower of this caller is gone."""
        self._change(caller, -1)
        if not self._followers and self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
            self.recent = None

    def _change(self, caller: str, by: int) -> None:
        self._followers[caller] += by
        if not self._followers[caller]:
            del self._followers[caller]
        if self._notice is not None:
            self._notice(self.following)

    def stop(self) -> None:
        """End all followers; call it when the process is asked to end."""
        self.stopping.set()

    # The watcher --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the feed's end again and again."""
        failed = 0
        while True:
            try:
                more = await self._look()
            except Exception as error:  # noqa: BLE001 # it goes on when the store is back
                failed += 1
                if failed == 1:
                    _log.warning("the feed cannot be read, streams wait: %s", _told(error))
                await asyncio.sleep(backoff(failed))
            else:
                if failed:
                    _log.info("the feed can be read again")
                failed = 0
                await asyncio.sleep(more)

    async def _look(self) -> float:
        """Take what is new; for how many seconds nobody needs to look again."""
        recent = self.recent
        self.begun += 1
        look = self.begun
        if recent is None:
            recent = Recent(await self.store.afeed_end(), most_rows=self._kept)
            self.recent = recent
            self._wake()
        before = recent.end
        page = await self.read(EVERYTHING, before, self._pace.rows)
        is_full = len(page.items) >= self._pace.rows
        cursors = page.cursors or [page.next or before] * len(page.items)
        size = 0
        for row, cursor in zip(page.items, cursors, strict=True):
            text = self.render(row)
            recent.add(Slot(cursor, row, text))
            self.newest = row.recorded_at
            size += len(text)
        self._pace.had(len(page.items), size)
        if page.next is not None:
            recent.stand(page.next)
        if not page.items:
            if page.next in {None, before}:
                self.saw_end = look
            return SLOW
        self._wake()
        return 0.0 if is_full else QUICK

    def _wake(self) -> None:
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()


def _told(error: Exception) -> str:
    return error.message if isinstance(error, FSMError) else type(error).__name__
