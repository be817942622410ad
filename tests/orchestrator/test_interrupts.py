"""Interrupts and exits at any moment: what is written is whole, and nothing stays locked."""

import gc
import random
import signal

import pytest

from pystator import InMemoryStateStore, Orchestrator
from pystator.records import Lookup


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
