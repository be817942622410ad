"""What the PostgreSQL store asks of its database: commits become statements, and answers outcomes.

An operation is a generator: it yields a `Request` and is sent the result, or thrown the error that
a value is to blame for. Nothing here does I/O; `pystator.stores.postgres` runs it over both faces.

::

    commits --prepare--> Writes --committing--> CHANGE | CREATE | APPEND   (one commit of one row)
                                          `---> BATCH                      (all others, sorted)

Laws:

- A statement that fails wrote nothing. A batch that fails because of a value is cut in halves until
  the commit to blame stands alone: its neighbours survive it.
- No statement has two changes of one entity, or one event id twice.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import psycopg

from pystator.db.index_rows import is_long
from pystator.errors import FSMError, InvalidValueError
from pystator.records import (
    Commit,
    Entry,
    EntryKind,
    HistoryEntry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Patch,
)
from pystator.stores import postgres_sql as sql
from pystator.stores.codec import encode
from pystator.stores.columns import (
    encode_actions,
    encode_history,
    encode_timers,
    next_due,
    state_since,
)
from pystator.stores.keys import check_commit
from pystator.stores.postgres_errors import is_unique
from pystator.stores.postgres_rows import (
    ENTITY_COLUMNS,
    UNSTORABLE,
    Value,
    binary,
    entity_of,
    entry_of,
    escaped,
    integers,
    number,
    texts,
    to_time,
)
from pystator.stores.postgres_wire import Params, Statement, rows_of

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["Operation", "Request", "Write", "committing", "loading", "prepare"]

T = TypeVar("T")

MOST: Final = 1_000
"""History rows of one statement."""

LARGEST: Final = 4_000_000
"""Characters of its contexts."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)
_KINDS: Final = {kind: str(kind.value) for kind in EntryKind}
_SUCCESS: Final = "00000"


class Request(NamedTuple):
    """A statement to run.

    Attributes:
        reads: It writes nothing.
    """

    statement: Statement
    params: Params
    reads: bool


Operation = Generator[Request, Any, T]
"""Yields requests, is sent a ``PGresult`` for each, and ends in its answer."""

# Commits -> rows ----------------------------------------------------------------------------------


class Write:
    """One commit, ready for the wire.

    Attributes:
        role: 0 when it only appends, 1 when it changes an entity, 2 when it creates one.
        rows: A row for each history entry: what `pystator.stores.postgres_sql.WRITE_TYPES` tells.
        ids: Its event ids.
        size: Characters of its context.
        refused: The answer, when the commit cannot be stored.
    """

    __slots__ = ("ids", "key", "refused", "role", "rows", "size")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.role = sql.NOTE
        self.rows: list[tuple[Value, ...]] = []
        self.ids: list[str] = []
        self.size = 0
        self.refused: Outcome | None = None


def prepare(commits: Sequence[Commit], recorded_at: int, limit: int) -> list[Write]:
    """Encode commits, in order.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    recorded = to_time(recorded_at)
    return [_prepare(commit, recorded, limit) for commit in commits]


def _prepare(commit: Commit, recorded: int, limit: int) -> Write:
    write = Write((commit.entity_id, commit.machine_name))
    try:
        changes = commit.new_version != commit.expected_version
        # An entity that is there has a key that was checked; one that is not is stale anyway.
        check_commit(commit, known=changes and commit.expected_version > 0)
        entity = _entity(write, commit, limit) if changes else _nothing(commit)
        for entry in commit.entries:
            write.rows.append((*entity, *_entry(write, entry, recorded, limit)))
            if changes and len(write.rows) == 1:
                entity = _nothing(commit)
    except UNSTORABLE as error:
        write.refused = _refusal(error)
    return write


def _nothing(commit: Commit) -> tuple[Value, ...]:
    """The entity's part of a row that does not touch it."""
    return (
        commit.entity_id, commit.machine_name, None, None, None, None, None, None, None,
        commit.machine_version, commit.fingerprint, None, commit.commit_id, None,
    )  # fmt: skip


def _entity(write: Write, commit: Commit, limit: int) -> tuple[Value, ...]:
    write.role = sql.ROLE_CHANGE if commit.expected_version else sql.ROLE_CREATE
    context = None if commit.context is None else encode(commit.context, limit=limit)
    write.size = 0 if context is None else len(context)
    timers = commit.timers
    since = state_since(commit)
    due = None if timers is None else next_due(timers)
    return (
        commit.entity_id,
        commit.machine_name,
        commit.expected_version,
        commit.new_version,
        commit.state,
        context,
        None if commit.history is None else encode_history(commit.history) or "",
        None if timers is None else encode_timers(timers) or "",
        None if due is None else to_time(due),
        commit.machine_version,
        commit.fingerprint,
        to_time(commit.now),
        commit.commit_id,
        None if since is None else to_time(since),
    )


