"""What goes wrong around an event: interrupts, cancellations, user code that misbehaves, odd times, huge calls.

Each of these once lost an event or its actions, wrote one twice, told a falsehood, tore history from state, or is
where that would happen first.
"""

import asyncio
import gc
import random
import signal
import threading
import weakref
from datetime import timedelta

import pytest

from pystator import (
    EventRequest,
    FSMError,
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    StateMachine,
)
from pystator.records import Lookup, to_datetime

COUNTER = {
    "meta": {"machine_name": "counter", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "odd", "timeout": {"seconds": 5, "destination": "open"}},
    ],
    "transitions": [
        {
            "trigger": "add",
            "source": "open",
            "dest": "odd",
            "actions": [{"increment": "n"}, "tell"],
        },
        {
            "trigger": "add",
            "source": "odd",
            "dest": "open",
            "actions": [{"increment": "n"}, "tell"],
        },
    ],
}


class Slow(InMemoryStateStore):
    """A memory store whose async calls take a turn of the loop."""

    combines = True

    async def aload(self, lookups):
        await asyncio.sleep(0)
        return self.load(lookups)

    async def acommit(self, commits):
        await asyncio.sleep(0)
        outcomes = self.commit(commits)
        await asyncio.sleep(0)
        return outcomes


async def settle() -> None:
    """Let everything that runs in the background come to its end."""
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def counter():
    return StateMachine.from_dict(COUNTER)


# Cancellation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("turns", range(12))
def test_a_caller_cancelled_at_any_moment_leaves_all_of_its_event_or_nothing(
    machine, actions, done, audit, batching, turns
):
    """The leader of a batch too: those behind it are answered as if it had stayed."""
    store = Slow()
    orders = Orchestrator(machine, store, actions=actions, batching=batching)

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        calls = [
            asyncio.create_task(orders.async_process_event("o-1", "pay")),
            asyncio.create_task(orders.async_process_event("o-1", "note")),
            asyncio.create_task(orders.async_process_event("o-2", "note")),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[0].cancel()
        first, *others = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer.success for answer in others] == [True, True]
        await settle()
        paid = store.get_context("o-1").get("paid", False)
        assert paid or isinstance(first, asyncio.CancelledError)
        if batching:
            assert done == (["receipt"] if paid else [])

    asyncio.run(main())
    for entity_id in ("o-1", "o-2"):
        audit(store, entity_id)


def test_a_caller_cancelled_in_the_turn_of_its_answer_still_has_its_actions_run(
    machine, actions, done
):
    store = Slow()
    orders = Orchestrator(machine, store, actions=actions)

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        combiner = orders._combine()
        release = combiner._release

        def answer_and_cancel(call):
            release(call)
            caller.cancel()

        combiner._release = answer_and_cancel
        caller = asyncio.create_task(orders.async_process_event("o-1", "pay"))
        with pytest.raises(asyncio.CancelledError):
            await caller
        await settle()

    asyncio.run(main())
    assert store.get_state("o-1") == "paid"
    assert done == ["receipt"]


def test_actions_under_way_outlive_their_caller(machine, done, rows):
    """The second action belongs to a committed event as much as the first."""
    store = Slow()
    started = asyncio.Event()

    async def label(_):
        started.set()
        await asyncio.sleep(0.01)
        done.append("label")

    orders = Orchestrator(
        machine,
        store,
        actions={"receipt": lambda _: None, "label": label, "mail": lambda _: done.append("mail")},
    )

    async def main():
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        await orders.async_process_event("o-1", "pay")
        caller = asyncio.create_task(orders.async_process_event("o-1", "ship"))
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        async with asyncio.timeout(10):
            while len(done) < 2:  # noqa: ASYNC110 - of another task
                await asyncio.sleep(0)
        await settle()

    asyncio.run(main())
    assert done == ["label", "mail"]
    assert [row.ref for row in rows(store, "o-1", "action")] == [2, 3]


