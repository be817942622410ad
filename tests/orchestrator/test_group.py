"""Shared commits under load: batches in flight at once, a bounded house, and nobody starved."""

import asyncio
import sys
import threading
import traceback

import pytest

from pystator import ConfigurationError, InMemoryStateStore, Orchestrator, StoreUnavailableError
from pystator.orchestrator import batching
from pystator.orchestrator.lines import MOST_OF_ONE, WORTH


class Network(InMemoryStateStore):
    """A store that works on several batches at once; a test lets their commits return.

    ``under_way`` are the entities of each batch between its load and the return of its commit.
    """

    combines = True
    in_flight = 2

    def __init__(self):
        super().__init__()
        self.under_way, self.most, self.batches, self.gate = [], 0, [], None

    async def aload(self, lookups):
        keys = {lookup.entity_id for lookup in lookups}
        assert not any(keys & others for others in self.under_way)
        self.under_way.append(keys)
        self.most = max(self.most, len(self.under_way))
        await asyncio.sleep(0)
        return self.load(lookups)

    async def acommit(self, commits):
        self.batches.append([(each.entity_id, len(each.entries)) for each in commits])
        keys = {commit.entity_id for commit in commits}
        for _ in range(3):
            await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        self.under_way.remove(next(each for each in self.under_way if each >= keys))
        return self.commit(commits)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def orders(machine, network):
    return Orchestrator(machine, network)


def run(main):
    async def limited():
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(limited())


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - conditions of other code
        await asyncio.sleep(0)


def start(orders, entity_id, number=1):
    """So many calls of an entity, as tasks."""
    return [
        asyncio.create_task(orders.async_process_event(entity_id, "note")) for _ in range(number)
    ]


# In flight ----------------------------------------------------------------------------------------


def test_two_batches_are_in_flight_where_the_store_works_on_both(orders, network, audit):
    """While one is on the wire, the other is decided; an entity is never in both."""

    async def main():
        async def caller(number):
            for turn in range(10):
                await orders.async_process_event(f"o-{(number * 7 + turn) % 40}", "note")

        await asyncio.gather(*(caller(number) for number in range(64)))

    run(main)
    assert network.most == 2
    for number in range(40):
        audit(network, f"o-{number}")
    assert sum(orders.get_entity(f"o-{n}").context["notes"] for n in range(40)) == 640


def test_the_first_call_does_not_wait_and_a_few_wait_for_its_return(orders, network):
    """Beside a batch of six, one of two would cost the store a round for little."""

    async def main():
        network.gate = asyncio.Event()
        calls = [start(orders, f"n-{number}")[0] for number in range(6)]
        await until(lambda: network.batches)
        calls += start(orders, "o-2") + start(orders, "o-3")
        for _ in range(20):
            await asyncio.sleep(0)
        assert [len(batch) for batch in network.batches] == [6]
        for number in range(WORTH):
            calls += start(orders, f"p-{number}")
        await until(lambda: len(network.batches) == 2)
        network.gate.set()
        await asyncio.gather(*calls)

    run(main)
    assert len(network.batches[1]) == WORTH


def test_an_event_whose_entity_is_in_flight_waits_and_goes_in_one_commit(orders, network, rows):
    async def main():
        network.gate = asyncio.Event()
        calls = start(orders, "o-1")
        await until(lambda: network.batches)
        calls += start(orders, "o-1", 5)
        for number in range(WORTH):
            calls += start(orders, f"p-{number}")
        await until(lambda: len(network.batches) == 2)
        assert "o-1" not in dict(network.batches[1])
        network.gate.set()
        results = await asyncio.gather(*calls)
        assert [result.version for result in results[:6]] == [1, 2, 3, 4, 5, 6]

    run(main)
    assert len({row.commit_id for row in rows(network, "o-1")}) == 2


def test_batches_that_do_not_come_back_hold_up_only_their_own(orders, network, monkeypatch):
    """Somebody keeps two entities locked: the others go on beside them."""
    monkeypatch.setattr(batching, "LATE", 0.005)
    gates = {f"locked-{number}": asyncio.Event() for number in range(2)}
    acommit = network.acommit

    async def behind_a_lock(commits):
        for commit in commits:
            if commit.entity_id in gates:
                await gates[commit.entity_id].wait()
        return await acommit(commits)

    network.acommit = behind_a_lock

    async def main():
        locked = start(orders, "locked-0")
        await until(lambda: len(network.under_way) == 1)
        locked += start(orders, "locked-1")
        await until(lambda: len(network.under_way) == 2)
        for _ in range(3):
            results = await asyncio.gather(*[start(orders, f"o-{n}")[0] for n in range(5)])
            assert all(result.success for result in results)
        behind = start(orders, "locked-0")
        assert not any(call.done() for call in locked)
        for gate in gates.values():
            gate.set()
        assert [(await call).version for call in locked + behind] == [1, 1, 2]

    run(main)


