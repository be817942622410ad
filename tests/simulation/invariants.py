"""What has to be true when all is quiet, whatever went wrong before.

- Each entity is what its rows say, see `simulation.fold`: versions are contiguous, timers neither lost nor doubled.
- An event is applied at most once; exactly once if its caller was told so, and not at all if it was told otherwise.
- What a caller was told is what stands in the row: version, states, actions, context.
- Events of one caller for one entity are applied in the order in which they were sent.
- An event that was sent after another was answered comes after it, whoever sent it.
- An event that expects a version met it, or was not taken.
- Actions run at most once, and only of what is written; once where nothing hindered them.
- Whatever is still armed fires when its time comes.
"""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pystator import Orchestrator
from pystator.engine.result import TransitionResult
from pystator.errors import IdempotencyConflictError
from pystator.records import Context, EntryKind, HistoryEntry
from simulation.fold import Fold, rows_of
from simulation.journal import SHARED, Note, said
from simulation.machines import by_fingerprint, machine
from simulation.server import tag_of

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["check"]

_ASKED_FOR = frozenset(
    {
        EntryKind.EVENT,
        EntryKind.CREATED,
        EntryKind.FORCED,
        EntryKind.ARCHIVED,
        EntryKind.UNARCHIVED,
    }
)
"""Rows of changes that somebody has asked for."""

_FAR = 10**12
"""Microseconds after which every timer of these worlds is due."""


def check(world: "World") -> None:
    """Everything above.

    Raises:
        AssertionError: Something is not true.
    """
    _Check(world).everything()


