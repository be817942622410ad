"""Whether spans are exported, and where to: by ``--otel``, or OpenTelemetry's own variables."""

import os
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING, Final

from pystator.db.extras import from_extra
from pystator.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Exporting", "is_wanted", "system_of"]

_WHERE: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

PATIENCE: Final = 2.0
"""Seconds in which the last spans are sent."""

_SYSTEMS: Final = {
    "InMemoryStateStore": "memory",
    "MongoDBStateStore": "mongodb",
    "PostgresStateStore": "postgresql",
    "RedisStateStore": "redis",
    "ReplicatedStateStore": "redis",
    "SQLiteStateStore": "sqlite",
}
"""Classes of stores -> names of the semantic conventions."""


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """The variables say that spans are to be exported."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(environment.get(name, "").strip() for name in _WHERE)


def system_of(store: object) -> str | None:
    """A store's ``db.system.name``."""
    return _SYSTEMS.get(type(store).__name__)


class Exporting:
    """A telemetry and what sends its spans; `close` sends the last ones.

    Where the program has set a provider of its own, that one is used and stays the program's to
    close.

    Args:
        store: Whose name is told with loads and commits.

    Raises:
        ConfigurationError: The extra ``otel`` is not installed, or a variable is wrong.
    """

    def __init__(self, store: object) -> None:
        with from_extra("otel", "opentelemetry"):
            from pystator.service.telemetry import OpenTelemetry

            made = _own_provider()
        self.telemetry = OpenTelemetry(None if made is None else made[0], system_of(store))
        self._made = made

    def close(self) -> None:
        """Send what is left, as far as somebody takes it within a few seconds."""
        made, self._made = self._made, None
        if made is None:
            return
        provider, exporter = made
        closing = Thread(target=provider.shutdown, daemon=True, name="pystator-spans")
        closing.start()
        closing.join(PATIENCE)
        if closing.is_alive():
            exporter.shutdown()  # it would try again and again
            closing.join(1)


def _own_provider() -> "tuple[TracerProvider, SpanExporter] | None":
    """A provider that exports as the variables say; None where the program has one already."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return None
    exporter = _exporter()
    named = Resource.create().attributes.get(SERVICE_NAME, "")
    unnamed = not named or str(named).startswith("unknown_service")
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: "pystator"} if unnamed else {}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, exporter


def _exporter() -> "SpanExporter":
    """What sends spans.

    Raises:
        ConfigurationError: There is no such exporter.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if name == "console":
        return ConsoleSpanExporter()
    if name == "otlp":
        return OTLPSpanExporter()
    raise ConfigurationError(
        f"OTEL_TRACES_EXPORTER={name} is not known here: otlp (over HTTP), console or none"
    )
