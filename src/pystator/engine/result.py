"""What an event did.

A result is three references: the facts, the context and the time. Most facts are static - they
belong to the plan, and every entity that takes the same way shares them - so an ordinary step makes
one small object; everything else is a property, and errors, metadata and timers are made when
somebody asks.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pystator.engine.actions import ActionSpec
from pystator.engine.copying import copy_mapping
from pystator.engine.tree import listed
from pystator.errors import (
    FSMError,
    GuardRejectedError,
    InvalidTransitionError,
    TerminalStateError,
    UndefinedTriggerError,
)
from pystator.records import Context, Entry, HistoryEntry, record

__all__ = ["Facts", "Microstep", "TimerChanges", "TransitionResult"]


@record
class Microstep:
    """One transition taken, or several at once in regions.

    Attributes:
        source, target: The configurations before and after it.
        trigger: The event it was taken on; None when it was taken without one.
        exited, entered: States and regions, in order.
        transitions: Positions in the machine of what was taken; empty for the initial entry.
    """

    source: str | None
    target: str
    trigger: str | None
    exited: tuple[str, ...]
    entered: tuple[str, ...]
    transitions: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "source": self.source,
            "target": self.target,
            "trigger": self.trigger,
            "exited": list(self.exited),
            "entered": list(self.entered),
        }


@record
class TimerChanges:
    """The net change of an event to the entity's timers; falsy when there is none.

    Attributes:
        armed: Timer id -> deadline in microseconds since the epoch.
        cancelled: Ids of timers that no longer count.
    """

    armed: dict[str, int]
    cancelled: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.armed or self.cancelled)


class Facts:
    """What is known about a step besides context and time.

    Attributes:
        actions: Planned actions, in order of execution.
        delays: Timers to arm: (id, microseconds after the step's time).
        deadlines: Timers to arm: (id, deadline in microseconds).
        reason: Why it failed, or ``"ignored"``; a stable word.
        details: Added to metadata and to the error's context; plain values.
        hints: Names that the error's message offers.
        cause: The error, when it is known already.
    """

    __slots__ = (
        "actions",
        "cancelled",
        "cause",
        "deadlines",
        "delays",
        "details",
        "hints",
        "microsteps",
        "reason",
        "replayed",
        "source_state",
        "success",
        "target_state",
        "trigger",
        "void",
    )

    def __init__(
        self,
        *,
        success: bool,
        source_state: str | None,
        target_state: str | None,
        trigger: str | None,
        reason: str | None = None,
        actions: tuple[ActionSpec, ...] = (),
        delays: tuple[tuple[str, int], ...] = (),
        deadlines: tuple[tuple[str, int], ...] = (),
        cancelled: tuple[str, ...] = (),
        microsteps: tuple[Microstep, ...] = (),
        details: Mapping[str, Any] | None = None,
        hints: Collection[str] = (),
        cause: FSMError | None = None,
        void: bool = False,
        replayed: bool = False,
    ) -> None:
        self.success = success
        self.source_state = source_state
        self.target_state = target_state
        self.trigger = trigger
        self.reason = reason
        self.actions = actions
        self.delays = delays
        self.deadlines = deadlines
        self.cancelled = cancelled
        self.microsteps = microsteps
        self.details = details
        self.hints = hints
        self.cause = cause
        self.void = void
        self.replayed = replayed


class TransitionResult:
    """What one event did, or why it did nothing.

    ``success``: the event was applied, or ignored on purpose. ``target_state``: the configuration
    at rest after the event; None when it failed. ``context`` is the context after the event: the
    very object that went in when nothing was written, a new one otherwise. ``now`` is the step's
    time in microseconds since the epoch, None when nothing needed it. ``facts`` are shared by all
    entities that take the same way. ``written`` is set by an orchestrator, to the entity's version;
    `version` reads it. ``recorded`` is set, too, to the history row of the event; `row` reads it.
    ``held`` is set while something waits for the caller's own commit.
    """

    __slots__ = (
        "_error",
        "_metadata",
        "context",
        "facts",
        "held",
        "now",
        "recorded",
        "success",
        "target_state",
        "written",
    )

    _error: FSMError | None
    _metadata: dict[str, Any]
    written: int
    recorded: Entry | HistoryEntry
    held: object

    def __init__(self, facts: Facts, context: Context, now: int | None) -> None:
        self.facts = facts
        self.success = facts.success
        self.target_state = facts.target_state
        self.context = context
        self.now = now

    @classmethod
    def from_parts(
        cls,
        *,
        success: bool,
        source_state: str | None,
        target_state: str | None,
        trigger: str | None,
        context: Context,
        now: int | None = None,
        actions: Iterable[ActionSpec] = (),
        error: FSMError | None = None,
        reason: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timers: TimerChanges | None = None,
        microsteps: Iterable[Microstep] = (),
        replayed: bool = False,
        void: bool = False,
    ) -> "TransitionResult":
        """A result that no step made: a replay, or a rejection decided outside of the engine.

        Everything is as in the result; ``metadata`` is added to what the result's says, and a
        failure without ``error`` gets one that is told from ``reason``.
        """
        facts = Facts(
            success=success,
            source_state=source_state,
            target_state=target_state,
            trigger=trigger,
            reason=reason,
            actions=tuple(actions),
            deadlines=tuple(timers.armed.items()) if timers else (),
            cancelled=timers.cancelled if timers else (),
            microsteps=tuple(microsteps),
            details=metadata,
            cause=error,
            replayed=replayed,
            void=void,
        )
        return cls(facts, context, now)

    # Outcome --------------------------------------------------------------------------------

    @property
    def source_state(self) -> str | None:
        """The configuration before the event; None for the start of an entity."""
        return self.facts.source_state

    @property
    def trigger(self) -> str | None:
        """The event, normalised; the timer's id when a timer fired; None for a start."""
        return self.facts.trigger

    @property
    def reason(self) -> str | None:
        """Why it failed, as a stable word (``guard_rejected`` ...); ``ignored`` for a no-op."""
        return self.facts.reason

    @property
    def ignored(self) -> bool:
        """A lenient machine had nothing to do for this event: success, and nothing happened."""
        facts = self.facts
        return facts.success and facts.reason == "ignored"

    @property
    def void(self) -> bool:
        """A timer fired that no longer counts."""
        return self.facts.void

    @property
    def replayed(self) -> bool:
        """The answer to an event that had been applied before."""
        return self.facts.replayed

    @property
    def version(self) -> int | None:
        """The entity's version after the event, where an orchestrator wrote it."""
        try:
            return self.written
        except AttributeError:
            return None

    @property
    def row(self) -> Entry | HistoryEntry | None:
        """The event's row of history, where an orchestrator decided it; a replay's is as stored.

        Of an event that changed nothing and has no event id, it may be written nowhere.
        """
        try:
            return self.recorded
        except AttributeError:
            return None

    # Actions --------------------------------------------------------------------------------

    @property
    def all_actions(self) -> list[ActionSpec]:
        """Every planned action, in order of execution, over all microsteps."""
        return [*self.facts.actions]

    @property
    def on_exit_actions(self) -> list[ActionSpec]:
        """The planned actions of exits."""
        return [spec for spec in self.facts.actions if spec.phase == "exit"]

    @property
    def actions_to_execute(self) -> list[ActionSpec]:
        """The planned actions of transitions."""
        return [spec for spec in self.facts.actions if spec.phase == "transition"]

    @property
    def on_enter_actions(self) -> list[ActionSpec]:
        """The planned actions of entries."""
        return [spec for spec in self.facts.actions if spec.phase == "enter"]

    # Detail ---------------------------------------------------------------------------------

    @property
    def timers(self) -> TimerChanges:
        """Timers armed and cancelled, net."""
        facts = self.facts
        armed = dict(facts.deadlines)
        if facts.delays and self.now is not None:
            for timer, delay in facts.delays:
                armed[timer] = self.now + delay
        return TimerChanges(armed, facts.cancelled)

    @property
    def microsteps(self) -> tuple[Microstep, ...]:
        """The transitions taken, in order."""
        return self.facts.microsteps

    @property
    def metadata(self) -> dict[str, Any]:
        """Facts for programs: ``reason``, ``guard_name``, ``rejections`` ...; this result's own."""
        try:
            return self._metadata
        except AttributeError:
            facts = self.facts
            found: dict[str, Any] = {} if facts.reason is None else {"reason": facts.reason}
            if facts.details:
                found.update(copy_mapping(facts.details))
            version = self.version
            if version is not None:
                found["version"] = version
            self._metadata = found
            return found

    @property
    def error(self) -> FSMError | None:
        """Why it failed; None when it did not."""
        try:
            return self._error
        except AttributeError:
            self._error = None if self.facts.success else _error(self.facts)
            return self._error

    def raise_for_error(self) -> "TransitionResult":
        """Raise ``error`` if there is one; else the result itself, to chain.

        Raises:
            FSMError: What ``error`` is.
        """
        error = self.error
        if error is not None:
            raise error
        return self

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data (context and action params are the user's own values)."""
        error = self.error
        timers = self.timers
        return {
            "success": self.success,
            "source_state": self.source_state,
            "target_state": self.target_state,
            "trigger": self.trigger,
            "context": self.context,
            "actions": [spec.to_dict() for spec in self.facts.actions],
            "timers": {"armed": timers.armed, "cancelled": list(timers.cancelled)},
            "microsteps": [step.to_dict() for step in self.microsteps],
            "error": None if error is None else error.to_dict(),
            "metadata": self.metadata,
        }

    def __repr__(self) -> str:
        facts = self.facts
        if facts.success:
            what = f"{facts.source_state!r} -> {facts.target_state!r}"
        else:
            what = f"{facts.source_state!r} refused: {facts.reason}"
        return f"<TransitionResult {facts.trigger!r}: {what}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            {
                "success": self.success,
                "source_state": self.source_state,
                "target_state": self.target_state,
                "trigger": self.trigger,
                "context": self.context,
                "now": self.now,
                "actions": self.facts.actions,
                "error": self.error,
                "reason": self.reason,
                "metadata": self.metadata,
                "timers": self.timers,
                "microsteps": self.microsteps,
                "replayed": self.replayed,
                "void": self.void,
            },
            self.version,
        )