def _entry(write: Write, entry: Entry, recorded: int, limit: int) -> tuple[Value, ...]:
    if entry.event_id is not None:
        write.ids.append(entry.event_id)
    payload = entry.payload
    return (
        entry.version,
        _KINDS[entry.kind],
        entry.trigger,
        None if payload is None else encode(_plain(payload), limit=limit, name="payload"),
        to_time(entry.now),
        None if entry.patch is None else _patch_text(entry.patch, limit),
        entry.source_state,
        entry.target_state,
        encode_actions(entry.actions) if entry.actions else None,
        None if entry.success else 1,
        entry.error_code,
        escaped(entry.error_message),
        entry.event_id,
        entry.request_hash,
        entry.actor,
        None if entry.occurred_at is None else to_time(entry.occurred_at),
        entry.duration_us,
        entry.ref,
        recorded,
    )


def _patch_text(patch: Patch, limit: int) -> str:
    """`columns.encode_patch`, put together from parts, which are mostly flat."""
    changed, removed = patch
    text = encode(_plain(changed), limit=limit, name="context_patch")
    gone = encode(list(removed), limit=limit, name="context_patch") if removed else "[]"
    return f'{{"set":{text},"unset":{gone}}}'


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return fields if isinstance(fields, dict) else dict(fields)


# Writing ------------------------------------------------------------------------------------------

_SINGLE: Final = {
    sql.NOTE: sql.APPEND,
    sql.ROLE_CHANGE: sql.CHANGE,
    sql.ROLE_CREATE: sql.CREATE,
}


