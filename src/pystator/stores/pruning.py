"""Pruning of history, decided once for every store and both faces.

Laws:

- An entity's history is pruned from its oldest row on, up to the first row that is too young. A
  row of an event with an id stays until its id may be forgotten, and so does the outcome of its
  actions; other outcomes go with the rows whose actions they are.
- Where the row of a change goes, one snapshot row stands for everything up to the newest such row:
  the state and the whole context of its version. In the order of history it comes after all rows of
  this version and of those before; a replay begins with it, and what is before it is not replayed.
- The snapshot is written in the transaction that deletes the first rows: whatever comes between,
  what is there can be replayed. The other rows may then go in any order, in as many transactions.
- Rows are immutable, and what others append meanwhile comes after what is pruned: nobody waits for
  a plan, and a plan is not outdated by anybody but another prune of the same entity, which is
  noticed (`Cut.guard`).

::

    keys in order --> one entity's oldest rows --> cut --> a transaction for each batch of cuts
                             (pages, read only)                (deletes by id, snapshots)
"""

from array import array
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from pystator.records import (
    Commit,
    Context,
    Cut,
    Entry,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Page,
    Pruned,
    record,
)
from pystator.stores.codec import encode
from pystator.stores.columns import UNLIMITED, apply_patch
from pystator.stores.keys import write_cursor

__all__ = ["KEYS", "UNLIMITED", "Cuts", "Keys", "Load", "Order", "Prune", "Rows", "Tell"]

T = TypeVar("T")

KEYS: Final = 1_000
"""Keys looked at in one read."""

_HEAVY: Final = 4_000_000
"""Characters of the contexts whose snapshots are written in one transaction, about."""

_PAGES: Final = (16, 64, 256)
"""Rows of an entity in the first reads and in all further ones: most have few that are old."""


# Requests of the program --------------------------------------------------------------------------


@record
class Keys:
    """Answered with `PrunableStore.prune_keys`."""

    after: Key | None


@record
class Rows:
    """Answered with a page of the entity's history."""

    key: Key
    after: str | None
    limit: int


@record
class Load:
    """Answered with the `Loaded` of each key."""

    lookups: list[Lookup]


@record
class Cuts:
    """Answered with `PrunableStore.prune_rows`."""

    cuts: list[Cut]


@record
class Tell:
    """Answered with False when the prune is to end here."""

    so_far: Pruned


Request = Keys | Rows | Load | Cuts | Tell
Program = Generator[Request, Any, T]


@record
class Order:
    """What is to be pruned, checked.

    Attributes:
        limits: Machine -> (rows before this time may go, event ids before this time, too).
        others: The same for machines that are not named; None leaves them alone.
    """

    limits: Mapping[str, tuple[int, int]]
    others: tuple[int, int] | None
    batch: int
    dry_run: bool
    after: Key | None

    def of(self, machine_name: str) -> tuple[int, int] | None:
        """The limits of a machine's entities."""
        return self.limits.get(machine_name, self.others)


# One entity ---------------------------------------------------------------------------------------


