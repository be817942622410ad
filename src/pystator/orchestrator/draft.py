"""The events of one entity decided in order, on a paper that becomes one commit.

Laws of a draft:

- Before an event at time t, every timer with a deadline at or before t fires, in the order
  (deadline, document), each with its deadline as its time and a row of its own.
- A timer is consumed by its firing, also when its guard says no; one that no longer counts is void.
- Of an archived entity no timer fires, and every event is rejected.
- One that is armed again and again for a moment that is past fails in the end, as by an error.

What becomes of an event that fails: an ordinary rejection
(`pystator.orchestrator.answers.REFUSALS`) is recorded. An error of the machine is recorded too and,
by ``meta.orchestrator_default_fallback``, names the fallback state in the result's metadata
(``hint``), or also puts the entity there (``persist``).
"""

from pystator.engine.copying import detach
from pystator.engine.result import TransitionResult
from pystator.errors import ErrorCode, EvaluationError, FSMError
from pystator.orchestrator.answers import REFUSALS, not_met, refusal
from pystator.orchestrator.cases import Case, Todo
from pystator.orchestrator.checks import archived, no_entity, validate
from pystator.orchestrator.paper import Paper
from pystator.orchestrator.rows import failed_row, row
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, Context, Entity, EntryKind

__all__ = ["MOST_TIMERS", "Draft", "Overdue"]

MOST_TIMERS = 1_000
"""Timers that one commit fires; what is still due then waits for the next one."""


class Overdue(Exception):  # noqa: N818 # tells the program to write what there is
    """The timers that were due need a commit of their own before the event."""


