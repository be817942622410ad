"""Everybody adds to one entity at once: the sum is right and no version is missing."""

import asyncio
import threading

import pytest

from pystator import Orchestrator, SQLiteStateStore, create_state_store
from servers.places import url_for

SENDERS, EACH = 4, 500

STORES = ["sqlite"]

SEND = f"""
for _ in range({EACH}):
    assert orchestrator.process_event("t-1", "add").success
store.disconnect()
"""


def check(url, audit) -> None:
    with create_state_store(url) as store:
        (rows,) = audit(store).values()
        assert store.get_context("t-1") == {"n": SENDERS * EACH}
        assert [row.version for row in rows] == list(range(1, SENDERS * EACH + 1))


@pytest.mark.parametrize("store", STORES)
def test_four_processes(request, store, start_at, audit, tmp_path):
    url = url_for(store, request, tmp_path)
    senders = [start_at(url, SEND, str(number)) for number in range(SENDERS)]
    for sender in senders:
        _, errors = sender.communicate(timeout=100)
        assert sender.returncode == 0, errors.decode()
    check(url, audit)


def test_four_threads(url, machine, audit):
    failures = []
    with SQLiteStateStore(url) as store:
        orchestrator = Orchestrator(machine, store)

        def send():
            try:
                for _ in range(EACH):
                    orchestrator.process_event("t-1", "add").raise_for_error()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    check(url, audit)


def test_four_tasks(url, machine, audit):
    async def everybody(orchestrator):
        async def send():
            for _ in range(EACH):
                (await orchestrator.async_process_event("t-1", "add")).raise_for_error()

        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(send())

    with SQLiteStateStore(url) as store:
        asyncio.run(everybody(Orchestrator(machine, store)))
    check(url, audit)


def test_tasks_without_shared_commits(url, machine, audit):
    """The same without batches: each call meets the others by compare-and-set."""

    async def everybody(orchestrator):
        async def send():
            for _ in range(EACH):
                (await orchestrator.async_process_event("t-1", "add")).raise_for_error()

        await asyncio.gather(*[send() for _ in range(SENDERS)])

    with SQLiteStateStore(url) as store:
        asyncio.run(everybody(Orchestrator(machine, store, batching=False)))
    check(url, audit)
