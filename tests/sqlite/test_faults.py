"""SQLite failing at every statement, before and after it took effect, under an orchestrator.

What has to hold, whatever failed and wherever: an answer is true, history replays to what is stored, nothing is
applied twice, neighbours are answered, and the next event finds a store that works.
"""

import asyncio
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from pystator import EventRequest, FSMError, Orchestrator, SQLiteStateStore, StateMachine
from pystator.orchestrator.replay import replay

try:
    import resource
except ImportError:
    resource = None

MACHINE = {
    "meta": {"machine_name": "tally", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "closed", "type": "terminal"}],
    "transitions": [
        {"trigger": "add", "source": "open", "internal": True, "actions": [{"increment": "n"}]},
        {"trigger": "never", "source": "open", "dest": "closed", "guards": [{"expr": "n < 0"}]},
    ],
}


def broken(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"injected {code}")
    error.sqlite_errorcode = code
    error.sqlite_errorname = f"CODE_{code}"
    return error


FAULTS = {
    "full": lambda: broken(sqlite3.SQLITE_FULL),
    "io": lambda: broken(sqlite3.SQLITE_IOERR),
    "closed": lambda: sqlite3.ProgrammingError("Cannot operate on a closed database."),
    "memory": MemoryError,
    "interrupt": KeyboardInterrupt,
}


class Connection:
    """A connection that fails at its n-th statement, once."""

    def __init__(self, real, at, after, fault):
        self.real, self.left, self.after, self.fault = real, at, after, fault
        self.failed = False

    def __getattr__(self, name):
        return getattr(self.real, name)

    def execute(self, *arguments):
        return self.met(lambda: self.real.execute(*arguments))

    def executemany(self, *arguments):
        return self.met(lambda: self.real.executemany(*arguments))

    def met(self, call):
        self.left -= 1
        if self.left > 0 or self.failed:
            return call()
        if self.fault is KeyboardInterrupt and threading.current_thread().name == "pystator-sqlite":
            return call()  # signals never meet the writer's own thread
        self.failed = True
        if self.after:
            call()
        raise self.fault()


@pytest.fixture(scope="module")
def machine():
    return StateMachine.from_dict(MACHINE)


@pytest.fixture
def store(url):
    with SQLiteStateStore(url, synchronous="OFF") as connected:
        yield connected


def audit(store) -> dict[str, list]:
    """Every entity agrees with its history; its rows."""
    found = {}
    for entity in store.entities(limit=1_000).items:
        rows = store.history(entity.entity_id, machine_name="tally", limit=1_000).items
        changes = [row.version for row in rows if row.kind not in {"rejected", "action"}]
        assert changes == list(range(1, entity.version + 1))
        assert replay(rows) == (entity.state, entity.context)
        assert entity.context["n"] == entity.version
        found[entity.entity_id] = rows
    return found


def break_at(store, at, after, fault):
    """Let the writer's connection fail; where it did, once it is mended again."""
    files = store.parts[0]
    files._writer = Connection(files.writer(), at, after, FAULTS[fault])
    return files._writer


def mend(store, connection) -> bool:
    files = store.parts[0]
    if files._writer is connection:
        files._writer = connection.real
    return connection.failed