def test_a_sender_that_is_cancelled_leaves_nobody_waiting(machine):
    """A program that cancels all tasks but its own goes on, and so do later callers."""
    store = Slow()
    orders = Orchestrator(machine, store)

    async def main():
        combiner = orders._combine()
        combiner._most = 1
        calls = [
            asyncio.create_task(orders.async_process_event(f"o-{n}", "note")) for n in range(3)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in list(combiner._tasks):
            task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*calls, return_exceptions=True)
            assert (await orders.async_process_event("late", "note")).success

    asyncio.run(main())


def test_a_loop_is_forgotten_when_it_is_closed(machine):
    """A web program that calls asyncio.run for each request would keep every loop it ever had."""
    orders = Orchestrator(machine, Slow())
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await orders.async_process_event("o-1", "note")

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3


@pytest.mark.parametrize("batching", [True, False])
def test_a_cancellation_inside_of_user_code_is_its_failure_and_not_the_callers(
    machine_of, batching
):
    """A client library that gives up cancels what its caller waits for; nobody cancelled the caller."""

    async def gives_up(_):
        lost = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost

    async def main():
        store = Slow()
        orders = Orchestrator(machine_of(), store, actions={"receipt": gives_up}, batching=batching)
        await orders.async_process_event("o-1", "submit", {"amount": 10})
        result = await orders.async_process_event("o-1", "pay")
        assert result.success
        assert result.metadata["action_errors"][0]["name"] == "receipt"
        transitions = [{"trigger": "go", "source": "draft", "dest": "open", "guards": ["asks"]}]
        guarded = Orchestrator(
            machine_of(transitions=transitions),
            Slow(),
            guards={"asks": gives_up},
            batching=batching,
        )
        result = await guarded.async_process_event("o-1", "go")
        assert (result.success, result.error.code) == (False, "fsm_error")
        assert "asks" in result.error.message

    asyncio.run(main())


# Interrupts ---------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Ctrl-C, at a moment of our choice."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no such signal here")
def test_an_interrupt_at_any_moment_leaves_the_store_in_memory_whole_and_unlocked(counter):
    """Python delivers a signal after any call: also between taking a lock and the try that gives it back."""
    store = InMemoryStateStore()
    counters = Orchestrator(counter, store, actions={"tell": lambda _: None})

    def stop(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, stop)
    luck = random.Random(1)
    number = sent = 0
    gc.disable()  # in a callback of the collector an interrupt gets lost
    try:
        for _ in range(1_500):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.000_1 + luck.random() * 0.000_4)
                for _ in range(1_000):
                    number += 1
                    event_id = f"x-{number}" if number % 2 else None
                    counters.process_event(f"c-{number % 3}", "add", event_id=event_id)
            except Interrupted:
                sent += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert not store._lock.locked()
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert sent > 1_000
    feed = store.feed(None, 1_000_000).items
    for entity in store.entities(limit=10).items:
        rows = store.history(entity.entity_id, limit=1_000_000).items
        events = [row for row in rows if row.kind == "event"]
        assert [row.version for row in events] == list(range(1, entity.version + 1))
        assert entity.context["n"] == entity.version
        known = [row.event_id for row in events if row.event_id]
        assert len(known) == len(set(known))
        of_feed = [row.id for row in feed if row.entity_id == entity.entity_id]
        assert sorted(row.id for row in rows) == of_feed
        found = store.load([Lookup(entity.entity_id, "counter", tuple(known))])[0]
        assert set(found.known) == set(known)


