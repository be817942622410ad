"""Other writers, lost answers and commits that cannot be written: nothing twice, nothing lost."""

import threading

import pytest

from pystator import (
    InMemoryStateStore,
    InvalidValueError,
    Orchestrator,
    StaleVersionError,
    StoreUnavailableError,
)
from pystator.orchestrator.patience import Patience
from pystator.records import Outcome, OutcomeKind


class Scripted(InMemoryStateStore):
    """A memory store whose next commits meet what a test wants.

    ``before`` are callables run before a commit reaches the store: they may write, or raise.
    ``after`` are errors raised once it is written.
    """

    def __init__(self):
        super().__init__()
        self.before, self.after, self.sizes = [], [], []

    def commit(self, commits):
        self.sizes.append(len(commits))
        if self.before:
            self.before.pop(0)(commits)
        outcomes = super().commit(commits)
        if self.after:
            error = self.after.pop(0)
            if error is not None:
                raise error
        return outcomes

    async def acommit(self, commits):
        return self.commit(commits)


@pytest.fixture
def store():
    return Scripted()


def fails(commits):
    raise ConnectionError("the connection broke")


def test_another_writer_is_met_by_loading_and_deciding_again(orders, store, audit):
    orders.process_event("o-1", "submit", {"amount": 10})
    store.before = [lambda _: orders.process_event("o-1", "note")]
    result = orders.process_event("o-1", "pay")
    assert (result.success, result.version) == (True, 3)
    assert orders.get_entity("o-1").context == {"amount": 10, "notes": 1, "paid": True}
    audit(store, "o-1")


def test_what_is_decided_again_is_decided_on_the_new_state(orders, store, audit):
    orders.process_event("o-1", "submit", {"amount": 10})
    store.before = [lambda _: orders.process_event("o-1", "cancel")]
    assert orders.process_event("o-1", "pay").reason == "terminal_state"
    audit(store, "o-1")


def test_two_senders_of_one_id_get_one_answer(orders, store, rows, audit):
    """The second one's commit is refused for its id, and the answer is the first one's."""
    orders.process_event("o-1", "submit")
    store.before = [lambda _: orders.process_event("o-1", "note", event_id="e-1")]
    result = orders.process_event("o-1", "note", event_id="e-1")
    assert (result.success, result.replayed) == (True, True)
    assert orders.get_entity("o-1").context == {"notes": 1}
    audit(store, "o-1")


def test_contention_without_end_is_given_up_in_bounded_time(machine, store):
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "note")
    orders._settings.patience = 0.05
    original = InMemoryStateStore.commit
    store.commit = lambda commits: [Outcome(OutcomeKind.STALE)] * len(commits)
    with pytest.raises(StaleVersionError, match="o-1"):
        orders.process_event("o-1", "note")
    (result,) = orders.process_events([("o-1", "note")])
    assert result.error.code == "stale_version"
    del store.commit
    assert store.commit.__func__ is not original
    assert orders.process_event("o-1", "note").version == 2


def test_pauses_grow_and_are_bounded_and_random():
    """Contenders that wait equally long meet again."""

    class Chosen:
        patience = 10.0
        jitter = staticmethod(lambda: 1.0)

    patience = Patience(Chosen)
    now, pauses = 100.0, []
    while True:
        step = patience.wait()
        request = next(step)
        pauses.append(request.seconds)
        now += request.seconds + 0.01
        with pytest.raises(StopIteration) as done:
            step.send(now)
        if not done.value.value:
            break
    assert pauses[:4] == [0.0, 0.001, 0.002, 0.004]
    assert max(pauses) == 0.2
    assert 10 < now - 100 < 11


# Lost answers -------------------------------------------------------------------------------------


def test_an_answer_lost_after_the_commit_is_found_again(orders, store, done, audit):
    orders.process_event("o-1", "submit", {"amount": 10})
    store.after = [ConnectionError("gone")]
    result = orders.process_event("o-1", "pay")
    assert (result.success, result.version) == (True, 2)
    assert done == ["receipt"]
    audit(store, "o-1")