def outcome(call):
    """What a call answered: its versions, or its error."""
    try:
        answer = call()
    except (FSMError, KeyboardInterrupt, MemoryError) as error:
        return error
    return answer


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("event_id", [None, "once"])
def test_a_single_event_that_meets_a_fault_is_answered_truly(
    store, machine, fault, after, event_id
) -> None:
    orchestrator = Orchestrator(machine, store)
    for at in range(1, 20):
        entity = f"e-{at}"
        orchestrator.process_event(entity, "add")
        connection = break_at(store, at, after, fault)
        answer = outcome(
            lambda entity=entity: orchestrator.process_event(entity, "add", event_id=event_id)
        )
        reached = mend(store, connection)
        version = store.get_state_versioned(entity)[1]
        if isinstance(answer, BaseException):
            assert version in {1, 2}
            if isinstance(answer, FSMError) and answer.context.get("written") is False:
                assert version == 1
        else:
            assert (answer.version, version) == (2, 2)
        if event_id is not None:
            again = orchestrator.process_event(entity, "add", event_id=event_id)
            assert (again.success, again.version) == (True, 2)
        last = orchestrator.process_event(entity, "add")
        assert last.version in {version + 1, 3}
        audit(store)
        if not reached:
            return
    raise AssertionError("the event has fewer statements than this")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_a_bulk_call_that_meets_a_fault_is_answered_truly(
    store, machine, fault, after, ids
) -> None:
    """Applied, rejected and new entities in one call: each answer is as true as that of a single one."""
    orchestrator = Orchestrator(machine, store)
    for at in range(1, 60):
        names = [f"b{at}-{n}" for n in range(6)]
        for name in names[:3]:
            orchestrator.process_event(name, "add")
        before = {name: store.get_state_versioned(name)[1] for name in names}
        items = [
            EventRequest(name, trigger, None, f"{name}-{number}" if ids else None)
            for number, trigger in enumerate(["add", "never", "add"])
            for name in names
        ]
        connection = break_at(store, at, after, fault)
        answer = outcome(lambda items=items: orchestrator.process_events(items))
        reached = mend(store, connection)
        versions = {name: store.get_state_versioned(name)[1] for name in names}
        for name in names:
            assert versions[name] - before[name] in {0, 2}, "a group is written whole or not at all"
        if not isinstance(answer, BaseException):
            for item, result in zip(items, answer, strict=True):
                if result.success:
                    assert versions[item.entity_id] - before[item.entity_id] == 2
        elif isinstance(answer, FSMError):
            assert answer.context.get("written") is not False or versions == before
        if ids:
            results = orchestrator.process_events(items)
            wanted = [item.trigger == "add" for item in items]
            assert [result.success for result in results] == wanted
            for name in names:
                assert store.get_state_versioned(name)[1] == before[name] + 2
        for rows in audit(store).values():
            known = [row.event_id for row in rows if row.event_id is not None]
            assert len(set(known)) == len(known)
        if not reached:
            return
    raise AssertionError("the call has fewer statements than this")


@pytest.mark.parametrize("fault", ["io", "interrupt"])
@pytest.mark.parametrize("after", [False, True])
def test_those_who_wait_for_a_writer_that_is_stopped_are_answered(
    store, machine, fault, after
) -> None:
    """One thread writes for all: what stops it must neither stop the others nor make them lose or double."""
    orchestrator = Orchestrator(machine, store)
    files = store.parts[0]
    for at in range(1, 12):
        names = [f"w{at}-{n}" for n in range(4)]
        for name in names:
            orchestrator.process_event(name, "add")
        answers = {}

        def send(name, answers=answers):
            answers[name] = outcome(lambda: orchestrator.process_event(name, "add"))

        async def asend(name, answers=answers):
            try:
                answers[name] = await orchestrator.async_process_event(name, "add")
            except FSMError as error:
                answers[name] = error

        threads = [threading.Thread(target=send, args=(name,)) for name in names[:3]]
        threads.append(threading.Thread(target=lambda: asyncio.run(asend(names[3]))))  # noqa: B023
        with files.turn:  # they queue up behind this
            connection = break_at(store, at, after, fault)
            for thread in threads:
                thread.start()
            waiting = threading.Event()
            for _ in range(1_000):
                if len(store.parts[1]._commits) == len(names):
                    break
                waiting.wait(0.001)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        mend(store, connection)
        assert len(answers) == len(names)
        for name in names:
            version = store.get_state_versioned(name)[1]
            if isinstance(answers[name], BaseException):
                assert version in {1, 2}
            else:
                assert version == answers[name].version == 2
        if fault == "interrupt":
            assert sum(isinstance(each, BaseException) for each in answers.values()) <= 1
        audit(store)


def test_a_disk_that_fills_up_in_the_middle_loses_and_tears_nothing(url, machine) -> None:
    """SQLite's own page limit stands in for the disk's: it fails wherever the pages run out."""
    refused = 0
    with SQLiteStateStore(url, synchronous="OFF") as store:
        orchestrator = Orchestrator(machine, store)
        connection = store.parts[0].writer()
        applied = dict.fromkeys([f"d-{n}" for n in range(20)], 0)
        for round_ in range(30):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + round_ % 3}")
            text = "x" * (round_ * 400)
            answer = outcome(
                lambda text=text: orchestrator.process_events(
                    [(name, "add", {"text": text}) for name in applied]
                )
            )
            connection.execute("PRAGMA max_page_count = 1000000")
            if isinstance(answer, FSMError):
                refused += 1
                assert "full" in str(answer)
            else:
                for name, result in zip(applied, answer, strict=True):
                    applied[name] += result.success
        assert refused
        for name, times in applied.items():
            assert store.get_state_versioned(name)[1] == times
        audit(store)


