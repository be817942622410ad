"""Spans of events: which, of which events, with which facts; and a telemetry that breaks."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest

from pystator import (
    ConfigurationError,
    EventRequest,
    InMemoryStateStore,
    Orchestrator,
    SQLiteStateStore,
    StaleVersionError,
    StoreUnavailableError,
    current_trace,
)

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Recorded:
    """A span as it was told."""

    current = None

    def __init__(self, telemetry, kind, parents, facts, given=None):
        self.telemetry = telemetry
        self.kind, self.parents, self.facts, self.given = kind, parents, facts, given
        self.ends = []
        self.trace = f"00-{'ab' * 16}-{next(telemetry.numbers):016x}-01"

    @contextmanager
    def active(self):
        before, self.telemetry.active = self.telemetry.active, self
        yield
        self.telemetry.active = before

    def end(self, facts, error):
        self.ends.append((facts, error))


class Recorder:
    """A telemetry that keeps what it is told."""

    def __init__(self):
        self.spans = []
        self.numbers = count(1)
        self.active = None

    def event(self, facts, trace):
        return self._new("event", (), facts, trace)

    def part(self, kind, events, facts):
        return self._new(kind, tuple(events), facts)

    def _new(self, *told):
        span = Recorded(self, *told)
        self.spans.append(span)
        return span

    def of(self, kind):
        return [span for span in self.spans if span.kind == kind]

    def kinds(self):
        return [span.kind for span in self.spans]

    def check(self):
        """Each span ended, once."""
        assert all(len(span.ends) == 1 for span in self.spans)


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
def traced(machine, store, actions, clock, telemetry):
    return Orchestrator(machine, store, actions=actions, clock=clock, telemetry=telemetry)


def test_an_event_has_a_span_with_its_parts(traced, telemetry):
    traced.process_event("o-1", "submit", {"amount": 50})
    traced.process_event("o-1", "pay", trace=GIVEN)
    telemetry.check()
    assert telemetry.kinds() == ["event", "load", "step", "commit"] * 2 + ["action"]
    event, load, step, commit, action = telemetry.spans[4:]
    assert event.facts == {"entity_id": "o-1", "machine_name": "order", "trigger": "pay"}
    assert event.given == GIVEN
    ((facts, error),) = event.ends
    assert error is None
    assert facts == {
        "success": True,
        "version": 2,
        "source_state": "open",
        "target_state": "paid",
        "replayed": False,
    }
    assert {part.parents for part in (load, step, commit, action)} == {(event,)}
    assert (load.facts, step.facts) == ({"entities": 1}, {"entity_id": "o-1"})
    assert (commit.facts, commit.ends) == ({"entities": 1}, [({"applied": 1}, None)])
    assert action.facts == {"name": "receipt", "phase": "transition"}
    assert action.ends == [({"ok": True, "attempts": 1}, None)]


def test_no_value_of_a_context_is_told(traced, telemetry):
    traced.process_event("o-1", "submit", {"amount": 50, "card": "4111-1111"})
    traced.apply_data("o-1", {"card": "4111-1111"})
    traced.create_entity("o-2", {"card": "4111-1111"})
    told = [(span.facts, span.ends) for span in telemetry.spans]
    assert "4111" not in repr(told)


def test_a_rejection_is_no_failure_and_an_error_is_one(traced, telemetry, store):
    traced.process_event("o-1", "ship")
    ((facts, error),) = telemetry.of("event")[0].ends
    assert (facts["success"], facts["reason"], error) == (False, "no_transition", None)
    traced.process_event("o-1", "submit")
    with pytest.raises(StaleVersionError) as caught:
        traced.process_event("o-1", "note", expected_version=9)
    assert telemetry.of("event")[-1].ends == [({"success": False}, caught.value)]
    assert telemetry.of("step")[-1].ends == [({}, caught.value)]
    telemetry.check()

    def down(lookups):
        raise StoreUnavailableError("no")

    store.load = down
    with pytest.raises(StoreUnavailableError) as gone:
        traced.process_event("o-1", "note")
    assert telemetry.of("load")[-1].ends == [({}, gone.value)]
    assert telemetry.of("event")[-1].ends == [({"success": False}, gone.value)]
    telemetry.check()


def test_a_replay_and_a_start_have_spans(traced, telemetry):
    traced.create_entity("o-1", event_id="e-1")
    assert telemetry.kinds() == ["event", "load", "step", "commit"]
    traced.process_event("o-1", "submit", event_id="e-2")
    traced.process_event("o-1", "submit", event_id="e-2")
    assert telemetry.kinds()[8:] == ["event", "load"]
    assert telemetry.spans[-2].ends[0][0]["replayed"] is True
    telemetry.check()


def test_events_of_one_call_share_load_and_commit(traced, telemetry):
    traced.process_events([("o-1", "submit"), ("o-2", "submit"), EventRequest("o-1", "note")])
    telemetry.check()
    events = telemetry.of("event")
    assert len(events) == 3
    (load,), (commit,) = telemetry.of("load"), telemetry.of("commit")
    assert (set(load.parents), set(commit.parents)) == (set(events), set(events))
    assert (load.facts, commit.facts) == ({"entities": 2}, {"entities": 2})
    assert [step.parents for step in telemetry.of("step")] == [
        (events[0],),
        (events[2],),
        (events[1],),
    ]


@pytest.mark.parametrize("way", ["async", "threads"])
def test_callers_that_share_a_batch_are_linked_to_it(machine, slow_store, telemetry, way):
    store = slow_store() if way == "async" else InMemoryStateStore()
    traced = Orchestrator(machine, store, telemetry=telemetry, batching=True)

    async def many():
        calls = [traced.async_process_event(f"o-{n}", "submit") for n in range(20)]
        await asyncio.gather(*calls)

    if way == "async":
        asyncio.run(many())
    else:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: traced.process_event(f"o-{n}", "submit"), range(20)))
    telemetry.check()
    events = telemetry.of("event")
    assert len(events) == 20
    for kind in ("load", "commit"):
        served = [event for span in telemetry.of(kind) for event in span.parents]
        assert sorted(map(id, served)) == sorted(map(id, events))
    if way == "async":
        assert len(telemetry.of("commit")) < 10


def test_a_call_that_is_cancelled_before_it_is_sent_ends_its_span(machine, slow_store, telemetry):
    traced = Orchestrator(machine, slow_store(), telemetry=telemetry)

    async def leave():
        await traced.async_process_event("o-1", "submit")
        first = asyncio.create_task(traced.async_process_event("o-1", "note"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        behind = asyncio.create_task(traced.async_process_event("o-1", "note"))
        await asyncio.sleep(0)
        behind.cancel()
        await asyncio.gather(first, behind, return_exceptions=True)

    asyncio.run(leave())
    telemetry.check()
    assert isinstance(telemetry.of("event")[-1].ends[0][1], asyncio.CancelledError)


def test_an_async_guard_is_part_of_the_step(machine_of, store, telemetry):
    async def slow(ctx):
        assert len(telemetry.of("step")) == 1
        assert not telemetry.of("step")[0].ends
        await asyncio.sleep(0)
        return True

    machine = machine_of(
        transitions=[{"trigger": "go", "source": "draft", "dest": "open", "guards": ["slow"]}]
    )
    traced = Orchestrator(machine, store, guards={"slow": slow}, telemetry=telemetry)
    assert asyncio.run(traced.async_process_event("o-1", "go")).success
    telemetry.check()


def test_actions_run_within_their_spans_and_pass_them_on(machine, store, telemetry):
    seen = []

    def look(ctx):
        seen.append((telemetry.active.facts["name"], current_trace() == telemetry.active.trace))

    async def look_async(ctx):
        await asyncio.sleep(0)
        look(ctx)

    for label in (look, look_async):
        actions = {"receipt": look, "label": label, "mail": look}
        traced = Orchestrator(machine, store, actions=actions, telemetry=telemetry)
        entity = f"o-{label.__name__}"

        async def run(traced=traced, entity=entity):
            await traced.async_process_event(entity, "submit", {"amount": 50})
            await traced.async_process_event(entity, "pay")
            await traced.async_process_event(entity, "ship")

        asyncio.run(run())
    assert seen == [("receipt", True), ("label", True), ("mail", True)] * 2
    assert (telemetry.active, current_trace()) == (None, None)
    telemetry.check()


def test_an_action_that_fails_ends_its_span_with_the_error(machine, store, telemetry):
    def fail(ctx):
        raise OSError("no printer")

    traced = Orchestrator(machine, store, actions={"receipt": fail}, telemetry=telemetry)
    traced.process_event("o-1", "submit", {"amount": 50})
    result = traced.process_event("o-1", "pay")
    assert result.metadata["action_errors"][0]["name"] == "receipt"
    ((facts, error),) = telemetry.of("action")[0].ends
    assert (facts, str(error)) == ({"ok": False, "attempts": 1}, "no printer")
    telemetry.check()


def test_an_event_without_a_trace_belongs_to_that_of_its_span(traced, telemetry, store, rows):
    traced.process_event("o-1", "submit")
    traced.process_event("o-1", "note", trace=GIVEN)
    traces = [row.trace for row in rows(store, "o-1")]
    assert traces == [telemetry.of("event")[0].trace, GIVEN]


def test_in_a_transaction_of_the_caller_the_span_ends_with_the_decision(
    tmp_path, machine, telemetry, done
):
    store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db").connect()
    actions = {"receipt": lambda ctx: done.append(current_trace())}
    traced = Orchestrator(machine, store, actions=actions, telemetry=telemetry)
    connection = sqlite3.connect(tmp_path / "x.db")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        traced.process_event("o-1", "submit", {"amount": 50}, connection=connection)
        paid = traced.process_event("o-1", "pay", connection=connection)
        telemetry.check()
    traced.run_actions(paid)
    (action,) = telemetry.of("action")
    assert (action.parents, done) == ((telemetry.of("event")[1],), [action.trace])
    telemetry.check()
    connection.close()
    store.disconnect()


class Broken:
    """A telemetry that raises wherever it can."""

    def __init__(self, where):
        self.where = where

    def __getattr__(self, name):
        if name == self.where:
            raise RuntimeError(name)
        return {"event": self._span, "part": self._span, "trace": None}[name]

    def _span(self, *told):
        return self

    def active(self):
        if self.where == "active":
            raise RuntimeError("active")
        return contextmanager(lambda: (yield))()

    def end(self, facts, error):
        if self.where == "end":
            raise RuntimeError("end")


@pytest.mark.parametrize("where", ["event", "part", "trace", "active", "end"])
def test_a_telemetry_that_raises_breaks_no_event(machine, store, actions, done, caplog, where):
    telemetry = Broken("")
    traced = Orchestrator(machine, store, actions=actions, telemetry=telemetry)
    telemetry.where = where
    traced.process_event("o-1", "submit", {"amount": 50})
    assert traced.process_event("o-1", "pay").success
    assert done == ["receipt"]
    assert "the event goes on" in caplog.text


@pytest.mark.parametrize("wrong", [object(), Recorder, "otel"])
def test_what_is_no_telemetry_is_refused(machine, store, wrong):
    with pytest.raises(ConfigurationError, match="telemetry="):
        Orchestrator(machine, store, telemetry=wrong)
