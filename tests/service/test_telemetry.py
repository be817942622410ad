"""Spans as OpenTelemetry has them, in the SDK's own memory."""

import asyncio
import time

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pystator import InMemoryStateStore, Orchestrator, SQLiteStateStore, StateMachine
from pystator.orchestrator.tracing import current_trace
from pystator.service.exporting import Exporting, is_wanted, system_of
from pystator.service.telemetry import TRACESTATE, OpenTelemetry

SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = SENT[:-2] + "00"

DOOR = {
    "meta": {"machine_name": "door"},
    "states": [{"name": "open", "type": "initial"}, {"name": "closed", "on_enter": ["ring"]}],
    "transitions": [
        {"trigger": "close", "source": "open", "dest": "closed"},
        {"trigger": "open", "source": "closed", "dest": "open"},
    ],
}


class Watched:
    """A store, an orchestrator that tells of its spans, and those that are over."""

    def __init__(self, store=None, ring=None):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.store = store or InMemoryStateStore()
        self.store.connect()
        self.door = Orchestrator(
            StateMachine.from_dict(DOOR),
            self.store,
            actions={"ring": ring or (lambda _context: None)},
            telemetry=OpenTelemetry(self.provider, system_of(self.store)),
        )

    @property
    def spans(self):
        found = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found

    def only(self, name):
        (span,) = self.spans[name]
        return span


def told(context):
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_an_event_is_a_span_with_its_parts_in_it():
    watched = Watched()
    watched.door.process_event("d", "close", trace=SENT)
    event = watched.only("event door")
    assert told(event.parent) == SENT
    for name in ("load", "step", "commit", "action ring"):
        assert watched.only(name).parent.span_id == event.context.span_id
        assert watched.only(name).context.trace_id == event.context.trace_id
    assert dict(event.attributes) == {
        "pystator.entity.id": "d",
        "pystator.machine.name": "door",
        "pystator.trigger": "close",
        "pystator.success": True,
        "pystator.entity.version": 1,
        "pystator.target_state": "closed",
        "pystator.source_state": "open",
        "pystator.replayed": False,
    }
    assert watched.only("commit").kind == SpanKind.CLIENT
    assert watched.only("commit").attributes["pystator.applied"] == 1
    assert watched.only("action ring").attributes["pystator.action.phase"] == "enter"


def test_a_store_is_named_as_conventions_have_it(tmp_path):
    watched = Watched(SQLiteStateStore(f"sqlite:///{tmp_path / 'door.db'}"))
    watched.door.process_event("d", "close")
    for name in ("load", "commit"):
        assert watched.only(name).attributes["db.system.name"] == "sqlite"
        assert watched.only(name).attributes["db.operation.name"] == name
    watched.store.disconnect()


def test_the_trace_that_was_sent_is_kept_and_the_actions_own_is_passed_on():
    seen = []
    watched = Watched(
        ring=lambda _context: seen.append(
            (current_trace(), told(otel.get_current_span().get_span_context()))
        )
    )
    watched.door.process_event("d", "close", trace=SENT)
    ((passed_on, current),) = seen
    action = watched.only("action ring")
    assert passed_on == current == told(action.context)
    assert {row.trace for row in watched.store.history("d").items} == {SENT}


def test_without_a_trace_the_current_span_is_the_parent_and_history_has_the_events_own():
    watched = Watched()
    tracer = watched.provider.get_tracer("shop")
    with tracer.start_as_current_span("request") as request:
        watched.door.process_event("d", "close")
    event = watched.only("event door")
    assert event.parent.span_id == request.get_span_context().span_id
    assert watched.store.history("d").items[0].trace == told(event.context)


def test_a_span_of_the_server_within_the_trace_that_was_sent_is_the_parent():
    """A program's own instrumentation has made a span of the same request already."""
    watched = Watched()
    tracer = watched.provider.get_tracer("server")
    parent = otel.NonRecordingSpan(
        otel.SpanContext(int(SENT[3:35], 16), int(SENT[36:52], 16), True, otel.TraceFlags(1))
    )
    with tracer.start_as_current_span("POST", otel.set_span_in_context(parent)) as server:
        watched.door.process_event("d", "close", trace=SENT)
    assert watched.only("event door").parent.span_id == server.get_span_context().span_id


