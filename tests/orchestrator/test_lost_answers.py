"""Batches whose answer is lost: looked up in one load, sent again as they were, never guessed."""

import pytest

from pystator import InMemoryStateStore, Orchestrator, StoreUnavailableError
from pystator.records import Lookup


class Wire(InMemoryStateStore):
    """A store behind a wire: each commit meets the next of ``fates``, and calls are counted.

    A fate is called with the commits; what it returns is lost, and what it raises is what the
    caller sees. Without one, the commit is written.
    """

    def __init__(self):
        super().__init__()
        self.fates, self.loads, self.commits, self.reads = [], [], [], 0
        self.is_down = False

    def load(self, lookups):
        if self.is_down:
            self.loads.append(0)
            raise StoreUnavailableError("no answer")
        self.loads.append(len(lookups))
        return super().load(lookups)

    def commit(self, commits):
        self.commits.append([each.entity_id for each in commits])
        if self.is_down:
            raise StoreUnavailableError("no answer")
        fate = self.fates.pop(0) if self.fates else None
        return super().commit(commits) if fate is None else fate(commits)

    def write(self, commits):
        return InMemoryStateStore.commit(self, commits)

    def history(self, *args, **options):
        self.reads += 1
        return super().history(*args, **options)

    def forget(self):
        self.loads, self.commits, self.reads = [], [], 0


@pytest.fixture
def store():
    return Wire()


@pytest.fixture
def written(store):
    """A fate: written, and the answer lost."""

    def fate(commits):
        store.write(commits)
        raise ConnectionError("gone")

    return fate


def lost(_commits):
    """A fate: never arrived."""
    raise ConnectionError("gone")


def many(number=100):
    return [(f"o-{n:03}", "note") for n in range(number)]


def test_a_hundred_lost_answers_are_found_by_one_load(orders, store, written, audit):
    orders.process_events(many())
    store.forget()
    store.fates = [written]
    assert {result.version for result in orders.process_events(many())} == {2}
    assert (store.loads, len(store.commits), store.reads) == ([100, 100], 1, 0)
    audit(store, "o-000")


def test_what_never_arrived_is_sent_again_at_once(orders, store, audit):
    store.fates = [lost]
    assert {result.version for result in orders.process_events(many())} == {1}
    assert [len(each) for each in store.commits] == [100, 100]
    assert store.reads == 0
    audit(store, "o-099")


def test_what_arrived_in_part_is_sent_again_in_part(orders, store, audit):
    def fate(commits):
        store.write(commits[::2])
        raise ConnectionError("gone")

    store.fates = [fate]
    assert {result.version for result in orders.process_events(many(10))} == {1}
    assert [len(each) for each in store.commits] == [10, 5]
    for name, _ in many(10):
        audit(store, name)


def test_a_part_that_arrives_late_is_not_written_twice(orders, store, rows, audit):
    late = []

    def fate(commits):
        late.extend(commits)
        raise ConnectionError("gone")

    def first_the_late_ones(commits):
        store.write(late)
        return store.write(commits)

    store.fates = [fate, first_the_late_ones]
    assert {result.version for result in orders.process_events(many(10))} == {1}
    for name, _ in many(10):
        assert len(rows(store, name)) == 1
        audit(store, name)


def test_what_others_have_overtaken_is_found_in_its_rows(machine, orders, store, audit):
    other = Orchestrator(machine, InMemoryStateStore())
    other._driver.store = store  # not counted among this one's calls

    def fate(commits):
        store.write(commits)
        store.fates = []
        other.process_events([("o-001", "note"), ("o-003", "note"), ("o-003", "note")])
        store.forget()
        raise ConnectionError("gone")

    store.fates = [fate]
    assert {result.version for result in orders.process_events(many(5))} == {1}
    assert (store.loads, store.commits, store.reads) == ([5], [], 2)
    assert orders.get_entity("o-003").context == {"notes": 3}
    audit(store, "o-003")