class _Check:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.store = world.server.store
        self.machine = machine(world.plan.machine)
        self.machines = by_fingerprint(world.plan.machine)
        plan = world.plan
        self.modes = {caller.name: plan.modes[caller.process] for caller in plan.callers}
        self.folds: dict[str, Fold] = {}
        self.applied: dict[str, list[tuple[str, HistoryEntry]]] = defaultdict(list)
        self.rejected: dict[str, list[HistoryEntry]] = defaultdict(list)

    def everything(self) -> None:
        self.entities()
        for note in self.world.journal.notes.values():
            try:
                self.note(note)
            except AssertionError as error:
                raise AssertionError(f"{note.item}: {error}") from error
        strange = set(self.applied) - set(self.world.journal.notes)
        assert not strange, f"nobody sent {sorted(strange)}"
        self.order()
        self.time()
        self.actions()
        self.hooks()
        self.fired()
        self.timers()

    # Entities -------------------------------------------------------------------------------------

    def entities(self) -> None:
        store, name = self.store, self.machine.name
        found = store.entities(limit=1_000).items + store.entities(archived=True, limit=1_000).items
        stored = {each.entity_id: each for each in found}
        sent = {note.item.entity for note in self.world.journal.notes.values()}
        for entity_id in sorted(sent | set(stored)):
            try:
                rows = rows_of(store, entity_id, name)
                fold = self.folds[entity_id] = Fold(self.machines, rows)
                if entity_id in stored:
                    fold.check(stored[entity_id])
                else:
                    assert fold.version == 0, "it has rows of changes, and is not there"
            except AssertionError as error:
                raise AssertionError(f"entity {entity_id}: {error}") from error
            for row in rows:
                self.keep(row)

    def keep(self, row: HistoryEntry) -> None:
        """Remember whose event the row is of."""
        tag = tag_of(row)
        if row.kind is EntryKind.REJECTED:
            self.rejected[tag].append(row)
        elif row.kind in _ASKED_FOR:
            self.applied[tag].append((row.entity_id, row))

    # Events ---------------------------------------------------------------------------------------

    def note(self, note: Note) -> None:
        tag = note.item.tag
        applied, rejected = self.applied[tag], self.rejected[tag]
        assert len(applied) <= 1, f"it is applied {len(applied)} times"
        assert note.done, "its caller has no answer"
        for _, row in applied:
            assert row.event_id == note.item.event_id, f"its row has event id {row.event_id}"
        if note.item.event_id is not None:
            assert len(applied) + len(rejected) <= 1, "its id stands in several rows"
        if note.item.expects is not None and note.item.wrong != "taken":
            self.expected(note.item.expects, tag)
        if note.item.wrong == "bad":
            assert not applied, "no store can keep it, and it is applied"
        if note.item.wrong == "taken":
            self.taken(note)
        elif note.answers:
            for answer, context in note.answers:
                self.answer(note, answer, context)
        elif note.error is not None and not note.maybe:
            assert not applied, f"it is applied, and its caller was told: {said(note.error)}"

    def expected(self, version: int, tag: str) -> None:
        """It met this version, or another version of the machine that met it first."""
        for row in self.rejected[tag]:
            assert row.version == version, f"it was rejected at {row.version}"
        for entity_id, row in self.applied[tag]:
            before = row.version - 1
            for other in self.folds[entity_id].rows:
                if other.version == before and other.kind is EntryKind.MIGRATED:
                    before -= other.commit_id == row.commit_id
            assert before == version, f"it was applied at {before}"

    def taken(self, note: Note) -> None:
        """Its id belongs to the event before it, if that has left a row."""
        tag = note.item.tag
        owner = self.world.journal.notes.get(str(note.item.event_id))
        if owner is None or not owner.answers or owner.item.wrong:
            return
        assert not self.applied[tag], "its id belongs to another event, and it is applied"
        if note.behind():
            return
        assert isinstance(note.error, IdempotencyConflictError), f"it was told {said(note.error)}"

    def answer(self, note: Note, answer: TransitionResult, context: Context | None) -> None:
        tag = note.item.tag
        if answer.reason == "ignored":
            assert not self.applied[tag], "it was ignored, and it is applied"
            assert note.item.event_id is None or self.rejected[tag], "its id is not remembered"
            return
        if not answer.success:
            fallen = [row for _, row in self.applied[tag] if not row.success]
            assert len(fallen) == len(self.applied[tag]), "it was refused, and it is applied"
            rows = self.rejected[tag] + fallen
            assert rows, "it was refused, and there is no row of it"
            code = None if answer.error is None else answer.error.code.value
            assert code == rows[0].error_code, f"it was told {code}: {rows[0].error_code}"
            return
        assert self.applied[tag], f"it was answered ({said(answer)}), and there is no row of it"
        entity_id, row = self.applied[tag][0]
        told = (
            note.item.entity, answer.written, answer.source_state, answer.target_state,
            answer.trigger, tuple(spec.name for spec in answer.facts.actions),
        )  # fmt: skip
        stands = (
            entity_id, row.version, row.source_state, row.target_state,
            row.trigger, tuple(each["name"] for each in row.actions),
        )  # fmt: skip
        assert told == stands, f"it was told {told}, and its row is {stands}"
        if not answer.facts.replayed:
            stood = self.folds[entity_id].contexts[row.version]
            assert context == stood, f"it was told {context}, and the context was {stood}"

    def order(self) -> None:
        """By caller and entity. What was sent again, beside others, may have come after them."""
        lanes: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
        for note in self.world.journal.notes.values():
            if not note.answers or not self.applied[note.item.tag] or note.home or note.refused:
                continue  # what was refused to one caller may be taken from another one later
            if note.alone or (note.tries == 1 and not note.maybe and self.ordered(note)):
                version = self.applied[note.item.tag][0][1].version
                lane = lanes[note.caller, note.item.entity]
                lane.append((version, note.number, note.item.tag))
        for (caller, entity_id), lane in lanes.items():
            lane.sort()
            numbers = [number for _, number, _ in lane]
            assert numbers == sorted(numbers), (
                f"{caller} sent otherwise to {entity_id} than {[tag for _, _, tag in lane]}"
            )

    def time(self) -> None:
        """By entity: nothing was answered before something older was even sent."""
        lanes: dict[str, list[tuple[int, Note]]] = defaultdict(list)
        for tag, applied in self.applied.items():
            for entity_id, row in applied:
                lanes[entity_id].append((row.version, self.world.journal.notes[tag]))
        for entity_id, lane in lanes.items():
            lane.sort(key=lambda each: -each[0])
            first: Note | None = None
            for _, note in lane:
                assert first is None or note.since <= (first.until or 0), (
                    f"{first.item} was answered before {note.item} was sent,"
                    f" and comes after it in {entity_id}"
                )
                if note.until is not None and (first is None or note.until < (first.until or 0)):
                    first = note

    def ordered(self, note: Note) -> bool:
        """Calls at the same time have an order where they share commits, or where they block."""
        return note.kind not in {"pipeline", "stream"} or self.modes[note.caller] != "plain"

    # Actions and timers ---------------------------------------------------------------------------

    def actions(self) -> None:
        ran: Counter[str] = self.world.ran
        for tag, times in ran.items():
            assert times == 1, f"actions of {tag} ran {times} times"
            assert self.applied[tag], f"actions of {tag} ran, and it is not written"
        planned = {
            (context["tag"], context["n"]) for fold in self.folds.values() for context in fold.rung
        }
        for seen, times in self.world.rang.items():
            assert times == 1, f"actions of a timer ran {times} times: {seen}"
            assert seen in planned, f"actions of a timer ran, and it is not written: {seen}"
        combined = set(self.world.plan.modes) == {"combined"}
        for tag, applied in self.applied.items():
            note = self.world.journal.notes.get(tag)
            if not applied or not applied[0][1].actions or note is None:
                continue
            certain = not note.maybe and not note.died
            cancelled = combined and note.left and not note.died and note.kind in SHARED
            if certain or (cancelled and not self.world.crashes and not self.world.unsure):
                assert ran[tag] == 1, f"{tag} is written and answered, and its actions did not run"

    def hooks(self) -> None:
        """Whatever was begun before the eyes of an observer has ended."""
        made = {note.caller for note in self.world.journal.notes.values() if note.kind == "create"}
        for process in self.world.processes:
            witness = process.witness
            if witness is None or process.cancelled:
                continue
            if not any(caller.name in made for caller in process.callers):
                assert witness.begun == witness.ended, (
                    f"{witness.begun} events began in {process.name}, and {witness.ended} ended"
                )

    def fired(self) -> None:
        """Whoever fired a timer was told what stands in its row, and nobody else was told it."""
        seen: set[tuple[str, int]] = set()
        for result in self.world.journal.fired:
            entity_id, version = result.metadata["entity_id"], result.written
            assert (entity_id, version) not in seen, f"version {version} was fired twice"
            seen.add((entity_id, version))
            row = next(
                row
                for row in self.folds[entity_id].rows
                if row.version == version and row.kind is EntryKind.TIMER
            )
            told = (result.trigger, result.source_state, result.target_state)
            stands = (row.trigger, row.source_state, row.target_state)
            assert told[:2] == stands[:2], f"a sweeper was told {told}, and the row is {stands}"

    def timers(self) -> None:
        """In calm weather everything that is armed fires in the end."""
        store, name = self.store, self.machine.name
        late = self.world.micro + _FAR
        if not store.due(late, 1, machine_name=name):
            return
        sweeper = Orchestrator(self.machine, store, clock=lambda: late)
        for _ in range(20):
            sweeper.fire_due()
            if not store.due(late, 1, machine_name=name):
                break
        store.flush()
        left = store.due(late, 10, machine_name=name)
        assert not left, f"timers of {left} never fire"
        for entity in store.entities(limit=1_000).items:
            fold = self.folds[entity.entity_id]
            known = {row.id for row in fold.rows}
            rows = rows_of(store, entity.entity_id, name)
            fold.go_on([row for row in rows if row.id not in known])
            fold.check(entity)
