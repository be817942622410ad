"""A native store of your own: one append-only file, which several processes may share.

Each commit is a line of the file, with a checksum, and is answered when the line is on the disk.
What the file says is kept in memory, as an index. So a store of this kind is as fast as the disk
takes lines, and holds as much as fits into memory.

Laws:

- A line is written whole, by whoever holds the file's lock, or it is nothing: what a writer that
  was killed left behind is cut off by the next one.
- Nobody reads what is not on the disk yet: whoever finds the file longer waits for the lock.
- Nothing is ever overwritten. Pruned rows are gone from memory, but not from the file.

::

    commit --> lock --> read what others wrote --> decide --> line, fsync --> index --> answer
"""

import asyncio
import fcntl
import json
import os
import threading
import zlib
from bisect import bisect_right, insort
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pystator import ConfigurationError, InvalidValueError, StoreUnavailableError
from pystator.records import (
    Commit,
    Cut,
    Entity,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Page,
    Parcel,
    StoredMachine,
)
from pystator.stores.author import (
    AuthoredStore,
    decide,
    entity_of,
    entity_values,
    row_of,
    row_values,
)
from pystator.stores.definitions import (
    age,
    check_deletion,
    check_machine,
    is_same,
    machine_page,
    machines_after,
    values_of,
)
from pystator.stores.keys import rows_asked
from pystator.stores.parcels import raw
from pystator.stores.prunable import Prunable
from pystator.stores.pruning import UNLIMITED

Values = list[Any]
Change = tuple[str, Values]
"""``entity``, ``row`` or ``machine`` with its values, ``gone`` with a key and ids of rows, or
``deleted`` with name and version of a machine."""

APPLIED = Outcome(OutcomeKind.APPLIED)
STALE = Outcome(OutcomeKind.STALE)


class Index:
    """What the lines read so far say, as plain values: what is made of them is the reader's own."""

    def __init__(self) -> None:
        self.size = 0
        self.entities: dict[Key, Values] = {}
        self.rows: dict[Key, list[Values]] = {}
        self.event_ids: dict[Key, dict[str, Values]] = {}
        self.names: dict[str, set[str]] = {}
        self.feed: list[int] = []
        self.by_id: dict[int, Values] = {}
        self.machines: dict[tuple[str, str], Values] = {}

    def read(self, changes: Iterable[Change]) -> None:
        """Go on by one line."""
        for kind, values in changes:
            getattr(self, f"_{kind}")(values)

    def _entity(self, values: Values) -> None:
        self.entities[values[0], values[1]] = values
        self.names.setdefault(values[0], set()).add(values[1])

    def _row(self, values: Values) -> None:
        key = (values[1], values[2])
        insort(self.rows.setdefault(key, []), values, key=place_of)
        self.feed.append(values[0])
        self.by_id[values[0]] = values
        if values[15] is not None:
            self.event_ids.setdefault(key, {})[values[15]] = values

    def _gone(self, values: Values) -> None:
        entity_id, machine, ids = values
        key, numbers = (entity_id, machine), set(ids)
        self.rows[key] = [row for row in self.rows[key] if row[0] not in numbers]
        if not self.rows[key]:
            del self.rows[key]
        for number in numbers:
            event_id = self.by_id.pop(number)[15]
            self.event_ids.get(key, {}).pop(event_id, None)

    def _machine(self, values: Values) -> None:
        self.machines[values[0], values[1]] = values

    def _deleted(self, values: Values) -> None:
        del self.machines[values[0], values[1]]

    # What a line is made of; each is in the index at once.

    def put(self, entity: Entity | None, rows: Sequence[HistoryEntry]) -> list[Change]:
        """An entity and rows of its history."""
        changes: list[Change] = [("row", row_values(row)) for row in rows]
        if entity is not None:
            changes.append(("entity", entity_values(entity)))
        self.read(changes)
        return changes

    def drop(self, entity_id: str, machine: str, ids: list[int]) -> list[Change]:
        """Rows that go."""
        changes: list[Change] = [("gone", [entity_id, machine, ids])] if ids else []
        self.read(changes)
        return changes

    def keep(self, machine: StoredMachine) -> list[Change]:
        """A version of a machine."""
        changes: list[Change] = [("machine", [*values_of(machine)])]
        self.read(changes)
        return changes

    def delete(self, machine: StoredMachine) -> list[Change]:
        """A version of a machine that goes."""
        changes: list[Change] = [("deleted", [machine.name, machine.version])]
        self.read(changes)
        return changes

    # What it says.

    def versions(self, name: str) -> list[StoredMachine]:
        """All versions of a machine."""
        return [
            StoredMachine(*values) for (each, _), values in self.machines.items() if each == name
        ]

    def entity(self, key: Key) -> Entity | None:
        """The entity of a key, the caller's own."""
        return entity_of(self.entities[key]) if key in self.entities else None

    @property
    def last(self) -> int:
        """The id of the last row that was written."""
        return self.feed[-1] if self.feed else 0


def place_of(row: Values) -> tuple[int, int]:
    """Where a row stands in its history: version and id."""
    return row[3], row[0]