# User code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["guard", "validator", "hook"])
def test_an_exit_in_user_code_before_the_commit_writes_nothing(machine_of, where, rows):
    store = InMemoryStateStore()
    leaving = [True]

    def leave(*_):
        if leaving:
            raise SystemExit
        return True

    class Hook:
        on_transition_start = staticmethod(leave)

    transitions = [
        {"trigger": "go", "source": "draft", "dest": "open", "guards": ["leaves"]},
        {"trigger": "back", "source": "open", "dest": "draft"},
    ]
    orders = Orchestrator(
        machine_of(transitions=transitions),
        store,
        guards={"leaves": leave if where == "guard" else lambda _: True},
        hooks=[Hook()] if where == "hook" else None,
        context_validator=(lambda *_: (leave(), [])) if where == "validator" else None,
    )
    with pytest.raises(SystemExit):
        orders.process_event("o-1", "go")
    with pytest.raises(SystemExit):
        orders.process_events([("o-1", "go"), ("o-2", "go")])
    assert store.get_state("o-1") is None
    assert rows(store, "o-1", machine_name="order") == []
    leaving.clear()
    assert orders.process_event("o-1", "go").version == 1


def test_an_exit_in_an_action_keeps_the_event(orders, store, machine, audit, rows):
    """The commit stands; what its actions did is visibly unknown."""

    def leave(_):
        raise SystemExit

    orders.process_event("o-1", "submit", {"amount": 10})
    leaving = Orchestrator(machine, store, actions={"receipt": leave})
    with pytest.raises(SystemExit):
        leaving.process_event("o-1", "pay", event_id="p")
    again = orders.process_event("o-1", "pay", event_id="p")
    assert (again.success, again.replayed, again.version) == (True, True, 2)
    assert rows(store, "o-1", "action") == []
    audit(store, "o-1")


def test_hooks_and_validators_cannot_reach_what_is_written(machine, store, rows, audit):
    """What they wrote into the context was stored and stood in no row of history."""

    class Hook:
        def on_transition_start(self, _entity_id, result):
            result.context["hook"] = True
            result.context["items"].append("hook")

    def validator(_entity_id, _state, _trigger, context):
        context["validator"] = True
        context["items"].append("validator")
        return True, []

    orders = Orchestrator(machine, store, hooks=[Hook()], context_validator=validator)
    store.set_state("o-1", "draft", metadata={"machine_name": "order", "context": {"items": ["a"]}})
    for _ in range(3):
        orders.process_event("o-1", "note")
    orders.process_events([("o-1", "note")] * 2)
    assert store.get_context("o-1") == {"items": ["a"], "notes": 5}
    audit(store, "o-1")


def test_an_answer_is_not_lost_because_outcomes_of_actions_cannot_be_kept(
    machine, actions, done, caplog
):
    """The event is written: an error would make its sender send it again."""

    class Failing(InMemoryStateStore):
        def append_later(self, commits):
            raise RuntimeError("can't start new thread")

    orders = Orchestrator(machine, Failing(), actions=actions)
    orders.process_event("o-1", "submit", {"amount": 10})
    assert orders.process_event("o-1", "pay").version == 2
    assert orders.process_events([("o-1", "ship")])[0].version == 3
    assert done == ["receipt", "label", "mail"]
    assert "not recorded" in caplog.text


def test_a_context_that_cannot_be_copied_for_actions_does_not_undo_the_event(machine, done):
    """Users' stores may hold anything."""

    class Kept:
        def __init__(self):
            self.states, self.contexts = {}, {}

        def get_state(self, entity_id):
            return self.states.get(entity_id)

        def get_context(self, entity_id):
            return self.contexts.get(entity_id, {})

        def set_state(self, entity_id, state, *, metadata=None):
            self.states[entity_id] = state
            self.contexts[entity_id] = metadata.get("context", self.contexts.get(entity_id))

    store = Kept()
    orders = Orchestrator(machine, store, actions={"receipt": lambda _: done.append("receipt")})
    orders.process_event("o-1", "submit", {"amount": 10, "lock": threading.Lock()})
    result = orders.process_event("o-1", "pay")
    assert result.success
    assert store.get_state("o-1") == "paid"
    assert [each["name"] for each in result.metadata["action_errors"]] == ["receipt"]


