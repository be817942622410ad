"""Recorded histories: stores with a fault are caught, and what was recorded is what happened."""

import asyncio
import threading

import pytest

from pystator import InMemoryStateStore, Orchestrator, SQLiteStateStore, StateMachine
from pystator.errors import StoreUnavailableError
from pystator.records import Loaded, Outcome, OutcomeKind
from pystator.testing import change
from pystator.testing.building import lookup, note
from pystator.testing.clients import client, run_tasks, run_threads
from pystator.testing.linearizability import Operation
from pystator.testing.lost_answers import TALLY, LosingStore
from pystator.testing.models import Add, Count, Counting, Read, Write
from pystator.testing.ordering import LinearizabilityContract, check_rows
from pystator.testing.recording import RecordingStore, read_log, write_log
from pystator.testing.windows import assert_linearizable

# Stores with a fault ------------------------------------------------------------------------------


class Faulty(InMemoryStateStore):
    """Every seventh call goes wrong, in the way of its subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    def is_bad(self) -> bool:
        self.turns += 1
        return self.turns % 7 == 0


class LosesUpdates(Faulty):
    """It overwrites whatever version is there, as a store without compare-and-set does."""

    def commit(self, commits):
        outcomes = super().commit(commits)
        bad = self.is_bad()
        return [
            Outcome(OutcomeKind.APPLIED) if bad and each.kind is OutcomeKind.STALE else each
            for each in outcomes
        ]


class ReadsFromAReplica(Faulty):
    """It sometimes gives what it gave before."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = {}

    def load(self, lookups):
        loaded = super().load(lookups)
        if self.is_bad():
            return [
                self.cache.get(each.entity_id, old)
                for each, old in zip(lookups, loaded, strict=True)
            ]
        for each, new in zip(lookups, loaded, strict=True):
            self.cache[each.entity_id] = new
        return loaded


class ForgetsItWrote(Faulty):
    """It says stale of what it applied."""

    def commit(self, commits):
        outcomes = super().commit(commits)
        return [Outcome(OutcomeKind.STALE)] * len(outcomes) if self.is_bad() else outcomes


class ForgetsToWrite(Faulty):
    """It says applied of what it did not write: a commit after which the server lost its memory."""

    def commit(self, commits):
        if self.is_bad():
            return [Outcome(OutcomeKind.APPLIED)] * len(commits)
        return super().commit(commits)


class ShowsWhatIsNotCommitted(Faulty):
    """A load gives a version that nobody will ever write."""

    def load(self, lookups):
        loaded = super().load(lookups)
        if self.is_bad():
            for each in loaded:
                if each.entity is not None:
                    each.entity.version += 1
        return loaded


class ForgetsEventIds(Faulty):
    def load(self, lookups):
        loaded = super().load(lookups)
        return [Loaded(each.entity, {}) for each in loaded] if self.is_bad() else loaded


class SendsTwice(Faulty):
    """A lost commit is sent again later, without its version."""

    def commit(self, commits):
        outcomes = super().commit(commits)
        if self.is_bad():
            again = [change(each.entity_id, after=each.new_version) for each in commits]
            super().commit(again)
        return outcomes


FAULTS = [
    LosesUpdates,
    ReadsFromAReplica,
    ForgetsItWrote,
    ForgetsToWrite,
    ShowsWhatIsNotCommitted,
    ForgetsEventIds,
    SendsTwice,
]


@pytest.mark.parametrize("run", [run_threads, run_tasks])
@pytest.mark.parametrize("faulty", FAULTS)
def test_a_fault_is_caught(faulty, run):
    log = []
    store = faulty()
    pairs = [
        (RecordingStore(store, log, f"c{number}"), client(f"c{number}", 60, number))
        for number in range(4)
    ]
    run(pairs)
    with pytest.raises(AssertionError, match="these answers fit no order of the calls"):
        assert_linearizable(log)


class Unlocked:
    """A counter in two steps: two that read the same write the same."""

    def __init__(self) -> None:
        self.total = 0

    async def add(self) -> int:
        total = self.total
        await asyncio.sleep(0)
        self.total = total + 1
        return total + 1


def test_an_increment_that_is_not_atomic_is_caught():
    counter = Unlocked()
    log = []

    async def one(name):
        for _ in range(20):
            start = len(log)
            total = await counter.add()
            log.append(Operation(name, ("e", "m"), Add(total), start, len(log) + 1))

    async def run():
        await asyncio.gather(*[one(f"c{number}") for number in range(3)])

    asyncio.run(run())
    with pytest.raises(AssertionError, match="add: "):
        assert_linearizable(log, Counting())


# What is recorded ---------------------------------------------------------------------------------


