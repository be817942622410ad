"""Four processes over one database: their common history, by one clock, has an order."""

import random
import subprocess
import sys

import pytest

from pystator import create_state_store
from pystator.testing.linearizability import Operation
from pystator.testing.models import Counting
from pystator.testing.ordering import check_rows
from pystator.testing.recording import read_log
from pystator.testing.windows import assert_linearizable

PROCESSES = 4

PRELUDE = """
import asyncio, sys
from pystator import Orchestrator, StateMachine, create_state_store
from pystator.testing.clients import client, run_blocking, run_tasks
from pystator.testing.linearizability import Operation
from pystator.testing.lost_answers import TALLY
from pystator.testing.models import Add
from pystator.testing.recording import RecordingStore, clock, write_log

url, name, count, seed = sys.argv[1:]
log = []
store = create_state_store(url).connect()
print("ready", flush=True)
sys.stdin.readline()
"""

BLOCKING = """
run_blocking(RecordingStore(store, log, name), client(name, int(count), seed))
"""

TASKS = """
run_tasks([
    (RecordingStore(store, log, f"{name}.{task}"), client(f"{name}.{task}", int(count) // 4, seed))
    for task in range(4)
])
"""

ADD = """
tally = Orchestrator(StateMachine.from_dict(TALLY), store)
for _ in range(int(count)):
    start = clock()
    total = tally.process_event("e", "add").raise_for_error().version
    log.append(Operation(name, ("e", "tally"), Add(total), start, clock()))
"""

ADD_IN_TASKS = """
tally = Orchestrator(StateMachine.from_dict(TALLY), store)

async def add(task):
    for _ in range(int(count) // 4):
        start = clock()
        total = (await tally.async_process_event("e", "add")).raise_for_error().version
        log.append(Operation(f"{name}.{task}", ("e", "tally"), Add(total), start, clock()))

async def everybody():
    await asyncio.gather(*[add(task) for task in range(4)])

asyncio.run(everybody())
"""

END = """
store.disconnect()
sys.stdout.write(write_log(log))
"""


@pytest.fixture(params=["sqlite"])
def url(request, tmp_path):
    """A database with our tables."""
    made = f"sqlite:///{tmp_path}/store.db"
    create_state_store(made).connect().disconnect()
    return made


@pytest.fixture
def recorded(url):
    """``recorded(code, count)``: the log of four processes that run the code."""
    running = []

    def run(code: str, count: int) -> list[Operation]:
        seed = str(random.random())
        for number in range(PROCESSES):
            command = [
                sys.executable,
                "-c",
                PRELUDE + code + END,
                url,
                f"p{number}",
                str(count),
                seed,
            ]
            running.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            )
        for each in running:
            assert each.stdout.readline() == b"ready\n", each.stderr.read().decode()
        for each in running:
            each.stdin.write(b"go\n")
            each.stdin.flush()
        log = []
        for each in running:
            out, errors = each.communicate(timeout=3_000)
            assert each.returncode == 0, errors.decode()
            log += read_log(out.decode())
        return log

    yield run
    for each in running:
        each.kill()
        each.communicate()


@pytest.mark.parametrize("code", [BLOCKING, TASKS], ids=["blocking", "tasks"])
@pytest.mark.parametrize("count", [40, pytest.param(5_000, marks=pytest.mark.soak)])
def test_loads_and_commits_have_an_order(url, recorded, code, count):
    log = recorded(code, count)
    assert len(log) >= PROCESSES * count
    assert_linearizable(log)
    with create_state_store(url) as store:
        check_rows(store, log)


@pytest.mark.parametrize("code", [ADD, ADD_IN_TASKS], ids=["blocking", "tasks"])
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.soak)])
def test_increments_of_all_have_an_order(url, recorded, code, count):
    """Each event is an atomic increment: its result is a total that no other has."""
    log = recorded(code, count)
    assert sorted(each.call.total for each in log) == list(range(1, PROCESSES * count + 1))
    assert_linearizable(log, Counting())
    with create_state_store(url) as store:
        assert store.get_context("e") == {"n": PROCESSES * count}
        assert len(store.history("e", limit=10_000).items) == PROCESSES * count
