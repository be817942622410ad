"""One event on its way: checked before anything else happens, answered at the end."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pystator.engine.actions import ActionSpec
from pystator.engine.copying import detach
from pystator.engine.public import Event, check_payload
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError, InvalidValueError
from pystator.orchestrator.tracing import Part, check_trace
from pystator.records import EventRequest, from_datetime
from pystator.stores.keys import check_event_id, request_hash

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ["Case", "Item", "Todo", "case_of", "fail_open", "moment", "plain_payload"]

Item = tuple[str, str] | tuple[str, str, Mapping[str, Any] | None] | EventRequest
"""One event of a bulk call: ``(entity_id, trigger[, context])`` or an `EventRequest`."""

Todo = tuple[int, Sequence[ActionSpec], TransitionResult, str | None]
"""What is left to do after the commit: (version that planned it, actions, their result, trace)."""


class Case:
    """One event and what became of it: in the end it has either a result or an error.

    Attributes:
        payload: Shares nothing with the caller's mapping; None when there is none.
        is_data: It brings data and no trigger, see `Orchestrator.apply_data`.
        occurred_at, now: Microseconds since the epoch.
        expected: The version that the entity has to have before it.
        trace: The W3C ``traceparent`` it was sent with.
        span: Its own, where there is telemetry.
        caller: Who waits for the answer, where calls share commits.
        todos: Planned actions, once the commit is written.
        commit_id: Of the commit that wrote it, where there was one and it had a draft.
    """

    __slots__ = (
        "actor",
        "caller",
        "callers_context",
        "commit_id",
        "entity_id",
        "error",
        "event_id",
        "expected",
        "is_data",
        "now",
        "occurred_at",
        "payload",
        "request_hash",
        "result",
        "span",
        "todos",
        "trace",
        "trigger",
    )

    def __init__(
        self,
        entity_id: str,
        trigger: str | Event,
        payload: Mapping[str, Any] | None,
        event_id: str | None = None,
        actor: str | None = None,
        occurred_at: datetime | None = None,
        now: datetime | None = None,
        expected: int | None = None,
        trace: str | None = None,
    ) -> None:
        self.caller: Any
        self.callers_context: Context
        self.entity_id = entity_id
        self.trigger = trigger if type(trigger) is str else ""
        self.payload: dict[str, Any] | None = None
        self.event_id = event_id
        self.request_hash: str | None = None
        self.actor = actor
        self.expected = None if expected is None else _version(expected)
        self.trace = None if trace is None else check_trace(trace)
        self.span: Part | None = None
        self.is_data = False
        self.occurred_at: int | None = None
        self.now: int | None = None
        self.result: TransitionResult | None = None
        self.error: Exception | None = None
        self.todos: list[Todo] | None = None
        self.commit_id: str | None = None
        if type(entity_id) is not str:
            raise _wrong("entity_id", entity_id, "a string")
        if type(trigger) is not str:
            self._open(trigger)
        if payload is not None:
            self.payload = {**(self.payload or {}), **plain_payload(payload)} or None
        if occurred_at is not None:
            self.occurred_at = moment(occurred_at)
        if now is not None:
            self.now = moment(now)

    def _open(self, event: object) -> None:
        """Take an `Event` apart."""
        if not isinstance(event, Event):
            raise _wrong("trigger", event, "a string or an Event")
        self.trigger = event.trigger
        self.payload = plain_payload(event.payload)
        if self.event_id is None:
            self.event_id = event.event_id
        if event.timestamp is not None:
            self.occurred_at = moment(event.timestamp)

    def identify(self, trigger: str | None) -> None:
        """Hash what was asked, so that a retry is told from another event under the same id.

        Args:
            trigger: The trigger as the machine reads it; None for data.

        Raises:
            InvalidValueError: The event id or the payload cannot be stored.
        """
        check_event_id(self.event_id)
        self.request_hash = request_hash(trigger, self.payload)

    @property
    def what(self) -> str:
        """For messages: ``event 'pay'``, or ``data``."""
        return "data" if self.is_data else f"event {self.trigger!r}"

    @property
    def open(self) -> bool:
        """It has no answer yet."""
        return self.result is None and self.error is None

    def answer(self) -> TransitionResult:
        """The result.

        Raises:
            FSMError: The event could not be decided or written.
        """
        if self.result is None:
            raise self.error or FSMError("the event was not decided")
        return self.result

    def own_answer(self) -> TransitionResult:
        """The result, where others may have the same error.

        One error that all of them raise would collect the tracebacks of all, one after the other.

        Raises:
            FSMError: The event could not be decided or written.
        """
        if self.error is not None and self.result is None:
            self.error = _twin(self.error)
        return self.answer()


def _twin(error: Exception) -> Exception:
    """The same error once more, if it can be copied."""
    try:
        twin = copy(error)
    except Exception:  # noqa: BLE001 # a class of a user's, with a constructor of its own
        return error
    if type(twin) is not type(error):
        return error
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


def case_of(item: Any, actor: str | None = None) -> Case:
    """A case of one `Item` of a bulk call.

    Raises:
        InvalidValueError: It is no event.
    """
    kind: Any = item.__class__
    if kind is tuple or kind is list:
        if len(item) == 2:
            return Case(item[0], item[1], None, None, actor)
        if len(item) == 3:
            return Case(item[0], item[1], item[2], None, actor)
    if isinstance(item, EventRequest):
        return Case(
            item.entity_id,
            item.trigger,
            item.context,
            item.event_id,
            actor if item.actor is None else item.actor,
            item.occurred_at,
            item.now,
            item.expected_version,
            item.trace,
        )
    raise _wrong("an item", item, "(entity_id, trigger[, context]) or an EventRequest")


def moment(value: datetime) -> int:
    """Aware datetime -> microseconds since the epoch.

    Raises:
        InvalidValueError: It is something else, or has no time zone.
    """
    try:
        return from_datetime(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidValueError(
            f"a time is an aware datetime, e.g. datetime.now(timezone.utc), not {value!r}",
            context={"value": repr(value)},
        ) from error


def plain_payload(payload: object, what: str = "context") -> dict[str, Any]:
    """An event's data as a dictionary of its own; ``what`` the caller calls it.

    Raises:
        InvalidValueError: It is no mapping, or a key is no string or starts with ``_``.
    """
    if not isinstance(payload, Mapping):
        raise _wrong(what, payload, "a mapping")
    plain = detach(cast("Mapping[str, Any]", payload))
    check_payload(plain)
    return plain


def _version(value: object) -> int:
    if type(value) is not int or value < 0:
        raise _wrong(
            "expected_version", value, "an entity's version: 0 (there is none yet) or more"
        )
    return value


def _wrong(what: str, value: object, wanted: str) -> InvalidValueError:
    return InvalidValueError(
        f"{what} must be {wanted}, not {type(value).__name__}: {value!r:.80}",
        context={"type": type(value).__name__},
    )


def fail_open(cases: Iterable[Case], error: Exception) -> None:
    """Answer those that have no answer yet with an error."""
    for case in cases:
        if case.open:
            case.error = error
