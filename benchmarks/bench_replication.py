"""Replication from Redis to PostgreSQL, beside PostgreSQL's own commits of the same in batches.

Both servers are of their own and keep what they acknowledge: Redis with ``appendfsync always``,
PostgreSQL with ``synchronous_commit=on``. The floor writes the same commits to another database of
the same server, a thousand at a time; it has no stream to read and no place to keep.
"""

import os
import sys
import threading
import time
from pathlib import Path

import events
from floors import Row
from pystator import PostgresStateStore
from pystator.records import Commit
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import ReplicatedStateStore

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import Databases, Server  # the servers that the tests start
from servers.redis import SAFE, Redis

BATCH = 1_000
ROUNDS = 7
WAITING = 4
"""Batches that wait when a round of the replicator begins."""

LOAD = 1_000
"""Commits in a second while the lag is measured."""

SECONDS = 6.0


def run() -> list[Row]:
    """The rows of this benchmark."""
    with Redis(os.getpid(), *SAFE) as redis, Server(os.getpid()) as server:
        databases = Databases(server.url)
        store = ReplicatedStateStore(
            hot=RedisStateStore(redis.url), durable=PostgresStateStore(databases.database())
        )
        with store, PostgresStateStore(databases.database()) as alone:
            events.fill(store)
            events.fill(alone)
            store.replicate(once=True)
            return [rate(store, alone), lag(store, alone)]


def rate(store: ReplicatedStateStore, alone: PostgresStateStore) -> Row:
    """How fast what waits is applied."""
    turns = [Turns(), Turns()]
    case = floor = float("inf")
    for _ in range(ROUNDS):
        for _ in range(WAITING):
            store.commit(turns[0].take())
        start = time.perf_counter()
        assert store.replicate(once=True).entries == WAITING * BATCH
        case = min(case, time.perf_counter() - start)
        batches = [turns[1].take() for _ in range(WAITING)]
        start = time.perf_counter()
        for batch in batches:
            alone.commit(batch)
        floor = min(floor, time.perf_counter() - start)
    each = WAITING * BATCH / 1e9
    does = "commits of 1,000 to the same PostgreSQL"
    return Row("replication: a commit applied", case / each, floor / each, 0.5, does)


def lag(store: ReplicatedStateStore, alone: PostgresStateStore) -> Row:
    """How old what waits is, at a steady load; beside single commits to PostgreSQL."""
    stop = threading.Event()
    replicator = threading.Thread(target=store.replicate, kwargs={"stop": stop})
    replicator.start()
    turns = [Turns(), Turns()]
    turns[0].version = turns[1].version = 1 + ROUNDS * WAITING
    ages: list[float] = []
    waits: list[float] = []
    began = time.perf_counter()
    sent = 0
    while (passed := time.perf_counter() - began) < SECONDS:
        due = int(passed * LOAD) - sent
        if due > 0:
            store.commit(turns[0].some(due))
            sent += due
        ages.append(store.lag().seconds)
        time.sleep(0.005)
    stop.set()
    replicator.join()
    for _ in range(200):
        start = time.perf_counter()
        alone.commit(turns[1].some(1))
        waits.append(time.perf_counter() - start)
    name = f"replication: lag p99 at {LOAD:,} commits/s"
    return Row(name, p99(ages) * 1e9, p99(waits) * 1e9, None, "p99 of one commit to PostgreSQL")


class Turns:
    """Commits that turn one door after the other, over and over."""

    def __init__(self) -> None:
        self.version = 1
        self._place = 0

    def take(self) -> list[Commit]:
        """A batch, of a thousand doors."""
        return self.some(BATCH)

    def some(self, count: int) -> list[Commit]:
        """So many."""
        commits: list[Commit] = []
        for _ in range(count):
            state = "shut" if self.version & 1 else "open"
            commits.append(events.change(events.NAMES[self._place], self.version, state))
            self._place += 1
            if self._place == BATCH:
                self._place = 0
                self.version += 1
        return commits


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


if __name__ == "__main__":
    from floors import table

    print(table(run()))