class Draft(Paper):
    """One entity and what is decided on it.

    Attributes:
        answers: The decided cases, with their results and what to do after the commit.
        fired: Results of timers.
        todos: Actions of timers that no case has taken along yet.
        sweeping: No event is coming: void timers are worth a commit.
        verdicts: Of async guards, for the step under way.
        waiting: The case that waits for a draft of its own, because this one has fired enough
            timers.
    """

    __slots__ = (
        "_begun",
        "_firing",
        "answers",
        "fired",
        "sweeping",
        "todos",
        "verdicts",
        "waiting",
    )

    def __init__(
        self,
        settings: Settings,
        entity_id: str,
        entity: Entity | None,
        now: int,
        began: int,
        *,
        by_hand: bool = False,
    ) -> None:
        super().__init__(settings, entity_id, entity, now, began, by_hand=by_hand)
        self.answers: list[tuple[Case, TransitionResult, list[Todo]]] = []
        self.fired: list[TransitionResult] = []
        self.todos: list[Todo] = []
        self.sweeping = False
        self.verdicts: dict[tuple[int, str], bool] | None = None
        self.waiting: Case | None = None
        self._begun: TransitionResult | None = None
        self._firing: tuple[str, int] | None = None

    # Events -------------------------------------------------------------------------------------

    def take(self, case: Case) -> None:
        """Decide one event, after the timers that are due before it.

        Raises:
            NeedGuard: An async guard's verdict is missing: put it into ``verdicts`` and take the
                case again.
            Overdue: Write this draft, and take the case in the next one.
            StaleVersionError: The case expects another version.
            UndefinedStateError: The stored state is none of this machine.
        """
        settings = self.settings
        now = self._time(case)
        if self.timers and settings.timed and self.archived_at is None:
            self.fire(now)
        if case.expected is not None and case.expected != self.version:
            # What has fired is kept, for whoever looks again is to find what the case was told.
            if self.fired and not settings.holds:
                raise Overdue
            raise not_met(self.entity_id, case.expected, self.version)
        if self.archived_at is not None:
            self.turn_away(case)
            return
        state, context = self.state, self.given()
        if state is None:
            begun = self._begin(case, now)
            if not begun.success:
                self._refuse(case, self._unbegun(case, begun, now), now)
                return
            state, context = begun.target_state or "", begun.context
        result: TransitionResult | None = None
        if settings.validator is not None:
            result = validate(settings.validator, settings, case, state, context, now)
        if result is None:
            result = self._step(case, state, context, now)
            self.verdicts = None
        self.judge(case, result, now)

    def _step(self, case: Case, state: str, context: Context, now: int) -> TransitionResult:
        machine = self.settings.machine
        if case.is_data:
            return machine.merge(state, case.payload or {}, context, now, self.verdicts)
        return machine.step(state, case.trigger, case.payload, context, now, self.verdicts)

    def judge(self, case: Case, result: TransitionResult, now: int) -> None:
        """Record what a step said about a case."""
        facts = result.facts
        if not facts.success:
            self._refuse(case, result, now)
        elif facts.reason == "ignored":
            self._ignore(case, result, now)
        else:
            trigger = facts.trigger or case.trigger or None
            self._change(EntryKind.EVENT, result, trigger, now, case)
            self._answer(case, result)
        self._begun = None

    def start(self, case: Case) -> None:
        """Decide the start of a missing entity; the case's payload is its context.

        Raises:
            NeedGuard: As `take`.
        """
        now = self._time(case)
        result = self.settings.machine.begin(dict(case.payload or {}), now, self.verdicts)
        self.verdicts = None
        if result.success:
            self._change(EntryKind.CREATED, result, None, now, case)
            self._answer(case, result)
        else:
            self._refuse(case, result, now)

    def put(self, case: Case, placed: TransitionResult) -> TransitionResult:
        """Put the entity by hand where `StateMachine.place` said it can be."""
        now = self._time(case)
        source, target = self.state, placed.target_state
        version = self.next_version(now)
        entry = row(case, version, EntryKind.FORCED, None, now, None, source, target)
        self.entries.append(entry)
        self.settle(placed, version)
        result = TransitionResult.from_parts(
            success=True,
            source_state=source,
            target_state=target,
            trigger=None,
            context=self.context,
            now=now,
            reason="forced",
            timers=placed.timers,
        )
        result.written = version
        result.recorded = entry
        self._answer(case, result)
        return result

    def turn_away(self, case: Case) -> None:
        """Reject it because the entity is archived."""
        now = self._time(case)
        error = archived(self.settings, self.entity_id, self.archived_at or 0)
        refused = self._refusal(case, error, error.code.value, now)
        error.context.update(state=refused.source_state, trigger=refused.trigger)
        self._refuse(case, refused, now)

    def fail(self, case: Case | None, error: FSMError) -> None:
        """An async guard raised: the firing timer is used up, or else the case is rejected."""
        if self._firing is not None:
            timer, deadline = self._firing
            error.context.update({"state": self.state, "trigger": timer, **error.context})
            failed = refusal(
                error,
                error.code.value,
                trigger=timer,
                state=self.state,
                context=self.context,
                now=deadline,
            )
            self._fired(timer, deadline, failed)
        elif case is not None:
            now = self._time(case)
            failed = self._refusal(case, error, error.code.value, now)
            told = {"state": failed.source_state, "trigger": failed.trigger}
            error.context.update({**told, **error.context})
            self._refuse(case, failed, now)
        self.forget()

    def forget(self) -> None:
        """Drop the step under way: it has been answered otherwise."""
        self.verdicts = None
        self._begun = None
        self._firing = None

    @property
    def cases(self) -> list[Case]:
        """Those that its commit serves."""
        waiting = [] if self.waiting is None else [self.waiting]
        return [case for case, _, _ in self.answers] + waiting

    def has_answered(self, case: Case) -> bool:
        """The case is decided on this paper."""
        return bool(self.answers) and self.answers[-1][0] is case

    def _time(self, case: Case) -> int:
        return max(self.now if case.now is None else case.now, self.updated)

    def _begin(self, case: Case, now: int) -> TransitionResult:
        if self._begun is not None:
            return self._begun
        settings = self.settings
        if not settings.start_missing:
            error = no_entity(settings, self.entity_id)
            return self._refusal(case, error, "entity_not_found", now)
        begun = settings.machine.begin(self.context, now, self.verdicts, alone=False)
        self.verdicts = None
        self._begun = begun if begun.success else None
        return begun

    def _unbegun(self, case: Case, begun: TransitionResult, now: int) -> TransitionResult:
        """The answer to an event whose entity cannot begin: the start's error, and the event."""
        error = begun.error
        if error is None:
            return begun
        normal = self.settings.normalise(case.trigger) or None
        if error.context.get("trigger") is None:
            error.context["trigger"] = normal
        return refusal(
            error,
            begun.reason or error.code.value,
            trigger=normal,
            state=None,
            context=begun.context,
            now=now,
            metadata=begun.facts.details,
        )

    def _refusal(self, case: Case, error: FSMError, reason: str, now: int) -> TransitionResult:
        """A rejection of an event in the state that it met."""
        state, context = self.state, self.context
        if self._begun is not None:
            state, context = self._begun.target_state, self._begun.context
        return refusal(
            error,
            reason,
            trigger=self.settings.normalise(case.trigger) or None,
            state=state,
            context=context,
            now=now,
        )

    # Timers -------------------------------------------------------------------------------------

    def fire(self, now: int) -> None:
        """Fire every timer that is due at ``now``.

        Raises:
            NeedGuard: As `take`.
            Overdue: There are more than `MOST_TIMERS`.
        """
        machine = self.settings.machine
        while True:
            due = [
                (deadline, machine.timer_order(timer) or 0, timer)
                for timer, (deadline, _) in self.timers.items()
                if deadline <= now
            ]
            if not due:
                return
            deadline, _, timer = min(due)
            many = len(self.fired) >= MOST_TIMERS
            if many and not self._is_stuck(timer, deadline):
                raise Overdue
            if many:
                result = self._stuck(timer, deadline)
            else:
                self._firing = (timer, deadline)
                result = machine.fire(
                    self.state or "", timer, self.given(), deadline, self.verdicts
                )
            self.forget()
            self._fired(timer, deadline, result)

    def _is_stuck(self, timer: str, deadline: int) -> bool:
        """For a long time no firing has led on in time, and this very one has been before."""
        fired = self.fired
        latest = max(result.now or 0 for result in fired[: len(fired) // 2])
        return deadline <= latest and any(
            (result.trigger, result.now) == (timer, deadline) for result in fired
        )

    def _stuck(self, timer: str, deadline: int) -> TransitionResult:
        """Its firing leads back to the same moment without end: it is used up as by an error."""
        error = EvaluationError(
            f"timer {timer!r} is armed again for a moment that is past: it fires without end;"
            " let its transition change what the deadline comes from, or guard it",
            context={"timer": timer, "state": self.state, "deadline": deadline},
            code=ErrorCode.LIVELOCK,
        )
        return refusal(
            error,
            error.code.value,
            trigger=timer,
            state=self.state,
            context=self.context,
            now=deadline,
        )

    def _fired(self, timer: str, deadline: int, result: TransitionResult) -> None:
        del self.timers[timer]
        if result.void or result.ignored:
            self._voided = True
            if self.sweeping:
                self._lapse(timer, deadline, None)
            return
        if result.success:
            self._change(EntryKind.TIMER, result, timer, deadline, None)
        elif self._falls(result):
            result = self._fall_back(EntryKind.TIMER, result, timer, deadline, None)
        else:
            self.part(result)
            result.written = self._lapse(timer, deadline, result.error)
        self.fired.append(result)

    def _lapse(self, timer: str, deadline: int, error: FSMError | None) -> int:
        """Record a timer used up without a transition; the timers changed: that makes a version."""
        version = self.next_version(deadline)
        kind = EntryKind.TIMER
        self.entries.append(failed_row(None, version, kind, timer, deadline, error, self.state))
        return version

    # What is recorded ---------------------------------------------------------------------------

    def _change(
        self,
        kind: EntryKind,
        result: TransitionResult,
        trigger: str | None,
        now: int,
        case: Case | None,
    ) -> None:
        """Take over what a step did; its actions and its hooks wait for the commit."""
        begun = self._begun
        specs = self.change(kind, result, trigger, now, case, begun)
        if specs:
            trace = None if case is None else case.trace
            self.todos.append((result.written, specs, result, trace))
        if self.settings.hooks is not None:
            self.settings.hooks.start(self.entity_id, result)

    def _refuse(self, case: Case, result: TransitionResult, now: int) -> None:
        """Record a failed event."""
        trigger = result.trigger if result.trigger is not None else case.trigger or None
        if self._falls(result):
            result = self._fall_back(EntryKind.EVENT, result, trigger, now, case)
        else:
            if self.settings.remembers:
                self.part(result)
            version = result.written = self.version
            kind, error, state = EntryKind.REJECTED, result.error, result.source_state
            spent = self.spent()
            entry = failed_row(case, version, kind, trigger, now, error, state, None, spent)
            self.entries.append(entry)
            result.recorded = entry
        self._answer(case, result)

    def _ignore(self, case: Case, result: TransitionResult, now: int) -> None:
        """A no-op leaves a row only where its event id has to be remembered."""
        self.part(result)
        version = result.written = self.version
        state, trigger = result.source_state, result.trigger
        result.recorded = row(case, version, EntryKind.REJECTED, trigger, now, None, state, state)
        if case.event_id is not None:
            self.entries.append(result.recorded)
        self._answer(case, result)

    def _answer(self, case: Case, result: TransitionResult) -> None:
        if self.answers:  # several callers may share a commit, and no context of it
            result.context = detach(result.context)
        self.answers.append((case, result, self.todos))
        self.todos = []

    # Fallback -----------------------------------------------------------------------------------

    def _falls(self, result: TransitionResult) -> bool:
        """It failed by an error of the machine, and the entity goes to the fallback state."""
        settings = self.settings
        if settings.fallback == "off" or settings.fallback_state is None:
            return False
        if result.reason in REFUSALS:
            return False
        result.metadata.update(fallback_state=settings.fallback_state, version=self.version)
        return settings.fallback == "persist"

    def _fall_back(
        self,
        kind: EntryKind,
        failed: TransitionResult,
        trigger: str | None,
        now: int,
        case: Case | None,
    ) -> TransitionResult:
        """Put the entity into the fallback state, without any action, and record the error."""
        settings = self.settings
        placed = settings.machine.place(settings.fallback_state or "", self.context, now)
        placed.raise_for_error()
        source, target = failed.source_state, placed.target_state
        version = self.next_version(now)
        entry = failed_row(case, version, kind, trigger, now, failed.error, source, target)
        self.entries.append(entry)
        self.settle(placed, version)
        result = TransitionResult.from_parts(
            success=False,
            source_state=source,
            target_state=target,
            trigger=trigger,
            context=self.context,
            now=now,
            error=failed.error,
            reason=failed.reason,
            metadata=failed.metadata,
            timers=placed.timers,
        )
        result.written = version
        result.recorded = entry
        return result

    # The commit ---------------------------------------------------------------------------------

    def commit(self) -> Commit | None:
        """What to write; None when nothing was decided that leaves a trace."""
        if not (self.answers or self.waiting or self.sweeping):
            return None  # timers fired for an event that could not be decided: they will fire again
        return self.written()
