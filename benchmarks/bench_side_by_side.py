"""Each store beside the others, in one run: a read, an event, events in a batch.

The servers are those that the tests start, each a process of its own on this machine, and durable:
PostgreSQL with ``synchronous_commit=on``, MongoDB with its journal, Redis with ``appendfsync
always`` and, as most run it, ``everysec``. Rounds alternate, and the best of each counts. This is
no part of the large table: it compares stores, and not us with a floor.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pystator import Orchestrator, StateMachine, create_state_store
from pystator.records import Lookup
from servers.mongodb import MongoDB
from servers.postgres import Databases, Server
from servers.redis import SAFE, Redis

MACHINE = StateMachine.from_dict({
    "meta": {"machine_name": "door"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "shut", "source": "open", "dest": "shut", "actions": [{"increment": "n"}]},
        {"trigger": "open", "source": "shut", "dest": "open", "actions": [{"increment": "n"}]},
    ],
})  # fmt: skip

ENTITIES = 1_000
ROUNDS = 12
READS = 100
EVENTS = 40
BATCHES = 3
"""Rounds that have a batch, which takes long."""


@contextmanager
def urls() -> Iterator[dict[str, str]]:
    """A fresh place on each store."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        postgres = stack.enter_context(Server(os.getpid()))
        safe = stack.enter_context(Redis(os.getpid(), *SAFE))
        quick = stack.enter_context(Redis(os.getpid(), "--appendonly", "yes"))
        mongodb = stack.enter_context(MongoDB(os.getpid(), durable=True))
        yield {
            "InMemory": "memory://",
            "SQLite": f"sqlite:///{folder}/doors.db",
            "PostgreSQL": Databases(postgres.url).database(),
            "MongoDB": mongodb.url,
            "Redis, always": safe.url,
            "Redis, everysec": quick.url,
        }


class Doors:
    """A store with a thousand entities."""

    def __init__(self, url: str) -> None:
        self.store = create_state_store(url).connect()
        self.machine = Orchestrator(MACHINE, self.store)
        self.names = [f"door-{number}" for number in range(ENTITIES)]
        self.machine.process_events([(name, "shut") for name in self.names])
        self.trigger = "open"
        self.place = 0

    def read(self) -> None:
        for _ in range(READS):
            self.place = (self.place + 7) % ENTITIES
            self.store.load((Lookup(self.names[self.place], "door"),))

    def send(self) -> None:
        """To and fro with one door after the other."""
        for _ in range(EVENTS // 2):
            self.place = (self.place + 7) % ENTITIES
            first, second = ("open", "shut") if self.trigger == "open" else ("shut", "open")
            assert self.machine.process_event(self.names[self.place], first).success
            assert self.machine.process_event(self.names[self.place], second).success

    def batch(self) -> None:
        assert all(self.machine.process_events([(name, self.trigger) for name in self.names]))
        self.trigger = "shut" if self.trigger == "open" else "open"


WORK: dict[str, tuple[Callable[[Doors], None], int]] = {
    "read": (Doors.read, READS),
    "event": (Doors.send, EVENTS),
    "event of 1,000 together": (Doors.batch, ENTITIES),
}


def measure() -> dict[str, dict[str, float]]:
    """Store -> work -> microseconds of one."""
    with urls() as places:
        doors = {name: Doors(url) for name, url in places.items()}
        times: dict[str, dict[str, list[float]]] = {name: {} for name in doors}
        for round_ in range(ROUNDS):
            for work, (do, count) in WORK.items():
                if do is Doors.batch and round_ >= BATCHES:
                    continue
                for name, each in doors.items():
                    start = time.perf_counter()
                    do(each)
                    spent = (time.perf_counter() - start) / count * 1e6
                    times[name].setdefault(work, []).append(spent)
        for each in doors.values():
            each.store.disconnect()
    return {
        name: {work: min(found) for work, found in each.items()} for name, each in times.items()
    }


def main() -> None:
    """Print the table of the page."""
    print("| Store | Read | Event | Event of 1,000 together |\n|---|---|---|---|")
    for name, each in measure().items():
        shown = [f"{value:.1f} us" if value < 10 else f"{value:.0f} us" for value in each.values()]
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
