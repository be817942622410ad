"""Many callers, one file: threads, tasks, event loops, processes and forks."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from pystator.records import EntryKind, Lookup
from pystator.stores.sqlite import SQLiteStateStore

# Newer Pythons warn of a fork while threads run; that it works is what is tested here.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def increment(store, commit, entity_id: str = "counter") -> None:
    """Load, add one, commit; again when somebody was quicker."""
    while True:
        entity = store.load([Lookup(entity_id, "order")])[0].entity
        version = 0 if entity is None else entity.version
        if store.commit([commit(entity_id, version)])[0].kind == "applied":
            return


async def aincrement(store, commit, entity_id: str = "counter") -> None:
    while True:
        entity = (await store.aload([Lookup(entity_id, "order")]))[0].entity
        version = 0 if entity is None else entity.version
        if (await store.acommit([commit(entity_id, version)]))[0].kind == "applied":
            return


def check_counter(store, count: int) -> None:
    """Nothing lost, nothing doubled: versions are 1 to the count, each once."""
    entity = store.load([Lookup("counter", "order")])[0].entity
    assert (entity.version, entity.context) == (count, {"n": count})
    versions = [row.version for row in store.history("counter", limit=10_000).items]
    assert versions == list(range(1, count + 1))


def test_threads_that_increment_one_entity_lose_nothing(store, commit) -> None:
    def work() -> None:
        for _ in range(50):
            increment(store, commit)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_counter(store, 400)


def test_tasks_that_increment_one_entity_lose_nothing(store, commit) -> None:
    async def main() -> None:
        async def work() -> None:
            for _ in range(10):
                await aincrement(store, commit)

        await asyncio.gather(*(work() for _ in range(16)))

    asyncio.run(main())
    check_counter(store, 160)


def test_threads_and_several_event_loops_share_a_store(store, commit) -> None:
    """A web server's loop, a background loop and worker threads in one process."""

    async def tasks() -> None:
        await asyncio.gather(*(aincrement(store, commit) for _ in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(tasks(),)) for _ in range(3)]
    threads += [
        threading.Thread(target=lambda: [increment(store, commit) for _ in range(20)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_counter(store, 120)


WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from conftest import make_commit
from pystator import SQLiteStateStore
from pystator.records import Lookup

store = SQLiteStateStore(sys.argv[1]).connect()
for _ in range(int(sys.argv[3])):
    while True:
        entity = store.load([Lookup("counter", "order")])[0].entity
        version = 0 if entity is None else entity.version
        if store.commit([make_commit("counter", version)])[0].kind == "applied":
            break
"""


def test_processes_that_increment_one_entity_lose_nothing(store, url, start) -> None:
    processes = [start(WORKER, url, str(Path(__file__).parent), "100") for _ in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    check_counter(store, 400)


def test_concurrent_callers_share_transactions(store, commit) -> None:
    """Sixty-four callers wait for a few syncs, not for sixty-four."""

    async def main() -> None:
        await asyncio.gather(*(store.acommit([commit(f"e-{n}", 0)]) for n in range(64)))

    before = store.parts[1].transactions
    asyncio.run(main())
    assert store.parts[1].transactions - before < 16
    assert store.count_by_state() == {"open": 64}


def test_a_cancelled_caller_takes_nobody_with_it(store, commit) -> None:
    """Its commit may or may not be written: it is not half written, and others are answered."""

    async def main() -> list:
        doomed = asyncio.create_task(store.acommit([commit("doomed", 0)]))
        others = [asyncio.create_task(store.acommit([commit(f"e-{n}", 0)])) for n in range(10)]
        await asyncio.sleep(0)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        return await asyncio.gather(*others)

    answers = asyncio.run(main())
    assert {outcome.kind for answer in answers for outcome in answer} == {"applied"}
    rows = store.history("doomed").items
    assert len(rows) == (store.get_state("doomed") is not None)


def test_a_reader_does_not_wait_for_a_writer(store, url, commit) -> None:
    """A report over everything must not stop orders, nor orders the report."""
    store.commit([commit("a", 0)])
    connection = store.parts[0].writer()
    with store.parts[0].turn:  # a transaction is under way
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE entity_states SET state = 'half done'")
        assert store.get_state("a") == "open"
        assert store.count_by_state() == {"open": 1}
        assert len(store.history("a").items) == 1
        connection.execute("ROLLBACK")


def test_rows_that_may_wait_are_written_soon_without_another_commit(store, commit) -> None:
    store.commit([commit("a", 0)])
    for _ in range(3):
        store.append_later([commit("a", 1, applies=False, kind=EntryKind.ACTION)])
    deadline = threading.Event()
    for _ in range(500):
        if len(store.history("a").items) == 4:
            break
        deadline.wait(0.01)
    assert len(store.history("a").items) == 4


def test_disconnect_writes_what_was_handed_over(store, commit) -> None:
    store.commit([commit("a", 0)])
    store.append_later([commit("a", 1, applies=False)])
    store.disconnect()
    assert len(store.connect().history("a").items) == 2


@forks
def test_parent_and_forked_child_both_go_on(store, commit) -> None:
    """SQLite's locks do not survive a fork, so connections are closed before and opened after it."""
    store.commit([commit("a", 0)])
    asyncio.run(store.acommit([commit("b", 0)]))  # the writer's thread runs
    assert store.count_by_state() == {"open": 2}  # a reader is open
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(50):
                increment(store, commit)
            asyncio.run(aincrement(store, commit))
            store.append_later([commit("a", 1, applies=False)])
            store.disconnect()
            status = 0
        finally:
            os._exit(status)
    for _ in range(50):
        increment(store, commit)
    asyncio.run(aincrement(store, commit))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_counter(store, 102)
    assert len(store.history("a").items) == 2


@forks
def test_nothing_of_sqlite_is_open_when_a_process_forks(store, tmp_path) -> None:
    store.set_state("a", "open")
    store.count_by_state()
    files = Path("/proc/self/fd")
    child = os.fork()
    if child == 0:
        names = [str(link.readlink()) for link in files.iterdir() if link.exists()]
        os._exit(1 if any(name.startswith(str(tmp_path)) for name in names) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get_state("a") == "open"


@forks
def test_a_fork_waits_for_threads_that_write(store, commit) -> None:
    """No transaction is cut in two by it."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            increment(store, commit)
            store.count_by_state()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                increment(store, commit)
                store.disconnect()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    check_counter(store, store.get_state_versioned("counter", machine_name="order")[1])


def test_a_store_is_closed_when_it_is_collected(url, commit) -> None:
    store = SQLiteStateStore(url).connect()
    store.commit([commit("a", 0)])
    files = store.parts[0]
    asyncio.run(store.acommit([commit("b", 0)]))
    del store
    assert not files.is_open
