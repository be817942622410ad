"""Spans: where an event's time goes, for whoever watches; and the trace that an event belongs to.

::

    event  (from the call to its answer, actions included)
      |- load      the entity is read
      |- step      it is decided, async guards included
      |- commit    what was decided is written
      '- action    one for each action that runs

Laws:

- Spans are told to a `Telemetry` (``Orchestrator(..., telemetry=...)``). Without one nothing is
  made, measured or asked.
- A load and a commit may serve many events: those of one bulk call, and those of all callers that
  share a batch. They are told of once, with the spans of all the events they serve.
- An event that is decided again (another writer was first) has several loads, steps and commits.
- Telemetry is an observer: what it raises is logged, and the event goes on.
- No value of a context is ever told.
"""

import logging
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pystator.engine.actions import ActionOutcome, ActionSpec
from pystator.errors import InvalidValueError
from pystator.records import Outcome

if TYPE_CHECKING:
    from pystator.orchestrator.cases import Case

__all__ = [
    "TRACE",
    "Fact",
    "Kind",
    "Part",
    "Span",
    "Telemetry",
    "Tracer",
    "check_trace",
    "current_trace",
    "end_commit",
]

_log = logging.getLogger("pystator.telemetry")

Kind = Literal["load", "step", "commit", "action"]
"""The parts of an event."""

Fact = str | int | bool
"""A value of an attribute of a span."""


class Span(Protocol):
    """One stretch of time, from the call that made it until `end`."""

    @property
    def trace(self) -> str | None:
        """Its own W3C ``traceparent``: what is given on to those who are called from within it."""
        ...

    def active(self) -> AbstractContextManager[object]:
        """Make it the current span of the code that runs within: asked for actions only.

        Entered and left in one thread or one asyncio task, with awaits in between.
        """
        ...

    def end(self, facts: Mapping[str, Fact], error: BaseException | None) -> None:
        """It is over; called once, from any thread.

        Args:
            facts: What came of it, beside the facts it began with.
            error: Why it failed. An event that is rejected has not failed: its facts say
                ``success`` False and the ``reason``.
        """
        ...


class Telemetry(Protocol):
    """What ``telemetry=`` takes. Its methods are blocking, and called from any thread: be quick.

    ========  ==================================  =============================================
    span      facts at its begin                  facts at its end
    ========  ==================================  =============================================
    event     ``entity_id machine_name trigger``  ``success``; if known, ``reason version``
                                                  ``source_state target_state replayed``
    load      ``entities``
    step      ``entity_id``
    commit    ``entities``                        how many commits were ``applied``, ``stale``,
                                                  ``duplicate``, ``refused`` or ``failed``
    action    ``name phase``                      ``ok attempts``
    ========  ==================================  =============================================

    Data without an event, and the start of an entity, have the trigger ``""``.
    """

    def event(self, facts: Mapping[str, Fact], trace: str | None) -> Span:
        """An event arrived; called in its caller's own thread and context, before anything else.

        Args:
            facts: See above.
            trace: The ``traceparent`` the caller gave, which becomes the parent; without one, the
                parent is what is current where the call was made, if anything is.
        """
        ...

    def part(self, kind: Kind, events: Sequence[Span], facts: Mapping[str, Fact]) -> Span:
        """A part of some events begins; called from any thread, task and context.

        Args:
            kind: Which one; ``step`` and ``action`` are of one event.
            events: The spans that `event` gave, at least one. The only one is the parent. Of
                several, none is: make a span of its own that links to all of them.
            facts: See above.
        """
        ...


# The trace of an event ----------------------------------------------------------------------------

TRACE: Final[ContextVar[str | None]] = ContextVar("pystator_trace", default=None)

_LONGEST: Final = 255
"""Characters that stores keep."""
_SHAPE: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]*)?"
)


def current_trace() -> str | None:
    """While an action runs: the ``traceparent`` to send along; None where there is none.

    It is the one the event was sent with; with telemetry, that of the action's own span.

    Example:
        >>> current_trace() is None
        True
    """
    return TRACE.get()


def check_trace(trace: object) -> str:
    """A W3C ``traceparent``.

    Raises:
        InvalidValueError: It is none.
    """
    if isinstance(trace, str) and len(trace) <= _LONGEST:
        found = _SHAPE.fullmatch(trace)
        if found is not None and _may_be(*found.groups()):
            return trace
    raise InvalidValueError(
        "trace= is a W3C traceparent, e.g."
        f" '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', not {trace!r:.80}",
        context={"what": "trace", "value": f"{trace!r:.80}"},
    )


