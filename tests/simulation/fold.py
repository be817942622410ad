"""The life of one entity, told again by the pure machine from its rows, and compared at every row.

Replaying patches gives state and context. This decides each row's event once more and keeps the timers as well, so that
what rows do not tell is checked too: what compound states remember, which timers are armed, that those which were due
fired before the event, each once, and that what was rejected had to be.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pystator import StateMachine
from pystator.engine.result import TransitionResult
from pystator.orchestrator.replay import replay
from pystator.records import Context, Entity, EntryKind, HistoryEntry, Timers

__all__ = ["Fold"]

_HISTORY = "_history"


class Fold:
    """An entity as its rows tell it.

    Args:
        machines: By fingerprint: each row is decided by the one that wrote it.

    Attributes:
        rung: Contexts after firings of timers that have actions.
        contexts: After each version, as users see it; a version is its place.
        archived: Whether it was put away, after each version.
    """

    def __init__(self, machines: Mapping[str, StateMachine], rows: Sequence[HistoryEntry]) -> None:
        self._machines = machines
        self._machine = next(iter(machines.values()))
        self.rows: list[HistoryEntry] = []
        self.state: str | None = None
        self.context: Context = {}
        self.timers: Timers = {}
        self.version = 0
        self.archived = [False]
        self.contexts: list[Context] = [{}]
        self.rung: list[Context] = []
        self._states: list[tuple[str | None, Context]] = [(None, {})]
        self._planned: dict[int, tuple[str, ...]] = {}
        self._acted: set[int] = set()
        self.go_on(rows)

    def go_on(self, rows: Sequence[HistoryEntry]) -> None:
        """Tell what came since."""
        self.rows += rows
        for row in rows:
            self._machine = self._machines[row.fingerprint]
            if row.kind is EntryKind.ACTION:
                self._act(row)
            elif row.kind is EntryKind.REJECTED:
                self._reject(row)
            else:
                self._change(row)

    def check(self, entity: Entity) -> None:
        """The entity is what its rows say."""
        assert entity.version == self.version, (
            f"it has version {entity.version}, and history makes {self.version}"
        )
        assert (entity.state, entity.engine_context) == (self.state, self.context), (
            f"it is {entity.state} {entity.engine_context},"
            f" and history leads to {self.state} {self.context}"
        )
        assert replay(self.rows) == (entity.state, entity.context), "history does not replay"
        assert (entity.archived_at is not None) is self.archived[-1], (
            f"it was archived at {entity.archived_at}, and history says {self.archived[-1]}"
        )
        assert entity.timers == self.timers, (
            f"its timers are {entity.timers}, and history arms {self.timers}"
        )

    # Rows -----------------------------------------------------------------------------------------

    def _act(self, row: HistoryEntry) -> None:
        """Outcomes belong to a plan, and there is one row of them."""
        version = row.ref or 0
        assert version not in self._acted, f"two rows of actions for version {version}"
        self._acted.add(version)
        names = tuple(each["name"] for each in row.actions)
        assert self._planned.get(version) == names, f"version {version} did not plan {names}"

    def _reject(self, row: HistoryEntry) -> None:
        """It was no event for what its sender saw."""
        assert row.version <= self.version, f"a rejection saw version {row.version}"
        told = row.error_code == "entity_archived"
        assert told is self.archived[row.version], (
            f"it was rejected by {row.error_code}, and archived: {self.archived[row.version]}"
        )
        if row.trigger is None or told:
            return
        state, context = self._states[row.version]
        if row.error_code == "entity_not_found":
            assert state is None, f"it was there, and {row.trigger} was told otherwise"
            return
        if state is None:
            begun = self._machine.begin({}, row.now, alone=False)
            state, context = begun.target_state, begun.context
        result = self._machine.step(
            state or "", row.trigger, dict(row.payload or {}), context, row.now
        )
        if row.success:
            assert result.ignored, f"{row.trigger} was ignored in {state}, and it counts"
        else:
            assert not result.success, f"{row.trigger} was rejected in {state}, and it is allowed"

    def _change(self, row: HistoryEntry) -> None:
        assert row.version == self.version + 1, (
            f"version {self.version} is followed by {row.version} ({row.kind} {row.trigger})"
        )
        self.version = row.version
        away = self.archived[-1]
        assert away is (row.kind is EntryKind.UNARCHIVED), (
            f"version {row.version} ({row.kind}) is made of what was archived: {away}"
        )
        self.archived.append(row.kind is EntryKind.ARCHIVED)
        if row.kind in {EntryKind.ARCHIVED, EntryKind.UNARCHIVED}:
            assert row.source_state == row.target_state == self.state
        elif row.kind is EntryKind.FORCED:
            self._force(row)
        elif row.kind is EntryKind.TIMER:
            self._fire(row)
        elif row.kind is not EntryKind.MIGRATED:
            if row.kind is EntryKind.EVENT:
                self._look_for_overdue(row.now, row.trigger)
            self._decide(row)
        visible = self.context
        if _HISTORY in visible:
            visible = {key: value for key, value in visible.items() if key != _HISTORY}
        self.contexts.append(visible)
        self._states.append((self.state, self.context))
        if row.actions and row.kind is EntryKind.TIMER:
            self.rung.append(visible)
        if row.actions:
            self._planned[row.version] = tuple(each["name"] for each in row.actions)

    def _force(self, row: HistoryEntry) -> None:
        placed = self._machine.place(row.target_state or "", self.context, row.now)
        self.state = row.target_state
        self.timers = {}
        self._arm(placed, row.version)

    def _decide(self, row: HistoryEntry) -> None:
        machine, data = self._machine, dict(row.payload or {})
        begun: TransitionResult | None = None
        state, context = self.state, self.context
        if row.kind is EntryKind.CREATED:
            result = machine.begin(data, row.now)
        else:
            if state is None:
                begun = machine.begin({}, row.now, alone=False)
                state, context = begun.target_state, begun.context
            if row.trigger is None:
                result = machine.merge(state or "", data, context, row.now)
            else:
                result = machine.step(state or "", row.trigger, data, context, row.now)
        if not row.success:
            self._fall_back(row, result)
            return
        self._agree(row, result)
        if begun is not None:
            self._arm(begun, row.version)
        self._arm(result, row.version)

    def _fall_back(self, row: HistoryEntry, result: TransitionResult) -> None:
        """What fails may lead to the fallback state, as if somebody had put the entity there."""
        assert not result.success, f"{row.trigger} fell back, and it is allowed"
        assert row.target_state is not None, f"{row.trigger} failed, and made a version"
        self._force(row)

    def _agree(self, row: HistoryEntry, result: TransitionResult) -> None:
        told = (row.success, row.source_state, row.target_state)
        decided = (result.success, result.source_state, result.target_state)
        assert told == decided, f"version {row.version} tells {told}, and the machine {decided}"
        self.state, self.context = result.target_state, result.context

    # Timers ---------------------------------------------------------------------------------------

    def _arm(self, result: TransitionResult, version: int) -> None:
        changes = result.timers
        for timer in changes.cancelled:
            self.timers.pop(timer, None)
        for timer, deadline in changes.armed.items():
            self.timers[timer] = (deadline, version)

    def _due(self, now: int) -> str | None:
        """The timer that has to fire next."""
        due = [
            (deadline, self._machine.timer_order(timer) or 0, timer)
            for timer, (deadline, _) in self.timers.items()
            if deadline <= now
        ]
        return min(due)[2] if due else None

    def _fired(self, timer: str) -> TransitionResult:
        deadline = self.timers[timer][0]
        return self._machine.fire(self.state or "", timer, self.context, deadline)

    def _look_for_overdue(self, now: int, what: str | None) -> None:
        """Before an event nothing is due but what no longer counts."""
        while self.timers and (timer := self._due(now)) is not None:
            result = self._fired(timer)
            assert result.void or result.ignored, (
                f"{what} was applied at {now}, and {timer} was due at {self.timers[timer][0]}"
            )
            del self.timers[timer]

    def _fire(self, row: HistoryEntry) -> None:
        while True:
            timer = self._due(row.now)
            assert timer is not None, f"{row.trigger} fired at {row.now}, and was not armed"
            result = self._fired(timer)
            lapses = result.void or result.ignored
            if timer == row.trigger or not lapses:
                break
            del self.timers[timer]
        armed = self.timers.pop(timer)
        assert (row.trigger, row.now) == (timer, armed[0]), (
            f"{row.trigger} fired at {row.now}, and {timer} was due at {armed[0]}"
        )
        if not lapses and not result.success and row.target_state is not None:
            self._fall_back(row, result)
            return
        if lapses or not result.success:
            assert not row.success, f"{timer} did not count, and yet it led on"
            return
        self._agree(row, result)
        self._arm(result, row.version)


def rows_of(store: Any, entity_id: str, machine_name: str) -> list[HistoryEntry]:
    """All rows of an entity."""
    found: list[HistoryEntry] = store.history(
        entity_id, machine_name=machine_name, limit=100_000
    ).items
    return found
