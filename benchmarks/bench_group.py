"""Callers that share loads and commits, beside the same callers who do not, and a bare UPDATE.

Without sharing, 64 async callers take turns at a pool of 8 connections, as most programs have it.
Rates are events in a second of wall-clock time; latencies are what a caller waits for one event.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import events
from bench_postgres import Bare
from floors import Row
from pystator import Orchestrator, PostgresStateStore, SQLiteStateStore, StateMachine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import Databases, Server  # the server that the tests start

CALLERS = 64
THREADS = 16
EACH = 50
"""Events of a caller in a round, on doors of its own."""

ROUNDS = 7
UPDATES = 300

Waits = list[float]
"""Seconds that each event took."""


def run() -> list[Row]:
    """The rows of this benchmark."""
    rows: list[Row] = []
    machine = StateMachine.from_dict(events.MACHINE)
    with Server(os.getpid()) as server:
        databases = Databases(server.url)
        bare = Bare(databases.database())
        url = databases.database()
        loop = asyncio.new_event_loop()
        try:
            with PostgresStateStore(url) as store, PostgresStateStore(url, pool_size=8) as eight:
                events.fill(store)
                sharing = Orchestrator(machine, store)
                alone = Orchestrator(machine, eight, batching=False)
                rows += side_by_side(
                    f"postgres: {CALLERS} async callers",
                    lambda: loop.run_until_complete(call(sharing)),
                    lambda: loop.run_until_complete(call(alone)),
                    f"{CALLERS} callers over a pool of 8 connections",
                    bare.update,
                )
                rows += of_threads("postgres", machine, store, bare.update)
        finally:
            bare.connection.close()
            loop.close()
    with (
        tempfile.TemporaryDirectory(prefix="pystator-bench-") as folder,
        SQLiteStateStore(f"sqlite:///{folder}/store.db") as file,
    ):
        events.fill(file)
        rows += of_threads("sqlite", machine, file, None)
    return rows


def of_threads(
    of: str,
    machine: StateMachine,
    store: PostgresStateStore | SQLiteStateStore,
    update: Callable[[], None] | None,
) -> list[Row]:
    sharing = Orchestrator(machine, store, batching=True)
    alone = Orchestrator(machine, store)
    return side_by_side(
        f"{of}: {THREADS} threads",
        lambda: in_threads(sharing),
        lambda: in_threads(alone),
        "the same threads, each for itself",
        update,
    )


def side_by_side(
    name: str,
    sharing: Callable[[], Waits],
    alone: Callable[[], Waits],
    does: str,
    update: Callable[[], None] | None,
) -> list[Row]:
    """Rate and latencies of both, in alternating rounds: those of the best round."""
    best: dict[str, tuple[float, Waits]] = {}
    bare = float("inf")
    sharing()
    alone()
    for _ in range(ROUNDS):
        for key, call_all in (("sharing", sharing), ("alone", alone)):
            start = time.perf_counter()
            waits = call_all()
            spent = (time.perf_counter() - start) / len(waits)
            if key not in best or spent < best[key][0]:
                best[key] = spent, sorted(waits)
        if update is not None:
            start = time.perf_counter()
            for _ in range(UPDATES):
                update()
            bare = min(bare, (time.perf_counter() - start) / UPDATES)
    (spent, waits), (spent_alone, waits_alone) = best["sharing"], best["alone"]
    rows = [Row(name, spent * 1e9, spent_alone * 1e9, 1, does)]
    for text, part in (("p50", 0.5), ("p99", 0.99)):
        case, floor = waits[int(len(waits) * part)], waits_alone[int(len(waits_alone) * part)]
        rows.append(Row(f"{name}, {text}", case * 1e9, floor * 1e9, 1, does))
    if update is not None and "async" in name:
        rows.append(Row(f"{name}, to an UPDATE", spent * 1e9, bare * 1e9, 5, events.DOES))
    return rows


async def call(orchestrator: Orchestrator) -> Waits:
    """Every caller one event after the other; how long each took."""
    waits: Waits = []

    async def caller(number: int) -> None:
        clock = time.perf_counter
        for turn in range(EACH):
            start = clock()
            await orchestrator.async_process_event(door(number, turn), "turn")
            waits.append(clock() - start)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(caller(number))
    return waits


def in_threads(orchestrator: Orchestrator) -> Waits:
    """The same with threads."""
    waits: Waits = []

    def caller(number: int) -> None:
        clock = time.perf_counter
        for turn in range(EACH):
            start = clock()
            orchestrator.process_event(door(number, turn), "turn")
            waits.append(clock() - start)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def door(caller: int, turn: int) -> str:
    return events.NAMES[caller * 20 + turn % 20]


if __name__ == "__main__":
    from floors import table

    print(table(run()))
