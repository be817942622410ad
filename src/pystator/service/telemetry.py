"""Spans of OpenTelemetry for what the orchestrator tells; the extra ``otel``.

::

    traceparent of the request (or the span that is current)
      '- event order            where it came from, what it was, what became of it
           |- load              CLIENT, db.system.name
           |- step
           |- commit            CLIENT
           '- action send_mail  current while the action runs: its own spans and requests are within

What several events share, a load or a commit of a batch, is a span of its own that links to them.

An event's ``tracestate`` goes with its trace: it is set in `TRACESTATE` by who takes the request.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pystator import __version__
from pystator.errors import FSMError
from pystator.orchestrator.tracing import Fact, Kind
from pystator.orchestrator.tracing import Span as ToldSpan

__all__ = ["TRACESTATE", "OpenTelemetry"]

TRACESTATE: ContextVar[str | None] = ContextVar("pystator_tracestate", default=None)
"""The W3C ``tracestate`` that came with the ``traceparent`` of the request being served."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()

_OF_STORE: Final = frozenset({"load", "commit"})

_NAMES: Final = {
    "entity_id": "pystator.entity.id",
    "machine_name": "pystator.machine.name",
    "trigger": "pystator.trigger",
    "success": "pystator.success",
    "reason": "pystator.reason",
    "version": "pystator.entity.version",
    "source_state": "pystator.source_state",
    "target_state": "pystator.target_state",
    "replayed": "pystator.replayed",
    "entities": "pystator.entities",
    "name": "pystator.action.name",
    "phase": "pystator.action.phase",
    "ok": "pystator.success",
    "attempts": "pystator.action.attempts",
}
"""Facts -> attributes; others have ``pystator.`` before them."""


class OpenTelemetry:
    """A `Telemetry` that makes spans.

    Args:
        provider: Makes the tracer; the global one by default.
        system: The store as semantic conventions call it: ``postgresql``, ``redis`` ...
    """

    def __init__(self, provider: TracerProvider | None = None, system: str | None = None) -> None:
        self._tracer = otel.get_tracer("pystator", __version__, provider)
        self._client: dict[str, Fact] = {} if system is None else {"db.system.name": system}

    def event(self, facts: Mapping[str, Fact], trace: str | None) -> "_Told":
        """The span of an event."""
        parent = None if trace is None else _context_of(trace)
        name = f"event {facts['machine_name']}"
        span = self._tracer.start_span(name, parent, attributes=_attributes(facts))
        return _Told(span)

    def part(self, kind: Kind, events: Sequence[ToldSpan], facts: Mapping[str, Fact]) -> "_Told":
        """The span of a part of some events."""
        spans = [each.span for each in events if isinstance(each, _Told)]
        sampled = [span for span in spans if span.is_recording()]
        if not sampled:  # then nothing of them is; what is passed on is the event's own
            return _Told(NonRecordingSpan(spans[0].get_span_context()) if spans else INVALID_SPAN)
        of_store = kind in _OF_STORE
        alone = len(spans) == 1
        attributes = _attributes(facts)
        if of_store:
            attributes |= self._client
            attributes["db.operation.name"] = kind
            if not alone:
                attributes["db.operation.batch.size"] = facts.get("entities", len(spans))
        return _Told(
            self._tracer.start_span(
                f"action {facts['name']}" if kind == "action" else kind,
                set_span_in_context(sampled[0], Context()) if alone else Context(),
                kind=SpanKind.CLIENT if of_store else SpanKind.INTERNAL,
                attributes=attributes,
                links=[] if alone else [Link(each.get_span_context()) for each in sampled],
            )
        )


class _Told:
    """A span, as the orchestrator ends it."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    @property
    def trace(self) -> str | None:
        context = self.span.get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def active(self) -> AbstractContextManager[object]:
        return otel.use_span(
            self.span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def end(self, facts: Mapping[str, Fact], error: BaseException | None) -> None:
        span = self.span
        if span.is_recording():
            span.set_attributes(_attributes(facts))
            if error is not None:
                # Its text is left out: that of a foreign error may have values of a context.
                kind = str(error.code) if isinstance(error, FSMError) else type(error).__name__
                span.set_attribute("error.type", kind)
                span.set_status(Status(StatusCode.ERROR, kind))
        span.end()


def _attributes(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {_NAMES.get(name) or f"pystator.{name}": value for name, value in facts.items()}


def _context_of(trace: str) -> Context | None:
    """The parent that was sent; None for what is current, where somebody made a span within it."""
    current = otel.get_current_span().get_span_context()
    if current.is_valid and f"{current.trace_id:032x}" == trace[3:35]:
        return None
    carrier = {"traceparent": trace}
    state = TRACESTATE.get()
    if state is not None:
        carrier["tracestate"] = state
    return _PROPAGATOR.extract(carrier, Context())
