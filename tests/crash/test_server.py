"""Servers and their clients are killed under load: no promise is broken, no event is done twice.

Each client gives every event an id, and sends it again until it is answered. Every store goes
through the same: the clients know it by its URL only, and so does the audit.
"""

import asyncio
import random
import signal
import time
from functools import partial

import pytest

from pystator import EventRequest, Orchestrator, ReplicatedStateStore, create_state_store
from servers.places import await_sessions, cut, own_server, url_for, url_of_server

ENTITIES = 6

STORES = ["sqlite", "postgres", "redis", "redis_cluster", "mongodb", "replicated"]
SERVERS = ["postgres", "redis", "mongodb"]
CUTTABLE = ["postgres", "redis"]
"""Servers that end a connection when somebody asks them to."""

PRELUDE = f"""
import asyncio, faulthandler, random, signal, threading, time
from pystator.errors import StoreUnavailableError

faulthandler.register(signal.SIGUSR1)
luck = random.Random(name)
over = threading.Event()

def listen():
    sys.stdin.readline()
    over.set()

def tell(word, *lines):
    os.write(1, "".join(f"{{word}} {{line}}\\n" for line in lines).encode())

def some(number):
    return f"t-{{luck.randrange({ENTITIES})}}", f"{{name}}-{{number}}"

tell("ready", "")
sys.stdin.readline()
threading.Thread(target=listen, daemon=True).start()
"""

ONE = """
number = 0
while not over.is_set():
    number += 1
    entity, key = some(number)
    tell("sent", f"{entity} {key}")
    while True:
        try:
            result = orchestrator.process_event(entity, "add", event_id=key)
            break
        except StoreUnavailableError as error:
            tell("error", repr(error))
            time.sleep(0.02)
    assert result.success, result.error
    tell("done", f"{entity} {key} {result.version}")
"""

MANY = """
number = 0
while not over.is_set():
    waiting = [some(number + place) for place in range(1, 21)]
    number += 20
    tell("sent", *[f"{entity} {key}" for entity, key in waiting])
    while waiting:
        try:
            results = orchestrator.process_events(
                [EventRequest(entity, "add", None, key) for entity, key in waiting]
            )
        except StoreUnavailableError as error:
            tell("error", repr(error))
            time.sleep(0.02)
            continue
        again = []
        for (entity, key), result in zip(waiting, results):
            if result.success:
                tell("done", f"{entity} {key} {result.version}")
            else:
                assert isinstance(result.error, StoreUnavailableError), result.error
                tell("error", repr(result.error))
                again.append((entity, key))
        waiting = again
    time.sleep(0.01)
"""

TASKS = """
async def send(task):
    number = 0
    while not over.is_set():
        number += 1
        entity, key = some(f"{task}-{number}")
        tell("sent", f"{entity} {key}")
        while True:
            try:
                result = await orchestrator.async_process_event(entity, "add", event_id=key)
                break
            except StoreUnavailableError as error:
                tell("error", repr(error))
                await asyncio.sleep(0.02)
        assert result.success, result.error
        tell("done", f"{entity} {key} {result.version}")
        await asyncio.sleep(0.01)

async def everybody():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: [each.print_stack() for each in asyncio.all_tasks()])
    async with asyncio.TaskGroup() as group:
        for task in range(16):
            group.create_task(send(task))

asyncio.run(everybody())
"""

CLIENTS = {"one": ONE, "many": MANY, "tasks": TASKS}


class Load:
    """Clients of every kind at once, and what they were told."""

    def __init__(self, start, listen, audit) -> None:
        self.start = start
        self.listen = listen
        self.audit = audit
        self.listeners = []
        self.sent = set()
        self.done = set()

    def begin(self, name: str) -> None:
        self.listeners = [
            self.listen(self.start(PRELUDE + code, f"{name}-{kind}"))
            for kind, code in CLIENTS.items()
        ]
        for each in self.listeners:
            each.wait_for(1, "ready")
        self.say("go")
        self.answered(1)

    def say(self, word: str) -> None:
        for each in self.listeners:
            each.process.stdin.write(f"{word}\n".encode())
            each.process.stdin.flush()

    def answered(self, number: int) -> None:
        """Wait until each client has been answered so many more times."""
        goals = [each.count("done") + number for each in self.listeners]
        for each, goal in zip(self.listeners, goals, strict=True):
            each.wait_for(goal, "done")

    def kill(self) -> None:
        for each in self.listeners:
            each.process.send_signal(signal.SIGKILL)
        self.collect()

    def finish(self) -> None:
        """Let every client be answered, and end."""
        self.say("over")
        for each in self.listeners:
            assert each.process.wait(60) == 0, each.said()
        self.collect()
        assert {key[:2] for key in self.done} == self.sent

    def collect(self) -> None:
        for each in self.listeners:
            each.join()
            self.sent |= each.told("sent")
            self.done |= each.told("done")

    def check(self, url: str) -> set[tuple[str, ...]]:
        """0 lost, 0 doubled, 0 torn; the events that were applied."""
        with create_state_store(url) as store:
            found = self.audit(store)
            if isinstance(store, ReplicatedStateStore):
                store.replicate(once=True)
                behind = self.audit(store.durable_store)
                assert versions(behind) == versions(found), "the durable store has the same"
        applied = {
            (entity, row.event_id, str(row.version))
            for entity, rows in found.items()
            for row in rows
            if row.kind == "event"
        }
        assert self.done <= applied, "no acknowledged event is missing, and each has its version"
        keys = {key[:2] for key in applied}
        assert keys <= self.sent, "nothing is applied that nobody sent"
        assert len(keys) == len(applied), "nothing is applied twice"
        return keys


