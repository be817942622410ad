"""One entity on paper: loaded, its events decided in order, written as one commit.

Laws of a draft:

- Nothing here is kept unless its commit is applied; a stale one is thrown away whole and made
  again.
- Before an event at time t, every timer with a deadline at or before t fires, in the order
  (deadline, document), each with its deadline as its time and a row of its own.
- A timer is consumed by its firing, also when its guard says no; one that no longer counts is void.
- A row that changes the entity makes the next version; a row that changes nothing carries the
  version it saw.

What becomes of an event that fails: an ordinary rejection
(`pystator.orchestrator.answers.REFUSALS`) is recorded. An error of the machine is recorded too and,
by ``meta.orchestrator_default_fallback``, names the fallback state in the result's metadata
(``hint``), or also puts the entity there (``persist``).
"""

from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator.adopt import carried
from pystator.orchestrator.answers import REFUSALS, refusal
from pystator.orchestrator.cases import Case, Todo
from pystator.orchestrator.checks import check_entity, no_entity, validate
from pystator.orchestrator.rows import HISTORY, failed_row, patch_of, row
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, Context, Entity, Entry, EntryKind, Timers

__all__ = ["MOST_TIMERS", "Draft", "Overdue"]

MOST_TIMERS = 1_000
"""Timers that one commit fires; what is still due then waits for the next one."""


class Overdue(Exception):  # noqa: N818 # tells the program to write what there is
    """So many timers were due that they need a commit of their own before the event."""


