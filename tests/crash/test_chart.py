"""kill -9 in the middle of nested states, regions and memories: the next process goes on from there."""

import random
import signal
import sys
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired

import pytest

from pystator import Orchestrator, SQLiteStateStore, StateMachine
from pystator.testing import retrace
from pystator.testing.statecharts import CHART

SEND = """
import random, sys
from pystator import Orchestrator, SQLiteStateStore, StateMachine
from pystator.testing.statecharts import CHART

machine = StateMachine.from_dict(CHART)
store = SQLiteStateStore(sys.argv[1]).connect()
charts = Orchestrator(machine, store)
luck = random.Random(sys.argv[2])
triggers = [*["begin", "next"] * 4, "pause", "resume", "resume_deep", "review_again", "ask", "agree", "note"]
names = [f"e-{number}" for number in range(8)]
print("ready", flush=True)
while True:
    way = luck.random()
    name = luck.choice(names)
    if way < 0.1:
        charts.apply_data(name, {"clear": False, "n": luck.random()})
    elif way < 0.4:
        charts.process_events([(each, luck.choice(triggers)) for each in names])
    else:
        charts.process_event(name, luck.choice(triggers))
    if luck.random() < 0.02:
        charts.force_state(name, "work", reason="again", actor="test")
    print("sent", flush=True)
"""


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_a_killed_sender_leaves_entities_that_go_on(tmp_path, rounds):
    url = f"sqlite:///{tmp_path}/charts.db"
    machine = StateMachine.from_dict(CHART)
    luck = random.Random()
    memories: set[str] = set()
    states: set[str] = set()
    for round_ in range(rounds):
        process = Popen(
            [sys.executable, "-c", SEND, url, str(round_)], stdout=PIPE, stderr=PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        for _ in range(luck.randrange(20, 60)):
            assert process.stdout.readline() == "sent\n"
        with suppress(TimeoutExpired):  # it is still running, as it should
            process.wait(luck.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        with SQLiteStateStore(url) as store:
            for entity in store.entities(limit=100).items:
                rows = store.history(entity.entity_id, limit=100_000).items
                assert retrace(machine, rows) == (entity.state, entity.engine_context)
                memories |= set(entity.history or ())
                states.add(entity.state)
            charts = Orchestrator(machine, store)
            assert charts.process_event("e-0", "pause").target_state in {"paused", None}
    assert "work" in memories
    assert len(states) > 3
