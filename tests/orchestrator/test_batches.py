"""Many events in one call: one commit for each entity, and nobody pays for a neighbour."""

from datetime import UTC, datetime

import pytest

from pystator import EventRequest, InMemoryStateStore, Orchestrator, StoreUnavailableError
from pystator.stores.protocols import NativeStore


def test_results_come_in_the_order_of_the_items(orders):
    results = orders.process_events(
        [("b", "submit"), ("a", "ship"), ("b", "note"), ["a", "submit", {"x": 1}], ("c", "cancel")]
    )
    assert [r.success for r in results] == [True, False, True, True, True]
    assert [r.trigger for r in results] == ["submit", "ship", "note", "submit", "cancel"]
    assert [r.version for r in results] == [1, 0, 2, 1, 1]


def test_events_of_one_entity_are_one_commit_of_many_rows(orders, store, rows, audit):
    items = [("o-1", "submit", {"amount": 30}), ("o-1", "ship"), ("o-1", "pay"), ("o-1", "ship")]
    results = orders.process_events(items)
    assert [r.success for r in results] == [True, False, True, True]
    history = rows(store, "o-1", "event", "rejected")
    assert len({row.commit_id for row in history}) == 1
    assert [(row.version, row.kind) for row in history] == [
        (1, "event"),
        (1, "rejected"),
        (2, "event"),
        (3, "event"),
    ]
    audit(store, "o-1")


def test_a_request_says_everything(orders, store, rows):
    at, now = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    request = EventRequest("o-1", "submit", {"amount": 1}, "e-1", at, now, "ada")
    orders.process_events([request, EventRequest("o-2", "submit")], actor="importer")
    (row,) = rows(store, "o-1")
    assert (row.event_id, row.actor) == ("e-1", "ada")
    assert (row.occurred_at, row.now) == (1_577_836_800_000_000, 1_924_992_000_000_000)
    assert rows(store, "o-2")[0].actor == "importer"


def test_an_item_that_cannot_be_kept_fails_alone(orders, store, audit):
    results = orders.process_events(
        [
            ("o-1", "note"),
            ("o-1", "note", {"x": {1}}),
            ("o-1", "note", {"_x": 1}),
            ("o-1", "note"),
            ("", "note"),
            ("o-2", "note", "text"),
            ("o-2", 7),
            "nonsense",
            ("o-3", "note"),
        ]
    )
    assert [r.success for r in results] == [
        True,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert {r.error.code for r in results if not r.success} == {"invalid_value"}
    assert orders.get_entity("o-1").context == {"notes": 2}
    assert orders.get_entity("o-3").context == {"notes": 1}
    audit(store, "o-1")


def test_an_entity_of_a_lost_state_fails_alone(orders, store):
    store.set_state("o-1", "lost", metadata={"machine_name": "order"})
    bad, good = orders.process_events([("o-1", "note"), ("o-2", "note")])
    assert (bad.error.code, good.success) == ("undefined_state", True)


def test_a_call_of_nothing_does_nothing(orders):
    assert orders.process_events([]) == []


def test_long_and_lazy_calls_are_cut_into_commits(orders, store, audit):
    count = 2_500
    results = orders.process_events(("o-1", "note") for _ in range(count))
    assert [r.version for r in results] == list(range(1, count + 1))
    assert orders.get_entity("o-1").context == {"notes": count}
    audit(store, "o-1")


def test_actions_run_in_order_after_their_commit(orders, done):
    orders.process_events(
        [
            ("a", "submit", {"amount": 99}),
            ("b", "submit", {"amount": 99}),
            ("a", "pay"),
            ("b", "pay"),
            ("a", "ship"),
        ]
    )
    assert done == ["receipt", "receipt", "label", "mail"]


class Down:
    """A store that answers some calls, and then does not."""

    durable = idempotent = keeps_history = has_feed = True
    combines = False
    sync = has_async = True

    def __init__(self, store, loads):
        self.store, self.loads = store, loads

    def load(self, lookups):
        self.loads -= 1
        if self.loads < 0:
            raise StoreUnavailableError("down", context={"written": False})
        return self.store.load(lookups)

    load_one = NativeStore.load_one

    def __getattr__(self, name):
        return getattr(self.store, name)


def test_a_store_that_is_down_is_an_exception_when_nothing_was_done(machine, store):
    orders = Orchestrator(machine, Down(store, 0))
    with pytest.raises(StoreUnavailableError):
        orders.process_events([("o-1", "note"), ("o-2", "note")])
    with pytest.raises(StoreUnavailableError):
        orders.process_event("o-1", "note")


def test_what_was_done_before_a_store_went_down_is_answered(machine, store):
    """A caller has to know which of its events are written."""
    orders = Orchestrator(machine, Down(store, 1))
    results = orders.process_events([(f"o-{n}", "note") for n in range(1_500)])
    assert [r.success for r in results] == [True] * 1_000 + [False] * 500
    assert results[-1].error.code == "store_unavailable"


def test_ten_thousand_events_on_one_entity_and_one_on_each_of_ten_thousand(machine, audit):
    store = InMemoryStateStore()
    orders = Orchestrator(machine, store)
    results = orders.process_events(("o-1", "note") for _ in range(10_000))
    assert [result.version for result in results] == list(range(1, 10_001))
    results = orders.process_events((f"e-{number}", "note") for number in range(10_000))
    assert {result.version for result in results} == {1}
    assert store.count_by_state() == {"draft": 10_001}
    audit(store, "o-1")


def test_results_of_one_commit_share_no_data(orders, store):
    """They may belong to several callers; what one does with its result is no business of the others."""
    items = [("o-1", "note", {"deep": {"list": [1]}}), ("o-1", "ship"), ("o-1", "note")]
    for result in orders.process_events(items):
        assert result.context["deep"] == {"list": [1]}
        result.context["deep"]["list"].append("scribble")
        result.context["amount"] = "scribble"
    assert store.get_context("o-1") == {"deep": {"list": [1]}, "notes": 2}
