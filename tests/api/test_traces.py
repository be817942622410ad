"""Spans of a real service, taken by a collector that speaks OTLP over HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from api.running import stream
from servers.service import start

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Collector:
    """Takes what is exported to ``url``."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self):
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def services(self):
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


def attributes(span):
    return {each.key: each.value.string_value or each.value for each in span.attributes}


def send(api, entity_id="j", **headers):
    answer = api.post(
        f"/api/v1/entities/{entity_id}/events",
        {"trigger": "go", "context": {"card": "4111 1111"}},
        headers=headers,
    )
    assert answer.status_code == 200, answer.text


def test_a_service_exports_its_spans_and_the_last_ones_when_it_ends(tmp_path):
    with (
        collecting() as collector,
        start(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as api,
    ):
        send(api, traceparent=SENT, tracestate="shop=1")
        history = api.get("/api/v1/entities/j/history").json()["items"]
        assert {row["trace"] for row in history} == {SENT}
        with stream(f"{api.url}/api/v1") as events:
            next(events)
            assert api.stop() == 0
            assert list(events) == []  # it was ended, not cut off
    spans = collector.spans
    assert set(spans) >= {"event job", "load", "step", "commit", "action rest"}
    event = spans["event job"]
    assert (event.trace_id.hex(), event.parent_span_id.hex()) == tuple(SENT.split("-")[1:3])
    assert event.trace_state == "shop=1"
    assert attributes(event)["pystator.entity.id"] == "j"
    for name in ("load", "step", "commit", "action rest"):
        assert spans[name].parent_span_id == event.span_id
        assert spans[name].trace_id == event.trace_id
    assert attributes(spans["commit"])["db.system.name"] == "sqlite"
    assert collector.services == {"pystator"}
    assert "4111 1111" not in str(collector.requests)  # times have any four digits


def test_without_telemetry_the_trace_is_kept_and_one_that_is_none_is_left_out(serve, order):
    async def go():
        async with serve(order) as client:
            found = []
            for trace in (SENT, "00-nonsense", SENT.upper()):
                path = f"/entities/order-{len(found)}"
                await client.post(
                    f"{path}/events", json={"trigger": "place"}, headers={"traceparent": trace}
                )
                found.append((await client.get(f"{path}/history")).json()["items"][0]["trace"])
            return found

    assert asyncio.run(go()) == [SENT, None, None]
