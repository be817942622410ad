"""One entity on paper: what was loaded, what is to be written, and the rows between the two.

Laws of a paper:

- Nothing on it is kept unless its commit is applied; a stale one is thrown away whole and made
  again.
- A row that changes the entity makes the next version; a row that changes nothing carries the
  version it saw.
- The engine finds recorded history states in the context, under a reserved key; here and in stores
  they stand beside it. They are put in before each step and taken out after it, so that neither
  results, actions and hooks nor rows of history ever show them.
"""

from pystator.engine.actions import ActionSpec
from pystator.engine.adopt import carried
from pystator.engine.result import TransitionResult
from pystator.orchestrator.cases import Case
from pystator.orchestrator.checks import check_entity
from pystator.orchestrator.rows import (
    Recorded,
    patch_of,
    row,
    with_history,
    without_history,
)
from pystator.orchestrator.settings import Settings
from pystator.records import HISTORY, Commit, Context, Entity, Entry, EntryKind, Timers

__all__ = ["Paper"]


class Paper:
    """One entity and what became of it so far.

    Attributes:
        version, state, context, history, timers: As they are after what was decided so far;
            ``state`` is None for no entity, ``history`` None where nothing is recorded.
        updated: The latest time of a step.
        archived_at: When the entity was archived.
        entries: History rows to write.
        now: The wall clock.
        began: The tick at which the deciding began.
        commit_id: Of what is to be written; None when that is nothing.
    """

    __slots__ = (
        "_carried",
        "_expected",
        "_foreign",
        "_loaded",
        "_voided",
        "archived_at",
        "began",
        "commit_id",
        "context",
        "entity_id",
        "entries",
        "history",
        "now",
        "settings",
        "state",
        "timers",
        "updated",
        "version",
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
        self.commit_id: str | None = None
        self.state: str | None = None
        self.context: Context = {}
        self.history: Recorded | None = None
        self.timers: Timers = {}
        self.version = 0
        self.updated = 0
        self.archived_at: int | None = None
        self._foreign: Entity | None = None
        self._voided = False
        self._carried = False
        if entity is not None:
            self._read(entity, by_hand=by_hand)
        self._expected = self.version
        self._loaded = (self.state, self.context, self.history)

    def _read(self, entity: Entity, *, by_hand: bool) -> None:
        placed: TransitionResult | None = None
        fingerprint = entity.fingerprint
        if fingerprint != self.settings.fingerprint or entity.machine_name != self.settings.name:
            placed = check_entity(self.settings, entity, any_state=by_hand)
            self._foreign = entity if fingerprint else None
        self.state = entity.state
        self.context = entity.context
        self.history = entity.history
        self.timers = entity.timers
        if placed is not None and entity.timers:
            self.timers = carried(entity.timers, placed.timers.armed, entity.updated_at)
            self._carried = self.timers.keys() != entity.timers.keys()
        self.version = entity.version
        self.updated = entity.updated_at
        self.archived_at = entity.archived_at

    # Contexts -----------------------------------------------------------------------------------

    def given(self) -> Context:
        """The context as a step takes it: with what is recorded of history states."""
        history = self.history
        if history is None or not self.settings.remembers:
            return self.context
        return with_history(self.context, history)

    def part(self, result: TransitionResult) -> Recorded | None:
        """Take what is recorded of history states out of a result's context."""
        if not self.settings.remembers or HISTORY not in result.context:
            return None
        result.context, history = without_history(result.context)
        return history

    # What is recorded ---------------------------------------------------------------------------

    def next_version(self, now: int) -> int:
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

    def change(
        self,
        kind: EntryKind,
        result: TransitionResult,
        trigger: str | None,
        now: int,
        case: Case | None,
        begun: TransitionResult | None = None,
    ) -> tuple[ActionSpec, ...]:
        """Take over what a step did.

        Args:
            kind: Of its row.
            result: What the step said.
            trigger: Of its row.
            now: The step's time.
            case: What asked for it; None for a timer.
            begun: The start of the entity, in the same version.

        Returns:
            What is planned for after the commit.
        """
        settings = self.settings
        facts = result.facts
        version = self.next_version(now)
        history = self.part(result)
        if history is not None and history != self.history:
            self.history = history
        before = {} if self.state is None else self.context
        patch = patch_of(before, result.context)
        if patch is None:
            result.context = before
        specs = facts.actions if begun is None else begun.facts.actions + facts.actions
        planned = tuple([spec.to_dict() for spec in specs]) if specs else ()
        source, target = facts.source_state, facts.target_state
        entry = row(case, version, kind, trigger, now, patch, source, target, planned, self.spent())
        self.entries.append(entry)
        result.recorded = entry
        self.state = target
        self.context = result.context
        if settings.timed:
            if begun is not None:
                self._arm(begun, version)
            self._arm(result, version)
        result.written = version
        return specs

    def spent(self) -> int:
        """Microseconds since the deciding began."""
        return (self.settings.tick() - self.began) // 1_000

    def _arm(self, result: TransitionResult, version: int) -> None:
        changes = result.timers
        for timer in changes.cancelled:
            self.timers.pop(timer, None)
        for timer, deadline in changes.armed.items():
            self.timers[timer] = (deadline, version)

    def settle(self, placed: TransitionResult, version: int) -> None:
        """Be where `StateMachine.place` said, without having entered it."""
        self.state = placed.target_state
        self.timers = {}
        self._voided = True  # timers of the left state have to be wiped
        self._arm(placed, version)

    # The commit ---------------------------------------------------------------------------------

    def written(self) -> Commit | None:
        """What to write; None when nothing leaves a trace."""
        settings = self.settings
        expected, version = self._expected, self.version
        if not self.entries or (version == expected and not settings.rows):
            return None
        commit_id = self.commit_id = settings.identify(self.now)
        if version == expected:
            return Commit(
                self.entity_id, settings.name, version, version, None, None, None, None,
                settings.version, settings.fingerprint, self.now, tuple(self.entries),
                commit_id,
            )  # fmt: skip
        # What stays is not written: the index of the state is a third of what a commit writes.
        state, context, history = self._loaded
        return Commit(
            self.entity_id, settings.name, expected, version,
            None if expected and self.state == state else self.state,
            None if expected and self.context is context else self.context,
            None if self.history is history else self.history,
            self.timers if settings.timed or self._voided else None,
            settings.version, settings.fingerprint, self.updated, tuple(self.entries),
            commit_id,
        )  # fmt: skip