# Fairness -----------------------------------------------------------------------------------------


def test_an_entity_with_thousands_of_events_does_not_hold_up_the_others(orders, network):
    async def main():
        many = start(orders, "hot", 3_000)
        await until(lambda: network.batches)
        others = [start(orders, f"o-{number}")[0] for number in range(50)]
        await asyncio.gather(*others)
        answered = sum(task.done() for task in many)
        results = await asyncio.gather(*many)
        assert [result.version for result in results] == list(range(1, 3_001))
        return answered

    assert run(main) <= 4 * MOST_OF_ONE
    assert max(events for batch in network.batches for _, events in batch) == MOST_OF_ONE


# Errors -------------------------------------------------------------------------------------------


class Odd(Exception):  # noqa: N818 - somebody else's
    """An error that cannot be copied."""

    def __init__(self, *, reason):
        super().__init__()
        self.reason = reason


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("down", context={"written": False}), Odd(reason="lost")]
)
def test_callers_of_one_batch_have_an_error_each(orders, network, error):
    """One for all would collect the tracebacks of all: a megabyte of text for a thousand callers."""

    async def aload(_):
        await asyncio.sleep(0)
        raise error

    network.aload = aload

    async def main():
        return await asyncio.gather(
            *[orders.async_process_event(f"o-{n}", "note") for n in range(50)],
            return_exceptions=True,
        )

    answers = run(main)
    assert {type(answer) for answer in answers} == {type(error)}
    for answer in answers:
        assert vars(answer) == vars(error)
    if isinstance(error, StoreUnavailableError):
        assert len(set(map(id, answers))) == 50
        assert all(len(traceback.extract_tb(each.__traceback__)) < 15 for each in answers)


# The gate -----------------------------------------------------------------------------------------


def held(orders):
    return orders._combine()._held