def test_what_is_not_sampled_is_not_exported_and_still_passed_on():
    seen = []
    watched = Watched(ring=lambda _context: seen.append(current_trace()))
    watched.door.process_event("d", "close", trace=UNSAMPLED)
    assert watched.spans == {}
    assert seen[0][3:35] == UNSAMPLED[3:35]
    assert seen[0].endswith("-00")


def test_the_tracestate_goes_with_the_trace():
    watched = Watched()
    token = TRACESTATE.set("vendor=1,other=x")
    try:
        watched.door.process_event("d", "close", trace=SENT)
    finally:
        TRACESTATE.reset(token)
    for name in ("event door", "action ring"):
        assert watched.only(name).context.trace_state.to_header() == "vendor=1,other=x"


def test_a_rejection_is_no_error_and_a_failing_action_is_one():
    def ring(_context):
        raise RuntimeError("the bell of card 4111 1111 is broken")

    watched = Watched(ring=ring)
    watched.door.process_event("d", "open")
    rejected = watched.only("event door")
    assert rejected.status.status_code == StatusCode.UNSET
    assert rejected.attributes["pystator.success"] is False
    assert rejected.attributes["pystator.reason"]
    watched.door.process_event("d", "close")
    action = watched.only("action ring")
    assert action.status.status_code == StatusCode.ERROR
    assert action.attributes["error.type"] == "RuntimeError"
    assert "4111" not in action.to_json()
    assert watched.spans["event door"][1].status.status_code == StatusCode.UNSET


def test_a_batch_is_a_span_that_links_to_its_events(tmp_path):
    watched = Watched(SQLiteStateStore(f"sqlite:///{tmp_path / 'door.db'}"))
    watched.door.process_events([(f"d-{number}", "close") for number in range(3)])
    events = watched.spans["event door"]
    for name in ("load", "commit"):
        shared = watched.only(name)
        assert shared.parent is None
        assert {link.context.span_id for link in shared.links} == {
            event.context.span_id for event in events
        }
        assert shared.attributes["db.operation.batch.size"] == 3
    watched.store.disconnect()


def test_concurrent_events_keep_their_own_traces(tmp_path):
    seen = {}

    async def ring(context):
        await asyncio.sleep(0)
        seen[context["n"]] = (current_trace(), otel.get_current_span().get_span_context())

    watched = Watched(SQLiteStateStore(f"sqlite:///{tmp_path / 'door.db'}"), ring=ring)

    async def main():
        await asyncio.gather(
            *[
                watched.door.async_process_event(
                    f"d-{n}", "close", {"n": n}, trace=f"00-{n + 1:032x}-{n + 1:016x}-01"
                )
                for n in range(20)
            ]
        )

    asyncio.run(main())
    for n, (passed_on, current) in seen.items():
        assert passed_on == told(current)
        assert current.trace_id == n + 1
    assert len(seen) == 20
    watched.store.disconnect()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_variables_of_opentelemetry_turn_it_on(environment, wanted):
    assert is_wanted(environment) is wanted


def test_a_collector_that_is_down_holds_up_nobody(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("pystator.service.exporting.PATIENCE", 0.3)
    store = InMemoryStateStore()
    exporting = Exporting(store)
    door = Orchestrator(
        StateMachine.from_dict(DOOR),
        store,
        actions={"ring": lambda _context: None},
        telemetry=exporting.telemetry,
    )
    began = time.monotonic()
    for number in range(50):
        door.process_event(f"d-{number}", "close")
    assert time.monotonic() - began < 5
    began = time.monotonic()
    exporting.close()
    exporting.close()
    assert time.monotonic() - began < 5


def test_an_exporter_that_is_not_known_is_told(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(Exception, match="OTEL_TRACES_EXPORTER=zipkin"):
        Exporting(InMemoryStateStore())