@pytest.mark.parametrize("others", [1, 2, 5])
def test_what_another_writer_was_faster_with_is_decided_again(
    machine, orders, store, audit, others
):
    """It can never come through any more, so it is not sent again as it was."""
    orders.process_event("o-000", "note")
    other = Orchestrator(machine, store)

    def fate(_):
        store.fates = []
        for _ in range(others):
            other.process_event("o-000", "note")
        store.forget()
        raise ConnectionError("gone")

    store.fates = [fate]
    first, second = orders.process_events([("o-000", "note"), ("o-000", "note")])
    assert (first.version, second.version) == (others + 2, others + 3)
    assert len(store.commits) == 1
    audit(store, "o-000")


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("event_id", ["r-1", None])
def test_rejections_are_found_by_event_id_or_by_their_rows(
    orders, store, written, rows, event_id, arrived
):
    orders.process_event("o-1", "cancel")
    store.forget()
    store.fates = [written if arrived else lost]
    assert not orders.process_event("o-1", "pay", event_id=event_id).success
    assert len(store.commits) == (1 if arrived else 2)
    assert store.reads == (0 if event_id else 1)
    assert [row.event_id for row in rows(store, "o-1", "rejected")] == [event_id]


def test_an_id_that_another_sender_has_used_meanwhile_gets_that_answer(orders, store, rows):
    other = Orchestrator(orders.machine, store)

    def fate(_):
        other.process_event("o-1", "note", event_id="e-1")
        raise ConnectionError("gone")

    store.fates = [fate]
    result = orders.process_event("o-1", "note", event_id="e-1")
    assert (result.success, result.replayed) == (True, True)
    assert len(rows(store, "o-1")) == 1


def test_a_read_that_is_out_of_date_is_asked_again(orders, store, written, audit):
    """Refused, and yet not there: a replica that lags. To decide again would write it twice."""
    orders.process_event("o-1", "note")
    past = store.load([Lookup("o-1", "order")])
    load = store.load
    lags = iter([past, past, past])

    def load_late(lookups):
        return (next(lags, None) if store.commits else None) or load(lookups)

    store.load = load_late
    store.fates = [written]
    store.forget()
    assert orders.process_event("o-1", "note").version == 2
    assert len(store.commits) == 2
    del store.load
    assert orders.get_entity("o-1").context == {"notes": 2}
    audit(store, "o-1")


def test_rows_that_are_out_of_date_are_asked_again(orders, store, written, audit):
    """The entity is beyond the commit, and no row says who made its version."""
    other = Orchestrator(orders.machine, store)
    orders.process_event("o-1", "note")
    past = store.history("o-1")
    history = store.history
    lags = iter([past, past])
    store.history = lambda *args, **options: next(lags, None) or history(*args, **options)

    def fate(commits):
        store.write(commits)
        store.fates = []
        other.process_event("o-1", "note")
        raise ConnectionError("gone")

    store.fates = [fate]
    assert orders.process_event("o-1", "note").version == 2
    assert orders.get_entity("o-1").context == {"notes": 3}
    audit(store, "o-1")


def test_a_store_that_stays_down_is_waited_for_once_and_not_for_each(orders, store):
    orders._settings.patience = 0.03

    def fate(_):
        store.is_down = True
        raise ConnectionError("gone")

    store.fates = [fate]
    results = orders.process_events(many())
    assert {result.error.context["raised"] for result in results} == {"ConnectionError"}
    assert len(store.commits) == 1
    assert 2 <= len(store.loads) < 20


def test_a_store_that_comes_back_in_time_tells(orders, store, written, audit):
    def fate(commits):
        store.write(commits)
        store.is_down = True
        raise ConnectionError("gone")

    load = store.load

    def load_when_up(lookups):
        try:
            return load(lookups)
        finally:
            store.is_down = False

    store.load = load_when_up
    store.fates = [fate]
    assert {result.version for result in orders.process_events(many(20))} == {1}
    assert len(store.commits) == 1
    audit(store, "o-000")


def test_a_store_that_is_sure_of_its_second_failure_ends_the_search(orders, store):
    def sure(_):
        raise StoreUnavailableError("busy for 30 s", context={"written": False})

    store.fates = [lost, sure]
    results = orders.process_events(many(4))
    assert {result.error.message for result in results} == {"ConnectionError: gone"}
    assert len(store.commits) == 2


def test_events_of_one_entity_are_found_together(orders, store, written, audit):
    store.fates = [written]
    results = orders.process_events([("o-1", "note")] * 5)
    assert [result.version for result in results] == [1, 2, 3, 4, 5]
    assert len(store.commits) == 1
    audit(store, "o-1")