def committing(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """Write; one `Outcome` for each, in order."""
    if len(writes) == 1:
        return [(yield from _alone(writes[0]))]
    outcomes: dict[int, Outcome] = {}
    rest: list[int] = []
    for place, write in enumerate(writes):
        if write.refused is None and write.rows:
            rest.append(place)
        else:
            outcomes[place] = write.refused or _APPLIED
    rest.sort(key=lambda place: writes[place].key)
    while rest:
        batch, rest = _next_batch(writes, rest)
        found = yield from _together([writes[place] for place in batch])
        outcomes.update(zip(batch, found, strict=True))
    return [outcomes[place] for place in range(len(writes))]


def _next_batch(writes: Sequence[Write], places: list[int]) -> tuple[list[int], list[int]]:
    """Those that fit into one statement, and the rest; both in the order of keys."""
    batch: list[int] = []
    left: list[int] = []
    ids: set[tuple[Key, str]] = set()
    changing: set[Key] = set()
    rows = size = 0
    for number_of, place in enumerate(places):
        write = writes[place]
        if batch and (rows + len(write.rows) > MOST or size + write.size > LARGEST):
            left += places[number_of:]
            break
        if (write.role and write.key in changing) or (
            ids and any((write.key, each) in ids for each in write.ids)
        ):
            left.append(place)
            continue
        if write.role:
            changing.add(write.key)
        for each in write.ids:
            ids.add((write.key, each))
        batch.append(place)
        rows += len(write.rows)
        size += write.size
    return batch, left


def _alone(write: Write) -> Operation[Outcome]:
    """Write one."""
    if write.refused is not None:
        return write.refused
    if not write.rows:
        return _APPLIED
    if len(write.rows) != 1:
        return (yield from _together([write]))[0]
    try:
        result: PGresult = yield Request(_SINGLE[write.role], binary(write.rows[0]), False)
    except psycopg.Error as error:
        return _DUPLICATE if is_unique(error) else _refusal(error)
    except UNSTORABLE as error:
        return _refusal(error)
    return _APPLIED if result.command_tuples else _STALE


def _together(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """Write those of one statement."""
    if len(writes) == 1 and len(writes[0].rows) == 1:
        return [(yield from _alone(writes[0]))]
    try:
        result: PGresult = yield Request(sql.BATCH, _batch_params(writes), False)
    except psycopg.Error as error:
        if len(writes) == 1:
            return [_DUPLICATE if is_unique(error) else _refusal(error)]
        if is_unique(error):
            return (yield from _without_known(writes))
    except UNSTORABLE as error:
        if len(writes) == 1:
            return [_refusal(error)]
    else:
        outcomes = [_APPLIED] * len(writes)
        if result.ntuples:
            leads = _leads(writes)
            for (lead,) in rows_of(result):
                outcomes[leads[number(lead)]] = _STALE
        return outcomes
    return (yield from _in_halves(writes))


def _in_halves(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    middle = len(writes) // 2
    first = yield from _together(writes[:middle])
    return first + (yield from _together(writes[middle:]))


def _without_known(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """An event id was there already: find out whose, and write the others."""
    keys = [(*write.key, each) for write in writes for each in write.ids]
    statement = sql.KNOWN_LONG if any(is_long(key[2]) for key in keys) else sql.KNOWN
    found: PGresult = yield Request(
        statement, [texts(column) for column in zip(*keys, strict=True)], True
    )
    known = {tuple([(value or b"").decode() for value in row]) for row in rows_of(found)}
    fresh = [
        place
        for place, write in enumerate(writes)
        if not any((*write.key, each) in known for each in write.ids)
    ]
    if len(fresh) == len(writes):
        return (yield from _in_halves(writes))  # two ids of one commit, or the other one is gone
    outcomes = [_DUPLICATE] * len(writes)
    if fresh:
        written = yield from _together([writes[place] for place in fresh])
        for place, outcome in zip(fresh, written, strict=True):
            outcomes[place] = outcome
    return outcomes


def _batch_params(writes: Sequence[Write]) -> list[bytes | None]:
    roles: list[int] = []
    leads: list[int] = []
    rows: list[tuple[Value, ...]] = []
    for write in writes:
        lead = len(rows) + 1
        count = len(write.rows)
        rows += write.rows
        if count == 1:
            roles.append(write.role)
            leads.append(lead)
        else:
            roles += [write.role, *[write.role and write.role + 2] * (count - 1)]
            leads += [lead] * count
    params = [integers(roles, sql.BIGINT), integers(leads, sql.BIGINT)]
    for column, kind in zip(zip(*rows, strict=True), sql.WRITE_TYPES, strict=True):
        params.append(texts(column) if kind == sql.TEXT else integers(column, kind))
    return params


def _leads(writes: Sequence[Write]) -> dict[int, int]:
    """Number of a commit's first row -> place of the commit."""
    leads: dict[int, int] = {}
    lead = 1
    for place, write in enumerate(writes):
        leads[lead] = place
        lead += len(write.rows)
    return leads


def _refusal(error: Exception) -> Outcome:
    if isinstance(error, FSMError):
        return Outcome(OutcomeKind.REFUSED, error)
    text = str(error).strip().partition("\n")[0]
    code = getattr(error, "sqlstate", None)
    return Outcome(
        OutcomeKind.REFUSED,
        InvalidValueError(f"the commit cannot be stored: {text}", context={"sqlstate": code}),
    )


# Loading ------------------------------------------------------------------------------------------

_ENTITY_WIDTH: Final = len(ENTITY_COLUMNS.split(","))


def loading(lookups: Sequence[Lookup]) -> Operation[list[Loaded]]:
    """Entities and known event ids, in the order of the lookups."""
    if len(lookups) == 1 and len(lookups[0].event_ids) < 2:
        return [(yield from _load_one(lookups[0]))]
    return (yield from _load_many(lookups))


def _load_one(lookup: Lookup) -> Operation[Loaded]:
    names = (lookup.entity_id, lookup.machine_name, *lookup.event_ids)
    if not all(map(_is_storable, names)):
        return Loaded(None, {})
    statement = sql.LOAD_KNOWING if lookup.event_ids else sql.LOAD
    if lookup.event_ids and is_long(lookup.event_ids[0]):
        statement = sql.LOAD_KNOWING_LONG
    result: PGresult = yield Request(statement, [name.encode() for name in names], True)
    if not result.ntuples:
        return Loaded(None, {})
    row = rows_of(result)[0]
    entity = None if row[0] is None else entity_of(row)
    if len(row) == _ENTITY_WIDTH or row[_ENTITY_WIDTH] is None:
        return Loaded(entity, {})
    return Loaded(entity, {lookup.event_ids[0]: entry_of(row[_ENTITY_WIDTH:])})


def _load_many(lookups: Sequence[Lookup]) -> Operation[list[Loaded]]:
    wanted = [
        (place, lookup.entity_id, lookup.machine_name)
        for place, lookup in enumerate(lookups)
        if _is_storable(lookup.entity_id) and _is_storable(lookup.machine_name)
    ]
    if not wanted:
        return [Loaded(None, {}) for _ in lookups]
    places: tuple[int, ...]
    places, ids, machines = zip(*wanted, strict=True)
    events = [
        (place + 1, lookups[place].entity_id, lookups[place].machine_name, event_id)
        for place in places
        for event_id in lookups[place].event_ids
        if _is_storable(event_id)
    ]
    params = [texts(ids), texts(machines)]
    if events:
        numbers, *columns = zip(*events, strict=True)
        params += [*map(texts, columns), integers(numbers, sql.BIGINT)]
    statement = sql.LOAD_MANY_KNOWING if events else sql.LOAD_MANY
    if any(is_long(event_id) for _, _, _, event_id in events):
        statement = sql.LOAD_MANY_KNOWING_LONG
    result: PGresult = yield Request(statement, params, True)
    found: list[Any] = [None] * len(lookups)
    known: dict[int, dict[str, HistoryEntry]] = {}
    for row in rows_of(result):
        at = number(row[0]) - 1
        if row[1] is not None:
            found[places[at]] = entity_of(row[1 : _ENTITY_WIDTH + 1])
        else:
            entry = entry_of(row[_ENTITY_WIDTH + 1 :])
            known.setdefault(at, {})[str(entry.event_id)] = entry
    return [Loaded(entity, known.get(place, {})) for place, entity in enumerate(found)]


def _is_storable(name: str) -> bool:
    """No such name was ever stored otherwise, and the server takes none."""
    return name.isprintable() or all(
        each >= " " and not "\ud800" <= each <= "\udfff" for each in name
    )
