"""The same events from several processes at once, and Ctrl-C in one thread of many."""

import asyncio
import gc
import json
import random
import signal
import threading
import time

import pytest

from pystator import Orchestrator, SQLiteStateStore

SENDERS, EVENTS = 4, 60

SEND = f"""
import json, random
luck = random.Random(name)
events = [(f"t-{{n % 3}}", "never" if n % 5 == 0 else "add", f"x-{{n}}") for n in range({EVENTS})] * 2
luck.shuffle(events)
answers = []
print("ready", flush=True)
sys.stdin.readline()
while events:
    size = luck.choice([1, 1, 7])
    batch, events = events[:size], events[size:]
    if size == 1:
        results = [orchestrator.process_event(entity, trigger, event_id=key) for entity, trigger, key in batch]
    else:
        results = orchestrator.process_events([EventRequest(e, t, None, key) for e, t, key in batch])
    for (_, _, key), result in zip(batch, results):
        error = None if result.error is None else result.error.code
        answers.append((key, [result.success, result.version, error, result.target_state], result.replayed))
print(json.dumps(answers))
store.disconnect()
"""


def test_one_id_from_several_processes_is_decided_once_and_answered_alike(url, start, audit):
    """A queue that delivers twice, to two workers: one applies the event, the other one gets its answer."""
    senders = [start(SEND, str(number)) for number in range(SENDERS)]
    for sender in senders:
        assert sender.stdout.readline() == b"ready\n"
    for sender in senders:
        sender.stdin.write(b"go\n")
        sender.stdin.flush()
    answers = {}
    first = []
    for sender in senders:
        out, errors = sender.communicate(timeout=100)
        assert sender.returncode == 0, errors.decode()
        for key, answer, replayed in json.loads(out):
            assert answers.setdefault(key, answer) == answer
            if not replayed:
                first.append(key)
    assert sorted(first) == sorted(answers)
    assert len(answers) == EVENTS
    with SQLiteStateStore(url) as store:
        known = [row.event_id for rows in audit(store).values() for row in rows]
    assert sorted(known) == sorted(answers)


# Interrupts ---------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Ctrl-C, at a moment of our choice."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no such signal here")
@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.soak)])
def test_ctrl_c_in_one_thread_stops_no_other_and_tears_nothing(tmp_path, machine, audit, seconds):
    """Threads write for each other: the one that is interrupted holds the others' commits in its hands."""
    url = f"sqlite:///{tmp_path}/interrupts.db"
    with SQLiteStateStore(url, synchronous="OFF") as store:
        orchestrator = Orchestrator(machine, store)
        orchestrator.process_event("t-0", "add")
        over = threading.Event()
        sent = [0, 0, 0]
        failures = []

        def thread(place):
            try:
                while not over.is_set():
                    orchestrator.process_event("t-1", "add").raise_for_error()
                    sent[place] += 1
            except BaseException as error:
                failures.append(error)

        async def task():
            while not over.is_set():
                (await orchestrator.async_process_event("t-2", "add")).raise_for_error()
                sent[2] += 1

        def loop():
            try:
                asyncio.run(task())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=thread, args=(place,)) for place in range(2)]
        threads.append(threading.Thread(target=loop))
        for each in threads:
            each.start()
        answered, interrupts = be_interrupted(orchestrator, seconds)
        over.set()
        for each in threads:
            each.join(60)
            assert not each.is_alive(), "somebody waits for ever"
        assert failures == []
        assert interrupts > 10
        audit(store)
        assert store.get_context("t-1")["n"] == sent[0] + sent[1]
        assert store.get_context("t-2")["n"] == sent[2]
        assert answered <= store.get_context("t-0")["n"] - 1 <= answered + interrupts


def be_interrupted(orchestrator: Orchestrator, seconds: float) -> tuple[int, int]:
    """Send events and be interrupted again and again; how many were answered, and how often."""

    def stop(*_):
        raise Interrupted

    luck = random.Random()
    before = signal.signal(signal.SIGALRM, stop)
    gc.disable()  # in a callback of the collector an interrupt gets lost
    answered = interrupts = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.000_2 + luck.random() * 0.003)
                for _ in range(100):
                    orchestrator.process_event("t-0", "add").raise_for_error()
                    answered += 1
            except Interrupted:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    return answered, interrupts
