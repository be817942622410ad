"""Events of one entity from several processes at once, in every way an event can be sent."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystator import PostgresStateStore
from pystator.orchestrator.replay import replay

SENDERS, EACH, EVENTS = 4, 500, 60

MACHINE: dict[str, Any] = {
    "meta": {"machine_name": "tally", "version": "1.0"},
    "states": [{"name": "even", "type": "initial"}, {"name": "odd"}],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {"trigger": "add", "source": "odd", "dest": "even", "actions": [{"increment": "n"}]},
        {"trigger": "never", "source": "*", "dest": "even", "guards": [{"expr": "n < 0"}]},
    ],
}

PRELUDE = f"""
import asyncio, json, random, sys, threading
import psycopg
from pystator import EventRequest, Orchestrator, PostgresStateStore, StateMachine

url, name = sys.argv[1:3]
store = PostgresStateStore(url).connect()
orchestrator = Orchestrator(StateMachine.from_dict({MACHINE!r}), store)
print("ready", flush=True)
sys.stdin.readline()
"""

ADD = f"""
EACH = {EACH}

def blocking(count=EACH):
    for _ in range(count):
        orchestrator.process_event("t-1", "add").raise_for_error()

def threads():
    team = [threading.Thread(target=blocking, args=(EACH // 4,)) for _ in range(4)]
    for each in team:
        each.start()
    for each in team:
        each.join()

def tasks():
    async def everybody():
        async def send():
            for _ in range(EACH // 10):
                (await orchestrator.async_process_event("t-1", "add")).raise_for_error()
        await asyncio.gather(*[send() for _ in range(10)])
    asyncio.run(everybody())

def transactions():
    with psycopg.connect(url) as connection:
        for _ in range(EACH // 5):
            for _ in range(5):
                orchestrator.process_event("t-1", "add", connection=connection).raise_for_error()
            connection.commit()

{{"0": blocking, "1": threads, "2": tasks, "3": transactions}}[name]()
store.disconnect()
"""

DELIVER = f"""
luck = random.Random(name)
events = [(f"t-{{n % 3}}", "never" if n % 5 == 0 else "add", f"x-{{n}}") for n in range({EVENTS})] * 2
luck.shuffle(events)
answers = []
connection = psycopg.connect(url)
while events:
    size = luck.choice([1, 1, 1, 7])
    batch, events = events[:size], events[size:]
    if size > 1:
        results = orchestrator.process_events([EventRequest(e, t, None, key) for e, t, key in batch])
    elif luck.random() < 0.5:
        results = [orchestrator.process_event(e, t, event_id=key) for e, t, key in batch]
    else:
        (entity, trigger, key), = batch
        results = [orchestrator.process_event(entity, trigger, event_id=key, connection=connection)]
        connection.commit()
    for (_, _, key), result in zip(batch, results):
        error = None if result.error is None else result.error.code
        answers.append((key, [result.success, result.version, error, result.target_state], result.replayed))
connection.close()
print(json.dumps(answers))
store.disconnect()
"""


@pytest.fixture
def together(postgres_url: str) -> Iterator[Callable[[str], list[str]]]:
    """``together(code)``: what so many processes print that run the code at once."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> list[str]:
        for number in range(SENDERS):
            command = [
                sys.executable,
                "-W",
                "error",
                "-c",
                PRELUDE + code,
                postgres_url,
                str(number),
            ]
            pipe = subprocess.PIPE
            started.append(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            )
        for process in started:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        printed: list[str] = []
        for process in started:
            out, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
            printed.append(out)
        return printed

    yield run
    for process in started:
        process.kill()
        process.communicate()


def audit(store: PostgresStateStore) -> list[str]:
    """Every entity agrees with its history; all event ids."""
    known: list[str] = []
    for entity in store.entities().items:
        rows: list[Any] = []
        after = None
        while rows == [] or after is not None:
            page = store.history(entity.entity_id, after=after, limit=1_000)
            rows += page.items
            after = page.next
        changes = [row.version for row in rows if row.kind not in {"rejected", "action"}]
        assert changes == list(range(1, entity.version + 1))
        assert replay(rows) == (entity.state, entity.context)
        assert entity.context["n"] == entity.version
        known += [row.event_id for row in rows if row.event_id is not None]
    assert max(Counter(known).values(), default=1) == 1
    return known


def test_four_processes_add_two_thousand_to_one_entity(postgres_url, together):
    """Blocking calls, threads, tasks that share commits, and transactions of the user's own."""
    together(ADD)
    with PostgresStateStore(postgres_url) as store:
        assert store.get_context("t-1") == {"n": SENDERS * EACH}
        audit(store)


def test_one_id_from_several_processes_is_decided_once_and_answered_alike(postgres_url, together):
    """A queue that delivers twice, to four workers: one applies the event, others get its answer."""
    answers: dict[str, Any] = {}
    first: list[str] = []
    for printed in together(DELIVER):
        for key, answer, replayed in json.loads(printed):
            assert answers.setdefault(key, answer) == answer
            if not replayed:
                first.append(key)
    assert sorted(first) == sorted(answers)
    assert len(answers) == EVENTS
    with PostgresStateStore(postgres_url) as store:
        assert sorted(audit(store)) == sorted(answers)
