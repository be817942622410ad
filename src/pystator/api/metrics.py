"""Numbers for Prometheus: requests, events, streams, and whether the store answers.

Laws:

- Labels have few values: templates of routes, names of machines, reasons, never an id or a path.
- A child of a metric is looked up once; afterwards a request costs a few additions.
- With several workers each counts in files of its own, in a folder that they share
  (``PROMETHEUS_MULTIPROC_DIR``), and any of them answers for all.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pystator._version import __version__
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError

__all__ = ["FOLDER", "Measured", "Metrics", "forget_worker", "shared_folder"]

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_PREFIX: Final = "/api/v1"

_STREAM: Final = b"text/event-stream"

_NO_ROUTE: Final = "none"
"""The label of requests that came to no route: refused before, or to a path that is not there."""

_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

_ENTITIES: Final = tuple(2**power for power in range(11))

_shared: Any = multiprocess  # it has no types

_Mode = Literal["livesum", "livemax", "livemostrecent"]


class Metrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self.folder = os.environ.get(FOLDER) or None
        self.registry = CollectorRegistry()
        if self.folder is None:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        self._requests = self._counter(
            "http_requests", "Requests answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "http_request_duration_seconds",
            "From a request's head to the end of its answer; streams are left out.",
            _SECONDS,
            "method",
            "route",
        )
        self._events = self._counter(
            "events",
            "Events and data that entities were sent, by what became of them.",
            "machine",
            "outcome",
            "reason",
        )
        self._event_seconds = self._histogram(
            "event_duration_seconds",
            "From an event's arrival to its result, waiting for others and actions included.",
            _SECONDS,
            "machine",
        )
        self._commits = self._histogram(
            "commit_entities",
            "Entities that were written in one round trip: concurrent requests share them.",
            _ENTITIES,
        )
        self._streams = self._gauge("streams_open", "Open streams of transitions.", "livesum")
        self._up = self._gauge("store_up", "The store answers: 1, or 0.", "livemostrecent")
        self._feed = self._gauge(
            "feed_position_timestamp_seconds",
            "When the newest transition was recorded that open streams have come to.",
            "livemax",
        )
        build = self._gauge("build_info", "The release; always 1.", "livemax", "version")
        build.labels(__version__).set(1)
        self._of_requests: dict[tuple[str, str, int], Counter] = {}
        self._of_durations: dict[tuple[str, str], Histogram] = {}
        self._of_events: dict[tuple[str, str, str], Counter] = {}
        self._of_machines: dict[str, Histogram] = {}

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"pystator_{name}", about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(f"pystator_{name}", about, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, about: str, mode: _Mode, *labels: str) -> Gauge:
        return Gauge(
            f"pystator_{name}", about, labels, registry=self.registry, multiprocess_mode=mode
        )

    def request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """A request was answered; a stream has no duration."""
        counter = self._of_requests.get((method, route, status))
        if counter is None:
            counter = self._requests.labels(method, route, str(status))
            self._of_requests[method, route, status] = counter
        counter.inc()
        if seconds is None:
            return
        histogram = self._of_durations.get((method, route))
        if histogram is None:
            histogram = self._request_seconds.labels(method, route)
            self._of_durations[method, route] = histogram
        histogram.observe(seconds)

    def event(self, machine: str, outcome: str, reason: str, seconds: float) -> None:
        """An event has its result.

        Args:
            machine: The machine's name.
            outcome: ``applied``, ``ignored``, ``replayed``, ``rejected`` or ``failed``.
            reason: Why it was rejected, or the code of the error; empty otherwise.
            seconds: What it took.
        """
        counter = self._of_events.get((machine, outcome, reason))
        if counter is None:
            counter = self._events.labels(machine, outcome, reason)
            self._of_events[machine, outcome, reason] = counter
        counter.inc()
        histogram = self._of_machines.get(machine)
        if histogram is None:
            histogram = self._of_machines[machine] = self._event_seconds.labels(machine)
        histogram.observe(seconds)

    def settled(self, machine: str, result: TransitionResult | FSMError, seconds: float) -> None:
        """An event has come to this; outcomes and reasons are words of which there are few."""
        if isinstance(result, FSMError):
            self.event(machine, "failed", str(result.code), seconds)
        elif result.replayed:
            self.event(machine, "replayed", "", seconds)
        elif result.success:
            self.event(machine, "ignored" if result.ignored else "applied", "", seconds)
        else:
            self.event(machine, "rejected", result.reason or "", seconds)

    def committed(self, entities: int) -> None:
        """A commit for so many entities came back."""
        self._commits.observe(entities)

    def streams(self, number: int) -> None:
        """So many streams of this process are open."""
        self._streams.set(number)

    def store(self, *, up: bool) -> None:
        """The store answers, or not."""
        self._up.set(1 if up else 0)

    def feed(self, newest: int) -> None:
        """The newest row that streams came to was recorded then, in microseconds."""
        self._feed.set(newest / 1e6)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All numbers, of all workers, and their media type."""
        encode, media_type = choose_encoder(accept)
        registry = self.registry
        if self.folder is not None:
            registry = CollectorRegistry()
            _shared.MultiProcessCollector(registry, self.folder)
        return encode(registry), media_type


class Measured:
    """ASGI middleware: counts requests; far outside, so that refused ones are counted, too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on, then count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        answer = _Status(send)
        try:
            await self._app(scope, receive, answer)
        finally:
            method = scope["method"]
            self._metrics.request(
                method if method in _METHODS else "other",
                _template(scope),
                answer.status,
                None if answer.goes_on else perf_counter() - began,
            )


def _template(scope: Scope) -> str:
    """The route's path with the names of its parameters, the same with every FastAPI."""
    template: str = getattr(scope.get("route"), "path_format", _NO_ROUTE)
    return template.removeprefix(_PREFIX)


class _Status:
    """Sends an answer, and looks at its head."""

    __slots__ = ("_send", "goes_on", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500  # of an answer that never began
        self.goes_on = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.goes_on = any(value.startswith(_STREAM) for _, value in message["headers"])
        await self._send(message)


# Several workers ----------------------------------------------------------------------------------


@contextmanager
def shared_folder() -> Generator[Path]:
    """A folder for the numbers of several workers, named in the environment that they inherit.

    One that the user has named is used, and is the user's to empty.
    """
    named = os.environ.get(FOLDER)
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="pystator-metrics-"))
    os.environ[FOLDER] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop(FOLDER, None)
        shutil.rmtree(folder, ignore_errors=True)


def forget_worker(pid: int, folder: Path) -> None:
    """A worker has ended: its streams are gone, and what it has counted stays."""
    _shared.mark_process_dead(pid, str(folder))
