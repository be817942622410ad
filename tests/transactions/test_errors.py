"""An error of the caller's connection is told as it is: nothing is looked up, nothing sent again."""

import asyncio

import pytest

from pystator import InMemoryStateStore, Orchestrator, StaleVersionError, StoreUnavailableError


class Failing(InMemoryStateStore):
    """Its transactions load, and fail to write."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.error = error

    def within(self, connection, *, reading=False):
        return self

    def load(self, lookups):
        self.asked.append("load")
        return super().load(lookups)

    def commit(self, commits):
        self.asked.append("commit")
        raise self.error

    def history(self, *arguments, **options):
        self.asked.append("history")
        return super().history(*arguments, **options)


ERRORS = [
    OSError("the line is dead"),
    StaleVersionError("run it again"),
    StoreUnavailableError("it is gone"),
    StoreUnavailableError("it is gone", context={"written": False}),
]


@pytest.mark.parametrize("error", ERRORS, ids=["driver", "stale", "unknown", "certain"])
def test_a_write_that_fails_is_not_sent_again(machine, error):
    store = Failing(error)
    orders = Orchestrator(machine, store)
    for call in (
        lambda: orders.process_event("o-1", "note", connection=1),
        lambda: orders.create_entity("o-1", connection=1),
        lambda: asyncio.run(orders.async_apply_data("o-1", {"a": 1}, connection=1)),
    ):
        store.asked.clear()
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert store.asked == ["load", "commit"]


def test_a_transaction_that_cannot_be_kept_fails_many_events_at_once(machine):
    """A result for each of them would let the caller commit a half."""
    store = Failing(StaleVersionError("run it again"))
    orders = Orchestrator(machine, store)
    with pytest.raises(StaleVersionError):
        orders.process_events([("o-1", "note"), ("o-2", "note")], connection=1)
    assert store.asked == ["load", "commit"]