class _Walk:
    """Reads the rows of one entity from the oldest on, and decides which of them go."""

    def __init__(self, key: Key, limits: tuple[int, int]) -> None:
        self.key = key
        self.ids: array[int] = array("q")
        self.kept = 0
        self._before, self._forgotten = limits
        self._state: str | None = None
        self._context: Context = {}
        self._snapshots: list[int] = []
        self._change: tuple[int, bool] | None = None  # version of the last one seen, and does it go
        self._head: tuple[HistoryEntry, str | None, Context] | None = None
        self._guard = 0

    def take(self, row: HistoryEntry) -> bool:
        """Decide about the next row; False when it is too young, and all that follow stay."""
        if row.kind is EntryKind.SNAPSHOT:
            self._begin(row)
            return True
        if row.kind is EntryKind.ACTION and self._change and self._change[0] == row.version:
            if self._change[1]:
                self.ids.append(row.id)
            return True
        if row.recorded_at >= self._before:
            return False
        goes = row.event_id is None or row.recorded_at < self._forgotten
        if goes:
            self.ids.append(row.id)
        else:
            self.kept += 1
        if row.kind is not EntryKind.REJECTED and row.kind is not EntryKind.ACTION:
            self._apply(row)
            self._change = (row.version, goes)
            if goes:
                self._guard = self._guard or row.id
                self._head = (row, self._state, self._context)
        return True

    def _begin(self, row: HistoryEntry) -> None:
        """Rows before a snapshot are not replayed, so that none of them asks for another one."""
        self._snapshots.append(row.id)
        self._state, self._context = None, {}
        self._head, self._guard = None, row.id
        self._apply(row)

    def _apply(self, row: HistoryEntry) -> None:
        if row.target_state is not None:
            self._state = row.target_state
        self._context = apply_patch(self._context, row.patch)

    @property
    def needs_snapshot(self) -> bool:
        """A change goes that no snapshot stands for yet."""
        return self._head is not None

    def cuts(self, batch: int) -> Iterator[Cut]:
        """What goes: first, and together, what a replay needs to know of; then the rest."""
        entity_id, machine_name = self.key
        rest = self.ids
        if self._head is not None:
            guard = self._guard  # what every other plan of now would begin with, too
            rest = array("q", [number for number in rest if number != guard])
            first = rest[: batch - 1]
            rest = rest[batch - 1 :]
            if guard not in self._snapshots:
                first.append(guard)
            snapshot = _snapshot(*self._head)
            yield Cut(entity_id, machine_name, first, snapshot, tuple(self._snapshots), guard)
        elif len(self._snapshots) > 1:  # two prunes at once, by different rules
            yield Cut(entity_id, machine_name, self._snapshots[:-1])
        for start in range(0, len(rest), batch):
            yield Cut(entity_id, machine_name, rest[start : start + batch])


def _snapshot(row: HistoryEntry, state: str | None, context: Context) -> Commit:
    """The commit that appends the snapshot of the version which a row made."""
    entry = Entry(
        version=row.version,
        kind=EntryKind.SNAPSHOT,
        trigger=None,
        payload=None,
        now=row.now,
        patch=(context, ()),
        source_state=None,
        target_state=state,
    )
    return Commit(
        entity_id=row.entity_id,
        machine_name=row.machine_name,
        expected_version=row.version,
        new_version=row.version,
        state=None,
        context=None,
        history=None,
        timers=None,
        machine_version=row.machine_version,
        fingerprint=row.fingerprint,
        now=row.now,
        entries=(entry,),
        commit_id=row.commit_id,
    )


# All entities -------------------------------------------------------------------------------------


