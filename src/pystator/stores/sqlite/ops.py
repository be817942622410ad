"""Statements of the SQLite store: commits become rows here, and rows become records.

Nothing in this module does I/O or holds a lock. Two facts shape it:

- Python's driver takes 0.3 us to bind a NULL (it looks for an adapter first), more than to write
  it. So a statement names only the columns that have a value; there are as many constant statements
  as there are combinations in use.
- ``executemany`` costs half of as many calls of ``execute``. So rows that use one statement are
  kept together.
"""

import json
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from pystator.errors import InvalidValueError
from pystator.records import (
    Commit,
    Entity,
    Entry,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
)
from pystator.stores.codec import decode, encode
from pystator.stores.columns import (
    ENTITY_COLUMNS,
    HISTORY_COLUMNS,
    archived_after,
    decode_actions,
    decode_history,
    decode_patch,
    decode_payload,
    decode_timers,
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    next_due,
    state_since,
)
from pystator.stores.keys import check_commit

__all__ = [
    "Run",
    "Write",
    "entity_of",
    "entry_of",
    "load",
    "prepare",
    "snapshot",
]

Run = tuple[str, list[tuple[Any, ...]]]
"""Rows that one statement writes."""

_KINDS: Final = {kind: str(kind.value) for kind in EntryKind}
"""Members of an enumeration are subclasses of str, which the driver binds slowly."""

_KEY: Final = "entity_id = ? AND machine_name = ?"
LOAD: Final = f"SELECT {ENTITY_COLUMNS} FROM entity_states WHERE {_KEY}"  # noqa: S608 - constants
LOAD_MANY: Final = (
    f"SELECT {ENTITY_COLUMNS} FROM entity_states"  # noqa: S608
    " WHERE machine_name = ? AND entity_id IN (SELECT value FROM json_each(?))"
)
KNOWN: Final = f"SELECT {HISTORY_COLUMNS} FROM transition_history WHERE {_KEY} AND event_id = ?"  # noqa: S608
KNOWN_MANY: Final = (
    f"SELECT {HISTORY_COLUMNS} FROM (SELECT value FROM json_each(?2)) AS wanted"  # noqa: S608
    " CROSS JOIN transition_history"  # json_each has a column id of its own
    " WHERE entity_id = json_extract(wanted.value, '$[0]') AND machine_name = ?1"
    " AND event_id = json_extract(wanted.value, '$[1]')"
)
IS_KNOWN: Final = f"SELECT 1 FROM transition_history WHERE {_KEY} AND event_id = ?"  # noqa: S608


class Write:
    """One commit, ready for the connection.

    Attributes:
        put: Writes the entity if its version is the expected one; None when the commit only
            appends.
        values: Of ``put``.
        runs: The history rows, in order.
        keys: ``(entity_id, machine_name, event_id)`` of each row that has an event id.
        refused: The answer, when the commit cannot be stored.
    """

    __slots__ = ("keys", "put", "refused", "runs", "values")

    def __init__(self) -> None:
        self.put: str | None = None
        self.values: tuple[Any, ...] = ()
        self.runs: list[Run] = []
        self.keys: tuple[tuple[str, str, str], ...] = ()
        self.refused: Outcome | None = None


# Encoding -----------------------------------------------------------------------------------------


def prepare(commits: Iterable[Commit], recorded_at: int, limit: int) -> list[Write]:
    """Encode commits, in order.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    return [_prepare(commit, recorded_at, limit) for commit in commits]


def _prepare(commit: Commit, recorded_at: int, limit: int) -> Write:
    write = Write()
    try:
        changes = commit.new_version != commit.expected_version
        # An entity that is there has a key that was checked; one that is not is stale anyway.
        check_commit(commit, known=changes and commit.expected_version > 0)
        if changes:
            _encode_entity(write, commit, limit)
        for entry in commit.entries:
            _encode_entry(write, commit, entry, recorded_at, limit)
    except InvalidValueError as error:
        write.refused = Outcome(OutcomeKind.REFUSED, error)
    return write


def _encode_entity(write: Write, commit: Commit, limit: int) -> None:
    """The statement that puts the entity's new row in the place of the expected one."""
    which = 0
    values: list[Any] = [commit.new_version]
    if commit.state is not None:
        which |= 1
        values.append(commit.state)
    if commit.context is not None:
        which |= 2
        values.append(encode(commit.context, limit=limit))
    if commit.history is not None:
        which |= 4
        values.append(encode_history(commit.history))
    if commit.timers is not None:
        which |= 8
        values += (encode_timers(commit.timers), next_due(commit.timers))
    since = state_since(commit)
    if since is not None:
        which |= 16
        values.append(since)
    if commit.archived_at is not None:
        which |= 32
        values.append(archived_after(commit, None))
    values += (commit.machine_version, commit.fingerprint, commit.now, commit.commit_id)
    if commit.expected_version:
        values += (commit.entity_id, commit.machine_name, commit.expected_version)
        write.put = update_statement(which)
    else:
        values += (commit.entity_id, commit.machine_name, commit.now)
        write.put = _insert(which)
    write.values = tuple(values)


