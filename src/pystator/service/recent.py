"""The newest rows of the feed, kept for the streams that are at its end.

A cursor is text that only the store understands. But rows that were read one after another are
known by the cursors between them: who stands at one of these gets what follows from here, and the
store is asked once for everybody. Who stands elsewhere asks the store itself.
"""

from collections import deque
from itertools import islice

from pystator.records import HistoryEntry, record

__all__ = ["Recent", "Slot"]


@record
class Slot:
    """A row, as text for everybody, with the cursor after it."""

    cursor: str
    row: HistoryEntry
    text: str


class Recent:
    """Rows one after another, bounded by their number and by the size of their texts.

    Args:
        end: The cursor where they begin.
        most_rows: Rows at most.
        most_text: Characters at most, but for a single row.
    """

    def __init__(self, end: str, *, most_rows: int = 1_000, most_text: int = 8_000_000) -> None:
        self.end = end
        self._most_rows = most_rows
        self._most_text = most_text
        self._slots: deque[Slot] = deque()
        self._dropped = 0
        self._size = 0
        # the cursor at which one stands -> number of the next row, over all rows there ever were
        self._places: dict[str, int] = {end: 0}
        self._order: deque[str] = deque([end])

    def add(self, slot: Slot) -> None:
        """The row that follows."""
        self._slots.append(slot)
        self._size += len(slot.text)
        self.stand(slot.cursor)
        while len(self._slots) > 1 and (
            len(self._slots) > self._most_rows or self._size > self._most_text
        ):
            self._drop()

    def stand(self, cursor: str) -> None:
        """One stands behind the last row with this cursor, too."""
        self.end = cursor
        if cursor in self._places:
            return
        self._places[cursor] = self._dropped + len(self._slots)
        self._order.append(cursor)
        if len(self._order) > 2 * self._most_rows + 2:  # the feed's end moves on without rows
            del self._places[self._order.popleft()]

    def after(self, cursor: str, limit: int) -> list[Slot] | None:
        """The rows after a cursor; None when it is not known here."""
        place = self._places.get(cursor)
        if place is None or place < self._dropped:
            return None
        start = place - self._dropped
        return list(islice(self._slots, start, start + limit))

    def _drop(self) -> None:
        self._size -= len(self._slots.popleft().text)
        self._dropped += 1
        while self._order and self._places[self._order[0]] < self._dropped:
            del self._places[self._order.popleft()]
