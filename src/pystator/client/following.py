"""Following the feed: every row once, over any number of connections. No I/O.

Laws:

- Every connection begins behind the row that was given last: a row is counted as given just before
  its reader has it.
- The place to begin is known before the first connection, so that nothing is missed when that one
  is lost.
- A service that is away is asked again until it was away for too long; one that refuses is not.
"""

from collections.abc import Iterator
from typing import Final

from pystator.client import reading
from pystator.client.bodies import query
from pystator.client.calls import Answer, Call, Lost
from pystator.client.exchange import Patience, backoff, unreached
from pystator.client.problems import parsed
from pystator.client.routes import API
from pystator.client.sse import EventReader
from pystator.errors import FSMError
from pystator.records import HistoryEntry

__all__ = ["ENDED", "SILENCE", "Following", "wanted"]

SILENCE: Final = 45.0
"""Seconds without a sign of life after which a connection counts as lost: three heartbeats."""

ENDED: Final = Lost(sure=False, why="it ended the stream")
"""A connection that the service ended in good order, such as to be started anew."""

_BUSY: Final = frozenset({429, 502, 503, 504})


def wanted(
    machine_name: str | None,
    entity_id: str | None,
    trigger: str | None,
    state: str | None,
    success: bool | None,
) -> tuple[tuple[str, str], ...]:
    """The filters that are given."""
    return query(
        machine_name=machine_name,
        entity_id=entity_id,
        trigger=trigger,
        state=state,
        success=success,
    )


class Following:
    """Where a reader of the feed is, and what is to be done next.

    Args:
        cursor: Behind which it begins.
        filters: Of the rows.
        patience: How long a service may be away.
        url: The service's, for errors.
        most: Bytes of one row.

    Attributes:
        cursor: Behind the row that was given last.
    """

    def __init__(
        self,
        cursor: str,
        filters: tuple[tuple[str, str], ...],
        patience: Patience,
        url: str,
        most: int,
    ) -> None:
        self.cursor = cursor
        self._filters = filters
        self._patience = patience
        self._url = url
        self._most = most
        self._failures = 0
        self._away: float | None = None
        self._events = EventReader(most)
        self._greeted = False  # the first words say only that there is a connection

    def call(self) -> Call[None]:
        """The next connection."""
        self._events = EventReader(self._most)
        self._greeted = False
        headers = {"Accept": "text/event-stream", "Last-Event-ID": self.cursor}
        path = f"{API}/transitions/stream"
        return Call("GET", path, _nothing, self._filters, headers=headers)

    def take(self, part: bytes) -> Iterator[HistoryEntry]:
        """The rows of what has arrived."""
        self._away = None
        if self._greeted:
            self._failures = 0
        for event in self._events.take(part):
            self._greeted = True
            row = None
            if event.kind == "transition" and event.data:
                row = reading.row_of(parsed(event.data.encode()))
            if event.id:
                self.cursor = event.id
            if row is not None:
                yield row

    def refused(self, answer: Answer, now: float) -> float:
        """The answer is no stream: seconds to wait, when another attempt may get on.

        Raises:
            FSMError: None may.
        """
        if answer.status in _BUSY and not self._too_long(now):
            return self._wait()
        reading.json_of(answer)
        raise FSMError("the service answered without a stream of events")

    def lost(self, why: Lost, now: float) -> float:
        """The connection is lost: seconds to wait.

        Raises:
            StoreUnavailableError: The service was away for too long.
        """
        if why.final or self._too_long(now):
            raise unreached(why, self._url)
        return self._wait()

    def _too_long(self, now: float) -> bool:
        """Nothing has arrived for longer than a call may take."""
        if self._away is None:
            self._away = now
        return now - self._away > self._patience.total

    def _wait(self) -> float:
        self._failures += 1
        return backoff(self._patience, self._failures)


def _nothing(answer: Answer) -> None:
    del answer
