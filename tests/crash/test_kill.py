"""kill -9 of a process that sends events, at any moment: what it said is true, and nothing is half done."""

import random
import signal
import time

import pytest

from pystator import EventRequest, Orchestrator, SQLiteStateStore

ENTITIES = 3

# Each event is told to the parent when it is sent and when it is acknowledged; a pipe keeps what was
# written to it when its writer dies.
SEND = f"""
import random
luck = random.Random(name)
def tell(word, batch):
    os.write(1, "".join(f"{{word}} {{entity}} {{key}}\\n" for entity, key in batch).encode())
number = 0
while True:
    size = luck.choice([1, 1, 1, 20])
    batch = []
    for _ in range(size):
        number += 1
        batch.append((f"t-{{luck.randrange({ENTITIES})}}", f"{{name}}-{{number}}"))
    tell("sent", batch)
    if size == 1:
        (entity, key), = batch
        results = [orchestrator.process_event(entity, "add", event_id=key)]
    else:
        results = orchestrator.process_events(
            [EventRequest(entity, "add", None, key) for entity, key in batch]
        )
    assert all(result.success for result in results)
    tell("done", batch)
"""


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_a_killed_sender_leaves_every_promise_kept(url, start, listen, machine, audit, rounds):
    luck = random.Random()
    sent: set[tuple[str, str]] = set()
    done: set[tuple[str, str]] = set()
    for round_ in range(rounds):
        sender = start(SEND, f"r{round_}")
        listener = listen(sender)
        listener.wait_for(2)
        time.sleep(luck.random() * 0.25)
        sender.send_signal(signal.SIGKILL)
        listener.join()
        sent |= listener.told("sent")
        done |= listener.told("done")
        with SQLiteStateStore(url) as store:
            applied = ids(audit(store))
        assert done <= applied, "no acknowledged event is missing"
        assert applied <= sent, "nothing is applied that nobody sent"
    assert len(done) > rounds
    again(url, machine, audit, sent)


def again(url, machine, audit, sent) -> None:
    """A sender that never got its answer asks again, and then each event is applied exactly once."""
    with SQLiteStateStore(url) as store:
        orchestrator = Orchestrator(machine, store)
        items = [EventRequest(entity, "add", None, key) for entity, key in sorted(sent)]
        assert all(result.success for result in orchestrator.process_events(items))
        assert ids(audit(store)) == sent


def ids(found) -> set[tuple[str, str]]:
    return {
        (entity, row.event_id)
        for entity, rows in found.items()
        for row in rows
        if row.kind == "event"
    }
