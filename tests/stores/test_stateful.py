"""The store in memory against a model so naive that it can be checked by reading it."""

import copy
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

from hypothesis import settings

from pystator.errors import AmbiguousEntityError, InvalidValueError
from pystator.orchestrator.replay import replay
from pystator.records import (
    UNARCHIVE,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Loaded,
    Outcome,
    OutcomeKind,
    Page,
    Pruned,
    from_datetime,
)
from pystator.stores import codec, keys
from pystator.stores.facade import StoreFacade
from pystator.stores.immediate import ImmediateAsync
from pystator.stores.memory import InMemoryStateStore
from pystator.testing.stateful import StoreComparison


class NaiveStore(ImmediateAsync, StoreFacade):
    """Two lists and deep copies; every question is answered by looking at everything."""

    durable = False

    def __init__(self):
        super().__init__()
        self.all_entities = {}
        self.rows = []

    def connect(self, **options):
        return self

    def disconnect(self):
        pass

    def flush(self):
        pass

    def load(self, lookups):
        loaded = []
        for lookup in lookups:
            key = (lookup.entity_id, lookup.machine_name)
            known = {
                row.event_id: row for row in self.rows_of(key) if row.event_id in lookup.event_ids
            }
            loaded.append(Loaded(self.all_entities.get(key), known))
        return copy.deepcopy(loaded)

    def rows_of(self, key):
        found = [row for row in self.rows if (row.entity_id, row.machine_name) == key]
        return sorted(found, key=lambda row: (row.version, row.id))

    def commit(self, commits):
        return [self.commit_one(commit) for commit in commits]

    def append_later(self, commits):
        self.commit(commits)

    def commit_one(self, commit):
        key = (commit.entity_id, commit.machine_name)
        entity = self.all_entities.get(key)
        changes = commit.new_version != commit.expected_version
        ids = [entry.event_id for entry in commit.entries if entry.event_id is not None]
        try:
            keys.check_commit(commit)
            rows = [self.row(commit, entry, number) for number, entry in enumerate(commit.entries)]
            context = None if commit.context is None else codec.decode(codec.encode(commit.context))
        except InvalidValueError as error:
            return Outcome(OutcomeKind.REFUSED, error)
        known = {row.event_id for row in self.rows_of(key)}
        if known & set(ids):
            return Outcome(OutcomeKind.DUPLICATE)
        if changes and (entity.version if entity else 0) != commit.expected_version:
            return Outcome(OutcomeKind.STALE)
        self.rows += rows
        if changes:
            self.all_entities[key] = Entity(
                entity_id=commit.entity_id,
                machine_name=commit.machine_name,
                version=commit.new_version,
                state=commit.state or entity.state,
                context=entity.context if context is None else context,
                history=copy.deepcopy(commit.history)
                if commit.history is not None
                else entity and entity.history,
                timers=copy.deepcopy(
                    commit.timers if commit.timers is not None else entity.timers if entity else {}
                ),
                machine_version=commit.machine_version,
                fingerprint=commit.fingerprint,
                created_at=entity.created_at if entity else commit.now,
                updated_at=commit.now,
                commit_id=commit.commit_id,
                state_since=self.since(commit, entity),
                archived_at=self.archived(commit, entity),
            )
        return Outcome(OutcomeKind.APPLIED)

    def since(self, commit, entity):
        """One event after the other."""
        since = entity.state_since if commit.state is None else commit.now
        for entry in commit.entries if len(commit.entries) > 1 else ():
            if entry.target_state not in (None, entry.source_state):
                since = entry.now
        return since

    def archived(self, commit, entity):
        if commit.archived_at is None:
            return entity and entity.archived_at
        return None if commit.archived_at == UNARCHIVE else commit.archived_at

    def row(self, commit, entry, number):
        fields = {name: getattr(entry, name) for name in entry.__slots__}
        for name, shown in (("payload", "payload"), ("patch", "context_patch")):
            value = fields[name]
            if name == "patch" and value is not None:
                fields[name] = (codec.decode(codec.encode(value[0], name=shown)), value[1])
            elif value is not None:
                fields[name] = codec.decode(codec.encode(value, name=shown))
        return HistoryEntry(
            id=self.rows[-1].id + 1 + number if self.rows else 0,
            entity_id=commit.entity_id,
            machine_name=commit.machine_name,
            commit_id=commit.commit_id,
            machine_version=commit.machine_version,
            fingerprint=commit.fingerprint,
            recorded_at=self.now(),
            **fields,
        )

    def machines(self, entity_id):
        return sorted(machine for each, machine in self.all_entities if each == entity_id)

    def history(self, entity_id, *, machine_name=None, after=None, limit=100, newest_first=False):
        names = {row.machine_name for row in self.rows if row.entity_id == entity_id}
        if machine_name is None and len(names) > 1:
            raise AmbiguousEntityError("several")
        machine = machine_name if machine_name is not None else next(iter(names), "")
        return Page(self.rows_of((entity_id, machine))[:limit])

    def entities(
        self,
        *,
        state=None,
        machine_name=None,
        machine_names=None,
        archived=False,
        in_state_longer_than=timedelta(-1000),
        after=None,
        limit=100,
    ):
        since = self.now() - in_state_longer_than // timedelta(microseconds=1)
        found = [self.all_entities[key] for key in sorted(self.all_entities)]
        found = [each for each in found if each.state_since < since]
        found = [each for each in found if (each.archived_at is not None) is archived]
        return Page([each for each in found if state in (None, each.state, *each.state.split("+"))])

    def count_by_state(self, *, machine_name=None, machine_names=None, archived=False):
        return dict(
            Counter(
                entity.state
                for key, entity in self.all_entities.items()
                if (entity.archived_at is not None) is archived
                and (machine_names is None or key[1] in machine_names)
            )
        )

    def due(self, now, limit, *, machine_name=None):
        found = [
            (min(at for at, _ in entity.timers.values()), key)
            for key, entity in self.all_entities.items()
            if entity.timers and entity.archived_at is None
        ]
        return [key for at, key in sorted(found) if at <= now][:limit]

    def feed(self, cursor, limit=100, *, machine_names=None):
        if machine_names is not None:
            return Page([row for row in self.rows if row.machine_name in machine_names], "end")
        return Page(self.rows, "end")

    def prune_history(self, older_than, *, dedup_window, machine_name, now, batch):
        """The rules of docs/retention.md, one after the other."""
        cutoff = from_datetime(now - older_than)
        forgotten = from_datetime(now - dedup_window)
        report = Counter()
        for key in {(row.entity_id, row.machine_name) for row in self.rows}:
            if machine_name in (None, key[1]):
                self.prune_one(key, cutoff, forgotten, report)
        return Pruned(**report)

    def prune_one(self, key, cutoff, forgotten, report):
        rows = self.rows_of(key)
        changes = {row.version: row for row in rows if row.kind not in SILENT}
        old = []
        for row in rows:
            is_outcome = row.kind is EntryKind.ACTION and changes.get(row.version) in old
            if row.kind is not EntryKind.SNAPSHOT and not is_outcome and row.recorded_at >= cutoff:
                break
            old.append(row)
        gone = []
        for row in old:
            of = changes.get(row.version, row) if row.kind is EntryKind.ACTION else row
            if row.kind is EntryKind.SNAPSHOT:
                continue
            if of.event_id is None or of.recorded_at < forgotten:
                gone.append(row)
            elif row is of:
                report["kept"] += 1
        snapshots = [row for row in rows if row.kind is EntryKind.SNAPSHOT]
        base = snapshots[-1].version if snapshots else 0
        top = [row for row in gone if row.kind not in SILENT and row.version > base][-1:]
        left = [row for row in self.rows if row not in gone]
        if top:
            [row] = top
            until = [each for each in rows if each.version <= row.version]
            state, context = replay(until)
            entity = self.all_entities[key]
            history = None
            if entity.version == row.version:
                state, context = entity.state, entity.context
                history = {"history": entity.history} if entity.history else None
            entry = Entry(
                row.version, EntryKind.SNAPSHOT, None, history, row.now, (context, ()), None, state
            )
            commit = SimpleNamespace(
                entity_id=key[0],
                machine_name=key[1],
                commit_id=row.commit_id,
                machine_version=row.machine_version,
                fingerprint=row.fingerprint,
            )
            left = [each for each in left if each not in snapshots] + [self.row(commit, entry, 0)]
            report["snapshots"] += 1
        self.rows = left
        report["rows"] += len(gone)
        report["entities"] += bool(gone)


SILENT = {EntryKind.REJECTED, EntryKind.ACTION, EntryKind.SNAPSHOT}


class MemoryAgainstNaive(StoreComparison):
    def make_store(self, path):
        return InMemoryStateStore()

    def make_model(self):
        return NaiveStore()


class MemoryAgainstNaiveAsync(MemoryAgainstNaive):
    face = "async"


TestMemoryAgainstNaive = MemoryAgainstNaive.TestCase
TestMemoryAgainstNaive.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)

TestMemoryAgainstNaiveAsync = MemoryAgainstNaiveAsync.TestCase
TestMemoryAgainstNaiveAsync.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None
)