class Draft:
    """One entity and what is decided on it.

    Attributes:
        version, state, context, timers: As they are after what was decided so far; ``state`` is
            None for no entity.
        updated: The latest time of a step.
        entries: History rows to write.
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
        "_carried",
        "_expected",
        "_firing",
        "_foreign",
        "_loaded",
        "_loaded_state",
        "_voided",
        "answers",
        "began",
        "context",
        "entity_id",
        "entries",
        "fired",
        "now",
        "settings",
        "state",
        "sweeping",
        "timers",
        "todos",
        "updated",
        "verdicts",
        "version",
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
        self.settings = settings
        self.entity_id = entity_id
        self.now = now
        self.began = began
        self.entries: list[Entry] = []
        self.answers: list[tuple[Case, TransitionResult, list[Todo]]] = []
        self.fired: list[TransitionResult] = []
        self.todos: list[Todo] = []
        self.sweeping = False
        self.verdicts: dict[tuple[int, str], bool] | None = None
        self.waiting: Case | None = None
        self.state: str | None = None
        self.context: Context = {}
        self.timers: Timers = {}
        self.version = 0
        self.updated = 0
        self._foreign: Entity | None = None
        self._begun: TransitionResult | None = None
        self._firing: tuple[str, int] | None = None
        self._voided = False
        self._carried = False
        if entity is not None:
            self._read(entity, by_hand=by_hand)
        self._expected = self.version
        self._loaded = self.context
        self._loaded_state = self.state

    def _read(self, entity: Entity, *, by_hand: bool) -> None:
        placed: TransitionResult | None = None
        fingerprint = entity.fingerprint
        if fingerprint != self.settings.fingerprint or entity.machine_name != self.settings.name:
            placed = check_entity(self.settings, entity, any_state=by_hand)
            self._foreign = entity if fingerprint else None
        self.state = entity.state
        self.context = entity.context
        if entity.history is not None:
            self.context = {**entity.context, HISTORY: entity.history}
        self.timers = entity.timers
        if placed is not None and entity.timers:
            self.timers = carried(entity.timers, placed.timers.armed, entity.updated_at)
            self._carried = self.timers.keys() != entity.timers.keys()
        self.version = entity.version
        self.updated = entity.updated_at

    # Events -------------------------------------------------------------------------------------

    def take(self, case: Case) -> None:
        """Decide one event, after the timers that are due before it.

        Raises:
            NeedGuard: An async guard's verdict is missing: put it into ``verdicts`` and take the
                case again.
            Overdue: Write this draft, and take the case in the next one.
            UndefinedStateError: The stored state is none of this machine.
        """
        settings = self.settings
        now = self._time(case)
        if self.timers and settings.timed:
            self.fire(now)
        state, context = self.state, self.context
        if state is None:
            begun = self._begin(case, now)
            if not begun.success:
                self._refuse(case, begun, now)
                return
            state, context = begun.target_state or "", begun.context
        result: TransitionResult | None = None
        if settings.validator is not None:
            result = validate(settings.validator, settings, case, state, context, now)
        if result is None:
            result = settings.machine.step(
                state, case.trigger, case.payload, context, now, self.verdicts
            )
            self.verdicts = None
        self.judge(case, result, now)

    def judge(self, case: Case, result: TransitionResult, now: int) -> None:
        """Record what a step said about a case."""
        facts = result.facts
        if not facts.success:
            self._refuse(case, result, now)
        elif facts.reason == "ignored":
            self._ignore(case, result, now)
        else:
            self._change(EntryKind.EVENT, result, facts.trigger or case.trigger, now, case)
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
        version = self._next(now)
        self.entries.append(row(case, version, EntryKind.FORCED, None, now, None, source, target))
        self._settle(placed, version)
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
        self._answer(case, result)
        return result

    def fail(self, case: Case | None, error: FSMError) -> None:
        """An async guard raised: the firing timer is used up, or else the case is rejected."""
        if self._firing is not None:
            timer, deadline = self._firing
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
            self._refuse(case, self._refusal(case, error, error.code.value, now), now)
        self.forget()

    def forget(self) -> None:
        """Drop the step under way: it has been answered otherwise."""
        self.verdicts = None
        self._begun = None
        self._firing = None

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
        begun = settings.machine.begin(self.context, now, self.verdicts)
        self.verdicts = None
        self._begun = begun if begun.success else None
        return begun

    def _refusal(self, case: Case, error: FSMError, reason: str, now: int) -> TransitionResult:
        return refusal(
            error,
            reason,
            trigger=self.settings.normalise(case.trigger),
            state=self.state,
            context=self.context,
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
            if len(self.fired) >= MOST_TIMERS:
                raise Overdue
            deadline, _, timer = min(due)
            self._firing = (timer, deadline)
            result = machine.fire(self.state or "", timer, self.context, deadline, self.verdicts)
            self.forget()
            self._fired(timer, deadline, result)

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
            result.written = self._lapse(timer, deadline, result.error)
        self.fired.append(result)

    def _lapse(self, timer: str, deadline: int, error: FSMError | None) -> int:
        """Record a timer used up without a transition; the timers changed: that makes a version."""
        version = self._next(deadline)
        kind = EntryKind.TIMER
        self.entries.append(failed_row(None, version, kind, timer, deadline, error, self.state))
        return version

    # What is recorded ---------------------------------------------------------------------------

    def _next(self, now: int) -> int:
        """The next version; before the first one by a new machine version, that is recorded."""
        self.updated = max(self.updated, now)
        self._migrate(now)
        self.version += 1
        return self.version

    def _migrate(self, now: int) -> None:
        if self._foreign is None:
            return
        foreign, self._foreign = self._foreign, None
        self.version += 1
        note = {"machine_version": foreign.machine_version, "fingerprint": foreign.fingerprint}
        state = foreign.state
        self.entries.append(
            Entry(self.version, EntryKind.MIGRATED, None, note, now, None, state, state)
        )

    def adopt(self) -> None:
        """Record that timers were carried over, where nothing else changed: they have new times."""
        if self._carried and self._foreign is not None:
            self._migrate(self.updated)

    def _change(
        self,
        kind: EntryKind,
        result: TransitionResult,
        trigger: str | None,
        now: int,
        case: Case | None,
    ) -> None:
        """Take over what a step did."""
        settings = self.settings
        facts = result.facts
        begun = self._begun
        version = self._next(now)
        specs = facts.actions if begun is None else begun.facts.actions + facts.actions
        before = {} if self.state is None else self.context
        patch = patch_of(before, result.context)
        planned = tuple([spec.to_dict() for spec in specs]) if specs else ()
        source, target = facts.source_state, facts.target_state
        self.entries.append(
            row(case, version, kind, trigger, now, patch, source, target, planned, self._spent())
        )
        self.state = target
        self.context = result.context
        if settings.timed:
            if begun is not None:
                self._arm(begun, version)
            self._arm(result, version)
        result.written = version
        if specs:
            self.todos.append((version, specs, result))
        if settings.hooks is not None:
            settings.hooks.start(self.entity_id, result)

    def _refuse(self, case: Case, result: TransitionResult, now: int) -> None:
        """Record a failed event."""
        trigger = result.trigger if result.trigger is not None else case.trigger or None
        if self._falls(result):
            result = self._fall_back(EntryKind.EVENT, result, trigger, now, case)
        else:
            version = result.written = self.version
            kind, error, state = EntryKind.REJECTED, result.error, result.source_state
            spent = self._spent()
            self.entries.append(
                failed_row(case, version, kind, trigger, now, error, state, None, spent)
            )
        self._answer(case, result)

    def _ignore(self, case: Case, result: TransitionResult, now: int) -> None:
        """A no-op leaves a row only where its event id has to be remembered."""
        version = result.written = self.version
        if case.event_id is not None:
            state, trigger = result.source_state, result.trigger
            self.entries.append(
                row(case, version, EntryKind.REJECTED, trigger, now, None, state, state)
            )
        self._answer(case, result)

    def _answer(self, case: Case, result: TransitionResult) -> None:
        self.answers.append((case, result, self.todos))
        self.todos = []

    def _spent(self) -> int:
        return (self.settings.tick() - self.began) // 1_000

    def _arm(self, result: TransitionResult, version: int) -> None:
        changes = result.timers
        for timer in changes.cancelled:
            self.timers.pop(timer, None)
        for timer, deadline in changes.armed.items():
            self.timers[timer] = (deadline, version)

    def _settle(self, placed: TransitionResult, version: int) -> None:
        self.state = placed.target_state
        self.timers = {}
        self._voided = True  # timers of the left state have to be wiped
        self._arm(placed, version)

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
        version = self._next(now)
        self.entries.append(
            failed_row(case, version, kind, trigger, now, failed.error, source, target)
        )
        self._settle(placed, version)
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
        return result

    # The commit ---------------------------------------------------------------------------------

    def commit(self) -> Commit | None:
        """What to write; None when nothing was decided that leaves a trace."""
        settings = self.settings
        expected, version = self._expected, self.version
        if not self.entries or (version == expected and not settings.rows):
            return None
        if not (self.answers or self.waiting or self.sweeping):
            return None  # timers fired for an event that could not be decided: they will fire again
        if version == expected:
            return Commit(
                self.entity_id, settings.name, version, version, None, None, None, None,
                settings.version, settings.fingerprint, self.now, tuple(self.entries),
                settings.identify(self.now),
            )  # fmt: skip
        context: Context | None = self.context
        history: dict[str, list[str]] | None = None
        if context is self._loaded and expected:
            context = None
        elif HISTORY in self.context:
            context = dict(self.context)
            history = context.pop(HISTORY)
        timers = self.timers if settings.timed or self._voided else None
        # A state that stays is not written: its index is a third of what a commit writes.
        state = None if expected and self.state == self._loaded_state else self.state
        return Commit(
            self.entity_id, settings.name, expected, version, state, context, history, timers,
            settings.version, settings.fingerprint, self.updated, tuple(self.entries),
            settings.identify(self.now),
        )  # fmt: skip
