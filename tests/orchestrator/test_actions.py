"""Named actions: after the commit, in order, at most once, with their outcomes in history."""

import asyncio

import pytest

from pystator import Orchestrator


@pytest.fixture
def paid(machine, store):
    """An orchestrator with an order that can be shipped, given its actions."""

    def make(**actions):
        orders = Orchestrator(machine, store, actions={"receipt": lambda ctx: None, **actions})
        orders.process_events([("o-1", "submit", {"amount": 10}), ("o-1", "pay")])
        return orders

    return make


def test_actions_see_the_committed_state(paid, store):
    seen = []
    orders = paid(
        label=lambda ctx: seen.append((store.get_state("o-1"), ctx["paid"])), mail=lambda ctx: None
    )
    orders.process_event("o-1", "ship")
    assert seen == [("shipped", True)]


def test_a_failing_action_does_not_undo_the_event_or_stop_the_next(paid, store, rows, audit):
    ran = []
    orders = paid(label=lambda ctx: 1 / 0, mail=lambda ctx: ran.append("mail"))
    result = orders.process_event("o-1", "ship")
    assert (result.success, result.target_state) == (True, "shipped")
    assert ran == ["mail"]
    (error,) = result.metadata["action_errors"]
    assert (error["name"], error["error"]["error"]) == ("label", "ZeroDivisionError")
    outcome = rows(store, "o-1", "action")[-1]
    assert (outcome.ref, outcome.success, outcome.error_code) == (3, False, "action_failed")
    assert [(each["name"], each["ok"]) for each in outcome.actions] == [
        ("label", False),
        ("mail", True),
    ]
    audit(store, "o-1")


def test_outcomes_that_went_well_are_recorded_too(paid, store, rows):
    paid(label=lambda ctx: None, mail=lambda ctx: None).process_event("o-1", "ship")
    outcome = rows(store, "o-1", "action")[-1]
    assert (outcome.success, len(outcome.actions)) == (True, 2)


def test_an_action_that_is_not_registered_is_an_outcome(paid):
    result = paid(label=lambda ctx: None).process_event("o-1", "ship")
    assert result.metadata["action_errors"][0]["error"]["code"] == "action_not_found"


def test_an_async_action_under_a_blocking_call_names_the_twin(paid):
    async def mail(ctx):
        raise AssertionError

    result = paid(label=lambda ctx: None, mail=mail).process_event("o-1", "ship")
    assert "async_process_event" in result.metadata["action_errors"][0]["error"]["message"]


def test_an_async_action_is_awaited_by_the_twin(paid):
    ran = []

    async def mail(ctx):
        await asyncio.sleep(0)
        ran.append("mail")

    orders = paid(label=lambda ctx: ran.append("label"), mail=mail)
    result = asyncio.run(orders.async_process_event("o-1", "ship"))
    assert "action_errors" not in result.metadata
    assert ran == ["label", "mail"]


def test_what_an_action_writes_to_its_copy_is_not_kept(paid):
    orders = paid(label=lambda ctx: ctx.update(paid="no"), mail=lambda ctx: None)
    orders.process_event("o-1", "ship")
    assert orders.get_entity("o-1").context["paid"] is True


def test_actions_registered_with_the_machine_are_the_default(machine_of, store):
    ran = []
    machine = machine_of()
    machine.action("receipt")(lambda ctx: ran.append("receipt"))
    orders = Orchestrator(machine, store)
    orders.process_events([("o-1", "submit", {"amount": 10}), ("o-1", "pay")])
    assert ran == ["receipt"]


def test_a_replay_runs_nothing(orders, done):
    orders.process_event("o-1", "submit", {"amount": 10})
    for _ in range(3):
        orders.process_event("o-1", "pay", event_id="p-1")
    assert done == ["receipt"]


def test_many_outcomes_of_one_call_are_all_recorded(machine, store, rows):
    orders = Orchestrator(machine, store, actions={"receipt": lambda ctx: None})
    items = [
        (f"o-{n}", trigger, {"amount": 10}) for n in range(150) for trigger in ("submit", "pay")
    ]
    orders.process_events(items)
    assert all(len(rows(store, f"o-{n}", "action")) == 1 for n in range(150))