def test_what_is_recorded_is_what_was_asked_and_answered():
    log = []
    store = RecordingStore(InMemoryStateStore(), log)
    first = change(context={"b": 1, "a": 2}, event_id="i")
    store.commit([first, change("f", after=7), change("g", context={"x": {1}})])
    store.load([lookup("e", "i", "j"), lookup("f")])
    store.load_one("e", "m")
    asyncio.run(store.acommit([note(event_id="i")]))
    asyncio.run(store.aload([lookup()]))
    name = threading.current_thread().name
    assert [each.client for each in log[:6]] == [name] * 6
    assert all(each.client.startswith("Task-") for each in log[6:])
    assert [each.key[0] for each in log] == ["e", "f", "g", "e", "f", "e", "e", "e"]
    assert all(each.invoked < each.returned for each in log)
    i = frozenset("i")
    text = '{"a":2,"b":1}'
    assert [each.call for each in log[:7]] == [
        Write(0, 1, "open", text, first.commit_id, i, OutcomeKind.APPLIED),
        Write(7, 8, "open", None, log[1].call.commit_id, frozenset(), OutcomeKind.STALE),
        Write(0, 1, "open", None, log[2].call.commit_id, frozenset(), OutcomeKind.REFUSED),
        Read(1, "open", text, first.commit_id, frozenset("ij"), i),
        Read(0),
        Read(1, "open", text, first.commit_id),
        Write(1, 1, None, None, log[6].call.commit_id, i, OutcomeKind.DUPLICATE),
    ]
    assert_linearizable(log)


def test_lists_and_history_are_reads():
    log = []
    store = RecordingStore(InMemoryStateStore(), log, "c")
    store.history("e", machine_name="m", newest_first=True)
    store.store.commit([change(steps=2), note(version=2), change("f")])
    store.entities()
    store.history("e", machine_name="m", newest_first=True, limit=2)
    asyncio.run(store.aentities(limit=1))
    asyncio.run(store.ahistory("e", machine_name="m", newest_first=True, limit=1))
    store.history("e", machine_name="m")
    store.history("e", newest_first=True)
    found = [(each.key[0], each.call.version, each.call.state) for each in log]
    assert found == [
        ("e", 0, None),
        ("e", 2, "open"),
        ("f", 1, "open"),
        ("e", 2, None),
        ("e", 2, "open"),
    ]
    assert log[3].call.commit_id == log[1].call.commit_id


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_commit_that_raises_may_have_happened(face):
    log = []

    def send(store):
        commit = [change()]
        return asyncio.run(store.acommit(commit)) if face == "async" else store.commit(commit)

    with pytest.raises(ConnectionError):
        send(RecordingStore(LosingStore(InMemoryStateStore(), ["mute"]), log))
    [operation] = log
    assert (operation.returned, operation.call.outcome) == (None, None)

    class Closed(InMemoryStateStore):
        def commit(self, commits):
            raise StoreUnavailableError("closed", context={"written": False})

        async def acommit(self, commits):
            return self.commit(commits)

    with pytest.raises(StoreUnavailableError):
        send(RecordingStore(Closed(), log))
    assert log == [operation]


def test_an_orchestrator_is_recorded_as_well():
    log = []
    store = RecordingStore(InMemoryStateStore(), log)
    tally = Orchestrator(StateMachine.from_dict(TALLY), store)
    for number in range(3):
        assert tally.process_event("e", "add", event_id=f"i-{number}").success
    assert [type(each.call) for each in log] == [Read, Write] * 3
    assert_linearizable(log)


def test_logs_go_through_text():
    log = []
    store = RecordingStore(LosingStore(InMemoryStateStore(), ["well"] * 9 + ["mute"]), log, "c")
    run_threads([(store, client("c", 40, 1))])
    log += [Operation("d", ("e", "m"), Add(7), 1, None), Operation("d", ("é", ""), Count(7), 1, 2)]
    text = write_log(log)
    assert read_log(text) == log
    assert read_log(text[:-5]) == log[:-1]


def test_rows_that_nobody_wrote_are_caught():
    log = []
    store = InMemoryStateStore()
    run_threads([(RecordingStore(store, log, "c"), client("c", 30, 1))])
    check_rows(store, log)
    store.commit([note("e0", version=1, event_id="nobody")])
    with pytest.raises(AssertionError):
        check_rows(store, log)


class TestLongHistoriesInMemory(LinearizabilityContract):
    pytestmark = pytest.mark.soak
    calls = 1_000
    clients = 8

    def make_store(self, path):
        return InMemoryStateStore()


class TestLongHistoriesOfSQLite(TestLongHistoriesInMemory):
    def make_store(self, path):
        return SQLiteStateStore(f"sqlite:///{path / 'store.db'}", synchronous="OFF")
