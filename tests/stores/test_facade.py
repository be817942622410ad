"""Public methods of a store when others write the same entity, or the store itself fails."""

import asyncio

import pytest

from pystator.errors import StaleVersionError, StoreUnavailableError
from pystator.records import Outcome, OutcomeKind
from pystator.stores import programs
from pystator.stores.memory import InMemoryStateStore


class Busy(InMemoryStateStore):
    """Somebody else is always, or so many times, a little faster."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def commit(self, commits):
        if self.times and commits[0].entries[0].actor != "rival":
            self.times -= 1
            self.set_state("e", f"rival-{self.times}", metadata={"actor": "rival"})
        return super().commit(commits)


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_unversioned_write_tries_again_until_it_is_done(face):
    store = Busy(5)
    if face == "sync":
        store.set_state("e", "mine")
    else:
        asyncio.run(store.aset_state("e", "mine"))
    assert store.get_state_versioned("e") == ("mine", 6)
    store.times = 3
    store.set_context("e", {"n": 1})
    assert (store.get_context("e"), store.get_state_versioned("e")[1]) == ({"n": 1}, 10)


def test_a_versioned_write_is_told_at_once():
    store = Busy(1)
    with pytest.raises(StaleVersionError, match="changed in this moment, not at 0"):
        store.set_state_versioned("e", "mine", expected_version=0)
    assert store.get_state("e") == "rival-0"


def test_patience_has_an_end(monkeypatch):
    monkeypatch.setattr(programs, "PATIENCE", 0.05)
    store = Busy(10**9)
    with pytest.raises(StoreUnavailableError, match="others kept changing 'e'"):
        store.set_state("e", "mine")


def test_what_the_store_refused_is_raised():
    class Refusing(InMemoryStateStore):
        def commit(self, commits):
            return [Outcome(OutcomeKind.REFUSED, OSError("the disk is full"))]

    with pytest.raises(OSError, match="the disk is full"):
        Refusing().set_state("e", "open")


def test_a_step_never_goes_back_in_time():
    """The clock of another machine may be behind: history's times never run backwards."""
    now = iter([100, 100, 50, 50])
    store = InMemoryStateStore(clock=lambda: next(now))
    store.set_state("e", "one")
    store.set_state("e", "two")
    assert [row.now for row in store.history("e").items] == [100, 100]
