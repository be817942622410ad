"""Ordering: whatever happens at once, every answer is one that calls made in a row would give."""

import asyncio
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pystator.engine.machine import StateMachine
from pystator.orchestrator.orchestrator import Orchestrator
from pystator.records import OutcomeKind
from pystator.testing.building import lookup
from pystator.testing.clients import NAMES, client, run_tasks, run_threads
from pystator.testing.drivers import Driver, StoreTests
from pystator.testing.linearizability import Operation
from pystator.testing.lost_answers import TALLY, LosingStore
from pystator.testing.models import Add, Counting
from pystator.testing.recording import RecordingStore, clock
from pystator.testing.windows import assert_linearizable

__all__ = ["LinearizabilityContract", "check_rows"]

KEY = ("e", "tally")


class LinearizabilityContract(StoreTests):
    """Concurrent histories are recorded and checked, see `pystator.testing.linearizability`.

    Attributes:
        calls: Of each client, in each test.
        clients: At once.
    """

    calls: ClassVar[int] = 40
    clients: ClassVar[int] = 6

    @contextmanager
    def _stores(self, store: Any, path: Path, count: int) -> Generator[list[Any]]:
        """The store and others over the same data, where there can be others."""
        others = [self.make_store(path) for _ in range(count - 1)] if store.durable else []
        for other in others:
            other.connect()
        yield [store, *others]
        for other in others:
            other.disconnect()

    def _together(self, stores: list[Any], face: str, seed: float) -> None:
        made = [client(f"c{number}", self.calls, seed) for number in range(len(stores))]
        pairs = list(zip(stores, made, strict=True))
        if face == "async":
            run_tasks(pairs)
        else:
            run_threads(pairs)

    def test_answers_of_one_store_have_an_order(self, store: Any, face: str) -> None:
        log: list[Operation[Any]] = []
        stores = [RecordingStore(store, log, f"c{number}") for number in range(self.clients)]
        self._together(stores, face, random.random())  # noqa: S311 - another run, other choices
        _look(store, face, log)
        assert len(log) > self.calls * self.clients / 2
        assert_linearizable(log)
        check_rows(store, log)

    def test_answers_of_several_stores_have_an_order(
        self, store: Any, face: str, tmp_path: Path
    ) -> None:
        """Over the same data, as several processes have them."""
        log: list[Operation[Any]] = []
        with self._stores(store, tmp_path, 3) as several:
            stores = [
                RecordingStore(several[number % len(several)], log, f"c{number}")
                for number in range(self.clients)
            ]
            self._together(stores, face, random.random())  # noqa: S311 - as above
            _look(several[-1], face, log)
        assert_linearizable(log)
        check_rows(store, log)

    def test_lost_answers_have_an_order(self, store: Any, face: str) -> None:
        """A commit that nobody answered happened once, later, or never."""
        log: list[Operation[Any]] = []
        fates = [random.Random(number) for number in range(self.clients)]  # noqa: S311 - as above
        stores = [
            RecordingStore(LosingStore(store, _fates(luck)), log, f"c{number}")
            for number, luck in enumerate(fates)
        ]
        self._together(stores, face, random.random())  # noqa: S311 - as above
        _look(store, face, log)
        assert any(each.returned is None for each in log)
        assert_linearizable(log)
        check_rows(store, log)

    def test_events_that_add_one_have_an_order(self, store: Any, face: str, tmp_path: Path) -> None:
        """Through an orchestrator: an atomic increment, whose result is a total of its own."""
        log: list[Operation[Any]] = []
        with self._stores(store, tmp_path, 2) as stores:
            made = [
                Orchestrator(StateMachine.from_dict(TALLY), stores[number % len(stores)])
                for number in range(self.clients)
            ]
            if face == "async":
                asyncio.run(_add_in_tasks(made, self.calls, log))
            else:
                _add_in_threads(made, self.calls, log)
        assert_linearizable(log, Counting())
        assert store.get_context("e") == {"n": self.calls * self.clients}


def _fates(luck: random.Random) -> Iterator[str]:
    while True:
        yield luck.choice(["well"] * 18 + ["lost", "mute"])


def _look(store: Any, face: str, log: list[Operation[Any]]) -> None:
    with Driver(RecordingStore(store, log, "end"), face) as drive:
        drive.load([lookup(name) for name in NAMES])


def check_rows(store: Any, log: list[Operation[Any]]) -> None:
    """History has a row for each version, of the commits that were applied and no others.

    Args:
        store: The store.
        log: What its clients recorded of entities of the machine ``m``.
    """
    applied: set[str] = set()
    unknown: set[str] = set()
    for operation in log:
        outcome = getattr(operation.call, "outcome", OutcomeKind.STALE)
        if outcome is OutcomeKind.APPLIED:
            applied.add(operation.call.commit_id)
        elif outcome is None:
            unknown.add(operation.call.commit_id)
    found: set[str] = set()
    for name in NAMES:
        rows = store.history(name, machine_name="m", limit=1_000_000).items
        changes = [row.version for row in rows if row.success]
        assert changes == list(range(1, len(changes) + 1))
        found |= {row.commit_id for row in rows}
    assert applied <= found <= applied | unknown


# Adding one ---------------------------------------------------------------------------------------


def _add_in_threads(
    orchestrators: list[Orchestrator], calls: int, log: list[Operation[Any]]
) -> None:
    def run(place: int) -> None:
        for _ in range(calls):
            start = clock()
            result = orchestrators[place].process_event("e", "add").raise_for_error()
            log.append(Operation(f"c{place}", KEY, Add(result.version), start, clock()))

    class Adding:
        """One method for `Driver.together`."""

        def add(self, place: int) -> None:
            run(place)

    with Driver(Adding(), "sync") as drive:
        answers = drive.together([("add", (place,)) for place in range(len(orchestrators))])
    assert answers == [None] * len(orchestrators)


async def _add_in_tasks(
    orchestrators: list[Orchestrator], calls: int, log: list[Operation[Any]]
) -> None:
    async def run(place: int) -> None:
        for _ in range(calls):
            start = clock()
            result = await orchestrators[place].async_process_event("e", "add")
            total = result.raise_for_error().version
            log.append(Operation(f"c{place}", KEY, Add(total), start, clock()))

    async with asyncio.TaskGroup() as group:
        for place in range(len(orchestrators)):
            group.create_task(run(place))
