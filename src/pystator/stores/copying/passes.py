"""Passes over everything, until one finds nothing to write."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any, Final

from pystator.errors import ConfigurationError, InvalidValueError
from pystator.records import (
    Entity,
    HistoryEntry,
    Key,
    Outcome,
    OutcomeKind,
    Page,
    Parcel,
    StoredMachine,
    record,
)
from pystator.stores.copying.comparing import (
    Line,
    differences,
    is_same,
    judge,
    lines_of,
    parcels,
    told,
)
from pystator.stores.copying.reading import Found, Keys, Reader, readers, rounds
from pystator.stores.copying.report import Conflict, Copied, Progress, Tally
from pystator.stores.named import all_machines

__all__ = ["BATCH", "copy_store"]

BATCH: Final = 1_000
"""Rows written in one call, about."""

PASSES: Final = 5
"""How often everything is read while somebody goes on writing to the source."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)


def copy_store(
    source: Any,
    target: Any,
    *,
    batch: int = BATCH,
    machine_name: str | None = None,
    history: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy everything that a store has into another one, as it is, and look it over.

    It can be stopped or killed at any moment; another run goes on. What the target has of its own
    is never overwritten: it is reported. Others may write to the source meanwhile; for the last
    run, nobody should.

    Args:
        source: A connected store of ours, or a `NativeStore` with a history.
        target: A connected `RestorableStore`.
        batch: Rows written in one call, about.
        machine_name: Only entities, rows and versions of this machine; all by default.
        history: Copy the rows, too.
        dry_run: Write nothing, and say what would be.
        progress: Called after each batch with what was done so far; when it returns False, the copy
            stops there.

    Raises:
        ConfigurationError: A store cannot do what is needed, or both are the same.
    """
    _check(source, target, batch, history=history)
    so_far = Copied()
    with readers() as pool:
        job = _Job(source, target, pool, batch, machine_name, history, dry_run, progress)
        for number in range(1, PASSES + 1):
            tally = Tally(so_far, number)
            _Pass(job, tally).run()
            so_far = tally.told(verified=not (tally.written or tally.behind or tally.stopped))
            if tally.stopped or dry_run or not (tally.written or tally.behind):
                break
    return so_far


def _check(source: Any, target: Any, batch: int, *, history: bool) -> None:
    if source is target:
        raise ConfigurationError("a store is not copied into itself: give another one")
    if batch < 1:
        raise ConfigurationError(f"batch={batch!r}: a batch has at least one row")
    of_source = ["entities", "load", *(["history"] if history else [])]
    for store, names, how in (
        (source, of_source, "be copied: it"),
        (target, ["restore", "load", "history"], "take a copy: it"),
    ):
        missing = [name for name in names if not hasattr(store, name)]
        if missing:
            kind = type(store).__name__
            raise ConfigurationError(
                f"{kind} cannot {how} has no method {missing[0]}",
                context={"store": kind, "missing": missing},
            )


@record
class _Job:
    """What is to be copied, and how."""

    source: Any
    target: Any
    pool: ThreadPoolExecutor
    batch: int
    machine_name: str | None
    history: bool
    dry_run: bool
    progress: Progress | None


class _StoppedError(Exception):
    """Somebody asked to stop."""


class _Pass:
    """One pass over everything."""

    def __init__(self, job: _Job, tally: Tally) -> None:
        self._job = job
        self._tally = tally
        self._mine = Reader(job.source, job.pool)
        self._theirs = Reader(job.target, job.pool)
        self._waiting: dict[Key, Parcel] = {}
        self._size = 0

    def run(self) -> None:
        """Compare everything, and write what the target lacks."""
        job = self._job
        try:
            self._machines()
            there = Keys(job.target, job.machine_name)
            for found in rounds(job.source, job.machine_name, history=job.history):
                self._round(found, there)
            self._flush()
        except _StoppedError:
            self._tally.stopped = True

    def _tell(self) -> None:
        """Say how far it is.

        Raises:
            _StoppedError: It shall stop.
        """
        progress = self._job.progress
        if progress is not None and progress(self._tally.told()) is False:
            raise _StoppedError

    # Machines -------------------------------------------------------------------------------------

    def _machines(self) -> None:
        tally = self._tally
        for machine in _machines(self._job.source, self._job.machine_name):
            tally.machines += 1
            tally.see(machine)
            try:
                new = self._save(machine)
            except (ConfigurationError, InvalidValueError) as error:
                tally.object(Conflict("", machine.name, error.message))
            else:
                tally.new_machines += new
                tally.written += new
        self._tell()

    def _save(self, machine: StoredMachine) -> bool:
        target = self._job.target
        if not hasattr(target, "save_machine"):
            raise ConfigurationError("the target keeps no machines")
        if not self._job.dry_run:
            return bool(target.save_machine(machine))
        there = target.stored_machine(machine.name, machine.version)
        if there is not None and there.fingerprint != machine.fingerprint:
            shown = f"{machine.name}@{machine.version}"
            raise ConfigurationError(f"{shown} is stored already, and is another machine")
        return there is None

    # Entities and rows ----------------------------------------------------------------------------

    def _round(self, found: list[Found], keys: Keys) -> None:
        names = [each.key for each in found]
        entities = self._theirs.entities(names)
        there = [key for key in names if keys.take(key)]
        mine = self._mine.first_pages([each.key for each in found if each.has_rows])
        theirs = self._theirs.first_pages(there)
        for each, entity in zip(found, entities, strict=True):
            self._tally.entities += each.entity is not None
            self._tally.see((each.key, told(each.entity)))
            rows = _Rows(self._mine, each, mine.get(each.key))
            page = theirs.get(each.key)
            if not self._job.history:
                self._entity_alone(each, entity, has_rows=page is not None)
            elif entity is None and page is None:
                new = (row for row, _ in self._seen(rows))
                self._put(parcels(each.key, each.entity, None, None, new, self._batch))
            else:
                self._compare(each, entity, rows, page)
            self._tally.behind += rows.is_behind
        self._tell()

    @property
    def _batch(self) -> int:
        return self._job.batch

    def _compare(
        self, found: Found, theirs: Entity | None, rows: "_Rows", page: Page[HistoryEntry] | None
    ) -> None:
        """Write what the target lacks of a key of which it has something."""
        key, mine = found.key, found.entity
        there = lines_of(self._theirs.rows(key, page))
        verdict = judge(mine, theirs, self._seen(rows), there)
        if verdict.conflict is not None:
            self._tally.object(Conflict(*key, verdict.conflict))
            return
        self._tally.others += verdict.others
        if verdict.lacks:
            there = lines_of(self._theirs.rows(key, page))
            missing = (
                row
                for is_missing, row in differences(lines_of(rows), there)
                if is_missing and verdict.asks_for(row)
            )
            self._put(parcels(key, mine, theirs, verdict.newest, missing, self._batch))

    def _entity_alone(self, found: Found, theirs: Entity | None, *, has_rows: bool) -> None:
        """The same where no rows are copied."""
        key, mine = found.key, found.entity
        if is_same(mine, theirs):
            return
        verdict = judge(mine, theirs, self._proof(key, mine, theirs), ())
        if verdict.conflict is not None:
            self._tally.object(Conflict(*key, verdict.conflict))
        else:
            newest = self._theirs.newest(key) if has_rows else None
            self._put(parcels(key, mine, theirs, newest, (), self._batch))

    def _proof(self, key: Key, mine: Entity | None, theirs: Entity | None) -> Iterator[Line]:
        """Rows that tell whether the target has an earlier version of the entity."""
        earlier = mine is not None and theirs is not None and theirs.version < mine.version
        if earlier and hasattr(self._job.source, "history"):
            yield from lines_of(self._mine.rows(key, self._mine.first_pages([key])[key]))

    def _seen(self, rows: Iterable[HistoryEntry]) -> Iterator[Line]:
        """The rows of the source, counted on their way."""
        for line in lines_of(rows):
            self._tally.rows += 1
            self._tally.see(line[1])
            yield line

    # Writing --------------------------------------------------------------------------------------

    def _put(self, some: Iterable[Parcel]) -> None:
        for parcel in some:
            key = (parcel.entity_id, parcel.machine_name)
            size = len(parcel.rows) + 1
            if key in self._waiting or (self._waiting and self._size + size > self._batch):
                self._flush()
            self._waiting[key] = parcel
            self._size += size

    def _flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting, self._size = list(self._waiting.values()), {}, 0
        if not waiting:
            return
        if self._job.dry_run:
            self._note(waiting, [_APPLIED] * len(waiting))
        else:
            self._note(waiting, self._job.target.restore(waiting))
        self._tell()

    def _note(self, waiting: Sequence[Parcel], outcomes: Sequence[Outcome]) -> None:
        tally = self._tally
        for parcel, outcome in zip(waiting, outcomes, strict=True):
            if outcome.kind is OutcomeKind.APPLIED:
                tally.new_rows += len(parcel.rows)
                tally.new_entities += parcel.entity is not None
                tally.written += 1
                continue
            why = (
                "the target was written to meanwhile, or knows an event id of these rows: of a row"
                " that was pruned in the source, it knows it until it is pruned as well"
            )
            if outcome.error is not None:
                why = f"the target cannot store it: {outcome.error}"
            tally.object(Conflict(parcel.entity_id, parcel.machine_name, why))


class _Rows:
    """The rows of a key, up to the version of its entity.

    Attributes:
        is_behind: There were later ones: somebody writes to the source.
    """

    def __init__(self, reader: Reader, found: Found, page: Page[HistoryEntry] | None) -> None:
        self._reader = reader
        self._key = found.key
        self._page = page
        self._most: float = 0 if found.entity is None else found.entity.version
        self.is_behind = False

    def __iter__(self) -> Iterator[HistoryEntry]:
        for row in self._reader.rows(self._key, self._page):
            if row.version > self._most and not self._is_nobody():
                self.is_behind = True
                return
            yield row

    def _is_nobody(self) -> bool:
        """There is no entity: the rows are those of a copy that was never finished."""
        if self._most == 0 and self._reader.entities([self._key]) == [None]:
            self._most = inf
        return self._most == inf


def _machines(store: Any, machine_name: str | None) -> Iterator[StoredMachine]:
    if hasattr(store, "stored_machines"):
        for machine in all_machines(store):
            if machine_name is None or machine.name == machine_name:
                yield machine