def versions(found):
    return {entity: [(row.version, row.event_id) for row in rows] for entity, rows in found.items()}


@pytest.fixture
def load(start, listen, audit) -> Load:
    return Load(start, listen, audit)


@pytest.fixture
def server(request, store):
    """A server that keeps what it acknowledged."""
    return own_server(store, request)


@pytest.fixture
def url(request, store, tmp_path) -> str:
    """Where clients send events: the test's own server, or the run's."""
    if "server" in request.fixturenames:
        return url_of_server(request.getfixturevalue("server"))
    return url_for(store, request, tmp_path)


# Clients die --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("rounds", [2, pytest.param(17, marks=pytest.mark.soak)])
def test_killed_clients_leave_every_promise_kept(url, load, machine, rounds):
    """Three at a time: one of single events, one of batches, one of many tasks."""
    luck = random.Random()
    for number in range(rounds):
        load.begin(f"r{number}")
        time.sleep(luck.random() * 0.25)
        load.kill()
        await_sessions(url)
        load.check(url)
    assert len(load.done) > 3 * rounds
    with create_state_store(url) as store:
        items = [EventRequest(entity, "add", None, key) for entity, key in sorted(load.sent)]
        results = Orchestrator(machine, store).process_events(items)
        assert all(result.success for result in results)
    assert load.check(url) == load.sent


# The server dies, or leaves -----------------------------------------------------------------------


@pytest.mark.parametrize("store", SERVERS)
@pytest.mark.parametrize(
    ("kills", "restarts", "cuts"),
    [(2, 1, 2), pytest.param(10, 10, 100, marks=pytest.mark.soak)],
)
def test_a_server_that_leaves_and_comes_back_loses_and_doubles_nothing(
    store, url, server, load, kills, restarts, cuts
):
    """Killed with all its processes, restarted, or its connections cut: clients send until answered."""
    luck = random.Random()
    ways = ["kill"] * kills + ["restart"] * restarts
    if store in CUTTABLE:
        ways += ["cut"] * cuts
    luck.shuffle(ways)
    load.begin("c")
    for way in ways:
        time.sleep(luck.random() * 0.2)
        if way == "cut":
            assert cut(url) > 0
        else:
            server.kill() if way == "kill" else server.stop()
            server.start()
        load.answered(2)
    load.finish()
    assert load.check(url) == load.sent


@pytest.mark.parametrize("store", CUTTABLE)
@pytest.mark.parametrize("face", ["sync", "async"])
def test_idle_connections_that_were_cut_cost_nobody_an_error(url, machine, face):
    """A firewall, a failover, an administrator: what was idle meanwhile does not show it."""
    with create_state_store(url) as store, asyncio.Runner() as runner:
        tally = Orchestrator(machine, store)

        def send(number: int):
            if face == "sync":
                return tally.process_event("t", "add", event_id=f"i-{number}")
            return runner.run(tally.async_process_event("t", "add", event_id=f"i-{number}"))

        for number in range(1, 6):
            assert send(number).version == number
            assert cut(url) > 0
        assert store.get_context("t") == {"n": 5}


FORGETFUL = {
    "postgres": ["synchronous_commit=off", "wal_writer_delay=10s"],
    "redis": ["--appendonly", "no", "--save", "3600 1000000"],
}


@pytest.mark.soak
@pytest.mark.parametrize("store", FORGETFUL)
def test_a_server_that_answers_before_it_writes_is_caught(request, store, start_at, listen, audit):
    """The audit has teeth: with these settings a kill loses what was acknowledged."""
    server = request.getfixturevalue(f"own_{store}")(*FORGETFUL[store])
    create_state_store(server.url).connect().disconnect()
    load = Load(partial(start_at, server.url), listen, audit)
    load.begin("c")
    for _ in range(5):
        load.answered(20)
        server.kill()
        server.start()
    load.finish()
    with pytest.raises(AssertionError, match="no acknowledged event is missing"):
        load.check(server.url)