class Prune:
    """One prune: a walk over the keys, with the cuts gathered into batches."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._rows = self._entities = self._snapshots = self._kept = 0
        self._counted: Key | None = None
        self._cuts: list[Cut] = []
        self._size = self._weight = 0
        self._lost: list[Key] = []
        self._stopped = False

    def run(self) -> Program[Pruned]:
        """Prune all entities that are asked for, in the order of their keys."""
        after = self._order.after
        while True:
            found: list[tuple[Key, int | None]] = yield Keys(after)
            for key, oldest in found:
                limits = self._order.of(key[1])
                if limits is not None and oldest is not None and oldest < limits[0]:
                    yield from self._entity(key, after)
                yield from self._again(after)
                if self._stopped:
                    return self._so_far(after)
                after = key
            if not found:
                break
        while self._cuts and not self._stopped:
            yield from self._flush(after)
            yield from self._again(after)
        done = self._so_far(after)
        return done if self._stopped else replace(done, next=None)

    def _entity(self, key: Key, after: Key | None, *, first: bool = True) -> Program[None]:
        """Prune one entity, as far as nobody else does."""
        limits = self._order.of(key[1])
        if limits is None:
            return
        walk: _Walk = yield from _read(key, limits)
        if first:
            self._kept += walk.kept
        cuts = list(walk.cuts(self._order.batch))
        for cut in cuts:
            weight = _weight(cut)
            if self._size + len(cut.ids) > self._order.batch or self._weight + weight > _HEAVY:
                yield from self._flush(after)
            self._cuts.append(cut)
            self._size += len(cut.ids)
            self._weight += weight
            if cut.guard is not None and len(cuts) > 1:
                # The others are right only where this one's snapshot stands.
                yield from self._flush(after)
            if self._stopped or key in self._lost:
                return

    def _again(self, after: Key | None) -> Program[None]:
        """Look again at entities of which somebody else has pruned what was to go."""
        while self._lost and not self._stopped:
            yield from self._entity(self._lost.pop(), after, first=False)

    def _flush(self, after: Key | None) -> Program[None]:
        """Do what was gathered."""
        if not self._cuts or self._stopped:
            return
        cuts, self._cuts, self._size, self._weight = self._cuts, [], 0, 0
        if self._order.dry_run:
            answers: list[int | None] = [len(cut.ids) for cut in cuts]
        else:
            answers = yield Cuts((yield from _completed(cuts)))
        for cut, deleted in zip(cuts, answers, strict=True):
            key = (cut.entity_id, cut.machine_name)
            if deleted is None:
                self._lost.append(key)
            else:
                self._count(key, deleted, cut)
        told = yield Tell(self._so_far(after))
        self._stopped = told is False

    def _count(self, key: Key, deleted: int, cut: Cut) -> None:
        self._rows += deleted
        self._snapshots += cut.snapshot is not None
        if deleted and key != self._counted:
            self._entities += 1
            self._counted = key

    def _so_far(self, after: Key | None) -> Pruned:
        cursor = write_cursor("prune", *(after or _FIRST))
        return Pruned(self._rows, self._entities, self._snapshots, self._kept, cursor)


_FIRST: Final[Key] = ("", "")
"""Before every key."""


def _weight(cut: Cut) -> int:
    """Characters of the context that its snapshot holds."""
    patch = None if cut.snapshot is None else cut.snapshot.entries[0].patch
    return 0 if patch is None else len(encode(dict(patch[0]), limit=UNLIMITED))


def _read(key: Key, limits: tuple[int, int]) -> Program[_Walk]:
    """Walk through an entity's oldest rows.

    Young rejections may stand before the snapshot of the version they saw. So where a change is to
    go, the rest of that version is looked at, too: a snapshot there stands for that change already.
    """
    walk = _Walk(key, limits)
    after: str | None = None
    sizes = iter(_PAGES)
    last: int | None = None
    while True:
        page: Page[HistoryEntry] = yield Rows(key, after, next(sizes, _PAGES[-1]))
        for row in page.items:
            if last is None:
                if walk.take(row):
                    continue
                last = row.version
            if not walk.needs_snapshot or row.version > last:
                return walk
            if row.kind is EntryKind.SNAPSHOT:
                walk.take(row)
        after = page.next
        if after is None:
            return walk


def _completed(cuts: list[Cut]) -> Program[list[Cut]]:
    """Snapshots of versions that are still the current ones are copies of the entities.

    What compound states remember is not told by rows, so that only these snapshots can hold it.
    """
    wanted = [cut for cut in cuts if cut.snapshot is not None]
    if not wanted:
        return cuts
    lookups = [Lookup(cut.entity_id, cut.machine_name) for cut in wanted]
    loaded: list[Loaded] = yield Load(lookups)
    entities = {each.entity.key: each.entity for each in loaded if each.entity is not None}
    made: list[Cut] = []
    for cut in cuts:
        entity = entities.get((cut.entity_id, cut.machine_name))
        snapshot = cut.snapshot
        if snapshot is not None and entity is not None and entity.version == snapshot.new_version:
            entry = replace(
                snapshot.entries[0],
                target_state=entity.state,
                patch=(entity.context, ()),
                payload={"history": entity.history} if entity.history else None,
            )
            made.append(replace(cut, snapshot=replace(snapshot, entries=(entry,))))
        else:
            made.append(cut)
    return made