# Three-method stores ------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [1, 3])
def test_a_three_method_store_that_loses_its_answer_is_not_asked_twice(machine, events):
    """It cannot say whether it wrote, so nobody but the sender may decide to send again."""

    class Losing:
        def __init__(self):
            self.states, self.contexts, self.loses = {}, {}, False

        def get_state(self, entity_id):
            return self.states.get(entity_id)

        def get_context(self, entity_id):
            return dict(self.contexts.get(entity_id, {}))

        def set_state(self, entity_id, state, *, metadata=None):
            self.states[entity_id] = state
            self.contexts[entity_id] = metadata.get("context", self.contexts.get(entity_id))
            if self.loses:
                raise ConnectionError("the answer is lost")

    store = Losing()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "note")
    store.loses = True
    results = orders.process_events([("o-1", "note")] * events)
    assert [result.success for result in results] == [False] * events
    assert "the answer is lost" in results[0].error.message
    assert store.contexts["o-1"]["notes"] == 1 + events


# Timers -------------------------------------------------------------------------------------------

TICKET = {
    "meta": {"machine_name": "ticket", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial", "timeout": {"seconds": 60, "destination": "late"}},
        {"name": "held"},
        {"name": "late"},
    ],
    "transitions": [
        {"trigger": "hold", "source": "open", "dest": "held"},
        {"source": "held", "dest": "late", "after": 1_000, "guards": ["slow"]},
    ],
}


async def slow(_):
    await asyncio.sleep(0)
    return True


def test_an_entity_whose_timers_cannot_fire_stops_no_other(store, clock, caplog):
    """Its guard is async and the sweep is blocking: it is said in the log, and stays first in line."""
    tickets = Orchestrator(
        StateMachine.from_dict(TICKET), store, guards={"slow": slow}, clock=clock
    )
    for number in range(5):
        tickets.process_event(f"stuck-{number}", "hold")
    tickets.create_entity("good")
    clock.advance(120)
    fired = tickets.fire_due(limit=2)
    assert [result.metadata["entity_id"] for result in fired] == ["good"]
    assert "stuck-0" in caplog.text
    assert "async" in caplog.text
    assert tickets.fire_due(limit=2) == []
    fired = asyncio.run(tickets.async_fire_due())
    assert len(fired) == 5


def test_timers_stale_writers_and_async_guards_together_fire_each_timer_once(clock, audit, rows):
    """The draft is thrown away and made again while the guard is awaited."""
    store = Slow(clock=clock)
    transitions = [
        *TICKET["transitions"],
        {"trigger": "close", "source": "late", "dest": "open", "guards": ["slow"]},
    ]
    machine = StateMachine.from_dict({**TICKET, "transitions": transitions})
    other = Orchestrator(machine, store, guards={"slow": slow}, clock=clock)
    meddled = []

    async def meddling(_):
        if len(meddled) < 3:
            meddled.append(1)
            await other.async_force_state("t-1", "late", reason="meddling", actor="test")
        return True

    tickets = Orchestrator(machine, store, guards={"slow": meddling}, clock=clock)

    async def main():
        await tickets.async_create_entity("t-1")
        await tickets.async_process_event("t-1", "hold")
        clock.advance(120)
        return await tickets.async_process_event("t-1", "close")

    result = asyncio.run(main())
    assert (result.success, result.target_state) == (True, "open")
    assert len(rows(store, "t-1", "event")) == 2
    assert len(rows(store, "t-1", "timer")) <= 1
    audit(store, "t-1", "ticket")


# Time ---------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_moves_no_time_back_and_loses_no_timer(
    counter, store, clock, audit, rows
):
    counters = Orchestrator(counter, store, actions={"tell": lambda _: None}, clock=clock)
    counters.process_event("c-1", "add")
    made = store.entities().items[0]
    clock.advance(-3_600)
    counters.process_event("c-2", "add")
    assert counters.process_event("c-1", "add").version == 2
    assert counters.process_event("c-1", "add").version == 3
    entity = next(each for each in store.entities().items if each.entity_id == "c-1")
    assert entity.updated_at >= made.updated_at
    old = to_datetime(made.updated_at) - timedelta(days=1)
    assert counters.process_event("c-1", "never", now=old).version == 3
    clock.advance(7_200)
    assert {each.metadata["entity_id"] for each in counters.fire_due()} == {"c-1", "c-2"}
    times = [row.now for row in rows(store, "c-1") if row.kind != "action"]
    assert times == sorted(times)
    for entity_id in ("c-1", "c-2"):
        audit(store, entity_id, "counter")


