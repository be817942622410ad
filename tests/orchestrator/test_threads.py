"""Threads that share loads and commits: everybody's answer, whoever sends for all, and whoever leaves."""

import ctypes
import gc
import os
import random
import signal
import threading
import time

import pytest

from pystator import (
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    PostgresStateStore,
    SQLiteStateStore,
    StoreUnavailableError,
)
from pystator.orchestrator import leading
from pystator.records import Lookup

THREADS = 16


class Busy(InMemoryStateStore):
    """A store that takes its time, so that callers meet; it counts, and may fail."""

    def __init__(self):
        super().__init__()
        self.loads, self.commits, self.fail = [], [], None

    def load(self, lookups):
        self.loads.append(len(lookups))
        time.sleep(0.002)
        return super().load(lookups)

    def commit(self, commits):
        self.commits.append(len(commits))
        time.sleep(0.002)
        if self.fail is not None:
            self.fail()
        return super().commit(commits)


@pytest.fixture
def busy():
    return Busy()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_store(request, tmp_path):
    if request.param == "memory":
        yield Busy()
    elif request.param == "sqlite":
        with SQLiteStateStore(f"sqlite:///{tmp_path}/x.db") as store:
            yield store
    else:
        with PostgresStateStore(request.getfixturevalue("postgres_url")) as store:
            yield store