_ENTITY_OPTIONS: Final = (
    ("state",),
    ("context",),
    ("history",),
    ("timers", "next_due"),
    ("state_since",),
    ("archived_at",),
)
_ENTITY_ALWAYS: Final = ("machine_version", "fingerprint", "updated_at", "commit_id")


def _entity_columns(which: int) -> list[str]:
    chosen = [
        name for bit, names in enumerate(_ENTITY_OPTIONS) if which >> bit & 1 for name in names
    ]
    return ["version", *chosen, *_ENTITY_ALWAYS]


@cache
def update_statement(which: int) -> str:
    settings = ", ".join(f"{name} = ?" for name in _entity_columns(which))
    return f"UPDATE entity_states SET {settings} WHERE {_KEY} AND version = ?"  # noqa: S608


@cache
def _insert(which: int) -> str:
    names = [*_entity_columns(which), "entity_id", "machine_name", "created_at"]
    return (
        f"INSERT INTO entity_states ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        " ON CONFLICT (entity_id, machine_name) DO NOTHING"
    )


_ENTRY_ALWAYS: Final = (
    "entity_id",
    "machine_name",
    "version",
    "kind",
    "now",
    "success",
    "commit_id",
    "machine_version",
    "fingerprint",
    "recorded_at",
)
_ENTRY_OPTIONS: Final = (
    ('"trigger"',),
    ("payload",),
    ("context_patch",),
    ("source_state",),
    ("target_state",),
    ("actions",),
    ("error_code", "error_message"),
    ("event_id", "request_hash"),
    ("actor",),
    ("occurred_at",),
    ("duration_us",),
    ("ref",),
    ("trace",),
)


@cache
def _append(which: int) -> str:
    chosen = [
        name for bit, names in enumerate(_ENTRY_OPTIONS) if which >> bit & 1 for name in names
    ]
    names = [*_ENTRY_ALWAYS, *chosen]
    return (
        f"INSERT INTO transition_history ({', '.join(names)})"  # noqa: S608
        f" VALUES ({', '.join('?' * len(names))})"
    )


def _encode_entry(  # noqa: C901, PLR0912 - one branch for each column, in a row
    write: Write, commit: Commit, entry: Entry, recorded_at: int, limit: int
) -> None:
    which = 0
    row: list[Any] = [
        commit.entity_id,
        commit.machine_name,
        entry.version,
        _KINDS[entry.kind],
        entry.now,
        1 if entry.success else 0,
        commit.commit_id,
        commit.machine_version,
        commit.fingerprint,
        recorded_at,
    ]
    add = row.append
    if entry.trigger is not None:
        which |= 1
        add(entry.trigger)
    if entry.payload is not None:
        which |= 2
        add(encode_payload(entry.payload, limit=limit))
    if entry.patch is not None:
        which |= 4
        add(encode_patch(entry.patch, limit=limit))
    if entry.source_state is not None:
        which |= 8
        add(entry.source_state)
    if entry.target_state is not None:
        which |= 16
        add(entry.target_state)
    if entry.actions:
        which |= 32
        add(encode_actions(entry.actions))
    if entry.error_code is not None or entry.error_message is not None:
        which |= 64
        add(entry.error_code)
        add(entry.error_message)
    if entry.event_id is not None:
        which |= 128
        add(entry.event_id)
        add(entry.request_hash)
        write.keys = (*write.keys, (commit.entity_id, commit.machine_name, entry.event_id))
    if entry.actor is not None:
        which |= 256
        add(entry.actor)
    if entry.occurred_at is not None:
        which |= 512
        add(entry.occurred_at)
    if entry.duration_us is not None:
        which |= 1024
        add(entry.duration_us)
    if entry.ref is not None:
        which |= 2048
        add(entry.ref)
    if entry.trace is not None:
        which |= 4096
        add(entry.trace)
    if write.runs:
        extend(write.runs, _append(which), (tuple(row),))
    else:
        write.runs.append((_append(which), [tuple(row)]))


