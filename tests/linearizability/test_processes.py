"""Four processes over one store: their common history, by one clock, has an order."""

import random
import subprocess
import sys

import pytest

from pystator import create_state_store
from pystator.testing.linearizability import Operation
from pystator.testing.models import Add, Counting
from pystator.testing.ordering import check_rows
from pystator.testing.recording import read_log
from pystator.testing.windows import assert_linearizable
from servers.places import url_for

PRELUDE = """
import asyncio, sys
from pystator import Orchestrator, StateMachine, create_state_store
from pystator.testing.clients import client, run_blocking, run_tasks
from pystator.testing.linearizability import Operation
from pystator.testing.lost_answers import TALLY
from pystator.testing.models import Add
from pystator.testing.recording import RecordingStore, clock, write_log

url, name, calls, additions, seed = sys.argv[1:]
log = []
store = create_state_store(url).connect()
print("ready", flush=True)
sys.stdin.readline()
"""

BLOCKING = """
run_blocking(RecordingStore(store, log, name), client(name, int(calls), seed))
"""

TASKS = """
run_tasks([
    (RecordingStore(store, log, f"{name}.{task}"), client(f"{name}.{task}", int(calls) // 4, seed))
    for task in range(4)
])
"""

ADD = """
tally = Orchestrator(StateMachine.from_dict(TALLY), store)
for _ in range(int(additions)):
    start = clock()
    total = tally.process_event("e", "add").raise_for_error().version
    log.append(Operation(name, ("e", "tally"), Add(total), start, clock()))
"""

ADD_IN_TASKS = """
tally = Orchestrator(StateMachine.from_dict(TALLY), store)

async def add(task):
    for _ in range(int(additions) // 4):
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


@pytest.fixture
def url(request, store, tmp_path):
    return url_for(store, request, tmp_path)


@pytest.fixture
def recorded(url):
    """``recorded(codes, ...)``: the log of processes that run the codes, one each, with arguments."""
    running = []

    def run(codes: list[str], *arguments: int) -> list[Operation]:
        options = [*map(str, arguments), str(random.random())]
        for number, code in enumerate(codes):
            command = [sys.executable, "-c", PRELUDE + code + END, url, f"p{number}", *options]
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


BOTH = [BLOCKING + ADD, TASKS + ADD_IN_TASKS] * 2


@pytest.mark.parametrize(
    ("store", "calls", "additions"),
    [
        ("sqlite", 40, 100),
        ("postgres", 40, 500),
        ("redis", 40, 500),
        ("redis_cluster", 40, 100),
        ("mongodb", 40, 100),
        ("replicated", 40, 100),
        pytest.param("sqlite", 3_000, 500, marks=pytest.mark.soak),
        pytest.param("postgres", 3_000, 5_000, marks=pytest.mark.soak),
        pytest.param("redis", 3_000, 5_000, marks=pytest.mark.soak),
        pytest.param("valkey", 3_000, 500, marks=pytest.mark.soak),
        pytest.param("redis_cluster", 3_000, 500, marks=pytest.mark.soak),
        pytest.param("mongodb", 1_000, 500, marks=pytest.mark.soak),
        pytest.param("replicated", 1_000, 500, marks=pytest.mark.soak),
    ],
)
def test_what_four_processes_do_at_once_has_an_order(url, recorded, calls, additions):
    """Loads and commits at random; then events, each an atomic increment with a total of its own."""
    log = recorded(BOTH, calls, additions)
    added = [each for each in log if isinstance(each.call, Add)]
    commits = [each for each in log if not isinstance(each.call, Add)]
    assert len(commits) >= len(BOTH) * calls
    assert_linearizable(commits)
    assert sorted(each.call.total for each in added) == list(range(1, len(BOTH) * additions + 1))
    assert_linearizable(added, Counting())
    with create_state_store(url) as store:
        check_rows(store, commits)
        assert store.get_context("e") == {"n": len(BOTH) * additions}
        assert len(store.history("e", limit=100_000).items) == len(BOTH) * additions