def together(work, threads=THREADS):
    """Run ``work(number)`` in so many threads at once; what each returned or raised."""
    answers = [None] * threads
    start = threading.Barrier(threads)

    def run(number):
        start.wait()
        try:
            answers[number] = work(number)
        except BaseException as error:
            answers[number] = error

    running = [
        threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(20)
        assert not thread.is_alive()
    return answers


def versions(answers):
    return [None if isinstance(each, BaseException) else each.version for each in answers]


def test_sixteen_threads_lose_nothing_and_keep_their_order(
    any_store, machine, actions, done, audit
):
    orders = Orchestrator(machine, any_store, actions=actions, batching=True)

    def work(number):
        shared = f"o-{number % 3}"
        seen = []
        for turn in range(10):
            assert orders.process_event(f"own-{number}", "note").version == turn + 1
            seen.append(orders.process_event(shared, "note", event_id=f"{number}-{turn}").version)
        return seen

    seen = together(work)
    assert all(each == sorted(each) for each in seen)
    for entity in range(3):
        of_entity = [version for number in range(entity, THREADS, 3) for version in seen[number]]
        assert sorted(of_entity) == list(range(1, len(of_entity) + 1))
        audit(any_store, f"o-{entity}")
    audit(any_store, "own-7")


def test_an_id_is_applied_once_whoever_sends_it(any_store, machine, rows):
    orders = Orchestrator(machine, any_store, batching=True)

    def work(_):
        return [orders.process_event("o-1", "note", event_id=f"e-{n}").version for n in range(5)]

    assert together(work) == [[1, 2, 3, 4, 5]] * THREADS
    assert len(rows(any_store, "o-1")) == 5


def test_callers_share_loads_and_commits(busy, machine):
    orders = Orchestrator(machine, busy, batching=True)
    together(lambda n: [orders.process_event(f"o-{n}", "note") for _ in range(5)])
    assert sum(busy.commits) == 5 * THREADS
    assert len(busy.commits) < 3 * THREADS
    assert len(busy.loads) == len(busy.commits)


def test_data_shares_them_too(busy, machine, audit):
    orders = Orchestrator(machine, busy, batching=True)
    answers = together(lambda n: orders.apply_data("o-1", {f"by_{n}": n}))
    assert sorted(versions(answers)) == list(range(1, THREADS + 1))
    assert len(busy.commits) < THREADS
    audit(busy, "o-1")


def test_threads_do_not_share_unless_they_are_told_to(busy, machine):
    together(lambda n: Orchestrator(machine, busy).process_event(f"o-{n}", "note"))
    orders = Orchestrator(machine, busy)
    together(lambda n: orders.process_event(f"o-{n}", "note"))
    assert busy.commits == [1] * (2 * THREADS)


def test_actions_and_hooks_belong_to_their_own_thread(busy, machine):
    ran, told = {}, {}

    def receipt(context):
        ran[context["me"]] = threading.get_ident()

    class Hook:
        def on_before_process(self, entity_id, *_):
            told[entity_id] = [threading.get_ident()]

        def on_transition_complete(self, entity_id, *_):
            told[entity_id].append(threading.get_ident())

    orders = Orchestrator(
        machine, busy, actions={"receipt": receipt}, hooks=[Hook()], batching=True
    )

    def work(number):
        orders.process_event(f"o-{number}", "submit", {"amount": 10, "me": number})
        assert orders.process_event(f"o-{number}", "pay").success
        return threading.get_ident()

    mine = together(work)
    assert [ran[number] for number in range(THREADS)] == mine
    assert [told[f"o-{number}"] for number in range(THREADS)] == [[each] * 2 for each in mine]


def test_a_batch_that_does_not_come_back_holds_up_only_its_own(machine, monkeypatch):
    monkeypatch.setattr(leading, "LATE", 0.005)
    gate = threading.Event()

    class Locked(Busy):
        def commit(self, commits):
            if any(commit.entity_id == "locked" for commit in commits):
                gate.wait(20)
            return super().commit(commits)

    orders = Orchestrator(machine, Locked(), batching=True)
    locked = threading.Thread(target=orders.process_event, args=("locked", "note"))
    locked.start()
    try:
        answers = together(lambda n: orders.process_event(f"o-{n}", "note"))
        assert versions(answers) == [1] * THREADS
        assert locked.is_alive()
    finally:
        gate.set()
        locked.join(20)


# Failures -----------------------------------------------------------------------------------------


def test_one_failure_does_not_touch_its_neighbours(busy, machine, audit):
    busy.set_state("o-bad", "lost", metadata={"machine_name": "order"})
    orders = Orchestrator(machine, busy, batching=True)

    def work(number):
        if number == 3:
            return orders.process_event("o-bad", "note")
        if number == 4:
            return orders.process_event("o-1", "note", {"x": {1}})
        return orders.process_event("o-1", "note")

    answers = together(work)
    assert answers[3].code == "undefined_state"
    assert isinstance(answers[4], InvalidValueError)
    assert sorted(each for each in versions(answers) if each) == list(range(1, THREADS - 1))
    audit(busy, "o-1")


def test_other_writers_are_met_by_the_caller_of_the_entity(busy, machine, audit):
    orders, others = Orchestrator(machine, busy, batching=True), Orchestrator(machine, busy)

    def work(number):
        for _ in range(4):
            (orders if number % 4 else others).process_event("o-1", "note")

    assert together(work) == [None] * THREADS
    assert orders.get_entity("o-1").context == {"notes": 4 * THREADS}
    audit(busy, "o-1")


def test_a_store_that_is_down_tells_every_caller(busy, machine):
    orders = Orchestrator(machine, busy, batching=True)

    def down():
        raise StoreUnavailableError("down", context={"written": False})

    busy.fail = down
    answers = together(lambda n: orders.process_event(f"o-{n}", "note"))
    assert {type(answer) for answer in answers} == {StoreUnavailableError}
    busy.fail = None
    assert versions(together(lambda n: orders.process_event(f"o-{n}", "note"))) == [1] * THREADS


def test_a_guard_that_leaves_takes_its_own_caller_along_and_no_other(busy, machine_of):
    transitions = [{"trigger": "go", "source": "*", "internal": True, "guards": ["leaves"]}]

    def leaves(context):
        if context["me"] in {5, 11}:
            raise SystemExit(context["me"])
        return True

    orders = Orchestrator(
        machine_of(transitions=transitions), busy, guards={"leaves": leaves}, batching=True
    )
    answers = together(lambda n: orders.process_event(f"o-{n % 8}", "go", {"me": n}))
    for number, answer in enumerate(answers):
        if number in {5, 11}:
            assert isinstance(answer, SystemExit)
            assert answer.code == number
        else:
            assert answer.success
    again = together(lambda n: orders.process_event(f"p-{n}", "go", {"me": 0}))
    assert all(answer.success for answer in again)


def test_a_thread_that_ends_while_it_writes_for_all_leaves_nobody_waiting(busy, machine):
    """What became of their events is unknown, and they are told so."""
    orders = Orchestrator(machine, busy, batching=True)
    ends = iter([True])

    def end():
        if busy.commits[-1] > 3 and next(ends, False):
            raise GeneratorExit

    busy.fail = end
    answers = together(lambda n: [orders.process_event(f"o-{n}", "note") for _ in range(3)])
    left = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(left) > 3
    assert sum(isinstance(answer, GeneratorExit) for answer in left) == 1
    unknown = [answer for answer in left if isinstance(answer, StoreUnavailableError)]
    assert len(unknown) == len(left) - 1
    assert all("unknown whether" in answer.message for answer in unknown)
    assert all(
        answer.success for answer in together(lambda n: orders.process_event(f"p-{n}", "note"))
    )


def test_a_guard_that_sends_an_event_does_not_wait_for_its_own_batch(busy, machine_of, audit):
    """Also to an entity that is in the very same batch, and to one of another orchestrator."""
    transitions = [
        {"trigger": "go", "source": "draft", "dest": "open", "guards": ["asks"]},
        {"trigger": "note", "source": "*", "internal": True},
    ]

    def asks(context):
        for each in (orders, others):
            assert each.process_event(f"o-{(context['me'] + 1) % THREADS}", "note").success
        return True

    machine = machine_of(transitions=transitions)
    orders = Orchestrator(machine, busy, guards={"asks": asks}, batching=True)
    others = Orchestrator(machine, Busy(), guards={"asks": asks}, batching=True)
    answers = together(lambda n: orders.process_event(f"o-{n}", "go", {"me": n}))
    assert all(answer.success for answer in answers)
    for number in range(THREADS):
        audit(busy, f"o-{number}")


# The main thread ----------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Ctrl-C, at a moment of our choice."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no such signal here")
def test_an_interrupt_touches_nobody_else(machine, audit):
    """Ctrl-C reaches the main thread, wherever it is: it never holds what others wait for."""
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store, batching=True)
    stopping = threading.Event()

    def serve(number):
        sent = 0
        while not stopping.is_set() and sent < 5_000:
            assert orders.process_event(f"o-{number % 3}", "note").success
            sent += 1
        return sent

    def stop(*_):
        raise Interrupted

    answers = []
    serving = threading.Thread(target=lambda: answers.extend(together(serve, 4)))
    before = signal.signal(signal.SIGALRM, stop)
    luck = random.Random(1)
    interrupted = 0
    gc.disable()  # in a callback of the collector an interrupt gets lost
    try:
        serving.start()
        for _ in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.000_1 + luck.random() * 0.001)
                for _ in range(1_000):
                    orders.process_event("main", "note")
            except Interrupted:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
        stopping.set()
        serving.join(20)
    assert interrupted > 100
    assert len(answers) == 4
    notes = [orders.get_entity(f"o-{n}").context["notes"] for n in range(3)]
    assert sum(notes) == sum(answers)
    for name in ("o-0", "o-1", "o-2", "main"):
        audit(store, name)