def test_a_bounded_number_of_calls_is_held_and_the_others_come_in_their_order(machine, network):
    orders = Orchestrator(machine, network, most_waiting=10)
    answered = []

    async def main():
        async def caller(number):
            result = await orders.async_process_event(f"o-{number % 7}", "note", {"by": number})
            answered.append((number % 7, number))
            most.append(held(orders))
            return result

        most = []
        network.gate = asyncio.Event()
        calls = [asyncio.create_task(caller(number)) for number in range(100)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert held(orders) == 10
        network.gate.set()
        results = await asyncio.gather(*calls)
        assert all(result.success for result in results)
        assert max(most) <= 10
        assert held(orders) == 0

    run(main)
    for entity in range(7):
        assert [number for which, number in answered if which == entity] == list(
            range(entity, 100, 7)
        )


def test_who_is_cancelled_at_the_gate_has_sent_nothing_and_leaves_no_gap(machine, network):
    orders = Orchestrator(machine, network, most_waiting=2)

    async def main():
        network.gate = asyncio.Event()
        calls = [start(orders, f"o-{number}")[0] for number in range(8)]
        for _ in range(20):
            await asyncio.sleep(0)
        for number in (2, 3, 5):
            calls[number].cancel()
        network.gate.set()
        # one more in the very turn in which it is let in
        combiner = orders._combine()
        leave = combiner._leave

        def leave_and_cancel(number):
            leave(number)
            calls[4].cancel()

        combiner._leave = leave_and_cancel
        answers = await asyncio.gather(*calls, return_exceptions=True)
        cancelled = [isinstance(each, asyncio.CancelledError) for each in answers]
        assert cancelled == [False, False, True, True, True, True, False, False]
        assert (held(orders), len(combiner._gate)) == (0, 0)

    run(main)
    assert [each.entity_id for each in network.list_entities()] == ["o-0", "o-1", "o-6", "o-7"]


@pytest.mark.parametrize("turns", range(1, 9))
def test_nobody_overtakes_who_is_let_in_and_has_not_come_yet(machine, turns):
    orders = Orchestrator(machine, InMemoryStateStore(), batching=True, most_waiting=2)
    versions = {}

    async def main():
        async def call(entity_id, name, turns=0):
            for _ in range(turns):
                await asyncio.sleep(0)
            result = await orders.async_process_event(entity_id, "note")
            versions[name] = result.metadata["version"]

        calls = [call("p", "p"), call("q", "q"), call("x", "first"), call("x", "second", turns)]
        await asyncio.gather(*calls)
        assert (held(orders), orders._combine()._coming) == (0, 0)

    run(main)
    assert (versions["first"], versions["second"]) == (1, 2)


def test_who_is_passed_over_in_the_turn_of_its_cancellation_is_cancelled(machine, network):
    """Its place at the gate is gone before it can give it back."""
    orders = Orchestrator(machine, network, most_waiting=1)

    async def main():
        network.gate = asyncio.Event()
        calls = [start(orders, f"o-{number}")[0] for number in range(3)]
        await until(lambda: network.batches)
        combiner = orders._combine()
        leave = combiner._leave

        def cancel_and_leave(number):
            calls[1].cancel()
            leave(number)

        combiner._leave = cancel_and_leave
        network.gate.set()
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
        assert (first.success, third.success) == (True, True)
        assert isinstance(second, asyncio.CancelledError)
        assert (held(orders), len(combiner._gate)) == (0, 0)

    run(main)


def test_callers_that_give_up_on_a_store_that_does_not_answer_leave_nothing_behind(
    machine, network
):
    orders = Orchestrator(machine, network, most_waiting=50)

    async def main():
        network.gate = asyncio.Event()
        first = start(orders, "o-1")
        await until(lambda: network.batches)
        combiner = orders._combine()
        for _ in range(20):
            calls = start(orders, "o-1", 30) + start(orders, "o-2", 3) + start(orders, "o-3", 30)
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert (held(orders), combiner._lines.waiting, len(combiner._gate)) == (1, 0, 0)
        network.gate.set()
        await asyncio.gather(*first, *start(orders, "o-3"))

    run(main)
    assert {each.entity_id: each.version for each in network.list_entities()} == {
        "o-1": 1,
        "o-3": 1,
    }


def test_callers_of_many_entities_give_up_in_any_order(machine, network):
    orders = Orchestrator(machine, network)

    async def main():
        network.gate = asyncio.Event()
        calls = [start(orders, f"o-{number}")[0] for number in range(1000)]
        await until(lambda: network.batches)
        for call in calls[:300:-1] + calls[301:]:
            call.cancel()
        await asyncio.gather(*calls[301:], return_exceptions=True)
        network.gate.set()
        assert all(answer.success for answer in await asyncio.gather(*calls[:301]))
        assert (held(orders), orders._combine()._lines.waiting) == (0, 0)

    run(main)


@pytest.mark.parametrize("turns", range(6))
def test_who_is_cancelled_in_the_turn_of_sending_is_counted_once(machine, network, turns):
    orders = Orchestrator(machine, network, most_waiting=5)

    async def main():
        calls = [start(orders, f"o-{number}")[0] for number in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for call in calls[turns % 3 :]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*[start(orders, f"p-{number}")[0] for number in range(9)])
        assert (held(orders), orders._combine()._lines.waiting) == (0, 0)

    run(main)


def test_a_guard_that_sends_an_event_passes_the_gate(machine_of, slow_store):
    """Those that hold the room wait for its answer: at the gate it would wait for them."""
    transitions = [
        {"trigger": "go", "source": "draft", "dest": "open", "guards": ["asks"]},
        {"trigger": "note", "source": "*", "internal": True},
    ]

    async def asks(context):
        return (await orders.async_process_event(f"other-{context['me']}", "note")).success

    orders = Orchestrator(
        machine_of(transitions=transitions), slow_store(), guards={"asks": asks}, most_waiting=1
    )

    async def main():
        calls = [orders.async_process_event(f"o-{n}", "go", {"me": n}) for n in range(3)]
        assert all(result.success for result in await asyncio.gather(*calls))
        assert held(orders) == 0

    run(main)


@pytest.mark.parametrize("most", [0, -1, None, 1.5, True, "many"])
def test_a_bound_is_a_number_of_calls(machine, network, most):
    with pytest.raises(ConfigurationError, match="most_waiting= is a whole number"):
        Orchestrator(machine, network, most_waiting=most)


def test_a_loop_has_one_combiner_however_many_loops_begin_at_once(machine):
    def trial():
        orders = Orchestrator(machine, InMemoryStateStore(), batching=True)
        start, found = threading.Barrier(3), []

        async def main():
            start.wait()
            first = orders._combine()
            await asyncio.sleep(0.001)
            found.append(first is orders._combine())

        threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert all(trial() == [True] * 3 for _ in range(50))
    finally:
        sys.setswitchinterval(interval)