class LedgerStore(AuthoredStore, Prunable):
    """Entities, their history and machines in one file."""

    durable: ClassVar[bool] = True
    combines: ClassVar[bool] = True  # one fsync is enough for all that wait

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__(**options)
        self.path = Path(path)
        self._lock = threading.Lock()
        self._file = -1
        self._process = os.getpid()
        self._index = Index()

    # The file -------------------------------------------------------------------------------------

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """Open the file; it is made where it is not there, unless ``auto_initialize=False``."""
        del validate_schema
        self._part()
        with self._lock:
            if self._file < 0:
                if not auto_initialize and not self.path.exists():
                    raise ConfigurationError(f"{self.path} is not there: connect() makes it")
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                self._index = Index()
                folder = os.open(self.path.parent, os.O_RDONLY)
                os.fsync(folder)  # so that the file itself is not lost
                os.close(folder)
        return self

    def disconnect(self) -> None:
        """Close it; all that was answered is in it."""
        self._part()
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    @contextmanager
    def _reading(self) -> Generator[Index]:
        """The index, with all that others have written."""
        self._part()
        with self._lock:
            self._check_open()
            if os.fstat(self._file).st_size != self._index.size:
                with self._alone():
                    self._catch_up()
            yield self._index

    @contextmanager
    def _writing(self) -> Generator[tuple[Index, list[Change]]]:
        """The index, alone with the file; the changes are written as one line at the end.

        They are in the index already. When they cannot be written, it is read anew from the file.
        """
        changes: list[Change] = []
        self._part()
        with self._lock:
            self._check_open()
            with self._alone():
                self._catch_up()
                size = self._index.size
                try:
                    yield self._index, changes
                    if changes:
                        self._append(changes)
                except BaseException:
                    self._index = Index()
                    with suppress(OSError):
                        os.ftruncate(self._file, size)
                    raise

    def _part(self) -> None:
        """In a forked child: a lock is of the open file, and that is the parent's as well."""
        if self._process != os.getpid():
            self._process, self._lock, self._index = os.getpid(), threading.Lock(), Index()
            if self._file >= 0:
                os.close(self._file)
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)

    def _check_open(self) -> None:
        if self._file < 0:
            raise StoreUnavailableError(
                f"{self.path} is not open: call connect() first", context={"written": False}
            )

    @contextmanager
    def _alone(self) -> Generator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Read the lines that came since; cut off one that its writer did not finish."""
        index = self._index
        tail = read_from(self._file, index.size)
        if tail:
            os.fsync(self._file)  # who wrote it may have been killed before
        for line in tail.splitlines(keepends=True):
            text = line[9:-1]
            whole = line.endswith(b"\n")
            if whole and line[:8] == b"%08x" % zlib.crc32(text):
                index.read(json.loads(text))
                index.size += len(line)
                continue
            if whole:
                raise StoreUnavailableError(f"{self.path} is damaged at byte {index.size}")
            os.ftruncate(self._file, index.size)

    def _append(self, changes: list[Change]) -> None:
        text = json.dumps(changes, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            raise StoreUnavailableError(f"{self.path} cannot be written: {error}") from error
        self._index.size += len(line)

    # The native protocol --------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities and known event ids, one `Loaded` for each lookup, in order."""
        with self._reading() as index:
            return [
                Loaded(
                    index.entity(key := (lookup.entity_id, lookup.machine_name)),
                    {
                        each: row_of(known[each])
                        for each in lookup.event_ids
                        if each in (known := index.event_ids.get(key, {}))
                    },
                )
                for lookup in lookups
            ]

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write; one `Outcome` for each commit, in order."""
        with self._writing() as (index, changes):
            return [
                self._take(index, changes, commit, limit=self.context_limit) for commit in commits
            ]

    def _take(self, index: Index, changes: list[Change], commit: Commit, *, limit: int) -> Outcome:
        key = (commit.entity_id, commit.machine_name)
        made = decide(
            commit,
            index.entity(key),
            index.event_ids.get(key, {}),
            first_id=index.last + 1,
            recorded_at=self.now(),
            limit=limit,
        )
        if isinstance(made, Outcome):
            return made
        changes += index.put(made.entity, made.rows)
        return APPLIED

    def keys(self) -> Iterable[Key]:
        """Every key that has an entity or history rows."""
        with self._reading() as index:
            return index.entities.keys() | index.rows.keys()

    def rows(self, key: Key) -> Sequence[HistoryEntry]:
        """The history of a key in the order ``(version, id)``."""
        with self._reading() as index:
            return [row_of(values) for values in index.rows.get(key, ())]

    def rows_after(self, number: int, limit: int) -> Sequence[HistoryEntry]:
        """Rows of all keys whose id is larger than this, in the order of their ids."""
        found: list[HistoryEntry] = []
        with self._reading() as index:
            for each in index.feed[bisect_right(index.feed, number) :]:
                if len(found) == limit:
                    break
                if each in index.by_id:
                    found.append(row_of(index.by_id[each]))
        return found

    def machines(self, entity_id: str) -> list[str]:
        """Names of the machines that have an entity of this id, sorted: from the index."""
        with self._reading() as index:
            return sorted(index.names.get(entity_id, ()))

    # Pruning --------------------------------------------------------------------------------------

    def prune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """Do the cuts; for each, how many of its ``ids`` were there."""
        with self._writing() as (index, changes):
            return [self._cut(index, changes, cut) for cut in cuts]

    def _cut(self, index: Index, changes: list[Change], cut: Cut) -> int | None:
        rows = index.rows.get((cut.entity_id, cut.machine_name), [])
        there = {row[0] for row in rows}
        if cut.guard is not None and cut.guard not in there:
            return None
        if cut.snapshot is not None:
            newest = max((row[3] for row in rows if row[4] == EntryKind.SNAPSHOT), default=-1)
            if newest < cut.snapshot.new_version:
                self._take(index, changes, cut.snapshot, limit=UNLIMITED)
        gone = sorted(there & {*cut.ids, *cut.replaced})
        changes += index.drop(cut.entity_id, cut.machine_name, gone)
        return len(there & set(cut.ids))

    async def aprune_rows(self, cuts: Sequence[Cut]) -> list[int | None]:
        """`prune_rows` for asyncio."""
        return await asyncio.to_thread(self.prune_rows, cuts)

    # Copies from other stores ---------------------------------------------------------------------

    def restore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """Put entities and rows of another store in as they are, with ids of this one."""
        with self._writing() as (index, changes):
            return [self._restore(index, changes, parcel) for parcel in parcels]

    def _restore(self, index: Index, changes: list[Change], parcel: Parcel) -> Outcome:
        key = (parcel.entity_id, parcel.machine_name)
        try:
            raw(parcel)  # what cannot be stored is refused before anything is compared
        except InvalidValueError as error:
            return Outcome(OutcomeKind.REFUSED, error)
        entity = index.entity(key)
        newest = index.rows[key][-1] if key in index.rows else None
        if parcel.base != (0 if entity is None else entity.version):
            return STALE
        if parcel.after != (None if newest is None else (newest[3], newest[21])):
            return STALE
        ids = [row.event_id for row in parcel.rows if row.event_id is not None]
        if len(set(ids)) < len(ids) or index.event_ids.get(key, {}).keys() & ids:
            return STALE
        rows = [replace(row, id=index.last + 1 + n) for n, row in enumerate(parcel.rows)]
        changes += index.put(parcel.entity, rows)
        return APPLIED

    async def arestore(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """`restore` for asyncio."""
        return await asyncio.to_thread(self.restore, parcels)

    # Machines -------------------------------------------------------------------------------------

    def save_machine(self, machine: StoredMachine) -> bool:
        """Keep a version; False when it was there already."""
        check_machine(machine)
        with self._writing() as (index, changes):
            there = index.machines.get((machine.name, machine.version))
            if there is not None:
                return is_same(machine, there[2])
            changes.extend(index.keep(machine))
        return True

    def stored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """This version, or the one that was stored last; None when there is none."""
        with self._reading() as index:
            found = [each for each in index.versions(name) if version in {None, each.version}]
        return max(found, key=age, default=None)

    def delete_machine(self, name: str, version: str | None = None) -> int:
        """Delete a version, or all of them, that no live entity uses; how many there were."""
        with self._writing() as (index, changes):
            found = index.versions(name)
            gone = [each for each in found if version in {None, each.version}]
            if gone:
                made = [entity_of(values) for values in index.entities.values()]
                live = [each for each in made if each.machine_name == name and not each.archived_at]
                if version is not None and version != max(found, key=age).version:
                    live = [each for each in live if each.machine_version == version]
                check_deletion(name, version, len(live))
            for each in gone:
                changes.extend(index.delete(each))
        return len(gone)

    def stored_machines(self, *, after: str | None = None, limit: int = 100) -> Page[StoredMachine]:
        """All versions in the order ``(name, version)``, keyset-paged."""
        limit, place = rows_asked(limit), machines_after(after)
        with self._reading() as index:
            names = sorted(key for key in index.machines if key > place)[: limit + 1]
            return machine_page([StoredMachine(*index.machines[key]) for key in names], limit)

    async def asave_machine(self, machine: StoredMachine) -> bool:
        """`save_machine` for asyncio."""
        return await asyncio.to_thread(self.save_machine, machine)

    async def adelete_machine(self, name: str, version: str | None = None) -> int:
        """`delete_machine` for asyncio."""
        return await asyncio.to_thread(self.delete_machine, name, version)

    async def astored_machine(self, name: str, version: str | None = None) -> StoredMachine | None:
        """`stored_machine` for asyncio."""
        return await asyncio.to_thread(self.stored_machine, name, version)

    async def astored_machines(
        self, *, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """`stored_machines` for asyncio."""
        return await asyncio.to_thread(self.stored_machines, after=after, limit=limit)


def read_from(file: int, start: int) -> bytes:
    """All that the file has from here on."""
    parts: list[bytes] = []
    while part := os.pread(file, 1 << 20, start):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