def test_a_commit_that_never_arrived_is_sent_again(orders, store, audit):
    orders.process_event("o-1", "submit", {"amount": 10})
    store.before = [fails]
    assert orders.process_event("o-1", "note").version == 2
    audit(store, "o-1")


def test_a_commit_that_arrives_late_is_not_applied_twice(orders, store, rows, audit):
    """Its answer was lost, it was not there when looked for, and then it came through."""
    late = []

    def lose(commits):
        late.append(commits)
        raise ConnectionError("timed out")

    store.before = [lose, lambda _: InMemoryStateStore.commit(store, late[0])]
    assert orders.process_event("o-1", "note").version == 1
    assert orders.get_entity("o-1").context == {"notes": 1}
    assert len(rows(store, "o-1")) == 1
    audit(store, "o-1")


def test_another_writer_after_a_lost_answer_is_met_as_ever(orders, store, audit):
    orders.process_event("o-1", "note")
    store.before = [fails, lambda _: orders.process_event("o-1", "note")]
    assert orders.process_event("o-1", "note").version == 3
    audit(store, "o-1")


def test_an_answer_lost_under_a_later_event_is_found_in_history(orders, store, audit):
    """The entity carries the other writer's commit by then; only the row tells."""

    def overtake(commits):
        InMemoryStateStore.commit(store, commits)
        orders.process_event("o-1", "note")
        raise ConnectionError("gone")

    orders.process_event("o-1", "note")
    store.before = [overtake]
    assert orders.process_event("o-1", "note").version == 2
    assert orders.get_entity("o-1").context == {"notes": 3}
    audit(store, "o-1")


def test_an_error_that_stays_is_raised(orders, store):
    store.before = [fails, fails]
    with pytest.raises(ConnectionError):
        orders.process_event("o-1", "note")
    assert orders.get_entity("o-1") is None


def test_a_store_that_is_sure_is_believed(orders, store):
    def down(commits):
        raise StoreUnavailableError("busy for 30 s", context={"written": False})

    store.before = [down]
    with pytest.raises(StoreUnavailableError):
        orders.process_event("o-1", "note")
    assert store.sizes == [1]


def test_a_store_that_is_sure_of_a_second_try_says_nothing_of_the_first(machine, store):
    """What was sent first may have come through since: nobody is told that it was not written."""
    orders = Orchestrator(machine, store)
    sent = []

    def lose(commits):
        sent.extend(commits)
        raise ConnectionError("timed out")

    def come_through(commits):
        InMemoryStateStore.commit(store, sent)
        raise StoreUnavailableError("busy for 30 s", context={"written": False})

    store.before = [lose, come_through]
    results = orders.process_events([(f"o-{n}", "note") for n in range(4)])
    assert not any(result.success for result in results)
    assert all("written" not in result.error.context for result in results)
    assert store.sizes == [4, 4]


def test_a_batch_that_fails_as_a_whole_is_cut_until_the_bad_one_stands_alone(machine, store, audit):
    """One row that the database chokes on must not lose its neighbours."""
    orders = Orchestrator(machine, store)

    def choke(commits):
        store.before.append(choke)
        if any(commit.entity_id == "o-3" for commit in commits):
            raise RuntimeError("the database cannot take o-3")

    store.before = [choke]
    results = orders.process_events([(f"o-{n}", "note") for n in range(8)])
    assert [r.success for r in results] == [n != 3 for n in range(8)]
    assert "cannot take o-3" in results[3].error.message
    store.before.clear()
    for n in range(8):
        audit(store, f"o-{n}")


def test_a_refused_commit_of_many_events_is_tried_one_by_one(orders, store, audit):
    results = orders.process_events(
        [("o-1", "note"), ("o-1", "note", {"x": object()}), ("o-1", "note"), ("o-2", "note")]
    )
    assert [r.success for r in results] == [True, False, True, True]
    assert isinstance(results[1].error, InvalidValueError)
    audit(store, "o-1")


# Threads ------------------------------------------------------------------------------------------


def test_threads_on_one_entity_lose_nothing(machine, audit):
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)

    def send():
        for _ in range(100):
            orders.process_event("o-1", "note")

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entity = orders.get_entity("o-1")
    assert (entity.context, entity.version) == ({"notes": 400}, 400)
    audit(store, "o-1")
