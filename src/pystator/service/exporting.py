"""Whether spans are exported, and where to: by ``--otel``, or OpenTelemetry's own variables."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from pystator.db.extras import from_extra
from pystator.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Exporting", "is_wanted", "system_of"]

_WHERE: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

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

            provider = _own_provider()
        self.telemetry = OpenTelemetry(provider, system_of(store))
        self._close: Callable[[], None] | None = None if provider is None else provider.shutdown

    def close(self) -> None:
        """Send what is left; takes a few seconds when nobody answers."""
        close, self._close = self._close, None
        if close is not None:
            close()


def _own_provider() -> "TracerProvider | None":
    """A provider that exports as the variables say; None where the program has one already."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return None
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if exporter not in {"otlp", "console"}:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER={exporter} is not known here: otlp (over HTTP), console or none"
        )
    named = Resource.create().attributes.get(SERVICE_NAME, "")
    unnamed = not named or str(named).startswith("unknown_service")
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: "pystator"} if unnamed else {}),
        shutdown_on_exit=False,
    )
    if exporter == "console":
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
