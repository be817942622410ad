"""The replicator, Redis and PostgreSQL are killed in turn under load: both stores end equal, and nothing is lost.

Clients give every event an id, and send it again until it is answered; Redis runs with ``appendfsync always``.
"""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pystator import PostgresStateStore
from pystator.stores.redis import RedisStateStore
from pystator.stores.replicated import ReplicatedStateStore
from replication.shapes import all_keys, contents, key_rows

CLIENT = """
import random, sys, threading, time
from pystator import EventRequest, Orchestrator, StateMachine, create_state_store
from pystator.errors import StoreUnavailableError

url, name = sys.argv[1:]
machine = StateMachine.from_dict({
    "meta": {"machine_name": "tally"},
    "states": [{"name": "on", "type": "initial"}],
    "transitions": [
        {"trigger": "add", "source": "on", "dest": "on", "actions": [{"increment": "n"}]},
        {"trigger": "never", "source": "on", "dest": "on", "guards": [{"expr": "n < 0"}]},
    ],
})
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
store = create_state_store(url).connect()
orchestrator = Orchestrator(machine, store)
luck = random.Random(name)
number = 0
while not over.is_set():
    waiting = []
    for _ in range(luck.choice([1, 1, 20])):
        number += 1
        trigger = "never" if luck.random() < 0.1 else "add"
        waiting.append(EventRequest(f"e-{luck.randrange(12)}", trigger, {"k": number}, f"{name}-{number}"))
    while waiting:
        try:
            results = orchestrator.process_events(waiting)
        except StoreUnavailableError:
            time.sleep(0.02)
            continue
        again = []
        for request, result in zip(waiting, results):
            if isinstance(result.error, StoreUnavailableError):
                again.append(request)
            else:
                print(request.entity_id, request.event_id, flush=True)
        waiting = again
    time.sleep(0.004)
orchestrator.close()
store.disconnect()
"""


class Replicator:
    """The command; it is killed only while it works."""

    def __init__(self, url: str, log: Path) -> None:
        self.command = [sys.executable, "-m", "pystator", "replicate", "--store", url]
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log)

    def await_work(self) -> None:
        deadline = time.monotonic() + 60
        while b"replicating " not in self.log.read_bytes():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        self.await_work()
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        """In good order; what it said."""
        self.await_work()
        self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.log.read_text()
        return out.decode()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_both_stores_end_equal_whoever_is_killed(own_redis, own_postgres, tmp_path, kills) -> None:
    redis, postgres = own_redis(), own_postgres()
    url = f"replicated://?hot={redis.url}&durable={postgres.url}"
    store = ReplicatedStateStore(
        hot=RedisStateStore(redis.url), durable=PostgresStateStore(postgres.url)
    )
    store.connect().disconnect()
    replicator = Replicator(url, tmp_path / "log")
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, f"c{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    answered: list[str] = []
    readers = [
        threading.Thread(
            target=lambda client=client: answered.extend(line.decode() for line in client.stdout)
        )
        for client in clients
    ]
    try:
        for reader in readers:
            reader.start()
        await_more(answered, clients)
        while len({line.split()[1].partition("-")[0] for line in answered}) < len(clients):
            await_more(answered, clients, 1)  # one that is not connected yet would fail
        luck = random.Random(kills)
        for _ in range(kills):
            for victim in luck.sample([replicator, redis, postgres], 3):
                time.sleep(luck.uniform(0.05, 0.4))
                victim.kill()
                victim.start()
            await_more(answered, clients)
        for client in clients:
            client.stdin.close()
        for client, reader in zip(clients, readers, strict=True):
            assert client.wait(timeout=60) == 0
            reader.join()
        assert "replicated" in replicator.stop()
    finally:
        for process in (*clients, replicator.process):
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        for stream in (*[client.stdout for client in clients], replicator.process.stdout):
            stream.close()
    with store:
        store.replicate(once=True)
        assert_equal(store)
        assert_answered(store, answered)


def await_more(
    answered: list[str], clients: list[subprocess.Popen[bytes]], more: int = 100
) -> None:
    """Until clients have got further answers."""
    enough = len(answered) + more
    deadline = time.monotonic() + 60
    while len(answered) < enough:
        assert all(client.poll() is None for client in clients), "a client failed"
        assert time.monotonic() < deadline, f"{len(answered)} answers"
        time.sleep(0.01)


def assert_equal(store: ReplicatedStateStore) -> None:
    """Entities, and every field of every history row but its id."""
    keys = all_keys(store.hot_store)
    assert all_keys(store.durable_store) == keys
    assert contents(store.durable_store, keys) == contents(store.hot_store, keys)


def assert_answered(store: ReplicatedStateStore, answered: list[str]) -> None:
    """Each event that was answered is there, and each that is there is there once."""
    said = {tuple(line.split()) for line in answered}
    assert len(said) == len(answered)
    found = [
        (key[0], row.event_id)
        for key in all_keys(store.durable_store)
        for row in key_rows(store.durable_store, key)
        if row.event_id is not None
    ]
    assert len(set(found)) == len(found)
    assert said <= set(found)