def _may_be(version: str, trace_id: str, parent_id: str, more: str | None) -> bool:
    """No id is all zeros, and what follows the flags is for versions after the first."""
    return bool(trace_id.strip("0") and parent_id.strip("0")) and (more is None or version != "00")


# Telling ------------------------------------------------------------------------------------------


class Part:
    """A span, or none where none could be made; what it raises is logged."""

    __slots__ = ("_ended", "span")

    def __init__(self, span: Span | None) -> None:
        self.span = span
        self._ended = span is None

    def end(self, facts: Mapping[str, Fact], error: BaseException | None = None) -> None:
        """It is over; the first time counts."""
        if self._ended or self.span is None:
            return
        self._ended = True
        try:
            self.span.end(facts, error)
        except Exception:  # noqa: BLE001 # an observer must not break what it observes
            _failed()


def end_commit(part: Part, outcomes: Sequence[Outcome | Exception]) -> None:
    """Commits were written, or not."""
    errors = [each for each in outcomes if isinstance(each, Exception)]
    facts: dict[str, Fact] = {"failed": len(errors)} if errors else {}
    for each in outcomes:
        if isinstance(each, Outcome):
            facts[each.kind.value] = int(facts.get(each.kind.value, 0)) + 1
    part.end(facts, errors[0] if errors else None)


class Tracer:
    """Tells a telemetry about cases.

    Args:
        telemetry: The user's.
        machine_name: Of the orchestrator's machine.
    """

    __slots__ = ("_machine_name", "_telemetry")

    def __init__(self, telemetry: Telemetry, machine_name: str) -> None:
        self._telemetry = telemetry
        self._machine_name = machine_name

    def begin(self, case: "Case") -> None:
        """An event arrived. One without a trace belongs to that of its span."""
        facts = {
            "entity_id": case.entity_id,
            "machine_name": self._machine_name,
            "trigger": case.trigger,
        }
        try:
            span = self._telemetry.event(facts, case.trace)
            case.span = Part(span)
            if case.trace is None and span.trace is not None:
                case.trace = check_trace(span.trace)
        except Exception:  # noqa: BLE001 # an observer must not break what it observes
            _failed()

    def end(self, case: "Case", error: BaseException | None = None) -> None:
        """It has its answer; or there will be none, for this reason."""
        whole, result = case.span, case.result
        if whole is None:
            return
        if result is None:
            whole.end({"success": False}, case.error or error)
            return
        told = {
            "success": result.success,
            "reason": result.reason,
            "version": result.version,
            "source_state": result.source_state,
            "target_state": result.target_state,
            "replayed": result.replayed,
        }
        whole.end({name: value for name, value in told.items() if value is not None})

    def part(self, kind: Kind, cases: Iterable["Case"], facts: Mapping[str, Fact]) -> Part:
        """A part of these events begins."""
        return Part(self._part(kind, cases, facts))

    def _part(self, kind: Kind, cases: Iterable["Case"], facts: Mapping[str, Fact]) -> Span | None:
        spans = [each for case in cases if case.span and (each := case.span.span) is not None]
        if spans:
            try:
                return self._telemetry.part(kind, spans, facts)
            except Exception:  # noqa: BLE001 # an observer must not break what it observes
                _failed()
        return None

    @contextmanager
    def within(self, kind: Kind, case: "Case", facts: Mapping[str, Fact]) -> Generator[None]:
        """A part of one event is what happens within."""
        part = self.part(kind, (case,), facts)
        try:
            yield
        except BaseException as error:
            part.end({}, error)
            raise
        part.end({})

    @contextmanager
    def action(self, case: "Case", spec: ActionSpec) -> Generator[list[ActionOutcome]]:
        """An action runs within; its outcome is put into the list."""
        span = self._part("action", (case,), {"name": spec.name, "phase": spec.phase})
        part = Part(span)
        outcomes: list[ActionOutcome] = []
        token = TRACE.set(_trace_of(span) or TRACE.get())
        try:
            with _active(span):
                yield outcomes
        except BaseException as error:
            part.end({"ok": False}, error)
            raise
        finally:
            TRACE.reset(token)
        for outcome in outcomes:
            part.end({"ok": outcome.ok, "attempts": outcome.attempts}, outcome.error)


def _trace_of(span: Span | None) -> str | None:
    try:
        return None if span is None else span.trace
    except Exception:  # noqa: BLE001 # an observer must not break what it observes
        _failed()
        return None


def _active(span: Span | None) -> AbstractContextManager[object]:
    try:
        return nullcontext() if span is None else span.active()
    except Exception:  # noqa: BLE001 # an observer must not break what it observes
        _failed()
        return nullcontext()


def _failed() -> None:
    _log.exception("the telemetry raised; the event goes on")