class Ended(BaseException):
    """As a tool ends a thread that takes too long."""


@pytest.fixture
def call(busy, machine):
    """``call(entity)`` is a thread that sends an event, and what became of it.

    ``call.wait_until(number)`` of them stand in line.
    """
    orders = Orchestrator(machine, busy, batching=True)

    def send(entity, answers):
        try:
            answers.append(orders.process_event(entity, "note").version)
        except Ended as error:
            answers.append(type(error))

    def start(entity):
        answers = []
        thread = threading.Thread(target=send, args=(entity, answers), daemon=True)
        thread.start()
        return thread, answers

    def wait_until(number):
        deadline = time.monotonic() + 20
        while orders._leaders._lines.waiting != number and time.monotonic() < deadline:
            time.sleep(0.001)

    start.wait_until = wait_until
    yield start
    for entity in ("o-1", "o-2", "o-3", "other"):  # nobody who left is waited for
        thread, answers = start(entity)
        thread.join(20)
        assert len(answers) == 1
    lines = orders._leaders._lines
    assert (lines.waiting, lines._flying, lines._busy) == (0, 0, set())


class Gate:
    """Holds up commits until it is opened; counts those that have come."""

    def __init__(self, store):
        self.came, self.passes, store.fail = 0, threading.Semaphore(0), self
        self.changed = threading.Condition()

    def __call__(self):
        with self.changed:
            self.came += 1
            self.changed.notify_all()
        self.passes.acquire(timeout=20)

    def held(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: self.came == number, 20)


def end(thread):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(Ended)
    )


class TestEndedThreads:
    def test_one_that_nobody_has_taken_up_takes_its_event_along(self, call, busy, monkeypatch):
        monkeypatch.setattr(leading, "LATE", 0.02)
        gate = Gate(busy)
        first = call("o-1")
        gate.held(1)
        ended = call("o-1")
        call.wait_until(1)
        end(ended[0])
        ended[0].join(20)
        assert ended[1] == [Ended]
        gate.passes.release(100)
        first[0].join(20)
        assert first[1] == [1]
        assert busy.load([Lookup("o-1", "order")])[0].entity.version == 1

    def test_one_that_is_called_to_lead_leads(self, call, busy):
        gate = Gate(busy)
        first = call("o-1")
        gate.held(1)
        ended = call("o-2")
        call.wait_until(1)
        third = call("o-3")
        call.wait_until(2)
        end(ended[0])
        gate.passes.release(100)
        for thread, _ in (first, ended, third):
            thread.join(20)
        assert (first[1], ended[1], third[1]) == ([1], [Ended], [1])

    def test_one_that_others_have_taken_along_stays_until_it_is_answered(
        self, call, busy, monkeypatch
    ):
        monkeypatch.setattr(leading, "LATE", 0.02)
        gate = Gate(busy)
        first = call("o-1")
        gate.held(1)
        second = call("o-1")
        call.wait_until(1)
        ended = call("o-1")
        call.wait_until(2)
        gate.passes.release()
        gate.held(2)
        end(ended[0])
        ended[0].join(0.1)
        assert ended[0].is_alive()
        gate.passes.release(100)
        for thread, _ in (first, second, ended):
            thread.join(20)
        assert (first[1], second[1], ended[1]) == ([1], [2], [Ended])
        assert busy.load([Lookup("o-1", "order")])[0].entity.version == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_waits_for_none_of_its_parents_threads(busy, machine):
    orders = Orchestrator(machine, busy, batching=True)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        entered.set()
        leave.wait(20)

    busy.fail = hold
    caller = threading.Thread(target=orders.process_event, args=("o-1", "note"))
    caller.start()
    entered.wait(20)
    child = os.fork()
    if child == 0:
        busy.fail = None
        store = orders._driver.store = InMemoryStateStore()
        together(lambda _: orders.process_event("o-1", "note"), 4)
        os._exit(0 if store.get_state("o-1") else 1)
    leave.set()
    caller.join(20)
    busy.fail = None
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