def extend(runs: list[Run], statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows, keeping their order: ids are given in this order."""
    if runs and runs[-1][0] is statement:
        runs[-1][1].extend(rows)
    else:
        runs.append((statement, list(rows)))


# Decoding -----------------------------------------------------------------------------------------


def entity_of(row: Sequence[Any]) -> Entity:
    """A row of `ENTITY_COLUMNS` -> the entity."""
    history = row[5]
    timers = row[6]
    return Entity(
        row[0],
        row[1],
        row[2],
        row[3],
        decode(row[4]),
        None if history is None else decode_history(history),
        {} if timers is None else decode_timers(timers),
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
    )


def entry_of(row: Sequence[Any]) -> HistoryEntry:
    """A row of `HISTORY_COLUMNS` -> the entry."""
    number, entity_id, machine, version, kind, trigger, payload, now, patch, *middle = row
    source, target, actions, success, *rest = middle
    return HistoryEntry(
        number,
        entity_id,
        machine,
        version,
        EntryKind(kind),
        trigger,
        decode_payload(payload),
        now,
        decode_patch(patch),
        source,
        target,
        decode_actions(actions),
        bool(success),
        *rest,
    )


def load(connection: sqlite3.Connection, lookups: Sequence[Lookup]) -> list[Loaded]:
    """Entities and known event ids, in the order of the lookups, as they were at one moment."""
    if not any(lookup.event_ids for lookup in lookups):
        return _load(connection, lookups)  # an entity alone is of one moment anyway
    with snapshot(connection):
        return _load(connection, lookups)


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Several statements that see the same moment; a transaction of the caller's does already."""
    if connection.in_transaction:
        yield
        return
    try:  # also when this is interrupted: an open transaction holds up the next one
        connection.execute("BEGIN")
        yield
    finally:
        connection.rollback()


def _load(connection: sqlite3.Connection, lookups: Sequence[Lookup]) -> list[Loaded]:
    if len(lookups) < _FEW:
        return [_load_one(connection, lookup) for lookup in lookups]
    return _load_many(connection, lookups)


_FEW: Final = 4
"""So many lookups are quicker one by one than through a JSON list."""


def _load_one(connection: sqlite3.Connection, lookup: Lookup) -> Loaded:
    key = (lookup.entity_id, lookup.machine_name)
    try:
        return _find_one(connection, lookup, key)
    except UnicodeEncodeError:
        return Loaded(None, {})  # a lone surrogate: no such id was ever stored


def _find_one(connection: sqlite3.Connection, lookup: Lookup, key: Key) -> Loaded:
    # The entity first: of what is committed in between, the ids are known then.
    row = connection.execute(LOAD, key).fetchone()
    known: dict[str, HistoryEntry] = {}
    for event_id in lookup.event_ids:
        found = connection.execute(KNOWN, (*key, event_id)).fetchone()
        if found is not None:
            known[event_id] = entry_of(found)
    return Loaded(None if row is None else entity_of(row), known)


def _load_many(connection: sqlite3.Connection, lookups: Sequence[Lookup]) -> list[Loaded]:
    ids: dict[str, dict[str, None]] = {}
    events: dict[str, list[tuple[str, str]]] = {}
    for lookup in lookups:
        ids.setdefault(lookup.machine_name, {})[lookup.entity_id] = None
        for event_id in lookup.event_ids:
            events.setdefault(lookup.machine_name, []).append((lookup.entity_id, event_id))
    rows: dict[Key, Sequence[Any]] = {}
    for machine, wanted in ids.items():
        for row in connection.execute(LOAD_MANY, (machine, json.dumps(list(wanted)))):
            rows[row[0], machine] = row
    known: dict[Key, dict[str, HistoryEntry]] = {}
    for machine, pairs in events.items():
        for row in connection.execute(KNOWN_MANY, (machine, json.dumps(pairs))):
            entry = entry_of(row)
            known.setdefault((entry.entity_id, machine), {})[str(entry.event_id)] = entry
    if not known:
        return [
            Loaded(None if row is None else entity_of(row), {})
            for row in [rows.get((each.entity_id, each.machine_name)) for each in lookups]
        ]
    return [_loaded(lookup, rows, known) for lookup in lookups]


def _loaded(
    lookup: Lookup,
    rows: dict[Key, Sequence[Any]],
    known: dict[Key, dict[str, HistoryEntry]],
) -> Loaded:
    key = (lookup.entity_id, lookup.machine_name)
    row = rows.get(key)
    found: dict[str, HistoryEntry] = {}
    if lookup.event_ids and key in known:
        ids = known[key]
        found = {each: ids[each] for each in lookup.event_ids if each in ids}
    return Loaded(None if row is None else entity_of(row), found)
