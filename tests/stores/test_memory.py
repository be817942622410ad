"""The store in memory, held to the whole contract."""

import pytest

from pystator.records import EntryKind
from pystator.stores.memory import InMemoryStateStore
from pystator.testing import FakeClock, StoreContract
from pystator.testing.building import applied, change, lookup


class TestInMemoryStateStore(StoreContract):
    def make_store(self, path):
        return InMemoryStateStore()


def test_no_topic_hides_a_test_of_another():
    """Topics are combined by inheritance, where two tests of one name are one."""
    names = [name for topic in StoreContract.__bases__ for name in vars(topic) if "test_" in name]
    assert sorted(set(names)) == sorted(names)


def test_stores_are_apart():
    one, other = InMemoryStateStore(), InMemoryStateStore()
    one.set_state("e", "open")
    assert other.get_state("e") is None


def test_rows_are_recorded_at_the_clocks_time():
    clock = FakeClock(5)
    store = InMemoryStateStore(clock=clock)
    store.set_state("e", "open")
    clock.advance(1)
    store.set_state("e", "closed")
    clock.advance(-10)
    store.set_state("e", "again")
    rows = store.history("e").items
    assert [row.recorded_at for row in rows] == [5, 1_000_005, -8_999_995]
    assert [row.now for row in rows] == [5, 1_000_005, 1_000_005]


@pytest.mark.parametrize("limit", [20, 100, 1_000, 500_000])
def test_the_size_limit_is_an_option(limit):
    store = InMemoryStateStore(context_limit=limit)
    fits = {"t": "x" * (limit - len('{"t":""}'))}
    applied(store, change(context=fits))
    assert store.get_context("e") == fits
    for commit in (
        change("f", context={"t": fits["t"] + "x"}),
        change("f", payload={"t": fits["t"] + "x"}),
        change("f", patch=({"t": fits["t"] + "x"}, ())),
    ):
        assert store.commit([commit])[0].kind == "refused"


def test_a_context_that_grew_beyond_the_flat_ones_is_kept():
    """The short way for small flat contexts must end where they are no longer small."""
    store = InMemoryStateStore()
    context = {}
    for version in range(100):
        context = context | {f"k{version}": version}
        applied(store, change(after=version, context=context, patch=({f"k{version}": version}, ())))
        assert store.load([lookup()])[0].entity.context == context


def test_many_moves_of_a_deadline_leave_one_alarm():
    store = InMemoryStateStore()
    applied(store, change(timers={"t": (500, 1)}))
    for version in range(1, 200):
        applied(
            store,
            change(after=version, timers={"t": (500 + version % 3, version)}, kind=EntryKind.TIMER),
        )
    assert store.due(10_000, 9) == [("e", "m")]
    assert store.due(10_000, 9) == [("e", "m")]