@pytest.mark.skipif(resource is None, reason="there is no such limit here")
@pytest.mark.parametrize("rounds", [60, pytest.param(600, marks=pytest.mark.soak)])
def test_files_that_may_not_grow_lose_and_tear_nothing(store, machine, rounds) -> None:
    """The system itself refuses to write, in the middle of pages, of the log and of the file."""
    orchestrator = Orchestrator(machine, store)
    path = store.parts[0].url.path
    applied = Counter()
    refused = 0

    async def send(items):
        calls = [
            orchestrator.async_process_event(e.entity_id, e.trigger, e.context, event_id=e.event_id)
            for e in items
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for round_ in range(rounds):
        text = {"text": "x" * (round_ * 13 % 3_000)}
        items = [
            EventRequest(f"f-{n % 5}", "add", text, f"{round_}-{n}" if round_ % 2 else None)
            for n in range(8)
        ]
        size = max(Path(f"{path}{suffix}").stat().st_size for suffix in ("", "-wal"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + round_ % 7 * 1_500, before[1]))
        try:
            bulk = round_ % 3
            answers = orchestrator.process_events(items) if bulk else asyncio.run(send(items))
        except FSMError:
            answers = []
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        done = [not isinstance(each, BaseException) and each.success for each in answers]
        refused += len(items) - sum(done)
        applied.update(item.entity_id for item, answer in zip(items, done, strict=False) if answer)
    assert refused
    for entity_id, rows in audit(store).items():
        assert len(rows) == applied[entity_id]


# Closing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(6))
def test_a_store_that_is_closed_under_callers_answers_all_of_them(url, machine, turns) -> None:
    """A load or commit handed over while the writer's thread ends was waited for, for ever."""

    async def main() -> None:
        store = SQLiteStateStore(url, synchronous="OFF").connect()
        orchestrator = Orchestrator(machine, store)
        await orchestrator.async_process_event("c", "add")
        calls = [
            asyncio.create_task(orchestrator.async_process_event(f"c-{n}", "add")) for n in range(5)
        ]
        calls += [asyncio.create_task(store.aload([])) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await store.adisconnect()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*calls, return_exceptions=True)
        late = await asyncio.gather(
            orchestrator.async_process_event("late", "add"), return_exceptions=True
        )
        assert isinstance(late[0], FSMError)
        assert "connect" in str(late[0])
        store.connect()
        for number, answer in enumerate(answers[:5]):
            version = store.get_state_versioned(f"c-{number}")[1]
            assert version == (0 if isinstance(answer, BaseException) else 1)
        audit(store)
        store.disconnect()

    asyncio.run(main())


def test_an_interrupted_caller_that_was_still_waiting_has_sent_nothing(store, machine) -> None:
    """It may send its event again, so the first one must not come through behind its back."""
    orchestrator = Orchestrator(machine, store)
    orchestrator.process_event("i", "add")
    writer = store.parts[1]

    class Turn:
        """A lock whose taker is interrupted while it waits."""

        def acquire(self, *_):
            return False

        def __enter__(self):
            raise KeyboardInterrupt

        def __exit__(self, *_):
            raise AssertionError

    turn, taken = writer._turn, writer._take_turn
    writer._turn, writer._take_turn = Turn(), lambda: False
    with pytest.raises(KeyboardInterrupt):
        orchestrator.process_event("i", "add")
    writer._turn, writer._take_turn = turn, taken
    assert not writer._commits
    assert orchestrator.process_event("i", "add").version == 2
    audit(store)


def test_an_interrupt_while_the_log_is_made_longer_leaves_no_lock(url, store, machine) -> None:
    files = store.parts[0]
    connection = Connection(files.writer(), 0, after=True, fault=KeyboardInterrupt)
    connection.execute = lambda *arguments: interrupt_after(connection.real, *arguments)
    files._writer = connection
    with pytest.raises(KeyboardInterrupt):
        files.grow(100_000)
    files._writer = connection.real
    assert not connection.real.in_transaction
    with SQLiteStateStore(url, busy_limit=0.05) as other:
        assert Orchestrator(machine, other).process_event("g", "add").success


def interrupt_after(real, statement, *values):
    found = real.execute(statement, *values)
    if statement == "BEGIN IMMEDIATE":
        raise KeyboardInterrupt
    return found
