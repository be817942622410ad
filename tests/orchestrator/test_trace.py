"""The trace an event belongs to: checked, kept in history, readable by its actions."""

import asyncio

import pytest

from pystator import EventRequest, InvalidValueError, Orchestrator, current_trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-00000000000000000000000000000001-0000000000000002-00"


@pytest.fixture
def seen():
    """What actions found, in order."""
    return []


@pytest.fixture
def actions(seen):
    return {name: lambda ctx: seen.append(current_trace()) for name in ("receipt", "label", "mail")}


def test_the_rows_of_an_event_have_its_trace(orders, store, rows, seen):
    orders.create_entity("o-1", trace=OTHER)
    orders.process_event("o-1", "submit", {"amount": 50})
    orders.process_event("o-1", "pay", trace=GIVEN)
    orders.process_event("o-1", "pay", trace=OTHER)
    orders.apply_data("o-1", {"a": 1}, trace=GIVEN)
    orders.force_state("o-1", "open", reason="why", actor="ada", trace=OTHER)
    orders.state_store.flush()
    kept = {(row.kind, row.trigger, row.trace) for row in rows(store, "o-1")}
    assert kept == {
        ("created", None, OTHER),
        ("event", "submit", None),
        ("event", "pay", GIVEN),
        ("action", "pay", GIVEN),
        ("rejected", "pay", OTHER),
        ("event", None, GIVEN),
        ("forced", None, OTHER),
    }
    assert seen == [GIVEN]


def test_events_of_one_call_have_each_their_own(orders, store, rows):
    orders.process_events(
        [
            EventRequest("o-1", "submit", {"amount": 50}, trace=GIVEN),
            EventRequest("o-1", "note"),
            EventRequest("o-1", "pay", trace=OTHER),
        ]
    )
    kept = [(row.kind, row.trace) for row in rows(store, "o-1")]
    assert kept == [("event", GIVEN), ("event", None), ("event", OTHER), ("action", OTHER)]


def test_the_trace_is_no_part_of_what_was_asked(orders):
    first = orders.process_event("o-1", "submit", event_id="e-1", trace=GIVEN)
    again = orders.process_event("o-1", "submit", event_id="e-1", trace=OTHER)
    assert (first.replayed, again.replayed) == (False, True)


def test_an_event_that_an_action_sends_has_its_own_or_none(machine, store, seen):
    """Nothing is passed on unless the action does it."""

    def send(ctx):
        seen.append(current_trace())
        inner.process_event("i-1", "submit", {"amount": 50})
        inner.process_event("i-1", "pay")
        inner.process_event("i-1", "ship", trace=OTHER)
        seen.append(current_trace())

    look = {name: lambda ctx: seen.append(current_trace()) for name in ("receipt", "label", "mail")}
    inner = Orchestrator(machine, store, actions=look)
    outer = Orchestrator(machine, store, actions={"receipt": send})
    outer.process_event("o-1", "submit", {"amount": 50})
    outer.process_event("o-1", "pay", trace=GIVEN)
    assert seen == [GIVEN, None, OTHER, OTHER, GIVEN]
    assert current_trace() is None


@pytest.mark.parametrize("blocks", [True, False])
def test_an_action_with_a_timeout_reads_it_in_its_thread(machine_of, store, seen, blocks):
    machine = machine_of(
        transitions=[
            {
                "trigger": "go",
                "source": "draft",
                "dest": "open",
                "actions": [{"name": "look", "timeout": 5}],
            }
        ]
    )
    actions = {"look": lambda ctx: seen.append(current_trace())}
    orders = Orchestrator(machine, store, actions=actions)
    if blocks:
        orders.process_event("o-1", "go", trace=GIVEN)
    else:
        asyncio.run(orders.async_process_event("o-1", "go", trace=GIVEN))
    assert seen == [GIVEN]


def test_async_actions_of_callers_that_share_a_batch_read_their_own(machine, slow_store, seen):
    async def look(ctx):
        before = current_trace()
        await asyncio.sleep(0)
        seen.append((before, current_trace()))

    orders = Orchestrator(machine, slow_store(), actions={"receipt": look})
    traces = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 9)]

    async def run():
        for trigger in ("submit", "pay"):
            calls = [
                orders.async_process_event(trace, trigger, {"amount": 50}, trace=trace)
                for trace in traces
            ]
            await asyncio.gather(*calls)

    asyncio.run(run())
    assert sorted(seen) == [(trace, trace) for trace in traces]


@pytest.mark.parametrize(
    "trace", [GIVEN, OTHER, "cc" + GIVEN[2:], "01" + GIVEN[2:] + "-what-comes-later"]
)
def test_a_traceparent_is_taken(orders, trace):
    assert orders.process_event("o-1", "submit", trace=trace).success


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "x",
        GIVEN.upper(),
        GIVEN + "-00",
        GIVEN + "\n",
        "ff" + GIVEN[2:],
        GIVEN.replace("00f067aa0ba902b7", "0" * 16),
        GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        "01" + GIVEN[2:] + "-" + "x" * 200,
        "01" + GIVEN[2:] + "- ",
        b"00",
        7,
    ],
)
def test_anything_else_is_refused(orders, trace):
    with pytest.raises(InvalidValueError, match="traceparent"):
        orders.process_event("o-1", "submit", trace=trace)
    (result,) = orders.process_events([EventRequest("o-1", "submit", trace=trace)])
    assert result.reason == "invalid_value"
    assert orders.get_entity("o-1") is None
