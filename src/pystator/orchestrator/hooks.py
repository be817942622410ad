"""Observers of events. A hook that raises is logged and changes nothing."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pystator.engine.copying import detach
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator.cases import Case
from pystator.orchestrator.tracing import Tracer

__all__ = ["Hooks", "LoggingHook", "MetricsCollector", "TransitionHook"]

_log = logging.getLogger("pystator.hooks")

NAMES: Final = (
    "on_before_process",
    "on_transition_start",
    "on_transition_complete",
    "on_transition_error",
)
"""What a hook may have; any of them makes one."""


class TransitionHook:
    """What an orchestrator tells about each event; override what you need.

    Calls are blocking and made between the steps of an event: keep them short. A start and data
    without an event have the trigger ``""``. With ``connection=``, completion is told by
    `Orchestrator.run_actions`, after the caller's commit; all else at once.
    """

    def on_before_process(
        self, entity_id: str, trigger: str, context: Mapping[str, Any] | None
    ) -> None:
        """An event arrived; ``context`` is its own data. Nothing was loaded yet."""

    def on_transition_start(self, entity_id: str, result: TransitionResult) -> None:
        """A transition is decided and about to be written; again if another writer was first."""

    def on_transition_complete(self, entity_id: str, result: TransitionResult) -> None:
        """It is written, and its actions have run. A replayed answer completes as well."""

    def on_transition_error(self, entity_id: str, trigger: str | None, error: Exception) -> None:
        """The event was rejected, or could not be decided or written."""


class LoggingHook(TransitionHook):
    """One line an event.

    Args:
        logger: By default ``pystator.events``.
        level: Of applied events; rejections are warnings.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.INFO) -> None:
        self.logger = logging.getLogger("pystator.events") if logger is None else logger
        self.level = level

    def on_transition_complete(self, entity_id: str, result: TransitionResult) -> None:
        """``order-1: fill open -> filled (version 3)``."""
        self.logger.log(
            self.level,
            "%s: %s %s -> %s (version %s)",
            entity_id,
            result.trigger or ("start" if result.source_state is None else "data"),
            result.source_state,
            result.target_state,
            result.metadata.get("version"),
        )

    def on_transition_error(self, entity_id: str, trigger: str | None, error: Exception) -> None:
        """``order-1: fill failed: why``; without a trigger ``order-1 failed: why``."""
        if trigger:
            self.logger.warning("%s: %s failed: %s", entity_id, trigger, error)
        else:
            self.logger.warning("%s failed: %s", entity_id, error)


class MetricsCollector(TransitionHook):
    """Counts, from any number of threads and orchestrators.

    Example:
        >>> metrics = MetricsCollector()
        >>> metrics.snapshot()["processed"]
        0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again at zero."""
        with self._lock:
            self._processed = 0
            self._applied = 0
            self._replayed = 0
            self._ignored = 0
            self._action_errors = 0
            self._transitions: Counter[tuple[str, str, str]] = Counter()
            self._errors: Counter[str] = Counter()

    def on_before_process(
        self, entity_id: str, trigger: str, context: Mapping[str, Any] | None
    ) -> None:
        """Count an event."""
        del entity_id, trigger, context
        with self._lock:
            self._processed += 1

    def on_transition_complete(self, entity_id: str, result: TransitionResult) -> None:
        """Count its success."""
        del entity_id
        failed = len(result.metadata.get("action_errors", ()))
        way = (result.source_state or "", result.trigger or "", result.target_state or "")
        with self._lock:
            if result.replayed:
                self._replayed += 1
            elif result.ignored:
                self._ignored += 1
            else:
                self._applied += 1
                self._transitions[way] += 1
            self._action_errors += failed

    def on_transition_error(self, entity_id: str, trigger: str | None, error: Exception) -> None:
        """Count its failure, by the error's code."""
        del entity_id, trigger
        code = str(error.code) if isinstance(error, FSMError) else type(error).__name__
        with self._lock:
            self._errors[code] += 1

    def snapshot(self) -> dict[str, Any]:
        """The counts as plain data.

        ``processed applied replayed ignored failed action_errors`` are numbers, ``errors`` counts
        by error code, and ``transitions`` by ``"source --trigger--> target"``.
        """
        with self._lock:
            return {
                "processed": self._processed,
                "applied": self._applied,
                "replayed": self._replayed,
                "ignored": self._ignored,
                "failed": self._errors.total(),
                "action_errors": self._action_errors,
                "errors": dict(self._errors),
                "transitions": {
                    f"{source} --{trigger}--> {target}": number
                    for (source, trigger, target), number in self._transitions.items()
                },
            }


class Hooks:
    """The observers of one orchestrator, bound once; an object need not have every method.

    Args:
        hooks: The user's.
        tracer: Makes the spans of events, where there is telemetry.
    """

    __slots__ = ("_before", "_complete", "_error", "_start", "_tracer")

    def __init__(self, hooks: Sequence[object], tracer: Tracer | None = None) -> None:
        self._before, self._start, self._complete, self._error = (
            _bound(hooks, name) for name in NAMES
        )
        self._tracer = tracer

    def before(self, case: Case) -> None:
        """An event arrived."""
        if self._tracer is not None:
            self._tracer.begin(case)
        _call(self._before, case.entity_id, case.trigger, case.payload)

    def answered(self, case: Case) -> None:
        """The event has its result or its error, and everything that follows from it is done."""
        if case.result is not None:
            self.settled(case.entity_id, case.trigger, case.result)
        elif case.error is not None:
            self.failed(case.entity_id, case.trigger, case.error)
        self.left(case)

    def left(self, case: Case, error: BaseException | None = None) -> None:
        """Nothing more is told about the event; without an answer, for this reason."""
        if self._tracer is not None:
            self._tracer.end(case, error)

    def start(self, entity_id: str, result: TransitionResult) -> None:
        """A transition is decided; what is written of its context is out of the hooks' reach."""
        if self._start:
            result.context = detach(result.context)
            _call(self._start, entity_id, result)

    def settled(self, entity_id: str, trigger: str | None, result: TransitionResult) -> None:
        """The event has its result."""
        error = result.error
        if error is None:
            _call(self._complete, entity_id, result)
        else:
            _call(self._error, entity_id, trigger, error)

    def failed(self, entity_id: str, trigger: str | None, error: Exception) -> None:
        """The event could not be decided or written."""
        _call(self._error, entity_id, trigger, error)


def _bound(hooks: Sequence[object], name: str) -> tuple[Callable[..., Any], ...]:
    """The hooks' own methods of this name; those that nobody overrode are not worth a call."""
    idle = getattr(TransitionHook, name)
    found: list[Callable[..., Any]] = []
    for hook in hooks:
        method = getattr(hook, name, None)
        if callable(method) and getattr(method, "__func__", None) is not idle:
            found.append(method)
    return tuple(found)


def _call(methods: tuple[Callable[..., Any], ...], *arguments: object) -> None:
    for method in methods:
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 # an observer must not break what it observes
            _log.exception("hook %r raised; the event goes on", method)