def _rebuild(parts: dict[str, Any], version: int | None) -> TransitionResult:
    result = TransitionResult.from_parts(**parts)
    if version is not None:
        result.written = version
    return result


# Errors of static facts -------------------------------------------------------------------------


_ERRORS: dict[str, type[FSMError]] = {
    "guard_rejected": GuardRejectedError,
    "undefined_trigger": UndefinedTriggerError,
    "terminal_state": TerminalStateError,
}


def _error(facts: Facts) -> FSMError:
    """The error of a failed step: the one it met, or one told from the facts."""
    if facts.cause is not None:
        return facts.cause
    state, trigger, reason = facts.source_state, facts.trigger, facts.reason or "failed"
    details = dict(facts.details or {})
    names = listed([*facts.hints]) or "none"
    match reason:
        case "guard_rejected":
            guard = details.get("guard_name")
            message = f"event {trigger!r} in state {state!r}: guard {guard!r} said no"
        case "undefined_trigger":
            message = f"no transition of this machine has the trigger {trigger!r}"
            message += _hint(str(trigger), facts.hints) or f"; triggers: {names}"
        case "terminal_state":
            message = f"event {trigger!r} is not allowed: {state!r} is terminal, nothing leads out"
        case "no_transition":
            message = f"event {trigger!r} is not allowed in state {state!r}; allowed here: {names}"
        case "void_timer":
            message = f"timer {trigger!r} does not count in state {state!r}: nothing was changed"
        case _:
            message = f"event {trigger!r} failed in state {state!r}: {reason}"
    context = {"state": state, "trigger": trigger, "reason": reason, **details}
    return _ERRORS.get(reason, InvalidTransitionError)(message, context=context)


def _hint(wrong: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches  # only an error pays for it

    close = get_close_matches(wrong, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
