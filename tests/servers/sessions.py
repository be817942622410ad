"""Others at the same database, and calls that wait for them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from pystator.records import HistoryEntry, Page
from pystator.stores.postgres import PostgresStateStore
from pystator.stores.postgres.wire import Statement
from pystator.testing.building import change

__all__ = ["Background", "Settled", "cut_off", "locked", "turn", "until", "waiting"]

_SETTLED = Statement(
    "settled",
    "SELECT FROM transition_history WHERE txid >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT 1",
    (),
)


class Settled(PostgresStateStore):
    """A store whose feed waits for those who have nothing to do with it.

    Transactions are numbered for a whole server: while one of another test runs, the feed holds
    back what this test has written. It may; a test that wants to see it all has to wait.
    """

    def feed(self, cursor: str | None = None, limit: int = 100, **asked: Any) -> Page[HistoryEntry]:
        self._settle()
        return super().feed(cursor, limit, **asked)

    async def afeed(
        self, cursor: str | None = None, limit: int = 100, **asked: Any
    ) -> Page[HistoryEntry]:
        self._settle()
        return await super().afeed(cursor, limit, **asked)

    def feed_end(self) -> str:
        self._settle()
        return super().feed_end()

    async def afeed_end(self) -> str:
        self._settle()
        return await super().afeed_end()

    def _settle(self) -> None:
        deadline = time.monotonic() + 5
        while self.parts[0].run(_SETTLED, (), reads=True).ntuples and time.monotonic() < deadline:
            time.sleep(0.002)


@contextmanager
def locked(url: str, entity_id: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else holds the lock of an entity."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT FROM entity_states WHERE entity_id = %s FOR UPDATE", (entity_id,)
        )
        yield connection
        connection.rollback()


def waiting(admin: psycopg.Connection[Any]) -> int:
    """How many sessions of this database wait for a lock."""
    row = admin.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that must come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def cut_off(admin: psycopg.Connection[Any]) -> int:
    """End all other connections to this database, and wait until they are gone; how many."""
    rows = admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()
    return len(rows)


class Background:
    """A call in a thread, and what became of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self._call()
        except Exception as error:
            self.answer = error

    def result(self, seconds: float = 20.0) -> Any:
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self.answer


def turn(store: Any, entity_id: str = "e") -> int:
    """Change an entity by one version; the new one."""
    version = store.get_state_versioned(entity_id)[1]
    [outcome] = store.commit([change(entity_id, after=version, context={"n": version + 1})])
    assert outcome.kind == "applied"
    return version + 1
