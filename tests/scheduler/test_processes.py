"""Several processes, each with a scheduler, on one file: every timer fires once, whoever dies."""

import json
import subprocess
import sys
import time

import pytest

from pystator import Orchestrator, SQLiteStateStore

PROCESS = """
import asyncio, sys
from pystator import Orchestrator, SQLiteStateStore, StateMachine
from pystator.scheduler import AsyncioScheduler

async def main():
    url, machine, many = sys.argv[1], StateMachine.from_yaml(sys.argv[2]), int(sys.argv[3])
    with SQLiteStateStore(url) as store:
        scheduler = AsyncioScheduler(poll_interval=0.005, limit=3)
        actions = {"remind": lambda ctx: print("fired", flush=True)}
        loans = Orchestrator(machine, store, actions=actions, scheduler=scheduler)
        while store.count_by_state() != {"reminded": many}:
            await asyncio.sleep(0.005)
        await loans.close()

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.fixture(name="begin")
def begin_fixture(loan, tmp_path):
    """Starts a process that fires timers until all the entities are reminded."""
    machine = tmp_path / "loan.json"
    machine.write_text(json.dumps(loan.definition.config))
    started = []

    def begin(many: int) -> subprocess.Popen[str]:
        words = [
            sys.executable,
            "-c",
            PROCESS,
            f"sqlite:///{tmp_path}/loans.db",
            machine,
            str(many),
        ]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(name="file")
def file_fixture(tmp_path):
    with SQLiteStateStore(f"sqlite:///{tmp_path}/loans.db") as store:
        yield store


def fired(store: SQLiteStateStore, many: int) -> list[int]:
    """How many timers each entity's history has."""
    return [[row.kind for row in store.history(f"a-{n}").items].count("timer") for n in range(many)]


def test_two_processes_fire_each_timer_once(loan, file, begin) -> None:
    loans = Orchestrator(loan, file)
    for n in range(40):
        loans.process_event(f"a-{n}", "ask")
    running = [begin(40), begin(40)]
    answers = [process.communicate(timeout=90)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert "".join(answers).count("fired") == 40
    assert fired(file, 40) == [1] * 40


def test_what_a_killed_process_left_is_fired_by_the_next(loan, file, begin) -> None:
    """It dies in the middle of its timers; none is lost, and none fires again."""
    loans = Orchestrator(loan, file)
    for n in range(300):
        loans.process_event(f"a-{n}", "ask")
    victim = begin(300)
    end = time.monotonic() + 60
    while file.count_by_state().get("reminded", 0) < 20:
        assert time.monotonic() < end
    victim.kill()
    victim.wait()
    last = begin(300)
    last.communicate(timeout=90)
    assert last.returncode == 0
    assert fired(file, 300) == [1] * 300
    assert {file.load_one(f"a-{n}", "loan").context["reminders"] for n in range(300)} == {1}
