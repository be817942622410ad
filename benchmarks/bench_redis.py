"""Whole events over Redis beside redis-py's ``SET``, both with ``appendfsync everysec``.

The server is one of its own, in a temporary folder, with its own settings; nothing else uses it.
The floor is one key, written without a condition, as one would write it without PyStator: it loads
nothing, decides nothing, compares no version and keeps no history and no index.
"""

import os
import sys
from pathlib import Path

import redis

import events
from floors import Row
from pystator import RedisStateStore

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.redis import Redis  # the server that the tests start

EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")
DOES = "one SET of redis-py's client, on the same server"


class Bare:
    """The floor."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.turn = events.doors()

    def update(self) -> None:
        name, _, _, context = self.turn()
        assert self.client.set(name, context)


def run() -> list[Row]:
    """The rows of this benchmark."""
    with Redis(os.getpid(), *EVERY_SECOND) as server:
        bare = Bare(server.url)
        floor = events.Floor(bare, DOES)
        with RedisStateStore(server.url) as store:
            events.fill(store)
            try:
                return [
                    *events.of_the_store("redis", store, floor, one=0.4, many=1.5),
                    *events.of_events(
                        "redis", store, floor, one=0.35, many=1.5, many_ids=None, callers=None
                    ),
                ]  # fmt: skip
            finally:
                bare.client.close()


if __name__ == "__main__":
    from floors import table

    print(table(run()))