# What the caller keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("batching", [True, False])
def test_what_the_caller_does_to_its_data_while_it_waits_changes_nothing(
    machine_of, batching, audit, rows
):
    """A guard approves one amount, and the caller has another one written: deeply nested, too."""
    store = Slow()
    seen = []

    async def approves(context):
        seen.append(context["order"]["amount"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return context["order"]["amount"] <= 10

    transitions = [{"trigger": "go", "source": "draft", "dest": "open", "guards": ["approves"]}]
    orders = Orchestrator(
        machine_of(transitions=transitions), store, guards={"approves": approves}, batching=batching
    )
    data = {"order": {"amount": 10, "lines": ["a"]}}

    async def main():
        call = asyncio.create_task(orders.async_process_event("o-1", "go", data, event_id="x"))
        await asyncio.sleep(0)
        data["order"]["amount"] = 1_000
        data["order"]["lines"].append("b")
        data["more"] = True
        return await call

    result = asyncio.run(main())
    assert result.success
    assert seen == [10]
    assert store.get_context("o-1") == {"order": {"amount": 10, "lines": ["a"]}}
    result.context["order"]["lines"].append("result")
    (row,) = rows(store, "o-1", "event")
    row.payload["order"]["lines"].append("row")
    audit(store, "o-1")
    retry = {"order": {"amount": 10, "lines": ["a"]}}
    assert orders.process_event("o-1", "go", retry, event_id="x").replayed


def test_a_stream_that_uses_its_buffer_again_sends_what_it_sent(orders, store):
    """Items are gathered before they are decided; nested data was the last item's for all."""

    def stream():
        data = {"lines": []}
        for number in range(3):
            data["lines"].append(number)
            yield (f"o-{number}", "note", data)

    assert all(result.success for result in orders.process_events(stream()))
    lines = [store.get_context(f"o-{number}")["lines"] for number in range(3)]
    assert lines == [[0], [0, 1], [0, 1, 2]]


def test_results_of_one_commit_share_nothing_that_a_later_event_sees(orders, store, audit):
    first, second = orders.process_events([("o-1", "note", {"lines": ["a"]}), ("o-1", "note")])
    first.context["lines"].append("b")
    first.context["notes"] = 100
    second.context["lines"].append("c")
    assert orders.process_event("o-1", "note").context == {"lines": ["a"], "notes": 3}
    audit(store, "o-1")


# Event ids ----------------------------------------------------------------------------------------


def test_an_id_that_a_validator_refused_stays_refused_until_a_new_id_is_sent(machine, store, rows):
    strict = [True]

    def validator(*_):
        return (not strict, ["not today"])

    orders = Orchestrator(machine, store, context_validator=validator)
    first = orders.process_event("o-1", "submit", event_id="x")
    strict.clear()
    again = orders.process_event("o-1", "submit", event_id="x")
    assert (again.success, again.replayed) == (False, True)
    assert (again.reason, again.error.code) == (first.reason, first.error.code)
    assert again.error.message == first.error.message
    assert orders.process_event("o-1", "submit", event_id="y").success
    assert len(rows(store, "o-1", "rejected")) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_rejection_and_an_application_of_one_id_race_for_one_answer(machine, audit, rows, seed):
    """One sender sees the state before another event, the other one after it: both get the answer of who was first."""
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "submit", {"amount": 10 if seed % 2 else 1})
    barrier = threading.Barrier(5)
    answers = []

    def pay():
        barrier.wait()
        answers.append(orders.process_event("o-1", "pay", event_id="x"))

    def change():
        barrier.wait()
        orders.process_event("o-1", "note", {"amount": 1 if seed % 2 else 10})

    threads = [threading.Thread(target=pay) for _ in range(4)]
    threads.append(threading.Thread(target=change))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(answer.success, answer.version) for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert sum(row.event_id == "x" for row in rows(store, "o-1")) == 1
    audit(store, "o-1")


def test_one_id_many_times_in_one_call_among_others(orders, store, audit, rows):
    items = [
        EventRequest("o-1", "submit", {"amount": 10}, "a"),
        EventRequest("o-1", "pay", None, "b"),
        EventRequest("o-1", "submit", {"amount": 10}, "a"),
        EventRequest("o-2", "submit", {"amount": 10}, "a"),
        EventRequest("o-1", "pay", None, "b"),
        EventRequest("o-1", "pay", None, "c"),
        EventRequest("o-1", "pay", {"amount": 5}, "b"),
    ]
    for _ in range(2):
        results = orders.process_events(items)
        assert [result.success for result in results] == [True] * 5 + [False] * 2
        assert [result.version for result in results[:5]] == [1, 2, 1, 1, 2]
        assert results[6].error.code == "idempotency_conflict"
    assert len(rows(store, "o-1", "event")) == 2
    assert len(rows(store, "o-1", "rejected")) == 1
    audit(store, "o-1")


# Races --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["create", "event"])
def test_an_entity_created_and_sent_events_at_once_is_started_once(machine, audit, rows, first):
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    for number in range(50):
        entity_id = f"{first}-{number}"
        barrier = threading.Barrier(3)
        answers = []

        def run(call, barrier=barrier, answers=answers):
            barrier.wait()
            try:
                answers.append(call())
            except FSMError as error:
                answers.append(error)

        calls = [
            lambda e=entity_id: orders.create_entity(e),
            lambda e=entity_id: orders.process_event(e, "submit"),
            lambda e=entity_id: orders.process_events([(e, "note"), (e, "note")]),
        ]
        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [each.code for each in answers if isinstance(each, FSMError)]
        assert errors in ([], ["entity_exists"])
        assert store.get_context(entity_id)["notes"] == 2
        assert store.get_state(entity_id) == "open"
        assert len(rows(store, entity_id, "created")) == 1 - len(errors)
        audit(store, entity_id)


def test_two_versions_of_a_machine_and_a_hand_on_one_entity_lose_nothing(machine_of, audit, rows):
    """A rolling upgrade: each version adopts the entity from the other one, with a row."""
    store = InMemoryStateStore()
    both = [
        Orchestrator(machine_of(meta={"machine_name": "order", "version": version}), store)
        for version in ("1.0", "2.0")
    ]
    failures = []

    def send(orders):
        try:
            for _ in range(50):
                orders.process_event("o-1", "note").raise_for_error()
        except BaseException as error:
            failures.append(error)

    def force():
        try:
            for number in range(20):
                state = ("draft", "open")[number % 2]
                both[0].force_state("o-1", state, reason="test", actor="test")
        except BaseException as error:
            failures.append(error)

    both[0].create_entity("o-1")
    threads = [threading.Thread(target=send, args=(orders,)) for orders in both]
    threads.append(threading.Thread(target=force))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.get_context("o-1")["notes"] == 100
    assert len(rows(store, "o-1", "forced")) == 20
    audit(store, "o-1")


# Size ---------------------------------------------------------------------------------------------


def test_ten_thousand_events_on_one_entity_and_one_on_each_of_ten_thousand(machine, audit):
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    results = orders.process_events(("o-1", "note") for _ in range(10_000))
    assert [result.version for result in results] == list(range(1, 10_001))
    results = orders.process_events((f"e-{number}", "note") for number in range(10_000))
    assert {result.version for result in results} == {1}
    assert store.count_by_state() == {"draft": 10_001}
    audit(store, "o-1")


def test_data_that_refers_to_itself_is_refused(orders, store):
    data = {"a": {}}
    data["a"]["b"] = data["a"]
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", "note", data)
    assert store.get_state("o-1") is None
